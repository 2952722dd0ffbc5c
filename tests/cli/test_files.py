"""Where commands write: the file or folder named, beside a picture, and never over another picture."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import sumi
from sumi import SumiError
from sumi.cli.files import find_destination
from sumi.pipelines import read_recipe
from sumi.pipelines.prompt import slug

Command = Callable[..., Any]


def names(folder: str = ".") -> list[str]:
    """The files of a folder, hidden ones too."""
    return sorted(path.name for path in Path(folder).iterdir() if path.is_file())


@pytest.fixture
def fox(command: Command, tmp_path: Path) -> str:
    """A picture that Sumi drew, in a folder of its own."""
    command("generate", "a red fox", "--seed", "1", "--out", "album/fox.png")
    return "album/fox.png"


def test_out_with_a_file_writes_that_file(command: Command) -> None:
    ran = command("generate", "fox", "--seed", "1", "--out", "new/folder/Fox.PNG")
    assert (ran.status, ran.out) == (0, "new/folder/Fox.PNG\n") and names("new/folder") == ["Fox.PNG"]
    ran = command("generate", "a dog", "--seed", "1", "--out", "new/folder/Fox.PNG")
    assert "note: new/folder/Fox.PNG will be replaced" in ran.err and names("new/folder") == ["Fox.PNG"]
    assert read_recipe("new/folder/Fox.PNG")[1].prompt == "a dog"


def test_out_with_a_file_numbers_several_pictures(command: Command) -> None:
    ran = command("generate", "fox", "-n", "2", "--seed", "1", "--out", "fox.png", "--frames")
    expected = ["fox-1.png", "fox-2.png", "fox-1-frames.webp", "fox-2-frames.webp", "fox-sheet.png"]
    assert ran.out.splitlines() == expected and names() == sorted(expected)
    before = Path("fox-1.png").read_bytes()
    ran = command("generate", "a dog", "-n", "2", "--seed", "1", "--out", "fox.png")
    assert ran.out.splitlines() == ["fox-1-2.png", "fox-2-2.png", "fox-sheet-2.png"]
    assert Path("fox-1.png").read_bytes() == before and "replaced" not in ran.err


def test_out_with_a_folder_named_png_is_a_folder(command: Command) -> None:
    Path("album.png").mkdir()
    for out, path in (("album.png", "album.png/fox-1.png"), ("b.png/", "b.png/fox-1.png"), ("v1.2", "v1.2/fox-1.png")):
        assert command("generate", "fox", "--seed", "1", "--out", out).out == f"{path}\n" and Path(path).is_file()


WORK = {
    "vary": ["-n", "1"],
    "edit": ["a dog", "--expand", "2,0,0,0"],
    "restyle": ["--from", "a red fox", "--to", "a blue fox"],
    "img2img": ["a dog"],
    "upscale": [],
    "replay": [],
    "explain": [],
}


@pytest.mark.parametrize("name", WORK)
def test_out_with_a_file_works_for_every_command_that_draws(name: str, command: Command, fox: str) -> None:
    ran = command(name, fox, *WORK[name], "--out", "this.png")
    assert ran.status == 0 and names() == ["this.png"] and "this.png" in ran.out, ran.err
    assert command(name, fox, *WORK[name], "--out", "there/").status == 0 and len(names("there")) == 1


@pytest.mark.parametrize(("name", "more"), [("blend", ["album/fox.png", "--frames", "3"]), ("explore", [])])
def test_out_with_a_file_numbers_what_draws_several(name: str, more: list[str], command: Command, fox: str) -> None:
    assert command(name, fox, *more, "--out", "this.png").status == 0
    assert {"this-1.png", "this-2.png", "this-3.png", "this-sheet.png"} <= set(names())


def test_sheets_are_written_beside_their_picture(command: Command, fox: str) -> None:
    assert command("explain", fox).out.splitlines()[-1] == "album/fox-words.png"
    assert command("explain", "--prompt", "fox", "--seed", "2").out.splitlines()[-1] == "pictures/fox-2-words.png"
    assert command("nearest", "absent/fox.png").status == 2 and not Path("absent").exists()


@pytest.mark.parametrize(
    ("out", "wrong"),
    [
        ("fox.jpg", "pictures are written as PNG: use fox.png, not fox.jpg"),
        ("x" * 250 + ".png", "File name too long"),
        ("a\0b.png", "cannot write"),
        ("file.txt/fox.png", "cannot write into the folder 'file.txt'"),
    ],
)
def test_out_that_cannot_be_written_is_refused_before_drawing(
    out: str, wrong: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("file.txt").write_text("hello")
    monkeypatch.setattr(sumi, "load", lambda _: pytest.fail("nothing is loaded"))
    ran = command("generate", "fox", "--out", out)
    assert (ran.status, ran.out) == (2, "") and wrong in ran.err and ran.err.count("\n") == 1


def test_write_new_concurrently_replaces_no_picture(command: Command) -> None:
    long = "a very " * 100
    prompts = [
        f"{long}red fox",
        f"{long}blue fox",
        "A RED FOX",
        "a red fox",
        "a red: fox!",
        "a_red_fox",
        "?!",
        "...",
        "🦊",
    ]
    paths = [command("generate", prompt, "--seed", "7", "--steps", "1", "--anyway").out.strip() for prompt in prompts]
    assert len({path.casefold() for path in paths}) == len(prompts) == len(names("pictures"))
    assert [read_recipe(path)[1].prompt for path in paths] == prompts
    assert all(len(os.path.basename(path).encode()) < 120 for path in paths)


def test_slug_of_an_emoji_is_its_name() -> None:
    assert slug("🦊") == "fox-face" and slug("a 🦊 in snow") == "a-fox-face-in-snow" and slug("👩‍🚀") == "woman-rocket"
    assert slug("CON") == "con" and slug("../../etc") == "etc" and slug("") == "picture"


def test_destination_check_leaves_no_file(tmp_path: Path) -> None:
    place = find_destination(tmp_path / "new" / "fox.png")
    assert place.folder == tmp_path / "new" and not place.replaces and not list(place.folder.iterdir())
    with pytest.raises(SumiError, match="use fox"):
        find_destination("fox.webp")


# A recipe, printed.


def test_show_prints_a_recipe(command: Command, fox: str) -> None:
    ran = command("show", fox)
    shown = {line[:10].strip(): line[11:].strip() for line in ran.out.splitlines()}
    assert shown["prompt"] == "a red fox" and shown["seed"] == "1" and shown["size"] == "32 x 32"
    assert shown["decoder"] == "dpmpp-2m, 4 steps, guidance 2" and "negative" not in shown
    assert ran.err == "draw it again with: sumi replay album/fox.png\n"
    report = json.loads(command("show", fox, "--json").out)
    assert report["path"] == fox and report["recipe"] == json.loads(json.dumps(read_recipe(fox)[1].to_json()))


def test_show_prints_the_recipe_of_an_edit(command: Command, fox: str) -> None:
    command("vary", fox, "-n", "1", "--eta", "0.5", "--out", "other.png")
    ran = command("show", "other.png")
    assert "operation  vary" in ran.out and "eta" in ran.out and "made from  a picture " in ran.out


def test_show_escapes_control_characters(command: Command, fox: str) -> None:
    from sumi.pipelines.recipe import write_png

    image, recipe = read_recipe(fox)
    object.__setattr__(recipe, "model", "\x1b[2Jtiny\n\x07")
    with open("hostile.png", "wb") as file:
        write_png(file, image, recipe)
    ran = command("show", "hostile.png")
    assert "\\x1b[2Jtiny" in ran.out and "\x1b" not in ran.out and "\x07" not in ran.out


def test_show_of_a_picture_without_a_recipe_is_one_line(command: Command) -> None:
    Image.new("RGB", (4, 4)).save("white.png")
    ran = command("show", "white.png", "--json")
    assert ran.status == 2 and "carries no recipe" in json.loads(ran.out)["error"]

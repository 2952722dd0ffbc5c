"""Each editing command from a picture to files, on a tiny model, and its error messages."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sumi import SumiError
from sumi.cli.operations import make_output_stem
from sumi.cli.options import Margins
from sumi.pipelines import read_recipe

from .test_bad_input import check

Command = Callable[..., Any]

WORK: dict[str, list[str]] = {
    "vary": ["fox.png", "-n", "2", "--eta", "0.5", "--steps", "3"],
    "edit": ["fox.png", "a", "blue", "fox", "--mask", "mask.png", "--expand", "2,0,0,1", "--steps", "3"],
    "blend": ["fox.png", "owl.webp", "--frames", "3", "--steps", "3"],
    "restyle": ["fox.png", "--from", "a red fox", "--to", "a blue fox", "--amount", "0.3", "--steps", "3"],
    "explore": ["fox.png", "--steps", "3"],
    "img2img": ["fox.png", "a", "dog", "--strength", "0.5", "--steps", "4", "--negative", "hat"],
    "upscale": ["owl.webp", "--steps", "2", "--background", "#ff0000"],
}


@pytest.fixture(autouse=True)
def pictures(tmp_path: Path) -> None:
    """A fox, an owl of the same size, a mask, and some bad files."""
    fox = Image.new("RGBA", (20, 12), (200, 60, 10, 0))
    fox.paste((200, 60, 10, 255), (4, 2, 15, 11))
    fox.save(tmp_path / "fox.png")
    fox.rotate(180).save(tmp_path / "owl.webp", lossless=True)
    mask = Image.new("L", (20, 12))
    mask.save(tmp_path / "nothing.png")
    mask.paste(255, (8, 4, 18, 10))
    mask.save(tmp_path / "mask.png")
    mask.resize((9, 9)).save(tmp_path / "small.png")
    (tmp_path / "file.txt").write_text("hello")


@pytest.mark.parametrize("name", WORK)
def test_editing_command_writes_pictures_that_replay(name: str, command: Command) -> None:
    ran = command(name, *WORK[name], "--seed", "5", "--json")
    assert ran.status == 0, ran.err
    report = json.loads(ran.out)
    assert {"images", "seconds", "model", "notes"} <= set(report)
    for image in report["images"]:
        path = image["path"]
        assert path.startswith(f"pictures/{make_output_stem(name, *WORK[name][: 2 if name == 'blend' else 1])}-")
        assert read_recipe(path)[1].operation == name
        again = command("replay", path, "--out", "again", "--json")
        assert again.status == 0, again.err
        assert json.loads(again.out)["same"]


def test_blend_writes_an_animation(command: Command) -> None:
    report = json.loads(command("blend", *WORK["blend"], "--json").out)
    assert len(report["images"]) == 3 and report["sheet"]
    with Image.open(report["frames"][0]) as film:
        assert film.n_frames == 4, "there and back"


def test_explore_writes_captions_under_its_pictures(command: Command) -> None:
    report = json.loads(command("explore", *WORK["explore"], "--size", "16", "--json").out)
    assert len(report["images"]) == 4
    with Image.open(report["sheet"]) as page:
        step = (page.height - 8) // 2  # from one row of pictures to the next
        rows = [page.crop((0, top + 8 + 16, page.width, top + step)) for top in (0, step)]
        assert all(row.convert("L").getextrema()[0] < 100 for row in rows), "ink under both rows"


def test_edit_keeps_the_rest_of_the_picture_exactly(command: Command) -> None:
    path = command("edit", "fox.png", "--expand", "0,3,0,0", "--seed", "1").out.strip()
    with Image.open(path) as edited, Image.open("fox.png") as fox:
        assert edited.size == (20, 15)
        assert edited.convert("RGBA").crop((0, 3, 20, 15)).tobytes() == fox.tobytes()


CASES: dict[str, tuple[list[str], str]] = {
    "no picture": (["vary", "file.txt"], "not one of PNG, JPEG, WEBP, GIF"),
    "no such picture": (["upscale", "absent.png"], "absent.png: No such file"),
    "no eta": (["vary", "fox.png", "--eta", "2"], "eta should be a number from 0 to 1"),
    "no words": (["img2img", "fox.png", " "], "the prompt is empty"),
    "no such axes": (["explore", "fox.png", "--dims", "7"], "dims should be from 1 to 5, or 8 for all, not 7"),
    "no strength": (["img2img", "fox.png", "a", "--strength", "0"], "strength should be a number from 0.01 to 1"),
    "no mask": (["edit", "fox.png", "a dog"], "edit needs --mask FILE, white where to draw, or --expand"),
    "mask of another size": (["edit", "fox.png", "a", "--mask", "small.png"], "has 9x9 pixels, and the picture 20x12"),
    "mask that is no picture": (["edit", "fox.png", "a", "--mask", "file.txt"], "not one of PNG"),
    "empty mask": (["edit", "fox.png", "a", "--mask", "nothing.png"], "the mask covers nothing"),
    "three margins": (["edit", "fox.png", "--expand", "1,2,3"], "--expand takes four numbers"),
    "no margins": (["edit", "fox.png", "--expand", "0,0,0,0"], "needs --mask FILE, white where to draw, or --expand"),
    "endless margins": (["edit", "fox.png", "--expand", "0,0,0,99999"], "from 0 to 4096"),
    "blend of two sizes": (["blend", "fox.png", "small.png"], "two pictures of one size, not 20x12 and 9x9"),
    "blend of one": (["blend", "fox.png"], "Missing argument 'B'"),
    "amount": (["restyle", "fox.png", "--from", "a", "--to", "b", "--amount", "1.5"], "amount should be a number"),
    "nowhere to go": (["restyle", "fox.png", "--from", "a", "--to", "a"], "two different texts"),
    "one text": (["restyle", "fox.png", "--from", "a"], "Missing option '--to'"),
    "unknown size": (["vary", "fox.png", "--size", "99"], "choose one of 16, 32"),
}


@pytest.mark.parametrize("case", CASES)
def test_editing_command_with_bad_input_prints_one_line(case: str, command: Command, tmp_path: Path) -> None:
    arguments, says = CASES[case]
    check(command(*arguments), says)
    assert not list(tmp_path.rglob("pictures/*"))


def test_margins_option_takes_four_numbers() -> None:
    assert Margins().convert("64, 0,7,0", None, None) == (64, 0, 7, 0)
    for text in ("", "1,2,3,-4", "1,2,3,4,5", "a,b,c,d", "١,2,3,4", "1.5,0,0,0", "9999999,0,0,0"):
        with pytest.raises(SumiError, match="such as 64,0,64,0"):
            Margins().convert(text, None, None)


def test_output_stem_names_the_operation_and_its_pictures() -> None:
    assert make_output_stem("vary", "some/Red Fox.PNG") == "red-fox-vary"
    assert make_output_stem("blend", "a.png", "../b.png") == "a-to-b-blend"

"""Each command from prompt to files, on a tiny model."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from rich.console import Console

from sumi import SumiError
from sumi.cli import main
from sumi.cli.files import require_writable_folder, write_new
from sumi.cli.replay import measure_difference
from sumi.cli.screen import Screen, render_half_blocks
from sumi.pipelines import Request, read_recipe
from sumi.systems.unclip.artist import Sumi

Command = Callable[..., Any]


def test_generate_names_files_by_prompt_and_replaces_none(command: Command, tmp_path: Path) -> None:
    for _ in range(2):
        ran = command("generate", "a", "red", "fox", "--seed", "42")
        assert ran.status == 0 and "1 picture in " in ran.err
    assert ran.out == "pictures/a-red-fox-42-2.png\n"
    names = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert names == ["a-red-fox-42-2.png", "a-red-fox-42.png"]
    image, recipe = read_recipe(tmp_path / ran.out.strip())
    assert image.size == (32, 32) and recipe.prompt == "a red fox"


def test_json_report_is_one_object(command: Command, tmp_path: Path) -> None:
    options = ["-n", "3", "--size", "16", "--seed", "7", "--best-of", "4", "--frames", "--out", "here", "--json"]
    ran = command("generate", "a red foxx", *options)
    report = json.loads(ran.out)
    assert ran.out.count("\n") == 1
    assert set(report) == {"images", "seconds", "model", "notes", "sheet", "frames"}
    assert report["model"] == "tiny" and report["seconds"] > 0
    assert report["notes"] == [ran.err.removeprefix("note: ").strip()] and "fox for foxx" in report["notes"][0]
    assert [set(image) for image in report["images"]] == [{"path", "seed", "score", "seconds"}] * 3
    scores = [image["score"] for image in report["images"]]
    assert scores == sorted(scores, reverse=True)
    for image in report["images"]:
        assert read_recipe(image["path"])[1].seed == image["seed"]
    with Image.open(report["sheet"]) as page:
        assert page.size == (8 + 2 * 24, 8 + 2 * 24)
    for path, image in zip(report["frames"], report["images"], strict=True):
        assert path == f"here/a-red-foxx-{image['seed']}-frames.webp"
        with Image.open(path) as film:
            assert film.n_frames == 5 and film.size == (16, 16), "four steps and the picture"
    assert len(list((tmp_path / "here").iterdir())) == 7


def test_generate_of_one_picture_writes_no_sheet(command: Command) -> None:
    report = json.loads(command("generate", "fox", "--json").out)
    assert set(report) == {"images", "seconds", "model", "notes"}


def test_rank_and_classify_print_their_results(command: Command) -> None:
    paths = [image["path"] for image in json.loads(command("generate", "fox", "-n", "2", "--json").out)["images"]]
    ranked = json.loads(command("rank", *paths, "--prompt", "a fox", "--json").out)
    assert {row["path"] for row in ranked["images"]} == set(paths)
    assert ranked["images"][0]["score"] >= ranked["images"][1]["score"]
    assert command("rank", *paths, "--prompt", "a fox").out.splitlines()[0].endswith(ranked["images"][0]["path"])
    named = json.loads(command("classify", paths[0], "--labels", "fox, dog,car", "--json").out)
    assert {row["label"] for row in named["labels"]} == {"fox", "dog", "car"}
    likeliest = command("classify", paths[0], "--labels", "fox,dog").out.splitlines()[0]
    assert likeliest.lstrip()[0].isdigit() and "%" in likeliest


def test_replay_draws_the_same_picture_from_its_file(command: Command, tmp_path: Path) -> None:
    command("generate", "a blue car", "--seed", "9", "--steps", "3", "--guidance", "4", "--sampler", "ddpm")
    ran = command("replay", "pictures/a-blue-car-9.png")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out == "pictures/a-blue-car-9-2.png: identical\n"
    report = json.loads(command("replay", "pictures/a-blue-car-9.png", "--json").out)
    assert report["identical"] is report["same"] is True and report["difference"] == 0


def test_replay_of_a_changed_picture_exits_1(command: Command, tmp_path: Path) -> None:
    from sumi.pipelines.recipe import write_png

    command("generate", "fox", "--seed", "1")
    image, recipe = read_recipe("pictures/fox-1.png")
    image.putpixel((3, 3), tuple(255 - level for level in image.getpixel((3, 3))))
    with open("edited.png", "wb") as file:
        write_png(file, image, recipe)
    ran = command("replay", "edited.png")
    assert ran.status == 1 and "different (by at most" in ran.out
    object.__setattr__(recipe, "hashes", {**recipe.hashes, "prior": "0" * 64})
    with open("older.png", "wb") as file:
        write_png(file, image.resize((8, 8)), recipe)
    ran = command("replay", "older.png")
    assert ran.status == 1 and "another size or mode" in ran.out
    assert "other weights than this model's drew older.png (prior)" in ran.err


def test_difference_compares_premultiplied_levels() -> None:
    one = Image.new("RGBA", (2, 2), (1, 2, 3, 4))
    assert measure_difference(one, one.copy()) == 0
    assert measure_difference(one, Image.new("RGBA", (2, 2), (1, 2, 3, 9))) == 5
    assert measure_difference(one, one.convert("RGB")) is None


def test_write_new_replaces_no_file(tmp_path: Path) -> None:
    assert [write_new(tmp_path, "a", ".png", b"x").name for _ in range(3)] == ["a.png", "a-2.png", "a-3.png"]
    with pytest.raises(SumiError, match="cannot write"):
        write_new(tmp_path / "absent", "a", ".png", b"")
    assert require_writable_folder(tmp_path / "new" / "folder").is_dir()
    assert not list((tmp_path / "new" / "folder").iterdir())


def test_half_blocks_hold_two_pixels_a_character() -> None:
    levels = torch.zeros(3, 4, 48, 48, dtype=torch.uint8)
    levels[0, 3] = levels[0, 0] = 255
    text = render_half_blocks(levels, width=60)
    lines = text.plain.splitlines()
    assert len(lines) == 12 and lines[0].count("▀") == 48, "two of three fit"
    styles = {str(span.style) for span in text.spans}
    assert styles == {"#ff0000 on #ff0000", "#ffffff on #ffffff"}


def test_screen_on_a_terminal_shows_progress(tiny: Sumi, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO()
    with Screen("waking up") as screen:
        assert not screen._live.is_started, "nobody looks at a pipe"
    screen = Screen("waking up")
    console = Console(file=terminal, force_terminal=True, width=100, color_system="truecolor")
    screen._console = screen._live.console = console
    with screen:
        for event in tiny.stream(Request("fox", n=2, seed=1)):
            screen.show(event, tiny)
        screen.say("note: [red]kindly[/red]")
        screen._live.refresh()
    drawn = terminal.getvalue()
    assert "upsampler" in drawn and "▀" in drawn and "note: [red]kindly[/red]" in drawn


def test_interrupted_command_exits_quietly(command: Command, monkeypatch: pytest.MonkeyPatch, tiny: Sumi) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Sumi, "stream", interrupted)
    ran = command("generate", "fox")
    assert (ran.status, ran.out, ran.err.strip()) == (130, "", "stopped")


def test_unexpected_error_keeps_its_traceback(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Sumi, "stream", broken)
    with pytest.raises(ZeroDivisionError):
        main(["generate", "fox"])
    assert sys.stdout is not None

"""`sumi explain` and `sumi nearest` on the tiny model: what they print, what they write, what they refuse."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from sumi.bundles import Bundle, TrainingDrawings

from .test_bad_input import check

Command = Callable[..., Any]


@pytest.fixture
def taught(tiny_folder: Path, tmp_path: Path) -> str:
    """The tiny model with three drawings: red, green and blue squares."""
    bundle = Bundle.load(shutil.copytree(tiny_folder, tmp_path / "taught"))
    pictures = torch.zeros(3, 4, 12, 12, dtype=torch.uint8)
    pictures[:, 3] = 255
    for number in range(3):
        pictures[number, number] = 255
    rows = [
        {
            "concept": colour, "person": "", "icon": "square", "source": "drawn by hand", "version": "1",
            "licence": "CC0-1.0", "author": "Ada", "url": "",
        }
        for colour in ("red", "green", "blue")
    ]  # fmt: skip
    embeddings = torch.nn.functional.normalize(torch.ones(3, 8), dim=1)
    bundle.keep_drawings(TrainingDrawings(embeddings, pictures, rows, bundle.hashes["clip"]))
    return str(bundle.folder)


def test_explain_prints_each_word_and_writes_a_sheet(command: Command) -> None:
    drawn = json.loads(command("generate", "a red fox", "--seed", "3", "--json").out)["images"][0]["path"]
    ran = command("explain", drawn, "--json")
    report = json.loads(ran.out)
    assert [row["word"] for row in report["words"]] == ["a", "red", "fox"] and report["seed"] == 3
    assert sum(row["share"] for row in report["words"]) == pytest.approx(1, abs=1e-4)
    assert report["sheet"] == "pictures/a-red-fox-3-words.png"
    with Image.open(report["sheet"]) as sheet:
        assert sheet.mode == "RGB"
    again = command("explain", "--prompt", "a red fox", "--seed", "3")
    shares = [f"{row['share']:6.1%}  {row['word']}" for row in report["words"]]
    assert again.out.splitlines() == [*shares, "pictures/a-red-fox-3-words-2.png"]
    shutil.copy(drawn, "mine.png")
    assert command("explain", "mine.png").out.splitlines()[-1] == "mine-words.png"


def test_nearest_lists_drawings_with_their_authors(command: Command, taught: str) -> None:
    Image.new("RGBA", (30, 30), (0, 255, 0, 255)).save("green.png")
    ran = command("nearest", "green.png", "-k", "2", "--model", taught)
    lines = ran.out.splitlines()
    assert len(lines) == 3 and lines[-1] == "green-nearest.png", ran.err
    assert any("distance 0.000  green, Ada, CC0-1.0" in line for line in lines)
    report = json.loads(command("nearest", "green.png", "-k", "3", "--model", taught, "--json").out)
    assert min(report["nearest"], key=lambda row: row["distance"])["concept"] == "green"


def test_explain_and_nearest_with_bad_input_print_one_line(command: Command, taught: str, tmp_path: Path) -> None:
    Image.new("RGBA", (8, 8)).save(tmp_path / "other.png")
    for arguments, said in (
        (["explain"], "give explain a picture that Sumi drew, or --prompt"),
        (["explain", "other.png", "--prompt", "a fox"], "give explain a picture"),
        (["explain", "other.png", "--seed", "1"], "--seed needs --prompt"),
        (["explain", "other.png"], "carries no recipe of Sumi's: only a PNG file that Sumi wrote has one inside"),
        (["explain", "--prompt", ""], "the prompt is empty"),
        (["nearest", "missing.png"], "cannot read the picture"),
        (["nearest", "other.png"], "carries no drawings"),
        (["nearest", "other.png", "-k", "9", "--model", taught], "k should be a whole number from 1 to 3, not 9"),
    ):
        check(command(*arguments), said)

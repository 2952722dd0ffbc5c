"""`sumi teach` and `sumi adapters` as people use them: taught, listed, drawn with, shared, removed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from .conftest import Ran

QUICK = ("--steps", "2", "--rank", "2", "--own", "8")


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two pictures of a thing, in a folder beside that of the adapters."""
    monkeypatch.setenv("SUMI_ADAPTERS", str(tmp_path / "adapters"))
    folder = tmp_path / "wugs"
    folder.mkdir()
    for number in range(2):
        page = Image.new("RGBA", (32, 32))
        ImageDraw.Draw(page).ellipse((4, 4, 28, 24 + 4 * number), fill=(200, 30, 90, 255))
        page.save(folder / f"{number}.png")
    return folder


def test_taught_word_is_listed_drawn_with_shared_and_removed(command: Callable[..., Ran], pictures: Path) -> None:
    taught = command("teach", str(pictures), "--as", "my wug", *QUICK)
    assert taught.status == 0, taught.err
    path = Path(taught.out.strip())
    assert path.name == "wug.safetensors" and path.is_file()
    assert 'draw with: sumi generate "a red wug" --with wug' in taught.err

    listed = command("adapters")
    assert listed.out.startswith('wug: the word wug for "my wug", 2 pictures, ')
    shown = json.loads(command("adapters", "show", "wug", "--json").out)
    assert len(shown["pictures"]) == 2 and shown["rank"] == 2
    assert "sha256" in command("adapters", "show", "wug").out

    drawn = json.loads(command("generate", "a red wug", "--with", "wug:0.5", "--seed", "1", "--json").out)
    picture = drawn["images"][0]["path"]
    assert json.loads(command("show", picture, "--json").out)["recipe"]["adapters"] == "wug:0.5"
    assert command("replay", picture).out.strip().endswith("identical")

    copy = path.rename(pictures.parent / "gift.safetensors")
    assert command("adapters", "list").out == ""
    assert command("adapters", "add", str(copy), "--name", "gift").status == 0
    assert command("generate", "a wug", "--with", "gift", "--seed", "1").status == 0
    assert command("adapters", "remove", "gift").status == 0
    assert "no adapter 'gift'" in command("adapters", "remove", "gift").err


def test_teach_tells_programs_what_it_does(command: Callable[..., Ran], pictures: Path) -> None:
    lines = command("teach", str(pictures), "--as", "my wug", *QUICK, "--json").out.splitlines()
    events = [json.loads(line) for line in lines]
    assert [event["event"] for event in events if event["event"] != "preparing"] == ["note", "training", "done"]
    assert events[-1]["adapter"]["word"] == "wug" and events[-2]["step"] == 2


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["teach", "nowhere", "--as", "my wug"], "there is no folder 'nowhere'"),
        (["teach", "wugs", "--as", "a fox"], "the model knows every word of 'a fox' already"),
        (["teach", "wugs", "--as", "my wug", "--minutes", "0"], "minutes should be from"),
        (["teach", "wugs", "--as", "my wug", "--name", "My Wug"], "an adapter's name is small letters"),
        (["generate", "a fox", "--with", "wug"], "there is no adapter 'wug'"),
        (["generate", "a fox", "--with", "wug:9"], "with a weight from 0 to 2"),
        (["adapters", "add", "wugs/0.png"], "is damaged"),
        (["adapters", "show", "../x"], "an adapter's name is small letters"),
    ],
)
def test_mistakes_end_in_one_line(
    command: Callable[..., Ran], pictures: Path, arguments: list[str], fault: str
) -> None:
    ran = command(*arguments)
    assert ran.status == 2 and fault in ran.err and ran.err.count("\n") == 1, ran.err

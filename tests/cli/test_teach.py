"""`sumi teach` and `sumi adapters` as people use them: taught, listed, drawn with, shared, removed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from .conftest import Ran

QUICK = ("--steps", "2", "--rank", "2", "--own", "8")
OWN = ("--licence", "own work", "--author", "Ann")


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
    lines = command("teach", str(pictures), "--as", "my wug", *QUICK, *OWN, "--json").out.splitlines()
    events = [json.loads(line) for line in lines]
    assert [event["event"] for event in events if event["event"] != "preparing"] == ["note", "training", "done"]
    assert events[-1]["adapter"]["word"] == "wug" and events[-2]["step"] == 2


def test_teach_asks_whose_the_pictures_are_and_the_adapter_remembers(
    command: Callable[..., Ran], pictures: Path
) -> None:
    teach = ("teach", str(pictures), "--as", "my wug", *QUICK)
    ran = command(*teach)
    assert ran.status == 0 and "2 of 2 training pictures name no licence. The adapter says so" in ran.err
    record = json.loads(command("adapters", "show", "wug", "--json").out)
    assert record["rights_note"] == "2 of 2 training pictures name no licence." and record["rights"][0]["pictures"] == 2
    assert "no licence named" in command("adapters", "show", "wug").out

    assert command("adapters", "remove", "wug").status == 0
    assert "name no licence" not in command(*teach, *OWN).err
    record = json.loads(command("adapters", "show", "wug", "--json").out)
    assert record["rights_note"] == "" and record["rights"][0]["licence"] == "own work"
    told = json.loads(command("report", "wug", "-n", "0", "--json").out)
    assert told["rights"][0]["author"] == "Ann" and told["data"]["pictures"] == 2


def test_teach_leaves_out_what_names_no_licence_where_others_do(command: Callable[..., Ran], pictures: Path) -> None:
    Image.new("RGBA", (16, 16), "teal").save(pictures / "2.png")
    rows = [{"file_name": f"{number}.png", "license": "CC0-1.0"} for number in range(2)]
    (pictures / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    teach = ("teach", str(pictures), "--as", "my wug", *QUICK)
    assert "left out: 2.png names no licence (--licence, --allow-unlicensed)" in command(*teach).err
    assert len(json.loads(command("adapters", "show", "wug", "--json").out)["pictures"]) == 2
    command("adapters", "remove", "wug")
    ran = command(*teach, "--allow-unlicensed")
    assert ran.status == 0 and "1 of 3 training pictures name no licence." in ran.err
    command("adapters", "remove", "wug")
    (pictures / "metadata.jsonl").write_text("".join(json.dumps({**row, "consent": "no"}) + "\n" for row in rows))
    ran = command(*teach)
    assert ran.status == 2 and "teaching takes 2 to 2000" in ran.err and not Path("adapters/wug.safetensors").exists()


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

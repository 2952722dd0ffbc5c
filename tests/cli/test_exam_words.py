"""`sumi exam words` as a person runs it, with three prompts, on the tiny model and a tiny judge."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sumi.data.scene import COLOURS, STYLES
from sumi.evaluation import everyday_exam as everyday
from sumi.judge import network as judges
from sumi.judge.network import Judge

Command = Callable[..., Any]
PROMPTS = (
    everyday.EverydayPrompt("a red fox", "", ("bar",)),
    everyday.EverydayPrompt("a fluffy dog", "drawn as: a dog. Not known: fluffy", ()),
    everyday.EverydayPrompt("zzyzx", everyday.REFUSED, ()),
    everyday.EverydayPrompt("a blue car", "a note that is wrong", ()),
)


def test_prompts_are_drawn_and_notes_and_pictures_counted(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(everyday, "load_everyday_prompts", lambda vocabulary: list(PROMPTS))
    tiny_judge = Judge(
        ("bar", "block"), tuple(COLOURS), ("none", *STYLES), channels=(16, 24), blocks=(1, 1), features=32
    ).eval()
    monkeypatch.setattr(judges, "load_judge", lambda folder=None: tiny_judge)
    ran = command("exam", "words", "--json", "--seed", "3")
    assert ran.status == 0, ran.err
    report = json.loads(ran.out)
    record = json.loads((tmp_path / "exams/words/everyday.json").read_text("utf-8"))
    notes = {row["prompt"]: row["note"] for row in record["prompts"]}
    right = sum(one.note == notes[one.prompt] for one in PROMPTS)
    assert right == 3 and notes["zzyzx"] == everyday.REFUSED and "fluffy" in notes["a fluffy dog"]
    assert report["rows"]["note is right"]["n"] == 4 and report["rows"]["known thing is drawn"]["n"] == 1
    assert report["rows"]["note is right"]["share"] == 0.75
    assert [Path(path).name for path in report["files"]] == ["everyday.json", "everyday.png"]
    with Image.open(tmp_path / "exams/words/everyday.png") as sheet:
        assert sheet.width > 0
    table = command("exam", "words", "--seed", "3").out
    assert "note is right" in table and table.endswith("everyday.png\n")


def test_the_list_has_a_hundred_prompts_each_once() -> None:
    prompts = [one.prompt for one in everyday.load_everyday_prompts()]
    assert len(prompts) == len(set(prompts)) == 100

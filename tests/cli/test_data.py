"""`sumi data` on pictures of one's own: what people type, and what they read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def draw(number: int) -> Image.Image:
    small = np.random.default_rng(number).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((80, 80), Image.Resampling.BICUBIC)


def write(folder: Path, name: str, caption: str | None = "a red fox", number: int = 0) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    draw(number).save(path)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption, "utf-8")
    return path


def test_check_command_writes_json_and_a_page_with_the_pictures_in_it(
    command: Callable[..., Any], tmp_path: Path
) -> None:
    write(tmp_path / "own", "a <b>.png", "ein roter Fuchs <im> Schnee")
    ran = command("data", "check", str(tmp_path / "own"), "--html", "report.html", "--json", "--size", "100")
    report, page = json.loads(ran.out), (tmp_path / "report.html").read_text("utf-8")
    assert ran.status == 0 and {finding["code"] for finding in report["findings"]} >= {"tiny", "language"}
    assert "a &lt;b&gt;.png" in page and "<im>" not in page and page.count("data:image/webp") == 4
    assert "http" not in page


def test_check_command_fails_where_training_would(command: Callable[..., Any], tmp_path: Path) -> None:
    write(tmp_path / "own", "a.png", None)
    ran = command("data", "check", "own")
    assert ran.status == 1 and "training would fail" in ran.out and "NAME.txt" in ran.out
    assert command("data", "check", "nowhere").status == 2


def test_dedup_command_writes_one_of_each_and_leaves_the_folder_alone(
    command: Callable[..., Any], tmp_path: Path
) -> None:
    write(tmp_path / "own", "a.png", None)
    write(tmp_path / "own", "deep/b.png", "a red fox")
    write(tmp_path / "own", "c.png", "a blue car", number=1)
    ran = command("data", "dedup", "own", "--by", "perceptual", "--out", "unique", "--json")
    report = json.loads(ran.out)
    assert report["groups"] == [{"kept": "deep/b.png", "duplicates": [{"name": "a.png", "kind": "same file"}]}]
    assert sorted(p.name for p in (tmp_path / "unique").rglob("*.png")) == ["b.png", "c.png"]
    rows = [json.loads(line) for line in (tmp_path / "unique" / "metadata.jsonl").read_text("utf-8").splitlines()]
    assert rows[1] == {"file_name": "deep/b.png", "text": "a red fox", "label": "deep"}
    assert len(list((tmp_path / "own").rglob("*.png"))) == 3
    refused = command("data", "dedup", "own", "--out", "unique")
    assert refused.status == 2 and "not empty" in refused.err


def test_filter_command_names_reasons_and_writes_weights(command: Callable[..., Any], tmp_path: Path) -> None:
    captions = ["a dog", "a dog asleep", "DSC_0041", "a cat, stock photo", "a cat"]
    for number, caption in enumerate(captions):
        write(tmp_path / "own", f"{number}.png", caption, number)
    write(tmp_path / "own", "9.png", None, 9)
    (tmp_path / "groups.json").write_text('{"cats": ["cat", "cats"]}')
    ran = command("data", "filter", "own", "--groups", "groups.json", "--out", "kept.jsonl", "--json")
    report = json.loads(ran.out)
    assert {row["name"]: row["reasons"] for row in report["dropped"]} == {
        "2.png": ["punctuation", "file_name"], "3.png": ["boilerplate"],
    }  # fmt: skip
    assert (report["kept"], report["without_caption"]) == (3, 1)
    assert abs(report["groups"][0]["weighted"] - 0.4) < 1e-6
    rows = [json.loads(line) for line in (tmp_path / "kept.jsonl").read_text("utf-8").splitlines()]
    assert [row["weight"] for row in rows] == [0.9, 0.9, 1.2]
    shown = command("data", "filter", "own", "--allow", "boilerplate")
    assert "file_name" in shown.out and "boilerplate" not in shown.out and "4 left" in shown.out
    assert command("data", "filter", "own", "--allow", "nothing").status == 2


def test_rights_commands_say_who_may_be_trained_on_and_who_was(command: Callable[..., Any], tmp_path: Path) -> None:
    write(tmp_path / "own", "a.png", None, 1)
    write(tmp_path / "own", "b.png", None, 2)
    (tmp_path / "own" / "metadata.jsonl").write_text('{"file_name": "a.png", "license": "CC0", "author": "Ann"}')
    ran = command("data", "rights", "own")
    assert ran.status == 1 and "1 licensed, 1 unlicensed; 1 may be trained on" in ran.out and "own work" in ran.out
    assert command("data", "rights", "own", "--allow-unlicensed").status == 0
    (tmp_path / "no.txt").write_text("author: Ann")
    report = json.loads(command("data", "rights", "own", "--licence", "own work", "--opt-out", "no.txt", "--json").out)
    assert {row["name"]: row["status"] for row in report["pictures"]} == {"a.png": "opted out", "b.png": "licensed"}

    from sumi.curation.admission import TrainingRules, admit_pictures
    from sumi.data.open_dataset import open_dataset

    (tmp_path / "runs" / "mine").mkdir(parents=True)
    admit_pictures(open_dataset("own"), TrainingRules(True)).write(tmp_path / "runs" / "mine")
    asked = command("rights", "who-saw", "own/a.png", "--among", "runs", "--json")
    assert asked.status == 1 and json.loads(asked.out)["seen_by"] == [
        {"model": "runs/mine", "name": "a.png", "licence": "CC0", "author": "Ann", "kind": "same file", "bits": 0}
    ]
    draw(7).save(tmp_path / "other.png")
    assert "0 of 1 models saw it" in command("rights", "who-saw", "other.png", "--among", "runs").out
    assert command("rights", "who-saw", "other.png", "--among", "nowhere").status == 2


def test_caption_command_marks_what_it_proposes_and_filter_finds_it(
    command: Callable[..., Any], tmp_path: Path
) -> None:
    write(tmp_path / "own", "a.png", None, 1)
    write(tmp_path / "own", "b.png", "my own words", 2)
    (tmp_path / "words.txt").write_text("apple\nfox\n\nfox\n")
    ran = command("data", "caption", "own", "--words", "words.txt", "-k", "2", "--out", "named", "--json")
    (row,) = json.loads(ran.out)["captions"]
    assert set(row["words"]) == {"apple", "fox"} and row["text"] in ("an apple and a fox", "a fox and an apple")
    found = json.loads(command("data", "filter", "named", "--json").out)
    assert [(one["name"], one["reasons"]) for one in found["dropped"]] == [("a.png", ["marked"])]
    assert command("data", "caption", "named").status == 2


def test_synthesize_fills_what_a_data_set_lacks_and_says_what_is_lacking(
    command: Callable[..., Any], tiny_folder: Path, tmp_path: Path
) -> None:
    arguments = ("synthesize", str(tiny_folder), "--steps", "1", "--no-sign", "--json")
    ran = command(*arguments, "--classes", "fox, dog", "--per-class", "1", "--out", "one")
    assert ran.status == 0, ran.err
    (tmp_path / "list.txt").write_text("fox\ndog: a dog\n", "utf-8")
    ran = command(*arguments, "--classes", "list.txt", "--per-class", "3", "--out", "two", "--beside", "one")
    report = json.loads(ran.out)
    assert ran.status == 0 and report["lacking"] == {}
    assert report["classes"]["dog"] == {"tried": 2, "accepted": 2, "rejected": {}, "there": 1}
    ran = command(*arguments[:-1], "--classes", "fox", "--per-class", "2", "--out", "three", "--least-score", "1.01")
    assert ran.status == 1 and "rejected: 8 score, 2 lacking" in ran.out
    ran = command(*arguments[:-1], "--classes", "zzyzx", "--per-class", "2", "--out", "four")
    assert ran.status == 2 and ran.err.count("\n") == 1

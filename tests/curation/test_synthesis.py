"""Synthesized sets: balanced, labelled, marked as machine-made, and the same however often a run was stopped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from sumi import Sumi
from sumi.curation import synthesis
from sumi.curation.synthesis import Synthesis, SynthesisPlan, TargetClass, count_labels, parse_classes
from sumi.data.open_dataset import open_dataset
from sumi.errors import SumiError
from sumi.pipelines.recipe import read_recipe
from sumi.trust import ContentPolicyError

CLASSES = parse_classes(["fox", "dog: a red dog"])
PLAN = SynthesisPlan(CLASSES, seed=5, steps=1)
BOTH = {"fox": 3, "dog": 2}


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text("utf-8").splitlines()]


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_parse_classes_reads_labels_and_prompts() -> None:
    assert parse_classes([" fox ", "", "dog: a red dog: sitting"]) == (
        TargetClass("fox", "fox"),
        TargetClass("dog", "a red dog: sitting"),
    )
    for lines, said in (([""], "no classes"), ([": a fox"], "names no class"), (["fox", "Fox"], "named 2 times")):
        with pytest.raises(SumiError, match=said):
            parse_classes(lines)


def test_count_labels_ignores_case_and_other_labels() -> None:
    assert count_labels(["Fox", "fox", "owl"], CLASSES) == {"fox": 2, "dog": 0}


def test_synthesis_is_a_labelled_image_folder_of_marked_pictures(tiny: Sumi, tmp_path: Path) -> None:
    run = Synthesis(tiny, PLAN, tmp_path / "set", sign=False)
    said: list[tuple[str, int, int]] = []
    assert run.fill(BOTH, lambda label, done, of: said.append((label, done, of))) == {}
    assert said == [("fox", 3, 3), ("dog", 2, 2)]
    dataset = open_dataset(tmp_path / "set")
    found = sorted((record.label, record.caption) for record in dataset)
    assert found == [("dog", "a red dog")] * 2 + [("fox", "fox")] * 3
    rows = rows_of(tmp_path / "set")
    assert all(row["picture_by"].startswith("machine: tiny") and row["model"] == "tiny" for row in rows)
    assert [row["seed"] for row in rows] == [5, 6, 7, 5, 6]
    _, recipe = read_recipe(tmp_path / "set" / rows[0]["file_name"])
    assert recipe.seed == 5 and recipe.prompt == "fox"


def test_stopped_run_goes_on_to_the_same_set(tiny: Sumi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Synthesis(tiny, PLAN, tmp_path / "whole", sign=False).fill(BOTH)
    run = Synthesis(tiny, PLAN, tmp_path / "halves", sign=False)
    monkeypatch.setattr(run, "_count", lambda label, reason: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run.fill(BOTH)  # a picture and its row are written, and not counted
    Synthesis(tiny, PLAN, tmp_path / "halves", sign=False).fill(BOTH)
    assert files_of(tmp_path / "halves") == files_of(tmp_path / "whole")


def test_rows_that_are_lost_are_found_out(tiny: Sumi, tmp_path: Path) -> None:
    Synthesis(tiny, PLAN, tmp_path / "set", sign=False).fill({"fox": 2, "dog": 0})
    list_file = tmp_path / "set/metadata.jsonl"
    list_file.write_text(list_file.read_text("utf-8").splitlines()[1] + "\n", "utf-8")
    with pytest.raises(SumiError, match="differ: choose another"):
        Synthesis(tiny, PLAN, tmp_path / "set", sign=False)


def test_more_pictures_are_added_to_those_that_are_there(tiny: Sumi, tmp_path: Path) -> None:
    Synthesis(tiny, PLAN, tmp_path / "set", sign=False).fill({"fox": 1, "dog": 1})
    before = files_of(tmp_path / "set")
    Synthesis(tiny, PLAN, tmp_path / "set", sign=False).fill({"fox": 2, "dog": 1})
    after = files_of(tmp_path / "set")
    assert set(after) - set(before) == {"fox/fox-6.png"}
    assert all(after[name] == data for name, data in before.items() if name.endswith(".png"))


def test_folder_of_other_settings_or_of_somebody_else_is_refused(tiny: Sumi, tmp_path: Path) -> None:
    Synthesis(tiny, PLAN, tmp_path / "set", sign=False).fill({"fox": 1, "dog": 0})
    with pytest.raises(SumiError, match="begun with another seed"):
        Synthesis(tiny, SynthesisPlan(CLASSES, seed=6, steps=1), tmp_path / "set")
    (tmp_path / "mine").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "mine/cat.png")
    with pytest.raises(SumiError, match="no set that was synthesized"):
        Synthesis(tiny, PLAN, tmp_path / "mine")


def test_pictures_are_rejected_by_score_by_class_and_by_policy_until_too_many_were_tried(
    tiny: Sumi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = Synthesis(tiny, SynthesisPlan(CLASSES, steps=1, least_score=1.01), tmp_path / "score", sign=False)
    assert strict.fill({"fox": 2, "dog": 0}) == {"fox": 2}
    assert strict.row("fox") == {"tried": 8, "accepted": 0, "rejected": {"score": 8}}
    assert rows_of(tmp_path / "score") == []

    monkeypatch.setattr(Sumi, "classify", lambda self, image, labels: {"dog": 0.9, "fox": 0.1})
    agreeing = Synthesis(tiny, SynthesisPlan(CLASSES, steps=1, agree=True), tmp_path / "agree", sign=False)
    assert agreeing.fill({"fox": 1, "dog": 1}) == {"fox": 1}
    assert [row["label"] for row in rows_of(tmp_path / "agree")] == ["dog"]
    assert agreeing.rejected == {"fox": {"agree": 4}}

    stream, asked = Sumi.stream, []

    def hold_back(self: Sumi, task: Any, *images: Any) -> Iterator[Any]:
        asked.append(task.seed)
        if task.seed == 0:
            raise ContentPolicyError(("gore",), ("concept",), "the picture that was drawn falls")
        yield from stream(self, task)

    monkeypatch.setattr(Sumi, "stream", hold_back)
    checked = Synthesis(tiny, SynthesisPlan(CLASSES, steps=1), tmp_path / "policy", sign=False)
    assert checked.fill({"fox": 2, "dog": 0}) == {}
    assert checked.row("fox") == {"tried": 3, "accepted": 2, "rejected": {"policy": 1}} and asked == [0, 1]


def test_equal_pictures_are_kept_once(tiny: Sumi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Same:
        def hexdigest(self) -> str:
            return "0" * 64

    monkeypatch.setattr(synthesis.hashlib, "sha256", lambda data: Same())
    run = Synthesis(tiny, PLAN, tmp_path / "set", sign=False)
    assert run.fill({"fox": 2, "dog": 0}) == {"fox": 1}
    assert run.rejected == {"fox": {"equal": 7}}

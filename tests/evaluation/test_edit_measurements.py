"""What each exam in editing asks for and counts, with a model and a judge that answer by script."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

from sumi import Sumi
from sumi.errors import SumiError
from sumi.evaluation import edit_measurements as editing
from sumi.evaluation import inversion as inverting
from sumi.evaluation.edit_exam import EditExam
from sumi.evaluation.edit_measurements import (
    AMOUNTS,
    MEASUREMENTS,
    measure_blends,
    measure_edits,
    measure_restyles,
    measure_variations,
)
from sumi.evaluation.inversion import Reconstruction, measure_inversion
from sumi.evaluation.measurement import Measurement
from sumi.evaluation.questions import CATEGORIES, SEED, Question, Syllabus
from sumi.judge.train_judge import JudgeTraining
from sumi.pipelines.request import Task
from sumi.pipelines.source import Source
from sumi.pipelines.tasks import INVERTED, Blend, Restyle, Vary

from judge_toys import tiny_judge  # isort: skip

THINGS = ("fox", "fox", "owl", "tree")
LEVELS = (0, 51, 255, 102)
"""The grey of each true picture, and of everything drawn from it unless a test says otherwise."""
NAMES = {0: "fox", 51: "fox", 255: "owl", 102: "tree", 128: "book"}
"""What the judge takes a grey for."""


def grey(*levels: int) -> Tensor:
    return torch.stack([torch.full((4, 16, 16), level, dtype=torch.uint8) for level in levels])


class ScriptedExam(EditExam):
    """An exam whose pictures are flat greys, whose judge knows them by their grey, and that notes what it is asked."""

    tasks: list[tuple[Task, tuple[int, ...]]]
    drawings: dict[type[Task], Any]

    def true_pictures(self, n: int, held_out: bool = False) -> tuple[list[Question], list[Source]]:
        shown = [Source.of(Image.new("RGBA", (16, 16), (level,) * 3 + (255,))) for level in LEVELS[:n]]
        return [Question("single", f"a {name}", (name,), (None,)) for name in THINGS[:n]], shown

    def model_inputs(self, sources: Sequence[Source]) -> Tensor:
        return grey(*(source.image.getpixel((0, 0))[0] for source in sources))  # type: ignore[index]

    def run_task(self, task: Task, *sources: Source) -> Tensor:
        levels = tuple(self.model_inputs(sources)[:, 0, 0, 0].tolist())
        self.tasks.append((task, levels))
        return self.drawings[type(task)](*levels)  # type: ignore[no-any-return]

    def recognize(self, levels: Tensor) -> list[str]:
        return [NAMES[level] for level in levels[:, 0, 0, 0].tolist()]

    def recognize_colour(self, levels: Tensor, concept: str) -> list[str]:
        return ["red"] * len(levels)


@pytest.fixture
def exam(tiny: Sumi, judge_training: JudgeTraining, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScriptedExam:
    """The codec returns every picture one fifth darker than it is, as far as it can."""
    made = ScriptedExam(tiny, tiny_judge(tuple(NAMES.values())), Syllabus(THINGS), judge_training, tmp_path)
    vars(made).update(tasks=[], drawings={})
    for module in (editing, inverting):
        monkeypatch.setattr(module, "codec_round_trip", lambda _, levels: (levels.int() - 51).clamp(0).byte())
    return made


@pytest.fixture
def sheets(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[tuple[Tensor, list[str]]], int]]:
    """The rows of every sheet, and how many stand beside each other."""
    made: list[tuple[list[tuple[Tensor, list[str]]], int]] = []

    def sample_sheet(rows: Any, beside: int = 1) -> Image.Image:
        made.append((list(rows), beside))
        return Image.new("RGB", (1, 1))

    for module in (editing, inverting):
        monkeypatch.setattr(module, "sample_sheet", sample_sheet)
    return made


def values(measured: Measurement) -> dict[str, float]:
    return {figure.name: figure.value.value for figure in measured.figures}


def targets(measured: Measurement) -> dict[str, float]:
    return {figure.name: figure.target for figure in measured.figures if figure.target is not None}


def test_variations_are_four_of_each_picture_from_seeds_of_their_own(exam: ScriptedExam, sheets: Any) -> None:
    exam.drawings[Vary] = lambda level: grey(level, level, 128, 128)
    done: list[tuple[int, int]] = []
    measured = measure_variations(exam, 3, lambda *now: done.append(now))
    assert [task for task, _ in exam.tasks] == [Vary(n=4, size=16, seed=SEED + first) for first in (0, 4, 8)]
    assert [levels for _, levels in exam.tasks] == [(0,), (51,), (255,)] and done == [(1, 3), (2, 3), (3, 3)]
    assert measured.claim.startswith("4 variations") and measured.seeds.endswith(f"seeds {SEED} to {SEED + 11}")
    ((rows, beside),) = sheets
    assert beside == 2 and [len(pictures) for pictures, _ in rows] == [5, 5, 5]
    assert rows[2][1] == ["owl", "judge: owl", "judge: owl", "judge: book", "judge: book"]


def test_variations_count_what_the_judge_sees_and_how_far_they_are_apart(exam: ScriptedExam, sheets: Any) -> None:
    exam.drawings[Vary] = lambda level: grey(level, level, 128, 128)
    measured = measure_variations(exam, 3, lambda *_: None)
    across = (128 / 255 + 77 / 255 + 127 / 255) / 3 * 4 / 6  # four of six pairs are of different greys
    assert values(measured) == pytest.approx({
        "variations that the judge takes for the true thing": 0.5,
        "variations that the judge takes for what it took the picture for": 0.5,
        "pictures that the judge itself gets right": 1.0,
        "distance between variations of a picture": across,
        "distance between pictures of different things": (1.0 + 0.8) / 2,  # the first with the last, the last two
        "distance between a picture and the codec's return of it": (0 + 0.2 + 0.2) / 3,
    })  # fmt: skip
    assert targets(measured) == {
        "variations that the judge takes for the true thing": 0.8, "distance between variations of a picture": 0.1,
    }  # fmt: skip


def test_blends_are_five_frames_of_every_two_pictures(exam: ScriptedExam, sheets: Any, monkeypatch: Any) -> None:
    asked: list[tuple[int, int]] = []

    def reconstruct(_: Any, levels: Tensor, steps: int, rounds: int) -> Reconstruction:
        asked.append((steps, rounds))
        return Reconstruction(levels, levels, levels)

    monkeypatch.setattr(editing, "reconstruct", reconstruct)
    exam.drawings[Blend] = lambda one, other: grey(one, 128, other, 128, max(0, other - 51))
    done: list[tuple[int, int]] = []
    measured = measure_blends(exam, 3, lambda *now: done.append(now))
    assert exam.tasks == [
        (Blend(frames=5, size=16, seed=SEED), (0, 51)), (Blend(frames=5, size=16, seed=SEED + 2), (255, 102)),
    ]  # fmt: skip
    assert done == [(2, 4), (4, 4)] and asked == [(INVERTED["steps"], 4)]
    assert measured.seeds.endswith(f"seeds {SEED} to {SEED + 2}")
    found = values(measured)
    assert found.pop("the first frame to the first picture") > 70
    assert found == pytest.approx({
        "the last frame to the second picture": 13.979,
        "both, before details are given back, to the codec's return": (78.27 + 3 * 13.979) / 4,
        "middle frames that the judge takes for either thing": 1.0,
    }, abs=0.01)  # fmt: skip
    assert set(targets(measured).values()) == {30.0} and len(targets(measured)) == 3
    ((rows, beside),) = sheets
    assert beside == 2 and [len(pictures) for pictures, _ in rows] == [7, 7]
    assert rows[0][1] == ["the first picture", "0", "0.25", "0.5", "0.75", "1", "the second picture"]


def test_restyles_go_by_every_amount_towards_a_colour(exam: ScriptedExam, sheets: Any) -> None:
    exam.drawings[Restyle] = lambda level: grey(level)
    done: list[tuple[int, int]] = []
    measured = measure_restyles(exam, 3, lambda *now: done.append(now))
    tasks = [task for task, _ in exam.tasks]
    assert [(task.amount, task.seed, task.size) for task in tasks] == [
        (amount, SEED + number, 16) for number in range(3) for amount in (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
    ]  # fmt: skip
    assert all(task.before in ("a fox", "an owl") and task.after.endswith(task.before[2:].strip()) for task in tasks)
    assert done == [(1, 3), (2, 3), (3, 3)] and measured.seeds.endswith(f"seeds {SEED} to {SEED + 2}")
    found = values(measured)
    red = [task.after == f"a red {task.before.split()[1]}" for task in tasks[::6]]
    for amount in AMOUNTS:
        assert found[f"amount {amount:g}: the judge sees the thing"] == 1.0
        assert found[f"amount {amount:g}: the judge sees the new colour"] == pytest.approx(sum(red) / 3)
    ((rows, beside),) = sheets
    assert beside == 2 and [len(pictures) for pictures, _ in rows] == [6, 6, 6]
    assert rows[0][1][0].startswith(f"{tasks[0].after}, 0: ") and rows[0][1][5].startswith("1: ")


def test_inversion_tries_every_number_of_steps_and_rounds_and_icons_never_taught(
    exam: ScriptedExam, sheets: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inverting, "STEPS", (2, 16))
    asked: list[tuple[int, int]] = []

    def reconstruct(_: Any, levels: Tensor, steps: int, rounds: int) -> Reconstruction:
        asked.append((steps, rounds))
        return Reconstruction(inverting.codec_round_trip(_, levels), levels, torch.full((len(levels), 3), 2.0))

    monkeypatch.setattr(inverting, "reconstruct", reconstruct)
    done: list[tuple[int, int]] = []
    measured = measure_inversion(exam, 4, lambda *now: done.append(now))
    assert asked == [(2, 1), (16, 1), (2, 4), (16, 4), (16, 4)] and done == [(k, 5) for k in range(1, 6)]
    found = values(measured)
    assert len(found) == 5 * 3 + 2 + 1
    assert {value for name, value in found.items() if "mean square of x_1" in name} == {4.0}
    assert found["16 steps, 4 rounds: to the codec's return"] > 70
    assert found["icons never taught, 16 steps, 4 rounds: to the picture, details given back"] > 70
    assert found["2 steps, 1 round: to the picture"] == pytest.approx((78.27 + 3 * 13.979) / 4, abs=0.01)
    assert targets(measured) == {
        f"{kind}16 steps, 4 rounds: to the {what}": 30.0
        for kind in ("", "icons never taught, ")
        for what in ("codec's return", "picture, details given back")
    }
    assert measured.note.startswith("30 dB") and "2 steps, 1 round and with 2 steps, 4 rounds" in measured.note
    ((rows, beside),) = sheets
    assert beside == 2 and len(rows) == 8
    assert rows[0][1] == ["the picture", "codec alone", "drawn again", "details given back"]
    assert rows[4][1][0] == "the picture, never taught"


def test_exams_draw_one_picture_for_four_prompts_and_two_at_least(
    exam: ScriptedExam, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {name: prompts for name, (_, prompts) in MEASUREMENTS.items()} == {
        **{"reranking" if name == "single" else f"reranking-{name.replace(' ', '-')}": 1 for name in CATEGORIES},
        "variations": 4, "inversion": 4, "blends": 4, "restyles": 4,
    }  # fmt: skip
    asked: list[int] = []

    def measure(_: EditExam, n: int, progress: Any) -> Measurement:
        asked.append(n)
        return Measurement("", (), Image.new("RGB", (1, 1)), "")

    monkeypatch.setattr(editing, "MEASUREMENTS", {"one": (measure, 1), "four": (measure, 4)})
    for n in (40, 11, 4):
        list(measure_edits(exam, ("one", "four"), n))
    assert asked == [40, 10, 11, 2, 4, 2]


def test_exams_without_artwork_draw_nothing_before_they_say_so(exam: ScriptedExam, tmp_path: Path) -> None:
    poor = replace(exam, training=JudgeTraining(tmp_path / "nowhere", tmp_path))
    vars(poor).update(tasks=[], drawings={})
    with pytest.raises(SumiError, match=r"run `make artwork`"):
        next(measure_edits(poor, ("reranking", "blends"), 4))

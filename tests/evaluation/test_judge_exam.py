"""The true pictures that the judge is examined on, and how they are made worse."""

from __future__ import annotations

import math

import pytest
import torch
from judge_toys import tiny_judge
from judge_training import DRAWN

from sumi.evaluation import judge_exam
from sumi.evaluation.judge_exam import KINDS, add_noise, blur, codec_redraw, examine_judge, true_pictures
from sumi.evaluation.questions import Question
from sumi.judge import JudgeTraining
from sumi.judge.network import SIZE_PX


@pytest.mark.parametrize(
    "kind", [kind for kind, source in KINDS.items() if not isinstance(source, str) and kind != "people"]
)
def test_true_pictures_of_a_kind_show_what_its_name_says(kind: str, judge_training: JudgeTraining) -> None:
    asked, pictures = true_pictures(judge_training.scenes("train"), kind, KINDS[kind], 12)
    assert len(asked) == 12 and pictures.shape == (12, 4, SIZE_PX, SIZE_PX)
    for question in asked:
        assert question.category == kind and len(question.things) == (2 if kind.startswith("two") else 1)
        assert (kind != "coloured") or question.colours != (None,)
        assert (kind != "two coloured things") or any(question.colours)
        assert (question.style is not None) == (kind == "styled")
        assert (kind != "on a background") or question.background is not None
        assert (question.count is not None) == (kind == "counted")


@pytest.mark.parametrize("kind", [kind for kind, source in KINDS.items() if isinstance(source, str)])
def test_true_pictures_of_a_held_out_kind_are_one_or_two_things_that_a_question_can_ask_for(
    kind: str, judge_training: JudgeTraining
) -> None:
    source = KINDS[kind]
    asked, _ = true_pictures(judge_training.scenes("train"), kind, source, 6)
    assert 0 < len(asked) <= 6
    for question in asked:
        assert len(question.things) in (1, 2)
        assert (source != "relation") or len(question.things) == 2
        assert (source != "concept") or "taco" in question.things


def test_blur_spreads_a_point_as_a_bell_of_its_width() -> None:
    point = torch.zeros(1, 4, SIZE_PX, SIZE_PX, dtype=torch.uint8)
    point[:, :, 32, 32] = 255
    total = sum(math.exp(-0.5 * (k / 1.2) ** 2) for k in range(-4, 5))
    soft = blur(point)[0, 2]
    for dy, dx in ((0, 0), (0, 1), (2, 0), (1, 1)):
        expected = 255 * math.exp(-0.5 * (dx**2 + dy**2) / 1.44) / total**2
        assert soft[32 + dy, 32 + dx].item() == pytest.approx(expected, abs=0.51)
    edge = torch.zeros(1, 4, SIZE_PX, SIZE_PX, dtype=torch.uint8)
    edge[:, :, :, :32] = 255
    assert blur(edge)[0, 0, 0, 0] == 255, "the border is carried on"


def test_noise_is_the_same_every_time_and_stays_in_range() -> None:
    flat = torch.full((2, 4, SIZE_PX, SIZE_PX), 128, dtype=torch.uint8)
    assert torch.equal(add_noise(flat), add_noise(flat))
    assert add_noise(flat, 0.2).float().std() == pytest.approx(51, rel=0.05)
    bright = add_noise(torch.full_like(flat, 255)).float()
    assert bright.max() == 255 and bright.mean() == pytest.approx(255 - 255 * 0.08 / math.sqrt(2 * math.pi), abs=0.5)


def test_codec_redraws_pictures_in_batches_of_64() -> None:
    sizes: list[int] = []

    def encode(x: torch.Tensor) -> torch.Tensor:
        sizes.append(len(x))
        return x

    pictures = torch.randint(0, 255, (70, 4, SIZE_PX, SIZE_PX), generator=torch.Generator().manual_seed(0)).byte()
    pictures[:, :3] = torch.minimum(pictures[:, :3], pictures[:, 3:])
    redrawn = codec_redraw(encode, lambda x: x)(pictures)
    assert sizes == [64, 6] and redrawn.shape == pictures.shape


def test_swapped_captions_ask_for_the_thing_of_the_next_picture(
    judge_training: JudgeTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    graded: list[list[Question]] = []
    true = judge_exam.grade_pictures

    def grade(judge: object, pictures: torch.Tensor, asked: list[Question]) -> object:
        graded.append(list(asked))
        return true(judge, pictures, asked)  # type: ignore[arg-type]

    monkeypatch.setattr(judge_exam, "grade_pictures", grade)
    monkeypatch.setattr(judge_exam, "KINDS", {name: KINDS[name] for name in ("plain", "two things")})
    found = dict(examine_judge(tiny_judge(tuple(DRAWN)), judge_training.scenes("train"), n=5))
    plain, pairs, blurred, noisy, both, swapped, swapped_pairs, _ = graded
    assert blurred == noisy == both == plain and swapped == [*plain[1:], plain[0]]
    assert [question.things for question in swapped_pairs] == [question.things for question in [*pairs[1:], pairs[0]]]
    assert {"plain, blurred: top-1", "plain, noisy: top-1", "plain, both: top-1"} <= found.keys()
    assert {"plain, captions swapped: top-1", "two things, captions swapped: both things"} <= found.keys()
    assert {share.n for name, share in found.items() if name.endswith(("top-1", "both things"))} == {5}

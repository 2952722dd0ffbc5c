"""Quality and diversity, of sets whose values are known."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from judge_toys import tiny_judge
from torch import Tensor

from sumi.bundles import Bundle
from sumi.evaluation.intervals import Share
from sumi.evaluation.kid import FeatureExtractor, gaussian_kernel, kid
from sumi.evaluation.quality import judge_features, measure_quality, neighbourhood_values
from sumi.evaluation.questions import Syllabus
from sumi.judge import JudgeTraining
from sumi.judge.network import SIZE_PX

POINTS = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
NAMES = ("book", "fish", "fox", "owl", "tree")


def test_the_same_set_has_all_and_a_far_one_has_nothing() -> None:
    same = neighbourhood_values(POINTS, POINTS)
    assert same["precision"] == same["recall"] == same["coverage"] == Share(60, 60)
    assert same["density"].value == pytest.approx(1.2, abs=0.01), "each lies in its own neighbourhood and five others"
    far = neighbourhood_values(POINTS + 100, POINTS)
    assert [far[name].value for name in ("precision", "recall", "density", "coverage")] == [0, 0, 0, 0]


def test_one_picture_again_and_again_is_precise_and_covers_little() -> None:
    collapsed = POINTS[:1] + 1e-4 * torch.randn(60, 3, generator=torch.Generator().manual_seed(1))
    found = neighbourhood_values(collapsed, POINTS)
    assert found["precision"].value == 1.0 and found["coverage"].value < 0.3 and found["recall"].value < 0.1


def test_few_pictures_are_refused() -> None:
    with pytest.raises(ValueError, match="more pictures"):
        neighbourhood_values(POINTS[:5], POINTS)


def test_cmmd_has_the_kernel_of_the_paper() -> None:
    x = torch.nn.functional.normalize(POINTS, dim=1)
    k = gaussian_kernel(x[:2], x[:2])
    assert float(k[0, 1]) == pytest.approx(float(torch.exp(-(x[0] - x[1]).double().square().sum() / 200)))
    apart = kid(x[:30] + torch.tensor([1.0, 0, 0]), x[30:], kernel=gaussian_kernel)
    assert apart.value > abs(kid(x[:30], x[30:], kernel=gaussian_kernel).value)


def test_true_pictures_are_nearer_than_empty_ones(judge_training: JudgeTraining, tiny_bundle: Bundle) -> None:
    asked: list[int] = []

    def draw(prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        asked.extend(seeds)
        return torch.zeros(len(prompts), 4, SIZE_PX, SIZE_PX, dtype=torch.uint8)

    judge, scenes = tiny_judge(NAMES), judge_training.scenes("train")
    result = measure_quality(
        draw, judge, scenes, Syllabus.common(NAMES, NAMES), 30, 7, FeatureExtractor.of(tiny_bundle)
    )
    assert asked == list(range(7, 37)) and len(result.captions) == 30
    scores = {score.name: score for score in result.scores}
    distance = scores["KID, judge's features"]
    assert distance.ceiling is not None and distance.value.value > distance.ceiling.value
    assert scores["coverage"].value.value < 0.5 and scores["coverage"].usable is None
    assert {"CMMD, CLIP's embeddings", "precision", "recall", "density"} <= scores.keys()
    assert judge_features(judge, result.pictures).shape == (30, 32)

"""What is measured of the lineage's pictures, by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from judge_toys import NAMES, picture, scene, tiny_judge

from sumi.bundles import Bundle
from sumi.evaluation.kid import FeatureExtractor, kid
from sumi.judge.network import judge_pictures
from sumi.lineage.benchmark import LineageBenchmark, load_finished, loss_curve, nearest_taught, over_seeds


def test_marks_count_what_the_judge_takes_each_picture_for(tiny_bundle: Bundle) -> None:
    shown = torch.stack([picture(scene((name, "red", 0.5, 0.5))) for name in (*NAMES, *NAMES)])
    judge, eye = tiny_judge(), FeatureExtractor.of(tiny_bundle)
    guesses = [judge.names[number] for number in judge_pictures(judge, shown).best(1)[:, 0].tolist()]
    things = tuple(dict.fromkeys(guesses))[:2]
    truth = shown.flip(2)
    marks = LineageBenchmark(eye, judge, truth, things, shown).measure(shown, asked=[0] * len(shown))
    assert (marks["asked"]["right"], marks["asked"]["n"]) == (guesses.count(things[0]), len(shown))
    assert marks["known"]["right"] == sum(guess in things for guess in guesses) and marks["nearest"] == 0.0
    assert marks["quality"] == kid(eye.features(shown), eye.features(truth)).to_json()
    unasked = LineageBenchmark(eye, judge, truth, things).measure(shown)
    assert unasked["asked"] is None and unasked["nearest"] is None


def test_nearest_is_the_median_of_the_distances_to_the_nearest_taught_picture() -> None:
    def grey(*levels: int) -> torch.Tensor:
        return torch.stack([torch.full((4, 4, 4), level, dtype=torch.uint8) for level in levels])

    taught = grey(0, 255)
    assert nearest_taught(grey(0, 51, 255), taught) == pytest.approx(0.0, abs=1e-3)
    assert nearest_taught(grey(51, 51, 204), taught) == pytest.approx(0.2, abs=1e-2)
    assert nearest_taught(grey(*[51] * 100), taught) == pytest.approx(0.2, abs=1e-2)


def test_figures_over_seeds_are_means_with_the_least_and_the_most() -> None:
    def run(value: float, asked: float | None) -> dict[str, object]:
        return {
            "quality": {"kid": value}, "asked": None if asked is None else {"share": asked},
            "known": {"share": 0.5}, "nearest": value / 10,
        }  # fmt: skip

    found = over_seeds([run(1.0, 0.2), run(2.0, 0.4), run(1.5, None)])
    assert found == {
        "count": 3,
        "kid": {"mean": 1.5, "least": 1.0, "most": 2.0},
        "asked": {"mean": 0.3, "least": 0.2, "most": 0.4},
        "known": {"mean": 0.5, "least": 0.5, "most": 0.5},
        "nearest": {"mean": 0.15, "least": 0.1, "most": 0.2},
    }
    assert "asked" not in over_seeds([run(1.0, None)])


def test_loss_curve_is_thinned_to_120_points_and_skips_losses_that_are_no_numbers(tmp_path: Path) -> None:
    assert loss_curve(tmp_path) == []
    rows = [{"processor_s": k / 2, "loss": None if k == 3 else 1.0 * k} for k in range(242)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    points = loss_curve(tmp_path)
    assert points[0] == (0.0, 0.0) and len(points) == 81, "241 points by threes"
    (tmp_path / "metrics.jsonl").write_text(
        "".join(json.dumps(row) + "\n" for row in rows[:121] if row["loss"] is not None)
    )
    assert len(loss_curve(tmp_path)) == 120 and loss_curve(tmp_path)[1] == (0.5, 1.0)


def test_figures_of_a_system_count_once_they_are_whole(tmp_path: Path) -> None:
    assert load_finished(tmp_path) is None
    for text, figures in (("{", None), ("[1]", None), ('{"kid": 1}', {"kid": 1})):
        (tmp_path / "figures.json").write_text(text)
        assert load_finished(tmp_path) == figures

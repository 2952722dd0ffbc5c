"""Ceilings: decibels over two grounds, and paths that lose exactly what they are built to lose."""

from __future__ import annotations

import math

import pytest
import torch

from sumi import Sumi
from sumi.evaluation.ceilings import Ceiling, held_out_drawings, measure_ceilings, psnr_over, quartiles
from sumi.evaluation.intervals import Share
from sumi.judge.train_judge import JudgeTraining


def test_psnr_of_a_known_error_is_the_formula() -> None:
    grey = torch.full((1, 4, 8, 8), 255, dtype=torch.uint8)
    darker = grey.clone()
    darker[:, :3] = 230
    assert psnr_over(grey, darker, 1.0) == pytest.approx([20 * math.log10(255 / 25)], abs=1e-3)
    assert psnr_over(grey, grey, 0.0)[0] > 70


def test_psnr_sees_a_wrong_transparency_over_the_ground_that_shows_it() -> None:
    clear = torch.zeros(1, 4, 8, 8, dtype=torch.uint8)
    black = clear.clone()
    black[:, 3] = 255
    assert psnr_over(clear, black, 0.0)[0] > 70, "black paint over black cannot be seen"
    assert psnr_over(clear, black, 1.0) == pytest.approx([0.0], abs=1e-6)


def test_quartiles_are_those_of_the_numbers() -> None:
    assert quartiles([1.0, 2.0, 3.0, 4.0, 5.0]) == (2.0, 3.0, 4.0)


def test_ceiling_prints_its_medians_and_the_judge_s_share() -> None:
    share = Share(9, 10)
    row = Ceiling("codec", 64, (30.0, 32.0, 34.0), (28.0, 28.0, 28.0), share, Share(10, 10))
    assert "32.0 dB" in row.line() and "28.0 dB" in row.line() and "90.0%" in row.line()
    assert row.to_json()["white_db"] == (31.0, 32.0, 33.0)


def test_ceilings_are_measured_on_held_out_drawings_by_every_path(tiny: Sumi, judge_training: JudgeTraining) -> None:
    scenes = judge_training.scenes("train")
    assert [scene.things[0].concept for scene in held_out_drawings(scenes, 5)] == ["taco"], "no drawing comes twice"
    found, sheet = measure_ceilings(
        tiny.pipeline, judge_training.build_judge().eval(), scenes, scenes, n=5, n_judged=10
    )
    assert [(row.name, row.size_px) for row in found] == [
        ("bicubic", 32), ("codec", 16), ("upsampler", 32), ("codec, upsampler", 32),
    ]  # fmt: skip
    bicubic, codec, _, both = (row.white_db[0] for row in found)
    assert bicubic > both, "a codec with random weights returns less than bicubic does"
    assert all(row.named.n == row.truth.n == 10 for row in found)
    assert sheet.width > 0 and codec > 0

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from sumi.errors import SumiError
from sumi.training import TrainConfig

PLAN = TrainConfig(num_steps=100, batch_size=8, lr=2.0, warmup_steps=10, decay_fraction=0.4, decay="linear")


def test_lr_at_warms_up_stays_and_decays() -> None:
    rates = [PLAN.lr_at(k) for k in range(100)]
    assert rates[0] == pytest.approx(0.2) and rates[4] == pytest.approx(1.0)
    assert rates[9:61] == [2.0] * 52
    assert rates[80] == pytest.approx(1.0) and rates[99] == pytest.approx(2.0 / 40)
    assert all(a > b for a, b in pairwise(rates[60:]))


def test_lr_at_with_cosine_decay_follows_half_a_wave() -> None:
    config = replace(PLAN, decay="cosine")
    assert config.lr_at(60) == 2.0
    assert config.lr_at(70) == pytest.approx(1 + math.cos(math.pi / 4))
    assert config.lr_at(80) == pytest.approx(1.0)
    assert 0 < config.lr_at(99) < 0.01


def test_lr_at_without_warmup_or_decay_is_constant() -> None:
    assert [replace(PLAN, warmup_steps=0, decay_fraction=0).lr_at(k) for k in (0, 99)] == [2.0, 2.0]
    only = TrainConfig(num_steps=1, batch_size=1, warmup_steps=0, decay_fraction=1.0)
    assert only.lr_at(0) == 1e-3
    assert all(replace(PLAN, num_steps=5).lr_at(k) > 0 for k in range(5))  # warm-up longer than the run


def test_train_config_to_json_and_back_is_equal() -> None:
    config = replace(PLAN, betas=(0.8, 0.95), optimiser="muon", precision="fp32")
    assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"num_steps": 5, "batch_size": 2, "rate": 3}, "unknown field rate"),
        ({"num_steps": 5}, "missing field batch_size"),
        ({"num_steps": 0, "batch_size": 2}, "num_steps must be at least 1, not 0"),
        (
            {"num_steps": 5, "batch_size": 2, "precision": "fp8"},
            "precision must be 'auto', 'bf16' or 'fp32', not 'fp8'",
        ),
        ({"num_steps": 5, "batch_size": 2, "ema": 1.0}, r"ema must be in \[0, 1\), not 1.0"),
    ],
)
def test_train_config_with_a_wrong_field_names_it(values: dict[str, Any], message: str) -> None:
    with pytest.raises(SumiError, match=message):
        TrainConfig.from_json(values)


@pytest.mark.parametrize(
    "values",
    [
        {"num_steps": 1, "batch_size": 1},
        {"warmup_steps": 0, "decay_fraction": 0.0},
        {"decay_fraction": 1.0},
        {"ema": 0.0, "weight_decay": 0.0, "grad_clip": 0.0, "betas": (0.0, 0.0)},
    ],
)
def test_train_config_at_the_bounds_of_its_fields_is_valid(values: dict[str, Any]) -> None:
    assert vars(TrainConfig(**{"num_steps": 9, "batch_size": 9, **values})).items() >= values.items()


def test_train_config_differences_ignore_logging_intervals() -> None:
    assert PLAN.differences(replace(PLAN, log_s=1, checkpoint_s=1, picture_s=1)) == {}
    assert PLAN.differences(replace(PLAN, lr=1.0, ema=0.9)) == {"lr": (2.0, 1.0), "ema": (0.999, 0.9)}

"""What a rehearsal measures and refuses, on a clock that a test moves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from sumi.errors import SumiError
from sumi.systems import SYSTEMS, Examples, rehearsal
from sumi.systems.rehearsal import Cost, refuse_hopeless, refuse_small_disk, rehearse
from sumi.training import Batch, TrainConfig

DDPM = SYSTEMS["ddpm"]
COSTS = {"first": Cost(1.0, 0.5, 1.0, 10), "second": Cost(0.0, 0.1, 2.0, 30)}
SHARES = {"first": 0.75, "second": 0.25}


@dataclass
class SlowMethod:
    """A method whose objective, steps and sheet take so many seconds of its clock."""

    an_objective_s: float = 1.0
    an_example_s: float = 0.1
    a_row_s: float = 0.05
    a_sheet_s: float = 0.7
    now: float = 0.0
    rows: list[int] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    name: str = "slow"

    def __post_init__(self) -> None:
        self.model = nn.Linear(3, 2)

    def clock(self) -> float:
        return self.now

    def num_made(self) -> int | None:
        return None

    def making(self, count: int) -> SlowMethod:
        return self

    def objective(self, stage: str, examples: Examples, parts: Mapping[str, nn.Module]) -> SlowMethod:
        self.counts.append(len(examples.pictures))
        self.now += self.an_objective_s + self.an_example_s * len(examples.pictures) + 5 * (len(self.counts) == 1)
        return self

    def __len__(self) -> int:
        return 100

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        self.rows.append(len(batch.indices))
        self.now += self.a_row_s * len(batch.indices)
        return {"loss": model(torch.ones(1, 3)).sum()}

    def picture(self, model: nn.Module) -> None:
        self.now += self.a_sheet_s


def rehearsed(method: Any, count: int = 100) -> Cost:
    examples = Examples(torch.zeros(count, 4, 8, 8, dtype=torch.uint8))
    plans = {"network": TrainConfig(10, 8, precision="fp32")}
    return rehearse(DDPM, method, ["network"], examples, plans, clock=method.clock)["network"]


def test_rehearsal_measures_what_the_objective_a_step_and_the_sheet_cost() -> None:
    method = SlowMethod()
    cost = rehearsed(method)
    assert method.counts == [16, 64, 16] and method.rows == [2, 2, 8, 8, 8]
    assert cost.prepare_s == pytest.approx(1 + 0.1 * 100), "the first objective, which fills caches, does not count"
    assert cost.step_s == pytest.approx(0.4) and cost.draw_s == pytest.approx(0.7)
    assert cost.weight_bytes == 4 * (3 * 2 + 2)


def test_rehearsal_of_few_examples_takes_them_all() -> None:
    method = SlowMethod()
    assert rehearsed(method, count=10).prepare_s == pytest.approx(2.0) and method.counts == [10, 10, 10]


def test_rehearsal_asks_a_method_that_makes_its_own_examples_for_a_few() -> None:
    @dataclass
    class Coupled(SlowMethod):
        num_couples: int = 400

        def num_made(self) -> int:
            return self.num_couples

        def making(self, count: int) -> SlowMethod:
            return replace(self, num_couples=count)

        def objective(self, stage: str, examples: Examples, parts: Mapping[str, nn.Module]) -> SlowMethod:
            asked.append(self.num_couples)
            time.now += 1 + 0.01 * self.num_couples
            return super().objective(stage, examples, parts)

    asked: list[int] = []
    time = SimpleNamespace(now=0.0)
    method = Coupled(an_example_s=0.0)
    examples = Examples(torch.zeros(100, 4, 8, 8, dtype=torch.uint8))
    plans = {"network": TrainConfig(10, 8, precision="fp32")}
    cost = rehearse(DDPM, method, ["network"], examples, plans, clock=lambda: time.now)["network"]  # type: ignore[arg-type]
    assert asked == [16, 64, 16] and cost.prepare_s == pytest.approx(1 + 0.01 * 400)


def test_rehearsal_times_a_long_step_once_and_does_not_try_a_hopeless_one() -> None:
    long, hopeless = SlowMethod(a_row_s=0.5), SlowMethod(a_row_s=6.0)
    assert rehearsed(long).step_s == pytest.approx(4.0) and long.rows == [2, 2, 8]
    cost = rehearsed(hopeless)
    assert cost.step_s == cost.draw_s == pytest.approx(48.0) and hopeless.rows == [2, 2]


def test_rehearsal_refuses_a_step_that_needs_more_memory_than_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    peaks = iter([2**30, 2 * 2**30])
    monkeypatch.setattr(rehearsal, "peak_memory", lambda: next(peaks))
    monkeypatch.setattr(rehearsal, "free_memory", lambda: 4 * 2**30 - 1)
    with pytest.raises(SumiError, match=r"a step of ddpm's network takes about .* choose a smaller --size"):
        rehearsed(SlowMethod())  # a gigabyte for two rows is four for eight
    peaks = iter([2**30, 2 * 2**30])
    monkeypatch.setattr(rehearsal, "free_memory", lambda: 4 * 2**30)
    assert rehearsed(SlowMethod()).step_s > 0


def test_budget_is_divided_into_steps_after_what_every_stage_costs_once() -> None:
    assert refuse_hopeless(DDPM, COSTS, SHARES, 404.0, 404.0) == {"first": 600, "second": 1000}
    assert refuse_hopeless(DDPM, COSTS, {"first": 7.5, "second": 2.5}, 404.0, 404.0) == {"first": 600, "second": 1000}


@pytest.mark.parametrize(
    ("left_s", "budget_s", "steps", "said", "minutes"),
    [
        (24.0, 24.0, 30, "24 s", 5),  # 1.05 (4 + 400 steps of 0.5 s in three quarters of the time) is 284 s
        (24.0, 90.0, 30, "1.5 minutes", 6),  # 66 s of it are spent already
        (3.0, 600.0, 0, "10 minutes", 16),
    ],
)
def test_budget_in_which_a_stage_has_too_few_steps_is_refused_with_one_that_would_do(
    left_s: float, budget_s: float, steps: int, said: str, minutes: int
) -> None:
    with pytest.raises(SumiError) as refused:
        refuse_hopeless(DDPM, COSTS, SHARES, left_s, budget_s)
    text = str(refused.value)
    assert text.startswith(f"ddpm cannot learn to draw in {said}: a step of its first takes 0.5 s here")
    assert f"time for {steps} steps" in text and f"--minutes {minutes} would do" in text


def test_budget_of_a_hundred_steps_is_just_enough() -> None:
    costs = {"network": Cost(0.0, 1.0, 0.0, 0)}
    assert refuse_hopeless(DDPM, costs, {"network": 1.0}, 100.0, 100.0) == {"network": 100}
    with pytest.raises(SumiError, match="time for 99 steps"):
        refuse_hopeless(DDPM, costs, {"network": 1.0}, 99.9, 99.9)


def test_disk_has_to_hold_the_checkpoints_of_all_stages_one_more_and_the_bundle(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(rehearsal, "check_disk", lambda *arguments: asked.append(arguments))
    refuse_small_disk(DDPM, COSTS, tmp_path)
    assert asked == [(tmp_path, 4 * (2 * 40 + 30) + 40, "training ddpm")]

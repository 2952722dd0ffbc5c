"""A rehearsal: every stage takes a few steps on a few examples before training begins.

A system that cannot be trained fails at once and in one place, and the time and the disk space that training needs are
known. The networks of a rehearsal are thrown away.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from sumi.data.disk import check_disk, size_in_words
from sumi.errors import SumiError
from sumi.hardware import free_memory, peak_memory
from sumi.systems import Examples, Method, System
from sumi.training import TrainConfig
from sumi.training.checkpoint import KEPT
from sumi.training.trainer import Trainer

__all__ = ["Cost", "disk_bytes", "refuse_hopeless", "refuse_small_disk", "rehearse"]

FEW = 16, 64
"""Numbers of examples; the difference between preparing both is the cost of each further example."""
LONG_S, HOPELESS_S = 2.0, 20.0
"""Seconds: a step longer than the first is timed once, and one longer than the second is not tried."""
FEWEST_STEPS, ENOUGH_STEPS = 100, 400
"""A stage with fewer steps than the first draws nothing; with the second, things begin to show."""
SPARE = 1.05
COPIES = 4
"""A checkpoint holds the weights, their average and two moments."""


@dataclass(frozen=True)
class Cost:
    """What a stage costs: seconds to prepare its objective, for a step and for its sheet; bytes of its fp32 weights."""

    prepare_s: float
    step_s: float
    draw_s: float
    weight_bytes: int


def rehearse(
    system: System,
    method: Method,
    stages: Sequence[str],
    examples: Examples,
    plans: Mapping[str, TrainConfig],
    *,
    device: str = "cpu",
    clock: Callable[[], float] = time.perf_counter,
    say: Callable[[str], None] = lambda stage: None,
) -> dict[str, Cost]:
    """Return the cost of every stage; SumiError for examples that a stage cannot learn from.

    say: called with the name of each stage when it begins.
    """
    parts: dict[str, nn.Module] = {}
    costs = {}
    fewer, few = (min(count, len(examples.pictures)) for count in FEW)
    total = method.num_made() or len(examples.pictures)
    for stage in stages:
        say(stage)
        spent = []
        for count in (fewer, few, fewer):  # the first time fills caches
            began = clock()
            with torch.no_grad():
                objective = method.making(count).objective(stage, _some(examples, count), parts)
            spent.append(clock() - began)
        each = max(0.0, spent[1] - spent[2]) / max(1, few - fewer)
        trainer = Trainer(objective, objective.model, plans[stage], torch.device(device))
        step_s = _step(system, stage, trainer, clock)
        draws = torch.device(device).type == "cpu" and step_s < HOPELESS_S
        draw_s = _timed(trainer.draw, clock) if draws else step_s
        size = sum(weight.numel() for weight in objective.model.parameters())
        costs[stage] = Cost(spent[2] + each * max(0, total - fewer), step_s, draw_s, 4 * size)
        parts[stage] = objective.model.to("cpu").eval()
    return costs


def _step(system: System, stage: str, learner: Trainer, clock: Callable[[], float]) -> float:
    """Seconds of a step, first tried with two examples; SumiError where a whole batch would not fit into memory."""
    plan, before = learner.config, peak_memory()
    learner.config = replace(plan, batch_size=min(2, plan.batch_size))
    brief = min(_timed(learner.advance, clock) for _ in range(2))
    more = plan.batch_size / learner.config.batch_size
    after, free = peak_memory(), free_memory()
    if learner.device.type == "cpu" and before is not None and after is not None and free is not None:
        _check_memory(system, stage, (after - before) * more, free)
    learner.config = plan
    if brief * more > HOPELESS_S:
        return brief * more
    first = _timed(learner.advance, clock)
    return first if first > LONG_S else sum(_timed(learner.advance, clock) for _ in range(2)) / 2


def _check_memory(system: System, stage: str, needed: float, free: int) -> None:
    """Raise SumiError where a step needs more bytes of memory than are free."""
    if needed > free:
        raise SumiError(
            f"a step of {system.name}'s {stage} takes about {size_in_words(needed)} of memory, and "
            f"{size_in_words(free)} are free: choose a smaller --size"
        )


def refuse_hopeless(
    system: System,
    costs: Mapping[str, Cost],
    shares: Mapping[str, float],
    left_s: float,
    budget_s: float,
    strict: bool = True,
) -> dict[str, int]:
    """Return about how many steps each stage will have in the time left; SumiError where a stage has too few.

    shares: of the time there is, by stage. left_s: what is left of the budget of budget_s seconds. strict: whether to
    refuse too few.
    """
    fixed = sum(cost.prepare_s + cost.draw_s for cost in costs.values())
    steps = {
        stage: max(0, math.floor((left_s - fixed) * shares[stage] / sum(shares.values()) / cost.step_s))
        for stage, cost in costs.items()
    }
    scarce = min(steps, key=lambda stage: steps[stage])
    if strict and steps[scarce] < FEWEST_STEPS:
        training = max(ENOUGH_STEPS * costs[stage].step_s * sum(shares.values()) / shares[stage] for stage in costs)
        enough = math.ceil(SPARE * (budget_s - left_s + fixed + training) / 60)
        raise SumiError(
            f"{system.name} cannot learn to draw in {_minutes(budget_s)}: a step of its {scarce} takes "
            f"{costs[scarce].step_s:.2g} s here, so there is time for {steps[scarce]} steps, and fewer than "
            f"{FEWEST_STEPS} draw nothing; --minutes {enough} would do, or a smaller --size"
        )
    return steps


def disk_bytes(costs: Mapping[str, Cost]) -> int:
    """Return the bytes that checkpoints and bundle take on the disk."""
    weights = sum(cost.weight_bytes for cost in costs.values())
    largest = max(cost.weight_bytes for cost in costs.values())
    return COPIES * (KEPT * weights + largest) + weights  # one more is written before the oldest goes


def refuse_small_disk(system: System, costs: Mapping[str, Cost], folder: Path) -> None:
    """Raise SumiError where the disk has no room for the checkpoints and the bundle."""
    check_disk(folder, disk_bytes(costs), f"training {system.name}")


def _minutes(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 60 else f"{seconds / 60:g} minutes"


def _timed(act: Callable[[], object], clock: Callable[[], float]) -> float:
    began = clock()
    act()
    return max(clock() - began, 1e-6)


def _some(examples: Examples, count: int) -> Examples:
    labels = None if examples.labels is None else examples.labels[:count]
    return replace(examples, pictures=examples.pictures[:count], captions=examples.captions[:count], labels=labels)

"""Training of a system: every stage in order, from examples to a bundle, for so many steps or so much time.

    for stage in method.stages:  parts[stage] = average of run(method.objective(stage, examples, parts), config)

A method may have `plans`, a `TrainConfig` for some of its stages, and `shares`, how the time is split. The other stages
have one config, and networks that draw get three times the share of the others. A budget of time covers everything: the
rehearsal, what frozen networks compute for a stage, its steps, its sheets and the bundle.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sumi.bundles import Bundle, Card
from sumi.errors import SumiError
from sumi.hardware import chosen_precision
from sumi.systems import Method, System, method_for, save
from sumi.systems.dataset import TrainingData
from sumi.systems.rehearsal import Cost, refuse_hopeless, refuse_small_disk, rehearse
from sumi.systems.run_record import FILE as RECORD
from sumi.systems.run_record import RunRecord, open_record
from sumi.training import (
    Batch,
    Objective,
    TimeBudget,
    TrainConfig,
    is_finished,
    load_ema,
    read_config,
    run,
    trained_seconds,
)
from sumi.training.batches import stable_seed

__all__ = ["Budget", "MeasuringObjective", "save_run_bundle", "shares", "train_stages"]

PLAN = TrainConfig(num_steps=2000, batch_size=64, lr=2e-3, warmup_steps=50, decay_fraction=0.5, ema=0.998)
SERVANTS = ("codec", "clip", "prior", "ar_prior", "classifier", "weaker", "inpaint", "upsampler", "upsampler2")
"""Stages that support the one that draws, and get a third of its time."""


@dataclass(frozen=True)
class Budget:
    """How long to train: so many steps of each stage, or so many seconds of the whole system.

    clock: by `time.process_time` seconds are those that the processor worked, in all threads together, whatever else
    runs on the machine. began: when the count starts, by default when the budget is made. strict: refuse a budget of
    seconds in which no stage can learn.
    """

    num_steps: int | None = None
    seconds: float | None = None
    clock: Callable[[], float] = time.perf_counter
    began: float = math.nan
    strict: bool = False

    def __post_init__(self) -> None:
        if math.isnan(self.began):
            object.__setattr__(self, "began", self.clock())


@dataclass(frozen=True)
class MeasuringObjective:
    """An objective without sheets of samples."""

    objective: Objective

    @property
    def name(self) -> str:
        """That of the objective."""
        return self.objective.name

    @property
    def model(self) -> nn.Module:
        """That of the objective."""
        return self.objective.model

    def __len__(self) -> int:
        """How many examples."""
        return len(self.objective)

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """That of the objective."""
        return self.objective.loss(model, batch)

    def picture(self, model: nn.Module) -> None:
        """Return nothing."""


def shares(method: Method, size_px: int) -> dict[str, float]:
    """Return the share of a system's time that each stage gets for pictures of this size; they sum to 1."""
    stages = method.stages_for(size_px)
    weights = {stage: method.shares.get(stage, 1.0 if stage in SERVANTS else 3.0) for stage in stages}
    return {stage: weight / sum(weights.values()) for stage, weight in weights.items()}


def train_stages(
    system: System,
    material: TrainingData,
    folder: Path,
    budget: Budget,
    *,
    resume: bool = True,
    device: str = "cpu",
    quiet: bool = False,
    log_s: float = PLAN.log_s,
    rehearsed: bool = True,
    say: Callable[[str], None] = lambda line: None,
    seed: int = 0,
) -> dict[str, nn.Module] | None:
    """Train every stage of a system, each in a folder of its own.

    Args:
        system: the row of the system.
        material: what it learns from.
        folder: of the run.
        budget: steps or seconds; a larger one than before lets a finished run go on.
        resume: False refuses a folder that holds a run.
        device: where to compute.
        quiet: print no progress.
        log_s: seconds between reports.
        rehearsed: try every stage first, and refuse a budget in which a stage cannot learn.
        say: called with lines for people.
        seed: of weights and batches.

    Returns:
        The averaged networks by stage, or None if the run was stopped.

    Raises:
        SumiError: where the folder holds a run on other data, or one that this run would not continue.
    """
    method = method_for(system, material.examples)
    record = open_record(folder, system, material)
    if not resume and (folder / RECORD).exists():
        raise SumiError(f"{folder}: holds a run already; resume it or choose another folder")
    split = shares(method, material.size_px)
    usual = {stage: method.plans.get(stage, PLAN) for stage in split}
    plans = {stage: replace(plan, log_s=log_s, seed=plan.seed + seed) for stage, plan in usual.items()}
    budget = _opened(record, budget, split)
    pending = [stage for stage in split if not _done(record, budget, stage, plans[stage])]
    costs: dict[str, Cost] = {}
    if pending and rehearsed:
        costs = _rehearsed(system, method, material, record, budget, {s: split[s] for s in pending}, plans, device, say)
    record.save()
    try:
        return _train_each(method, material, record, budget, pending, split, plans, costs, resume, device, quiet, seed)
    finally:
        if budget.seconds is not None:
            record.spent_s += budget.clock() - budget.began
        record.save()


def _train_each(
    method: Method,
    material: TrainingData,
    record: RunRecord,
    budget: Budget,
    pending: Sequence[str],
    split: Mapping[str, float],
    plans: Mapping[str, TrainConfig],
    costs: Mapping[str, Cost],
    resume: bool,
    device: str,
    quiet: bool,
    seed: int,
) -> dict[str, nn.Module] | None:
    """Train the stages one after another; None if the run was stopped."""
    parts, waiting = dict[str, nn.Module](), list(pending)
    for stage in split:
        place, began = record.folder / stage, budget.clock()
        torch.manual_seed(stable_seed(seed, stage, 0))
        with torch.no_grad():
            objective = method.objective(stage, material.examples, parts)
        if torch.device(device).type != "cpu":
            objective = MeasuringObjective(objective)  # sheets are drawn on the CPU
        if stage in pending:
            plan, timed = plans[stage], None
            if budget.num_steps is not None:
                plan = replace(plan, num_steps=budget.num_steps)
            if budget.seconds is not None:
                left = budget.seconds - record.spent_s - (began - budget.began) - ending(budget.seconds)
                share = left * split[stage] / sum(split[name] for name in waiting)
                reserve = costs[stage].draw_s if stage in costs else 0.0
                timed = TimeBudget(share - (budget.clock() - began), reserve=reserve, clock=budget.clock)
            if not run(objective, plan, place, resume=resume, extend=True, device=device, quiet=quiet, budget=timed):
                return None
            waiting.remove(stage)
            if budget.seconds is not None:
                record.finished.append(stage)
                record.save()
        objective.model.load_state_dict(load_ema(place, objective.model))
        parts[stage] = objective.model.to("cpu").eval()
    return parts


def ending(seconds: float) -> float:
    """Return the seconds of a budget that are reserved for writing the bundle."""
    return min(2.0, 0.02 * seconds)


def _opened(record: RunRecord, budget: Budget, stages: Iterable[str]) -> Budget:
    """Return the budget of this run folder: by default the one it started with; a larger one reopens the run."""
    if budget.num_steps is None and budget.seconds is None:
        budget = replace(budget, seconds=record.budget_s)
    if budget.num_steps is not None:
        record.budget_s, record.spent_s, record.finished = None, 0.0, []
    elif budget.seconds is not None:
        processor = budget.clock is time.process_time
        trained = sum((trained_seconds(record.folder / stage, processor=processor) for stage in stages), 0.0)
        record.spent_s = max(record.spent_s, trained)  # a run that was killed could not record what it spent
        if record.budget_s is not None and budget.seconds > record.budget_s and set(stages) <= set(record.finished):
            record.finished = []
        record.budget_s = budget.seconds if record.budget_s is None else max(record.budget_s, budget.seconds)
    return budget


def _done(record: RunRecord, budget: Budget, stage: str, plan: TrainConfig) -> bool:
    """Whether a stage has used all that the budget gives it."""
    place = record.folder / stage
    begun = read_config(place)
    if begun is None or not is_finished(place):
        return False
    if budget.seconds is not None:
        return stage in record.finished
    return begun.num_steps >= (plan.num_steps if budget.num_steps is None else budget.num_steps)


def _rehearsed(
    system: System,
    method: Method,
    material: TrainingData,
    record: RunRecord,
    budget: Budget,
    split: Mapping[str, float],
    plans: Mapping[str, TrainConfig],
    device: str,
    say: Callable[[str], None],
) -> dict[str, Cost]:
    """Return the cost of each stage; SumiError where the disk or the budget is too small for it."""
    names = method.stages_for(material.size_px)
    say(f"measuring how fast {system.name} learns here: {', '.join(names)}")
    with torch.random.fork_rng(devices=[]):
        costs = rehearse(system, method, names, material.examples, plans, device=device, clock=budget.clock)
    costs = {stage: costs[stage] for stage in split}
    refuse_small_disk(system, costs, record.folder)
    precision = chosen_precision(device)
    if budget.seconds is not None:
        left = budget.seconds - record.spent_s - (budget.clock() - budget.began) - ending(budget.seconds)
        steps = refuse_hopeless(system, costs, split, left, budget.seconds) if budget.strict else {}
        say("; ".join(f"{stage}: about {count:,} steps" for stage, count in steps.items()) + f", in {precision}")
    else:
        counts = {stage: budget.num_steps or plans[stage].num_steps for stage in split}
        seconds = sum(cost.prepare_s + cost.draw_s + counts[stage] * cost.step_s for stage, cost in costs.items())
        say(f"about {max(1, round(seconds / 60)):,} minutes of training, in {precision}")
    return costs


def save_run_bundle(system: System, parts: Mapping[str, nn.Module], material: TrainingData, folder: Path) -> Bundle:
    """Write a trained system as a bundle that `sumi.load` opens."""
    examples, classes, method = material.examples, list(material.classes), system.method()
    words = {word for caption in set(examples.captions) for word in caption.casefold().split()}
    card = Card(
        title=folder.resolve().parent.name,
        summary=f"{system.summary} ({system.name}, {system.year}). {material.size_px} px, RGBA.",
        training=f"From scratch on {material.told}.",
    )
    kept: dict[str, Any] = {
        "settings": {"size_px": material.size_px, "classes": classes, **system.method().fit(examples)},
        "vocabulary": {"concepts": {name: [name] for name in classes}, "words": sorted(words)},
        "rights": list(material.rights),
        "tokenizer": method.caption_tokenizer(),
        "card": card,
    }
    return save(system.name, {**parts, **method.extra_parts(parts, examples)}, folder, **kept)

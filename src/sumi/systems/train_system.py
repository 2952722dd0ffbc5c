"""Training of a system: every stage in order, from examples to a bundle, for so many steps or so much time.

    for stage in method.stages:  parts[stage] = average of run(method.objective(stage, examples, parts), config)

A method may have `plans`, a `TrainConfig` for some of its stages, and `shares`, how the time is split. The other stages
have one config, and networks that draw get three times the share of the others. A budget of time covers everything: the
rehearsal, what frozen networks compute for a stage, its steps, its sheets and the bundle.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sumi.bundles import Bundle, Card
from sumi.conditioning.lexicon import words_of
from sumi.errors import SumiError
from sumi.hardware import chosen_precision
from sumi.systems import Method, System, method_for, save
from sumi.systems.dataset import TrainingData
from sumi.systems.rehearsal import Cost, refuse_hopeless, refuse_small_disk, rehearse
from sumi.systems.run_record import FILE as RECORD
from sumi.systems.run_record import RunRecord, open_record, write_data_report
from sumi.systems.training_plan import TrainingPlan, compare, make_plan
from sumi.training import (
    Batch,
    Objective,
    TrainConfig,
    is_finished,
    load_ema,
    read_config,
    train_stage,
    trained_seconds,
)
from sumi.training.batches import stable_seed

__all__ = ["Budget", "MeasuringObjective", "TrainingRun", "save_run_bundle", "shares", "train_stages"]

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


@dataclass
class TrainingRun:
    """The training of a system in a folder: what it will cost, its stages one after another, and its bundle.

    Attributes:
        system: the row of the system.
        material: what it learns from.
        folder: of the run.
        budget: steps or seconds; a larger one than before lets a finished run go on.
        method: what trains and draws, by default that of the system.
        resume: False refuses a folder that holds a run.
        device: where to compute.
        quiet: print no progress.
        log_s: seconds between reports.
        say: called with lines for people.
        seed: of weights and batches.
        plan: what the stages will cost, once `rehearse` has measured it.

    Raises:
        SumiError: where the folder holds a run on other data, or one that this run would not continue.
    """

    system: System
    material: TrainingData
    folder: Path
    budget: Budget
    method: Method = field(default=None)  # type: ignore[assignment]
    resume: bool = True
    device: str = "cpu"
    quiet: bool = False
    log_s: float = PLAN.log_s
    say: Callable[[str], None] = lambda line: None
    seed: int = 0
    plan: TrainingPlan | None = None
    _costs: Mapping[str, Cost] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.method is None:
            self.method = method_for(self.system, self.material.examples)
        self.record = open_record(self.folder, self.system, self.material)
        if not self.resume and (self.folder / RECORD).exists():
            raise SumiError(f"{self.folder}: holds a run already; resume it or choose another folder")
        self.budget = _opened(self.record, self.budget, self.shares)

    @cached_property
    def shares(self) -> dict[str, float]:
        """The share of the time of each stage."""
        return shares(self.method, self.material.size_px)

    @cached_property
    def configs(self) -> dict[str, TrainConfig]:
        """How each stage is trained."""
        usual = {stage: self.method.plans.get(stage, PLAN) for stage in self.shares}
        return {
            stage: replace(config, log_s=self.log_s, seed=config.seed + self.seed) for stage, config in usual.items()
        }

    @property
    def pending(self) -> list[str]:
        """The stages that have not used all that the budget gives them."""
        return [stage for stage in self.shares if not _done(self.record, self.budget, stage, self.configs[stage])]

    def left_s(self) -> float:
        """Return the seconds of the budget that are left for stages."""
        assert self.budget.seconds is not None
        spent = self.record.spent_s + self.budget.clock() - self.budget.began
        return self.budget.seconds - spent - ending(self.budget.seconds)

    def rehearse(self) -> TrainingPlan | None:
        """Measure what the pending stages cost, by real steps; None where nothing is pending.

        Raises:
            SumiError: where the disk or a strict budget is too small for a stage.
        """
        system, examples, pending = self.system, self.material.examples, self.pending
        if not pending:
            return None
        names = self.method.stages_for(self.material.size_px)
        self.say(f"measuring how fast {system.name} learns here: {', '.join(names)}")
        with torch.random.fork_rng(devices=[]):
            costs = rehearse(
                system, self.method, names, examples, self.configs, device=self.device, clock=self.budget.clock
            )
        self._costs = {stage: costs[stage] for stage in pending}
        refuse_small_disk(system, self._costs, self.folder)
        steps = self._count_steps(pending)
        precision = chosen_precision(self.device)
        self.plan = make_plan(self._costs, steps, self.shares, self.configs, len(examples.pictures), precision)
        planned: dict[str, dict[str, float]] = self.plan.to_json()["stages"]
        self.record.planned = {**planned, **self.record.planned}
        return self.plan

    def _count_steps(self, pending: list[str]) -> dict[str, int]:
        """How many steps each pending stage will take; SumiError where a strict budget is hopeless."""
        if self.budget.seconds is None:
            return {stage: self.budget.num_steps or self.configs[stage].num_steps for stage in pending}
        split = {stage: self.shares[stage] for stage in pending}
        return refuse_hopeless(
            self.system, self._costs, split, self.left_s(), self.budget.seconds, strict=self.budget.strict
        )

    def train(self) -> dict[str, nn.Module] | None:
        """Train the stages one after another.

        Returns:
            The averaged networks by stage, or None if the run was stopped.
        """
        self.record.save()
        if self.material.report:
            write_data_report(self.folder, self.material.report)
        try:
            return self._train_each()
        finally:
            if self.budget.seconds is not None:
                self.record.spent_s += self.budget.clock() - self.budget.began
            self.record.save()

    def _train_each(self) -> dict[str, nn.Module] | None:
        parts, pending = dict[str, nn.Module](), self.pending
        waiting = list(pending)
        for stage in self.shares:
            began = self.budget.clock()
            torch.manual_seed(stable_seed(self.seed, stage, 0))
            with torch.no_grad():
                objective = self.method.objective(stage, self.material.examples, parts)
            if torch.device(self.device).type != "cpu":
                objective = MeasuringObjective(objective)  # sheets are drawn on the CPU
            if stage in pending:
                finished = self._train_one(stage, objective, waiting, began)
                self.record.took_s[stage] = self.record.took_s.get(stage, 0.0) + self.budget.clock() - began
                if not finished:
                    return None
                waiting.remove(stage)
                if self.budget.seconds is not None:
                    self.record.finished.append(stage)
                    self.record.save()
            objective.model.load_state_dict(load_ema(self.folder / stage, objective.model))
            parts[stage] = objective.model.to("cpu").eval()
        return parts

    def _train_one(self, stage: str, objective: Objective, waiting: list[str], began: float) -> bool:
        """Train a stage for its share of what is left; False if it was stopped."""
        folder, clock, seconds = self.folder / stage, self.budget.clock, None
        if self.budget.seconds is not None:
            prepared_s = clock() - began
            share = (self.left_s() + prepared_s) * self.shares[stage] / sum(self.shares[name] for name in waiting)
            seconds = share - prepared_s + trained_seconds(folder, processor=clock is time.process_time)
        return train_stage(
            lambda: objective,
            self.configs[stage],
            folder,
            seconds=seconds,
            num_steps=self.budget.num_steps,
            resume=self.resume,
            extend=True,
            device=self.device,
            quiet=self.quiet,
            reserve_s=self._costs[stage].draw_s if stage in self._costs else 0.0,
            clock=clock,
        )

    def compare(self) -> list[str]:
        """Return lines that put what each stage took beside what was planned."""
        return compare(self.record.planned, self.record.took_s, self.folder)


def train_stages(
    system: System,
    material: TrainingData,
    folder: Path,
    budget: Budget,
    *,
    rehearsed: bool = True,
    say: Callable[[str], None] = lambda line: None,
    **options: Any,
) -> dict[str, nn.Module] | None:
    """Train every stage of a system, each in a folder of its own.

    Args:
        system: the row of the system.
        material: what it learns from.
        folder: of the run.
        budget: steps or seconds.
        rehearsed: try every stage first, and refuse a budget in which a stage cannot learn.
        say: called with lines for people.
        options: further fields of `TrainingRun`.

    Returns:
        The averaged networks by stage, or None if the run was stopped.

    Raises:
        SumiError: as `TrainingRun`.
    """
    run = TrainingRun(system, material, folder, budget, say=say, **options)
    plan = run.rehearse() if rehearsed else None
    for line in plan.lines() if plan else ():
        say(line)
    return run.train()


def ending(seconds: float) -> float:
    """Return the seconds of a budget that are reserved for writing the bundle."""
    return min(5.0, 0.02 * seconds)


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


def save_run_bundle(
    system: System, parts: Mapping[str, nn.Module], material: TrainingData, folder: Path, method: Method | None = None
) -> Bundle:
    """Write a trained system as a bundle that `sumi.load` opens."""
    examples, classes, method = material.examples, list(material.classes), method or system.method()
    words = {word for caption in set(examples.captions) for word in words_of(caption)}
    admission = material.admission
    begun = f"Training went on from {material.origin}," if material.origin else "From scratch"
    card = Card(
        title=folder.resolve().parent.name if folder.name == "bundle" else folder.resolve().name,
        summary=f"{system.summary} ({system.name}, {system.year}). {material.size_px} px, RGBA.",
        training=" ".join(filter(None, (f"{begun} on {material.told}.", admission.note if admission else ""))),
    )
    kept: dict[str, Any] = {
        "settings": {"size_px": material.size_px, "classes": classes, **method.fit(examples)},
        "vocabulary": {"concepts": {name: [name] for name in classes}, "words": sorted(words)},
        "rights": list(material.rights),
        "tokenizer": method.caption_tokenizer(),
        "card": card,
    }
    made = {**parts, **method.extra_parts(parts, examples)}
    bundle = save(system.name, made, folder, **kept, trained_on=method.trained_on(made))
    if admission is not None:
        admission.write(bundle.folder)
    return bundle

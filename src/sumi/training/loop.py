"""The one training loop.

Batch, noise, dropout and learning rate of step k are functions of (plan, k), so the loop keeps no secret:
from a checkpoint it goes on exactly. The caller consumes reports; the clock decides when to report, to draw and to
save, and never what is computed, unless the run has a `TimeBudget`: then it also decides how many steps there are.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

import torch
from torch import Tensor

from sumi.errors import SumiError
from sumi.training.budget import TimeBudget
from sumi.training.checkpoint import latest, load_checkpoint, lock_run, read_plan, write_plan
from sumi.training.config import TrainConfig
from sumi.training.objective import Objective
from sumi.training.sample_sheet import write_picture
from sumi.training.trainer import Trainer

UNKNOWN = 1_000_000_000
"""The number of steps of a run with a time budget before its first step has been timed."""


@dataclass(frozen=True)
class Report:
    """What happened since the last report: means over its steps, and how the run stands.

    step: steps done, of `of`; images_per_s: examples a second; seconds: trained so far, in all sessions, and
    processor_s: the same in processor time of all threads; precision: what the networks compute in; picture: the sheet
    drawn after this step, if one was.
    """

    step: int
    of: int
    loss: float
    metrics: Mapping[str, float]
    images_per_s: float
    lr: float
    eta_s: float
    seconds: float
    processor_s: float
    precision: str
    picture: Path | None = None


def train(
    lesson: Objective,
    plan: TrainConfig,
    folder: str | Path,
    *,
    resume: bool = True,
    extend: bool = False,
    device: torch.device | str = "cpu",
    stop: Callable[[], bool] = lambda: False,
    budget: TimeBudget | None = None,
) -> Iterator[Report]:
    """Train `lesson` by `plan` in `folder`, going on from its newest checkpoint if there is one.

    Ends after num_steps, after the step during which `stop()` became true, or when the iterator is closed:
    always with a checkpoint. `extend` lets a plan of more steps take the place of the folder's, and the
    number of examples change. With a `budget` the run ends when that is spent, and the number of steps in the plan is
    revised after every step. Raises SumiError if the folder holds a run that this one would not continue exactly, or
    if another process trains in it.
    """
    folder = Path(folder)
    plan = plan.settled(device, read_plan(folder))
    _refuse_another(plan, folder, resume=resume, extend=extend, timed=budget is not None)
    lock = lock_run(folder)
    try:
        learner = Trainer(lesson, lesson.model, plan, torch.device(device))
        place = latest(folder)
        if place is not None:
            learner.restore(load_checkpoint(place), extend=extend)
        if budget is not None:
            learner.plan = replace(plan, num_steps=UNKNOWN if budget.left > 0 else max(1, learner.step))
        else:
            write_plan(folder, plan)
        if place is None:
            learner.save(folder)  # the initial weights belong to the run: not every model draws them alike
    except BaseException:
        lock.close()
        raise
    return _steps(learner, folder, stop, lock, budget)


def _steps(
    learner: Trainer, folder: Path, stop: Callable[[], bool], lock: IO[str], budget: TimeBudget | None
) -> Iterator[Report]:
    plan, tally = learner.plan, _Tally()
    saved = drawn = time.perf_counter()
    if budget is not None:
        budget.start()
    with lock, _saved_if_left(learner, folder, budget):
        while learner.step < learner.plan.num_steps:
            tally.add(learner.advance())
            if budget is not None:
                learner.plan = replace(plan, num_steps=budget.revised(learner.step))
            now, last, stopped = time.perf_counter(), learner.step == learner.plan.num_steps, stop()
            draw = not stopped and (last or now - drawn >= plan.picture_s)
            save = last or stopped or now - saved >= plan.checkpoint_s
            if draw or save or now - tally.since >= plan.log_s:
                report, began = tally.report(learner), 0.0 if budget is None else budget.clock()
                yield replace(report, picture=_draw(learner, folder)) if draw else report
                if save:  # after the report: what a checkpoint has done is written down, always
                    _save(learner, folder, budget)
                if budget is not None and draw and save:
                    budget.pause(budget.clock() - began)
                done = time.perf_counter()
                saved, drawn, tally = done if save else saved, done if draw else drawn, _Tally()
            if stopped:
                return
        if budget is not None:
            write_plan(folder, learner.plan)


def _save(learner: Trainer, folder: Path, budget: TimeBudget | None) -> None:
    """Write a checkpoint, and where the clock decides the number of steps the plan as it now is."""
    learner.save(folder)
    if budget is not None:
        write_plan(folder, learner.plan)


@contextmanager
def _saved_if_left(learner: Trainer, folder: Path, budget: TimeBudget | None) -> Iterator[None]:
    try:
        yield
    except GeneratorExit:  # the consumer of the reports closed the iterator
        _save(learner, folder, budget)
        raise


def _draw(learner: Trainer, folder: Path) -> Path | None:
    sheet, name = learner.draw(), f"step-{learner.step:07d}.png"
    return None if sheet is None else write_picture(folder / "pictures" / name, sheet)


@dataclass
class _Tally:
    """Sums since the last report, kept on the device so that adding to them waits for nothing."""

    since: float = field(default_factory=lambda: time.perf_counter())
    processor_since: float = field(default_factory=lambda: time.process_time())
    steps: int = 0
    sums: dict[str, Tensor] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, metrics: Mapping[str, Tensor] | None) -> None:
        self.steps += 1
        for name, value in (metrics or {}).items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value.float()
            self.counts[name] += 1

    def report(self, learner: Trainer) -> Report:
        means = {name: float(total) / self.counts[name] for name, total in self.sums.items()}
        spent = time.perf_counter() - self.since  # after the means, which wait for the device
        learner.seconds += spent
        learner.processor_s += time.process_time() - self.processor_since
        plan, step = learner.plan, learner.step
        if learner.skipped:
            means["skipped"] = float(learner.skipped)
        return Report(
            step=step,
            of=plan.num_steps,
            loss=means.pop("loss", math.nan),
            metrics=means,
            images_per_s=self.steps * plan.batch_size / spent,
            lr=plan.lr_at(step - 1),
            eta_s=(plan.num_steps - step) * spent / self.steps,
            seconds=learner.seconds,
            processor_s=learner.processor_s,
            precision=plan.precision,
        )


def _refuse_another(plan: TrainConfig, folder: Path, *, resume: bool, extend: bool, timed: bool) -> None:
    """Raise SumiError if `folder` holds a run that `plan` would not continue exactly."""
    begun = read_plan(folder)
    if begun is None:
        return
    if not resume:
        raise SumiError(f"{folder}: holds a run already; resume it or choose another folder")
    changed = plan.differences(begun)
    if timed or (extend and plan.num_steps > begun.num_steps):
        changed.pop("num_steps", None)
    if changed:
        different = ", ".join(f"{name} was {then!r} and is {now!r}" for name, (now, then) in changed.items())
        raise SumiError(f"{folder}: cannot resume by another plan: {different}")

"""The training loop.

Batch, noise, dropout and learning rate of step k are functions of (config, k), so a run resumes exactly from a
checkpoint. The caller iterates over reports. The clock decides when to report, to draw and to save. It does not change
what is computed, unless the run has a `TimeBudget`, with which it decides the number of steps.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sumi.errors import SumiError
from sumi.training.budget import TimeBudget
from sumi.training.checkpoint import latest_checkpoint, load_checkpoint, lock_run, read_config, write_config
from sumi.training.config import TrainConfig
from sumi.training.distributed import processes
from sumi.training.objective import Objective
from sumi.training.sample_sheet import write_sample_sheet
from sumi.training.trainer import Trainer

UNKNOWN_NUM_STEPS = 1_000_000_000
"""Stands for the number of steps of a run with a time budget until its first step has been timed."""


@dataclass(frozen=True)
class Report:
    """The state of a run, and means over the steps since the last report.

    Attributes:
        step: steps done.
        num_steps: steps of the run.
        loss: mean loss.
        metrics: means of the objective's other scalars.
        images_per_s: examples per second.
        lr: learning rate of the last step.
        eta_s: estimated seconds to the end of the run.
        seconds: seconds of training in all sessions.
        processor_s: the same in processor time of all threads.
        precision: of the computation, "fp32" or "bf16".
        picture: path of the sheet of samples drawn after this step, or None.
        fault: the last step since then whose gradient was not finite, with its examples, or "".
    """

    step: int
    num_steps: int
    loss: float
    metrics: Mapping[str, float]
    images_per_s: float
    lr: float
    eta_s: float
    seconds: float
    processor_s: float
    precision: str
    picture: Path | None = None
    fault: str = ""


def train(
    objective: Objective,
    config: TrainConfig,
    folder: str | Path,
    *,
    resume: bool = True,
    extend: bool = False,
    device: torch.device | str = "cpu",
    stop: Callable[[], bool] = lambda: False,
    budget: TimeBudget | None = None,
) -> Iterator[Report]:
    """Train an objective, resuming from the newest checkpoint of the folder if there is one.

    The run ends after config.num_steps, after the step during which `stop()` became true, or when the iterator is
    closed, always with a checkpoint. Processes that train together (`join_processes`) iterate over the same reports.

    Args:
        objective: what to learn.
        config: how to train.
        folder: the run folder.
        resume: False refuses a folder that holds a run.
        extend: accept a config of more steps than the folder's, and another number of examples.
        device: where to compute.
        stop: called after every step; one process that is to stop stops all.
        budget: end the run when this is spent; the number of steps in the config is revised after every step.

    Returns:
        An iterator of reports, which trains as it is consumed.

    Raises:
        SumiError: the folder holds a run that this one would not continue exactly, or another process trains in it.
    """
    folder, device, first = Path(folder), torch.device(device), processes().is_first
    lock: AbstractContextManager[Any] = nullcontext()
    with processes().first_alone():
        config = config.resolve(device, processes().count, read_config(folder))
        if first:
            _check_resumable(config, folder, resume=resume, extend=extend, timed=budget is not None)
            lock = lock_run(folder)
    try:
        trainer = Trainer(objective, objective.model, config, device)
        if (place := latest_checkpoint(folder)) is not None:
            trainer.restore(load_checkpoint(place), extend=extend)
        if first and budget is None:
            write_config(folder, config)
        _, apart = processes().agree([], stop=not first and not folder.exists())
        if apart:
            raise SumiError(
                f"{folder}: is not the same folder for all processes; it must lie on a disk that they share"
            )
        if place is None:  # the initial weights belong to the run, which may be resumed with others
            trainer.save(folder)
            if not first and (place := latest_checkpoint(folder)) is not None:
                trainer.restore(load_checkpoint(place))
    except BaseException:
        lock.__exit__(None, None, None)
        raise
    return _steps(trainer, folder, stop, lock, budget)


def _steps(
    trainer: Trainer,
    folder: Path,
    stop: Callable[[], bool],
    lock: AbstractContextManager[Any],
    budget: TimeBudget | None,
) -> Iterator[Report]:
    config, tally, group = trainer.config, _Tally(), trainer.processes
    saved = drawn = time.perf_counter()
    with lock, _save_if_closed(trainer, folder, budget):
        if budget is not None:
            budget.start()
            num_steps = UNKNOWN_NUM_STEPS if budget.left > 0 else max(1, trainer.step)
            (num_steps,), _ = group.agree([num_steps], stop=False)
            trainer.config = replace(config, num_steps=num_steps)
        while trainer.step < trainer.config.num_steps:
            tally.add(trainer.advance())
            now, num_steps = time.perf_counter(), config.num_steps
            if budget is not None:
                num_steps = budget.estimate_num_steps(trainer.step)
            due = [
                now - drawn >= config.picture_s,
                now - saved >= config.checkpoint_s,
                now - tally.since >= config.log_s,
            ]
            (num_steps, draw, save, log), stopped = group.agree([num_steps, *due], stop())
            trainer.config = replace(config, num_steps=num_steps)
            last = trainer.step == num_steps
            draw, save = (draw or last) and not stopped, save or last or stopped
            if draw or save or log:
                report, began = tally.report(trainer), 0.0 if budget is None else budget.clock()
                yield replace(report, picture=_draw(trainer, folder)) if draw else report
                if save:  # after the report, so that every step of a checkpoint has been reported
                    _save(trainer, folder, budget)
                if budget is not None and draw and save:
                    budget.pause(budget.clock() - began)
                done = time.perf_counter()
                saved, drawn, tally = done if save else saved, done if draw else drawn, _Tally()
            if stopped:
                return
        if budget is not None and group.is_first:
            write_config(folder, trainer.config)


def _save(trainer: Trainer, folder: Path, budget: TimeBudget | None) -> None:
    """Write a checkpoint and, with a time budget, the config with its revised number of steps."""
    trainer.save(folder)
    if budget is not None and trainer.processes.is_first:
        write_config(folder, trainer.config)


@contextmanager
def _save_if_closed(trainer: Trainer, folder: Path, budget: TimeBudget | None) -> Iterator[None]:
    try:
        yield
    except GeneratorExit:  # the consumer of the reports closed the iterator
        _save(trainer, folder, budget)
        raise


def _draw(trainer: Trainer, folder: Path) -> Path | None:
    sheet, name = trainer.draw(), f"step-{trainer.step:07d}.png"
    return None if sheet is None else write_sample_sheet(folder / "pictures" / name, sheet)


@dataclass
class _Tally:
    """Sums since the last report, kept on the device so that adding to them does not wait for it."""

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

    def report(self, trainer: Trainer) -> Report:
        local = {name: float(total) / self.counts[name] for name, total in self.sums.items()}
        means = trainer.processes.mean(local)
        spent = time.perf_counter() - self.since  # after the means, which wait for the device
        trainer.seconds += spent
        trainer.processor_s += time.process_time() - self.processor_since
        config, step = trainer.config, trainer.step
        fault, trainer.fault = trainer.fault, ""
        if trainer.skipped:
            means["skipped"] = float(trainer.skipped)
        return Report(
            step=step,
            num_steps=config.num_steps,
            loss=means.pop("loss", math.nan),
            metrics=means,
            images_per_s=self.steps * config.batch_size / spent,
            lr=config.lr_at(step - 1),
            eta_s=(config.num_steps - step) * spent / self.steps,
            seconds=trainer.seconds,
            processor_s=trainer.processor_s,
            precision=config.precision,
            fault=fault,
        )


def _check_resumable(config: TrainConfig, folder: Path, *, resume: bool, extend: bool, timed: bool) -> None:
    """Raise SumiError if the folder holds a run that the config would not continue.

    More micro-batches are accepted, which have other random numbers.
    """
    begun = read_config(folder)
    if begun is None:
        return
    if not resume:
        raise SumiError(f"{folder}: holds a run already; resume it or choose another folder")
    changed = config.differences(begun)
    if config.microbatches % begun.microbatches == 0:  # more processes, or less memory: the same samples
        changed.pop("microbatches", None)
    if timed or (extend and config.num_steps > begun.num_steps):
        changed.pop("num_steps", None)
    if changed:
        different = ", ".join(f"{name} was {then!r} and is {now!r}" for name, (now, then) in changed.items())
        raise SumiError(f"{folder}: cannot resume with another config: {different}")

"""A run with a progress bar, metrics and pictures on disk, and a clean end on a signal.

    <run>/metrics.jsonl     one JSON object per report
    <run>/tensorboard/      the same figures and the pictures, if TensorBoard is installed
    <run>/pictures/step-0001200.png

Nothing here changes what is computed.
"""

from __future__ import annotations

import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

import torch

from sumi.training.budget import TimeBudget
from sumi.training.checkpoint import latest_checkpoint, load_notes, read_config, step_of
from sumi.training.config import TrainConfig
from sumi.training.distributed import processes
from sumi.training.loop import Report, train
from sumi.training.objective import Objective
from sumi.training.report import MetricsLog, ProgressBar, TensorBoard

STOPS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that stop a run; those that the process already ignores stay ignored."""


def run(
    objective: Objective,
    config: TrainConfig,
    folder: str | Path,
    *,
    resume: bool = True,
    extend: bool = False,
    device: torch.device | str = "cpu",
    quiet: bool = False,
    budget: TimeBudget | None = None,
    on_report: Callable[[Report], None] = lambda report: None,
) -> bool:
    """Train as `train` does, with a progress bar, metrics.jsonl and TensorBoard.

    SIGINT (Ctrl-C), SIGTERM and SIGHUP stop the run after the current step and save it; a second signal kills it. Where
    several processes train together, a signal to one stops all, and the first one alone prints, writes and reports.

    Args:
        objective: what to learn.
        config: how to train.
        folder: the run folder.
        resume: False refuses a folder that holds a run.
        extend: accept a config of more steps than the folder's, and another number of examples.
        device: where to compute.
        quiet: print nothing.
        budget: end the run when this is spent.
        on_report: called with each report.

    Returns:
        True if the run is finished and no signal arrived, also during its last step.

    Raises:
        SumiError: as `train`.
    """
    folder, group = Path(folder), processes()
    with _stop_politely() as stopping, ProgressBar(objective.name, quiet=quiet or not group.is_first) as bar:
        reports = train(
            objective,
            config,
            folder,
            resume=resume,
            extend=extend,
            device=device,
            stop=lambda: bool(stopping),
            budget=budget,
        )
        if group.is_first:
            _write_reports(reports, folder, bar, on_report)
        else:
            deque(reports, maxlen=0)  # train
        _, stopped = group.agree([], stop=bool(stopping))
        step, num_steps = _step_of(folder), _num_steps_of(folder)
        if step == num_steps:
            bar.print_line(f"{objective.name}: trained for {step} steps; the weights are in {folder}")
        else:
            bar.print_line(f"{objective.name}: stopped, saved at step {step} of {num_steps}; run it again to resume")
        return step == num_steps and not stopped


def _write_reports(
    reports: Iterator[Report], folder: Path, bar: ProgressBar, on_report: Callable[[Report], None]
) -> None:
    step = _step_of(folder)
    with MetricsLog(folder, step) as metrics, TensorBoard(folder, step) as board:
        for report in reports:
            metrics.write(report)
            board.write(report)
            bar.show(report)
            on_report(report)


def train_stage(
    objective: Callable[[], Objective],
    config: TrainConfig,
    folder: str | Path,
    *,
    seconds: float | None = None,
    num_steps: int | None = None,
    resume: bool = True,
    extend: bool = False,
    device: torch.device | str = "cpu",
    quiet: bool = False,
    reserve_s: float = 0.0,
    clock: Callable[[], float] = time.perf_counter,
) -> bool:
    """Train one stage of a model as `run` does, for so many seconds or so many steps.

    Args:
        objective: makes what to learn; the budget of seconds covers what it computes. Where several processes train
            together the first one makes it before the others, so that they find the files that it writes.
        config: how to train.
        folder: of the stage.
        seconds: the budget of the stage in all sessions; by default it takes the steps of the config.
        num_steps: steps in place of those of the config, where there is no budget of seconds.
        resume: False refuses a folder that holds a run.
        extend: accept more steps or seconds than before.
        device: where to compute.
        quiet: print nothing.
        reserve_s: seconds of the budget that are kept for what follows the last step.
        clock: that the seconds are of; by `time.process_time` they are the processor's.

    Returns:
        True if the stage is finished.
    """
    budget = None if seconds is None else time_budget(folder, seconds, extend=extend, reserve_s=reserve_s, clock=clock)
    if budget is None and num_steps is not None:
        config = replace(config, num_steps=num_steps)
    with processes().first_alone():
        made = objective()
    return run(made, config, folder, resume=resume, extend=extend, device=device, quiet=quiet, budget=budget)


@contextmanager
def _stop_politely() -> Iterator[list[int]]:
    """Collect the first of STOPS in a list; the second one reaches the usual handlers.

    torchrun repeats a signal that a terminal or a cluster has already sent to every process, and ends by itself those
    that do not leave. So a second one does nothing there.
    """
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught  # only the main thread may set handlers
        return
    usual = {number: signal.getsignal(number) for number in STOPS}
    usual = {number: handler for number, handler in usual.items() if handler not in (None, signal.SIG_IGN)}

    def restore() -> None:
        for number, handler in usual.items():
            signal.signal(number, handler)

    def catch(number: int, frame: FrameType | None) -> None:
        caught.append(number)
        if processes().count == 1:
            restore()

    for number in usual:
        signal.signal(number, catch)
    try:
        yield caught
    finally:
        restore()


def is_finished(folder: str | Path) -> bool:
    """Return whether the run in a folder has done all steps of its config."""
    return 0 < _num_steps_of(Path(folder)) == _step_of(Path(folder))


def time_budget(
    folder: str | Path,
    seconds: float,
    *,
    extend: bool = False,
    reserve_s: float = 0.0,
    clock: Callable[[], float] = time.perf_counter,
) -> TimeBudget:
    """Make the budget of a run that may train for `seconds` in all, less those it has trained for already.

    The budget of a finished run is 0, unless `extend` is set. reserve_s, clock: see `TimeBudget`.
    """
    trained = trained_seconds(folder, processor=clock is time.process_time)
    left = 0.0 if is_finished(folder) and not extend else seconds - trained
    return TimeBudget(left, reserve=reserve_s, clock=clock)


def trained_seconds(folder: str | Path, *, processor: bool = False) -> float:
    """Return the seconds of training of a run up to its newest checkpoint, 0 where it has none.

    processor: count processor time of all threads instead of wall-clock time.
    """
    place = latest_checkpoint(Path(folder))
    return 0.0 if place is None else float(load_notes(place).get("processor_s" if processor else "seconds", 0.0))


def _num_steps_of(folder: Path) -> int:
    config = read_config(folder)
    return 0 if config is None else config.num_steps


def _step_of(folder: Path) -> int:
    place = latest_checkpoint(folder)
    return 0 if place is None else step_of(place)

"""A run as a person sees it: a bar, a diary of figures, pictures, and a polite end.

    <run>/metrics.jsonl     one JSON object a report
    <run>/tensorboard/      the same figures and the pictures, if TensorBoard is installed
    <run>/pictures/step-0001200.png

Nothing here has a say in what is computed.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import torch

from sumi.training.budget import TimeBudget
from sumi.training.checkpoint import latest, load_notes, read_plan, step_of
from sumi.training.config import TrainConfig
from sumi.training.loop import train
from sumi.training.objective import Objective
from sumi.training.report import MetricsLog, ProgressBar, TensorBoard

STOPS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that ask a run to stop; those that the parent of the process told it to ignore stay ignored."""


def run(
    lesson: Objective,
    plan: TrainConfig,
    folder: str | Path,
    *,
    resume: bool = True,
    extend: bool = False,
    device: torch.device | str = "cpu",
    quiet: bool = False,
    budget: TimeBudget | None = None,
) -> bool:
    """Train as `train` does and show it; return whether the run is finished and was not asked to stop.

    SIGINT (Ctrl-C), SIGTERM and SIGHUP let the step finish, save, and return False, also at the last step; a second
    one kills.
    """
    folder = Path(folder)
    with _stop_politely() as stopping, ProgressBar(lesson.name, quiet=quiet) as bar:
        reports = train(
            lesson,
            plan,
            folder,
            resume=resume,
            extend=extend,
            device=device,
            stop=lambda: bool(stopping),
            budget=budget,
        )
        step = _step_of(folder)
        with MetricsLog(folder, step) as diary, TensorBoard(folder, step) as board:
            for report in reports:
                diary.write(report)
                board.write(report)
                bar.show(report)
        step, num_steps = _step_of(folder), _num_steps_of(folder)
        if step == num_steps:
            bar.say(f"{lesson.name}: trained for {step} steps; the weights are in {folder}")
        else:
            bar.say(f"{lesson.name}: stopped, saved at step {step} of {num_steps}; resume it to go on")
        return step == num_steps and not stopping


@contextmanager
def _stop_politely() -> Iterator[list[int]]:
    """Collect the first of STOPS instead of dying of it; the second meets the usual handlers."""
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
        restore()

    for number in usual:
        signal.signal(number, catch)
    try:
        yield caught
    finally:
        restore()


def finished(folder: str | Path) -> bool:
    """Return whether a run has done all the steps of its plan."""
    return 0 < _num_steps_of(Path(folder)) == _step_of(Path(folder))


def time_budget(folder: str | Path, seconds: float, *, extend: bool = False) -> TimeBudget:
    """Return what is left of so many seconds for the run in a folder, less those it was trained for already.

    Nothing is left of a finished run's, unless `extend` is set.
    """
    return TimeBudget(0.0 if finished(folder) and not extend else seconds - trained_seconds(folder))


def trained_seconds(folder: str | Path, *, processor: bool = False) -> float:
    """Return how long a run was trained in all sessions up to its newest checkpoint, 0 where it has none.

    processor: in processor time of all threads, else by the clock.
    """
    place = latest(Path(folder))
    return 0.0 if place is None else float(load_notes(place).get("processor_s" if processor else "seconds", 0.0))


def _num_steps_of(folder: Path) -> int:
    plan = read_plan(folder)
    return 0 if plan is None else plan.num_steps


def _step_of(folder: Path) -> int:
    place = latest(folder)
    return 0 if place is None else step_of(place)

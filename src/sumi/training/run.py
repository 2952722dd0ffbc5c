"""A run as a person sees it: a bar, a diary of figures, pictures, and a polite end.

    <run>/metrics.jsonl     one JSON object a report
    <run>/tensorboard/      the same figures and the pictures, if TensorBoard is installed
    <run>/pictures/step-0001200.png

Nothing here has a say in what is computed, except that `plan_for` fixes how many steps make so many hours.
"""

from __future__ import annotations

import copy
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

import torch

from sumi.training.checkpoint import latest, read_plan, step_of
from sumi.training.learner import Learner
from sumi.training.lesson import Lesson
from sumi.training.loop import train
from sumi.training.plan import Plan
from sumi.training.report import Bar, Diary, TensorBoard


def run(
    lesson: Lesson,
    plan: Plan,
    folder: str | Path,
    *,
    resume: bool = True,
    extend: bool = False,
    device: torch.device | str = "cpu",
    quiet: bool = False,
) -> bool:
    """Train as `train` does and show it; return whether the run is finished.

    SIGINT (Ctrl-C) and SIGTERM let the step finish, save, and return False; a second one kills.
    """
    folder = Path(folder)
    with _stop_politely() as stopping, Bar(lesson.name, quiet=quiet) as bar:
        reports = train(lesson, plan, folder, resume=resume, extend=extend, device=device, stop=lambda: bool(stopping))
        step = _step_of(folder)
        with Diary(folder, step) as diary, TensorBoard(folder, step) as board:
            for report in reports:
                diary.write(report)
                board.write(report)
                bar.show(report)
        step = _step_of(folder)
        if step == plan.num_steps:
            bar.say(f"{lesson.name}: trained for {step} steps; the weights are in {folder}")
        else:
            bar.say(f"{lesson.name}: stopped, saved at step {step} of {plan.num_steps}; resume it to go on")
    return step == plan.num_steps


def plan_for(
    lesson: Lesson, plan: Plan, folder: str | Path, *, hours: float, device: torch.device | str = "cpu"
) -> Plan:
    """Fix how many steps make `hours`: measured on a fresh start, as written in the folder on a resume."""
    begun = read_plan(folder)
    if begun is not None:
        return replace(plan, num_steps=begun.num_steps)
    return plan.for_hours(hours, measure_rate(lesson, plan, device=device))


def measure_rate(
    lesson: Lesson,
    plan: Plan,
    *,
    device: torch.device | str = "cpu",
    seconds: float = 10.0,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """Measure steps a second of a clock, pictures' time included, on a copy of the model that is thrown away."""
    plan = replace(plan, num_steps=1_000_000)  # a curriculum is measured at its beginning
    learner = Learner(lesson, copy.deepcopy(lesson.model), plan, torch.device(device))
    for _ in range(3):  # first steps allocate, compile and fill caches
        learner.advance()
    start = clock()
    while (spent := clock() - start) < seconds or learner.step < 6:
        learner.advance()
    pace = spent / (learner.step - 3)
    start = clock()
    learner.draw()
    drawing, between = clock() - start, max(plan.picture_s, pace)
    return between / (between + drawing) / pace


@contextmanager
def _stop_politely() -> Iterator[list[int]]:
    """Collect the first SIGINT or SIGTERM instead of dying of it; the second meets the usual handlers."""
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught  # only the main thread may set handlers
        return
    usual = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

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


def _step_of(folder: Path) -> int:
    place = latest(folder)
    return 0 if place is None else step_of(place)

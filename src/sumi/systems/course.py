"""A course: every stage of a system trained in order, from examples to a bundle, in so many steps or so much time.

    for stage in method.stages:  parts[stage] = average of run(method.lesson(stage, examples, parts), plan)

A method may have `plans`, a `Plan` for some of its stages, and `shares`, how the time is split; for the others there
is one plan for all, and networks that draw get three times what the others get. Making a lesson counts as its time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sumi.bundles import Bundle, Card
from sumi.systems import Method, System, save, stages_for
from sumi.systems.material import Material
from sumi.training import Batch, Lesson, Plan, load_ema, measure_rate, read_plan, run
from sumi.training.batches import stable_seed

PLAN = Plan(num_steps=2000, batch_size=64, lr=2e-3, warmup_steps=50, decay_fraction=0.5, ema=0.998)
SERVANTS = ("codec", "clip", "prior", "ar_prior", "classifier", "weaker", "inpaint", "upsampler", "upsampler2")
"""Stages that serve the one that draws, and get a third of its time."""
MEASURING = 0.05
"""The share of a stage's time that is spent on finding out how fast it is, ten seconds at most."""


@dataclass(frozen=True)
class Budget:
    """How long to train: so many steps of each stage, or so many seconds of the whole system.

    clock: what seconds are counted by. By `time.process_time` they are those that the processor worked, in all threads
    together: what else runs on the machine then takes nothing away.
    """

    num_steps: int | None = None
    seconds: float | None = None
    clock: Callable[[], float] = time.perf_counter


@dataclass(frozen=True)
class Blind:
    """A lesson that shows nothing on the way."""

    lesson: Lesson

    @property
    def name(self) -> str:
        """The lesson's."""
        return self.lesson.name

    @property
    def model(self) -> nn.Module:
        """The lesson's."""
        return self.lesson.model

    def __len__(self) -> int:
        """How many examples."""
        return len(self.lesson)

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """The lesson's."""
        return self.lesson.loss(model, batch)

    def picture(self, model: nn.Module) -> None:
        """Nothing."""


def shares(method: Method, size_px: int) -> dict[str, float]:
    """What share of a system's time each stage gets where pictures are of this size; they sum to 1."""
    declared: Mapping[str, float] = getattr(method, "shares", {})
    stages = stages_for(method, size_px)
    weights = {stage: declared.get(stage, 1.0 if stage in SERVANTS else 3.0) for stage in stages}
    return {stage: weight / sum(weights.values()) for stage, weight in weights.items()}


def study(
    system: System,
    material: Material,
    folder: Path,
    budget: Budget,
    *,
    resume: bool = True,
    device: str = "cpu",
    quiet: bool = False,
    log_s: float = PLAN.log_s,
) -> dict[str, nn.Module] | None:
    """Train every stage of a system in a folder each; its averaged networks, or None if it was stopped.

    SumiError when the folder holds a run that this one would not continue exactly.
    """
    method, parts = system.method(), dict[str, nn.Module]()
    for stage, share in shares(method, material.size_px).items():
        began, place = budget.clock(), folder / stage
        torch.manual_seed(stable_seed(0, stage, 0))
        plan = replace(getattr(method, "plans", {}).get(stage, PLAN), log_s=log_s)
        with torch.no_grad():
            lesson = method.lesson(stage, material.examples, parts)
        if torch.device(device).type != "cpu":
            lesson = Blind(lesson)  # what is drawn on the way is drawn on the CPU
        seconds = None if budget.seconds is None else max(1.0, budget.seconds * share)
        left = None if seconds is None else max(seconds / 4, seconds - (budget.clock() - began))
        plan = planned(lesson, plan, place, replace(budget, seconds=left), device)
        if not run(lesson, plan, place, resume=resume, device=device, quiet=quiet):
            return None
        lesson.model.load_state_dict(load_ema(place))
        parts[stage] = lesson.model.to("cpu").eval()
    return parts


def planned(lesson: Lesson, plan: Plan, folder: Path, budget: Budget, device: str) -> Plan:
    """Return the plan with its number of steps: as asked, as begun, or as many as fit into the time."""
    begun = read_plan(folder)
    if budget.num_steps is not None:
        return replace(plan, num_steps=budget.num_steps)
    if begun is not None:
        return replace(plan, num_steps=begun.num_steps)
    if budget.seconds is None:
        return plan
    enough = min(10.0, MEASURING * budget.seconds)
    rate = measure_rate(lesson, plan, device=device, seconds=enough, clock=budget.clock)
    return replace(plan, num_steps=max(1, math.floor(budget.seconds * rate)))


def bundle(system: System, parts: Mapping[str, nn.Module], material: Material, folder: Path) -> Bundle:
    """Write a trained system as a bundle that `sumi.load` opens."""
    examples, classes = material.examples, list(material.classes)
    words = {word for caption in set(examples.captions) for word in caption.casefold().split()}
    card = Card(
        title=folder.resolve().parent.name,
        summary=f"{system.summary} ({system.name}, {system.year}). {material.size_px} px, RGBA.",
        training=f"From scratch on {material.told}.",
    )
    kept: dict[str, Any] = {
        "settings": {"size_px": material.size_px, "classes": classes},
        "vocabulary": {"concepts": {name: [name] for name in classes}, "words": sorted(words)},
        "rights": list(material.rights),
        "tokenizer": getattr(system.method(), "tokenizer", None),
        "card": card,
    }
    measured = getattr(system.method(), "measured", None)
    more = {} if measured is None else measured(parts, examples)
    return save(system.name, {**parts, **more}, folder, **kept)

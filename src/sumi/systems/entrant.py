"""An entrant of the lineage: a system that learned for so many seconds, and what it then drew.

What is drawn is what `sumi generate` draws with the bundle it left behind, in fewer steps where it takes very many.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sumi.systems import Method, System, Wish, course
from sumi.systems.course import Budget
from sumi.systems.design import Design
from sumi.systems.material import Material
from sumi.systems.painter import Painter, painter
from sumi.training import read_plan

BATCH = 32
LONGEST_WALK = 100
"""How many steps a system is given to draw at most."""
LOG_S = 1.0


def enter(
    system: System, material: Material, folder: Path, seconds: float, n: int
) -> tuple[dict[str, Any], Tensor, list[int]] | None:
    """Train a system in a folder, then draw n pictures; None if it was stopped.

    Returns its figures, the pictures uint8 (n, 4, S, S), and the label that each was asked for, empty if it cannot be
    asked. Figures: parameters, steps by stage, train_s, sample_s (a picture), walk, told.
    """
    parts = course.study(system, material, folder, Budget(seconds=seconds), quiet=True, log_s=LOG_S)
    if parts is None:
        return None
    artist = painter(course.bundle(system, parts, material, folder / "bundle"))
    started = time.perf_counter()
    pictures, asked = drawn(artist, n, material)
    sample_s = (time.perf_counter() - started) / n
    own, given = walk_of(artist.method), walk_of(hurried(artist.method))
    figures = {
        "parameters": sum(weight.numel() for part in parts.values() for weight in part.parameters()),
        "steps": {stage: steps(folder / stage) for stage in parts},
        "train_s": round(sum(trained_s(folder / stage) for stage in parts), 2),
        "sample_s": round(sample_s, 5),
        "walk": "" if own is None else f"{given} of {own}" if given != own else str(own),
        "told": told(system),
    }
    return figures, pictures, asked


@torch.no_grad()
def drawn(artist: Painter, n: int, material: Material) -> tuple[Tensor, list[int]]:
    """Pictures of seeds 0 to n - 1, and the label that each was asked for, all in turn; none if it cannot be asked."""
    needs, method, count = artist.system.needs, hurried(artist.method), len(material.classes)
    labels = material.examples.labels.tolist()
    captions = dict(zip(labels, material.examples.captions, strict=True))
    made = []
    for start in range(0, n, BATCH):
        seeds = range(start, min(n, start + BATCH))
        asked = [seed % count for seed in seeds]
        words = [captions[label] for label in asked] if "captions" in needs else []
        wish = Wish(seeds, material.size_px, words, asked if "labels" in needs else [])
        made.append(method.draw(artist.parts, wish))
    hears = told(artist.system) != "nothing"
    return torch.cat(made), [seed % count for seed in range(n)] if hears else []


def walk_of(method: Method) -> int | None:
    """How many steps a method takes to draw, rounds at each level counted one by one; None if it does not walk."""
    design = getattr(method, "design", method)
    if not isinstance(design, Design):
        return None
    return design.num_steps * int(getattr(design.sampler, "num_rounds", 1))


def hurried(method: Any) -> Any:
    """The method with no more than `LONGEST_WALK` steps: fewer rounds at each level, or longer strides."""
    own = walk_of(method)
    if own is None or own <= LONGEST_WALK:
        return method
    if not isinstance(method, Design):
        return replace(method, design=hurried(method.design))
    rounds = int(getattr(method.sampler, "num_rounds", 1))
    if rounds > 1:
        fewer = max(1, LONGEST_WALK // method.num_steps)
        return replace(method, sampler=replace(method.sampler, num_rounds=fewer))  # type: ignore[type-var]
    return replace(method, num_steps=LONGEST_WALK)


def told(system: System) -> str:
    """What a system is told when it draws."""
    return "words" if "captions" in system.needs else "a label" if "labels" in system.needs else "nothing"


def steps(folder: Path) -> int:
    """How many steps a stage was trained for."""
    plan = read_plan(folder)
    return 0 if plan is None else plan.num_steps


def trained_s(folder: Path) -> float:
    """Seconds of a stage's training steps, as the last line of its diary has them."""
    lines = (folder / "metrics.jsonl").read_text("utf-8").splitlines()
    return float(json.loads(lines[-1])["seconds"])

"""An entrant of the lineage: a system that learned for so many seconds of the processor, and what it then drew.

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

from sumi.bundles import Bundle
from sumi.pipelines.steps import drive_to_end
from sumi.systems import Method, System
from sumi.systems import train_system as course
from sumi.systems.artist import SystemArtist, system_artist
from sumi.systems.dataset import TrainingData
from sumi.systems.diffusion_spec import DiffusionSpec
from sumi.systems.pipeline import SampleRequest
from sumi.systems.train_system import Budget
from sumi.training import read_config

__all__ = ["BATCH", "LONGEST_WALK"]

BATCH = 64
LONGEST_WALK = 100
"""How many steps a system is given to draw at most."""
STRIDE = 0.8
"""Of the rounds that are left at a level where there are fewer: ten of them forget 99% of the level before."""
LOG_S = 1.0
BUNDLE = "bundle"


def enter(system: System, material: TrainingData, folder: Path, seconds: float, seed: int = 0) -> bool:
    """Train a system in a folder, and leave its bundle; False if it was stopped.

    Seconds are the processor's and not the clock's, so that what else runs on the machine takes nothing away. The
    stages that draw have all of them together; a stage that is not used to draw has its share on top (`whole_s`).
    """
    budget = Budget(seconds=whole_s(system.method(), material.size_px, seconds), clock=time.process_time)
    parts = course.train_stages(system, material, folder, budget, quiet=True, log_s=LOG_S, rehearsed=False, seed=seed)
    if parts is not None:
        course.save_run_bundle(system, parts, material, folder / BUNDLE)
    return parts is not None


def whole_s(method: Method, size_px: int, seconds: float) -> float:
    """Return how long to train a whole system so that the stages that draw have so many seconds together."""
    idle = set(method.not_drawing)
    drawing = sum(share for stage, share in course.shares(method, size_px).items() if stage not in idle)
    return seconds / drawing


def show(system: System, material: TrainingData, folder: Path, n: int) -> tuple[dict[str, Any], Tensor, list[int]]:
    """Draw n pictures by the bundle that a system left in its folder.

    Returns its figures, the pictures uint8 (n, 4, S, S), and the label that each was asked for, empty if it cannot be
    asked. Figures: parameters, steps by stage, train_s and sample_s (a picture) of the processor, walk, told.
    """
    artist = system_artist(Bundle.load(folder / BUNDLE), system)
    started = time.process_time()
    pictures, asked = drawn(artist, n, material)
    sample_s = (time.process_time() - started) / n
    own, given = walk_of(artist.method), walk_of(hurried(artist.method))
    stages = artist.method.stages_for(material.size_px)
    figures = {
        "parameters": sum(weight.numel() for stage in stages for weight in artist.parts[stage].parameters()),
        "steps": {stage: steps(folder / stage) for stage in stages},
        "train_s": round(sum(trained_s(folder / stage) for stage in stages), 2),
        "not_drawing": [stage for stage in stages if stage in artist.method.not_drawing],
        "sample_s": round(sample_s, 5),
        "walk": "" if own is None else f"{given} of {own}" if given != own else str(own),
        "told": told(system),
    }
    return figures, pictures, asked


@torch.no_grad()
def drawn(artist: SystemArtist, n: int, material: TrainingData) -> tuple[Tensor, list[int]]:
    """Pictures of seeds 0 to n - 1, and the label that each was asked for, all in turn; none if it cannot be asked."""
    needs, method, count = artist.system.needs, hurried(artist.method), len(material.classes)
    labels = material.examples.labels.tolist()
    captions = dict(zip(labels, material.examples.captions, strict=True))
    made, pipeline = [], method.pipeline(artist.parts)
    for start in range(0, n, BATCH):
        seeds = range(start, min(n, start + BATCH))
        asked = [seed % count for seed in seeds]
        words = [captions[label] for label in asked] if "captions" in needs else []
        request = SampleRequest(seeds, material.size_px, words, asked if "labels" in needs else [])
        made.append(drive_to_end(pipeline.sample(request)))
    hears = told(artist.system) != "nothing"
    return torch.cat(made), [seed % count for seed in range(n)] if hears else []


def walk_of(method: Method) -> int | None:
    """How many steps a method takes to draw, rounds at each level counted one by one; None if it does not walk."""
    spec = getattr(method, "spec", method)
    if not isinstance(spec, DiffusionSpec):
        return None
    return spec.num_steps * int(getattr(spec.sampler, "num_rounds", 1))


def hurried(method: Any) -> Any:
    """The method with no more than `LONGEST_WALK` steps: fewer and longer rounds at each level, or longer strides."""
    own = walk_of(method)
    if own is None or own <= LONGEST_WALK:
        return method
    if not isinstance(method, DiffusionSpec):
        return replace(method, spec=hurried(method.spec))
    rounds = int(getattr(method.sampler, "num_rounds", 1))
    if rounds > 1:
        fewer = max(1, LONGEST_WALK // method.num_steps)
        shorter: Any = method.sampler
        return replace(method, sampler=replace(shorter, num_rounds=fewer, step_size=STRIDE))
    return replace(method, num_steps=LONGEST_WALK)


def told(system: System) -> str:
    """What a system is told when it draws."""
    return "words" if "captions" in system.needs else "a label" if "labels" in system.needs else "nothing"


def steps(folder: Path) -> int:
    """How many steps a stage was trained for."""
    plan = read_config(folder)
    return 0 if plan is None else plan.num_steps


def trained_s(folder: Path) -> float:
    """Seconds of the processor that a stage's training steps took, as the last line of its diary has them."""
    lines = (folder / "metrics.jsonl").read_text("utf-8").splitlines()
    return float(json.loads(lines[-1])["processor_s"])

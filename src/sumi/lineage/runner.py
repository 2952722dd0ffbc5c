"""One entry of the lineage: train a system for a number of processor seconds, and draw with it.

The pictures are those that `sumi generate` draws with the bundle of the system, with fewer steps where the default
takes very many.
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
from sumi.systems.artist import SystemArtist, system_artist
from sumi.systems.dataset import TrainingData
from sumi.systems.diffusion_spec import DiffusionSpec
from sumi.systems.pipeline import SampleRequest
from sumi.systems.train_system import Budget, save_run_bundle, shares, train_stages
from sumi.training import read_config

__all__ = ["BATCH", "MAX_SAMPLING_STEPS", "sample_entry", "train_entry"]

BATCH = 64
MAX_SAMPLING_STEPS = 100
"""The largest number of sampling steps in the comparison."""
STRIDE = 0.8
"""The step size of Langevin rounds when there are fewer of them: ten rounds forget 99% of the level before."""
LOG_S = 1.0
BUNDLE = "bundle"


def train_entry(system: System, data: TrainingData, folder: Path, seconds: float, seed: int = 0) -> bool:
    """Train a system and write its bundle.

    Args:
        system: the system.
        data: what it learns from.
        folder: of its run.
        seconds: processor seconds for the stages that draw; other stages get extra time.
        seed: of the training.

    Returns:
        Whether the training was completed, and not stopped.
    """
    budget = Budget(seconds=total_seconds(system.method(), data.size_px, seconds), clock=time.process_time)
    parts = train_stages(system, data, folder, budget, quiet=True, log_s=LOG_S, rehearsed=False, seed=seed)
    if parts is not None:
        save_run_bundle(system, parts, data, folder / BUNDLE)
    return parts is not None


def total_seconds(method: Method, size_px: int, seconds: float) -> float:
    """Return the seconds for all stages of a system, of which the stages that draw get `seconds` together."""
    not_drawing = set(method.not_drawing)
    drawing = sum(share for stage, share in shares(method, size_px).items() if stage not in not_drawing)
    return seconds / drawing


def sample_entry(system: System, data: TrainingData, folder: Path, n: int) -> tuple[dict[str, Any], Tensor, list[int]]:
    """Draw n pictures with the bundle of a trained system.

    Args:
        system: the system.
        data: what it was trained on.
        folder: of its run.
        n: how many pictures, from seeds 0 to n - 1.

    Returns:
        The record of the training and the drawing as JSON values; the pictures, uint8 (n, 4, S, S); and the label that
        each was asked for, or nothing for a system without a condition.
    """
    artist = system_artist(Bundle.load(folder / BUNDLE), system)
    started = time.process_time()
    pictures, asked = draw_pictures(artist, n, data)
    sample_s = (time.process_time() - started) / n
    default, limited = count_sampling_steps(artist.method), count_sampling_steps(limit_sampling_steps(artist.method))
    stages = artist.method.stages_for(data.size_px)
    figures = {
        "parameters": sum(weight.numel() for stage in stages for weight in artist.parts[stage].parameters()),
        "steps": {stage: count_training_steps(folder / stage) for stage in stages},
        "train_s": round(sum(training_seconds(folder / stage) for stage in stages), 2),
        "not_drawing": [stage for stage in stages if stage in artist.method.not_drawing],
        "sample_s": round(sample_s, 5),
        "walk": "" if default is None else f"{limited} of {default}" if limited != default else str(default),
        "told": condition_kind(system),
    }
    return figures, pictures, asked


@torch.no_grad()
def draw_pictures(artist: SystemArtist, n: int, data: TrainingData) -> tuple[Tensor, list[int]]:
    """Draw pictures of seeds 0 to n - 1, which ask for all labels in turn, and return them with their labels."""
    needs, method, count = artist.system.needs, limit_sampling_steps(artist.method), len(data.classes)
    labels = data.examples.labels.tolist()
    captions = dict(zip(labels, data.examples.captions, strict=True))
    pictures, pipeline = [], method.pipeline(artist.parts)
    for start in range(0, n, BATCH):
        seeds = range(start, min(n, start + BATCH))
        asked = [seed % count for seed in seeds]
        captions_asked = [captions[label] for label in asked] if "captions" in needs else []
        request = SampleRequest(seeds, data.size_px, captions_asked, asked if "labels" in needs else [])
        pictures.append(drive_to_end(pipeline.sample(request)))
    conditioned = condition_kind(artist.system) != "nothing"
    return torch.cat(pictures), [seed % count for seed in range(n)] if conditioned else []


def count_sampling_steps(method: Method) -> int | None:
    """Return the number of sampling steps of a method, every round counted; None without a diffusion sampler."""
    spec = getattr(method, "spec", method)
    if not isinstance(spec, DiffusionSpec):
        return None
    return spec.num_steps * int(getattr(spec.sampler, "num_rounds", 1))


def limit_sampling_steps(method: Any) -> Any:
    """Return the method with at most `MAX_SAMPLING_STEPS`: fewer and larger rounds at each level, or larger steps."""
    default = count_sampling_steps(method)
    if default is None or default <= MAX_SAMPLING_STEPS:
        return method
    if not isinstance(method, DiffusionSpec):
        return replace(method, spec=limit_sampling_steps(method.spec))
    rounds = int(getattr(method.sampler, "num_rounds", 1))
    if rounds > 1:
        fewer = max(1, MAX_SAMPLING_STEPS // method.num_steps)
        shorter: Any = method.sampler
        return replace(method, sampler=replace(shorter, num_rounds=fewer, step_size=STRIDE))
    return replace(method, num_steps=MAX_SAMPLING_STEPS)


def condition_kind(system: System) -> str:
    """Return what a system is conditioned on, in words."""
    return "words" if "captions" in system.needs else "a label" if "labels" in system.needs else "nothing"


def count_training_steps(folder: Path) -> int:
    """Return the number of training steps of a stage."""
    plan = read_config(folder)
    return 0 if plan is None else plan.num_steps


def training_seconds(folder: Path) -> float:
    """Return the processor seconds of a stage's training steps, from its metrics log."""
    lines = (folder / "metrics.jsonl").read_text("utf-8").splitlines()
    return float(json.loads(lines[-1])["processor_s"])

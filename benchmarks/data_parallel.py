"""What sharing a batch among processes costs: seconds of a step of the sticker decoder, and of averaging its gradients.

    torchrun --nproc-per-node 2 benchmarks/data_parallel.py --preset wide

The latents and conditions are random numbers, which cost what real ones cost. The first process prints one JSON object
with quartiles over the steps, of wall-clock and of its processor seconds.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import click
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sumi.diffusion import DenoisingLoss
from sumi.hardware import use_threads
from sumi.systems.sticker.presets import preset
from sumi.systems.unclip import parameterization
from sumi.systems.unclip.objectives import DecoderCondition, DecoderObjective
from sumi.training import Batch, Processes, TrainConfig, Trainer, join_processes

EXAMPLES, CONTEXT = 4096, 24


@dataclass(frozen=True)
class RandomFeatures:
    """Stands for `CaptionFeatures`: z_t (N, D), and a feature for each token (N, L, W)."""

    z_t: Tensor
    words: Tensor

    def __call__(self, indices: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return those of some captions."""
        return self.z_t[indices].to(device), self.words[indices].to(device)


def make_objective(name: str) -> tuple[DecoderObjective, TrainConfig]:
    """Return the objective of a preset's decoder on random numbers, and its config."""
    chosen = preset(name)
    network = dict(chosen.networks["decoder"])
    target, schedule = parameterization(chosen.asked["decoder"])
    rng = np.random.default_rng(0)

    def normal(*shape: int) -> NDArray[np.float32]:
        return rng.standard_normal(shape, dtype=np.float32)

    torch.manual_seed(0)
    size = network["vector_width"] // 2
    words = RandomFeatures(
        torch.from_numpy(normal(EXAMPLES, size)), torch.from_numpy(normal(EXAMPLES, CONTEXT, network["token_width"]))
    )
    latents = normal(EXAMPLES, network["channels"], network["side"], network["side"])
    condition = DecoderCondition(normal(EXAMPLES, size), words)  # type: ignore[arg-type]
    loss = DenoisingLoss(target, schedule)
    model: nn.Module = chosen.decoder(**network)
    objective = DecoderObjective(model, None, latents, condition, target, schedule, loss)  # type: ignore[arg-type]
    return objective, chosen.plans["decoder"]


class Timings:
    """Wall-clock and processor seconds of one thing, done again and again."""

    def __init__(self) -> None:
        self.wall: list[float] = []
        self.processor: list[float] = []

    @contextmanager
    def time(self, device: torch.device) -> Iterator[None]:
        """Time a block."""
        wall, processor = time.perf_counter(), time.process_time()
        yield
        if device.type == "cuda":
            torch.cuda.synchronize()
        self.wall.append(time.perf_counter() - wall)
        self.processor.append(time.process_time() - processor)

    def quartiles(self, name: str) -> dict[str, list[float]]:
        """Return the quartiles of both, without the first time."""
        seconds = {f"{name}_s": self.wall, f"{name}_processor_s": self.processor}
        return {key: [round(float(q), 4) for q in np.percentile(of[1:], [25, 50, 75])] for key, of in seconds.items()}


def measure(
    objective: DecoderObjective, config: TrainConfig, device: torch.device, group: Processes
) -> dict[str, object]:
    """Take steps, and average gradients apart from them."""
    trainer = Trainer(objective, objective.model, config, device)
    step, averaging = Timings(), Timings()
    for _ in range(config.num_steps):
        group.sum(torch.zeros(1))  # wait for each other
        with step.time(device):
            trainer.advance()
    batch = Batch(0, 1, torch.arange(2), torch.Generator(device))
    objective.loss(trainer.model, batch)["loss"].backward()  # type: ignore[no-untyped-call]
    for _ in range(config.num_steps):
        group.sum(torch.zeros(1))
        with averaging.time(device):
            trainer.average_gradients()
    return {
        "processes": group.count,
        "parameters": sum(p.numel() for p in trainer.optimiser.parameters.values()),
        "batch": config.batch_size,
        "precision": trainer.config.precision,
        "threads": torch.get_num_threads(),
        **step.quartiles("step"),
        **averaging.quartiles("averaging"),
        "load": os.getloadavg(),
    }


@click.command()
@click.option("--preset", "name", default="wide", show_default=True, help="Preset of the sticker model.")
@click.option("--steps", default=9, show_default=True, help="Steps to time; the first is left out.")
@click.option("--batch", type=int, help="Examples of a step. [default: the preset's]")
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
def main(name: str, steps: int, batch: int | None, device: str) -> None:
    """Measure steps of the decoder, and of averaging its gradients."""
    use_threads()
    with join_processes() as group:
        objective, plan = make_objective(name)
        config = replace(plan, num_steps=steps, batch_size=batch or plan.batch_size, microbatches=0)
        result = measure(objective, config, torch.device(device), group)
        if group.is_first:
            click.echo(json.dumps(result))


if __name__ == "__main__":
    main()

"""What sharing a batch among processes costs: seconds of a step of the sticker decoder, and of adding up its gradients.

    torchrun --nproc-per-node 2 benchmarks/data_parallel.py --preset wide

The latents and conditions are random numbers, which cost what real ones cost. The first process prints one JSON object:
medians over the steps, and the quartiles of a step.
"""

from __future__ import annotations

import json
import os
import time
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


def measure(
    objective: DecoderObjective, config: TrainConfig, device: torch.device, group: Processes
) -> dict[str, object]:
    """Take steps, and add up gradients apart from them."""
    trainer = Trainer(objective, objective.model, config, device)
    steps, sums = [], []
    for _ in range(config.num_steps):
        group.sum(torch.zeros(1))
        began = time.perf_counter()
        trainer.advance()
        steps.append(time.perf_counter() - began)
    parameters = list(trainer.optimiser.parameters.values())
    objective.loss(trainer.model, Batch(0, 1, torch.arange(2), torch.Generator(device)))["loss"].backward()  # type: ignore[no-untyped-call]
    for _ in range(config.num_steps):
        group.sum(torch.zeros(1))
        began = time.perf_counter()
        trainer.sum_gradients()
        if device.type == "cuda":
            torch.cuda.synchronize()
        sums.append(time.perf_counter() - began)
    step, adding = np.percentile(steps[1:], [25, 50, 75]), float(np.median(sums[1:]))
    return {
        "processes": group.count,
        "parameters": sum(p.numel() for p in parameters),
        "batch": config.batch_size,
        "precision": trainer.config.precision,
        "threads": torch.get_num_threads(),
        "step_s": round(float(step[1]), 4),
        "step_quartiles_s": [round(float(step[0]), 4), round(float(step[2]), 4)],
        "sum_gradients_s": round(adding, 4),
        "share": round(adding / float(step[1]), 4),
        "images_per_s": round(config.batch_size / float(step[1]), 1),
        "load": os.getloadavg(),
    }


@click.command()
@click.option("--preset", "name", default="wide", show_default=True, help="Preset of the sticker model.")
@click.option("--steps", default=9, show_default=True, help="Steps to time; the first is left out.")
@click.option("--batch", type=int, help="Examples of a step. [default: the preset's]")
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
def main(name: str, steps: int, batch: int | None, device: str) -> None:
    """Measure steps of the decoder, and of adding up its gradients."""
    use_threads()
    with join_processes() as group:
        objective, plan = make_objective(name)
        config = replace(plan, num_steps=steps, batch_size=batch or plan.batch_size, microbatches=0)
        result = measure(objective, config, torch.device(device), group)
        if group.is_first:
            click.echo(json.dumps(result))


if __name__ == "__main__":
    main()

"""A diffusion spec: the choices in which one diffusion model differs from another. All else is the same for all.

    schedule      how signal and noise mix             x_t = alpha x + sigma eps
    target        what the network predicts            p x + q eps
    loss          how the times are weighted
    sampler       how to go from noise to data, and at which times

A published system of one network is a value of this class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from sumi.diffusion import (
    DDIMSampler,
    Denoiser,
    LearnedVariance,
    Loss,
    NetworkDenoiser,
    Sampler,
    Schedule,
    Target,
    Times,
    uniform_times,
)
from sumi.nn import Cond, UNet
from sumi.pipelines import Settings, Stage
from sumi.pipelines.steps import Threshold, drive_to_end
from sumi.systems import Examples, Method
from sumi.systems.objectives import sheet
from sumi.systems.pipeline import Pipeline, SampleRequest, StagePipeline
from sumi.training import Batch

__all__ = ["NOTHING", "DiffusionObjective", "DiffusionSpec", "one_hot", "signals", "unet"]

NOTHING = Cond()


def signals(examples: Any, indices: Tensor, device: torch.device | str = "cpu") -> Tensor:
    """Return some examples as floats: uint8 pictures in [-1, 1], everything else as it is."""
    where = indices if isinstance(examples, Tensor) else indices.numpy()
    rows = torch.as_tensor(examples[where]).to(device)
    return rows.float() / 127.5 - 1 if rows.dtype == torch.uint8 else rows.float()


def one_hot(labels: Sequence[int] | Tensor, num_labels: int) -> Cond:
    """Return labels as a one-hot condition; a row of zeros is no condition."""
    return Cond(vector=torch.nn.functional.one_hot(torch.as_tensor(labels).long(), num_labels).float())


def unet(out_channels: int = 4, vector_width: int = 0) -> UNet:
    """Return the default network; it folds squares of four pixels into channels, which is three times as fast."""
    levels: dict[str, Any] = {"channels": [64, 96], "blocks": [1, 1], "attention": [False, True], "middle": 1}
    return UNet(4, out_channels, **levels, patch=2, vector_width=vector_width, head_width=32)


@dataclass(frozen=True)
class DiffusionSpec(Method):
    """One diffusion model, how it is trained and how it is sampled. The last of the stages, "network", draws."""

    name: str
    schedule: Schedule
    target: Target
    loss: Loss
    sampler: Sampler[Any]
    times: Times = uniform_times
    num_steps: int = 50
    stages: tuple[str, ...] = ("network",)

    def diffusion(self) -> DiffusionSpec:
        """Return itself."""
        return self

    def network(self, vector_width: int = 0) -> nn.Module:
        """Return a fresh default network; a learned variance takes as many channels again."""
        return unet(8 if isinstance(self.target, LearnedVariance) else 4, vector_width)

    def denoiser(self, network: nn.Module) -> Denoiser[Cond]:
        """Return the network as an estimate of the clean signal."""
        return NetworkDenoiser(network, self.target, self.schedule)

    def stage(self, denoiser: Denoiser[Cond], shape: Sequence[int] = (), name: str = "network", **more: Any) -> Stage:
        """Return a denoiser as a stage; `more` are further fields of `Stage`, and of `Settings`: guidance, interval."""
        settings = {key: more.pop(key) for key in ("guidance", "interval") if key in more}
        return Stage(
            name,
            denoiser,
            self.schedule,
            self.times,
            tuple(shape),
            Settings(self.name, self.num_steps, **settings),
            sampler=self.sampler,
            **more,
        )

    def objective(self, stage: str, examples: Examples, parts: Mapping[str, nn.Module]) -> DiffusionObjective:
        """Train the default network on the examples."""
        return DiffusionObjective(self.name, parts.get(stage) or self.network(), self, examples.pictures)

    def pipeline(self, parts: Mapping[str, nn.Module]) -> Pipeline:
        """Draw RGBA pictures of any size; estimates on the way are clamped to [-1, 1], as in DDPM's code."""
        return StagePipeline(self.stage(self.denoiser(parts[self.stages[-1]]), threshold=Threshold()))


def unconditional(batch: Batch) -> Cond:
    """Return the empty condition."""
    return NOTHING


@dataclass(frozen=True)
class DiffusionObjective:
    """Train a network by the loss of a spec. cond: the condition of each example of a batch."""

    name: str
    model: nn.Module
    spec: DiffusionSpec
    examples: Any
    cond: Callable[[Batch], Cond] = unconditional

    def __len__(self) -> int:
        """How many examples."""
        return len(self.examples)

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """Return the mean of the spec's loss over a batch."""
        x = signals(self.examples, batch.indices, batch.rng.device)
        return {"loss": self.spec.loss(model, x, self.cond(batch), batch.rng).mean()}

    def picture(self, model: nn.Module) -> Tensor | None:
        """Return sixteen pictures by DDIM in twenty steps; None where it draws no pictures, or conditional ones."""
        shape = self.examples.shape[1:]
        if len(shape) != 3 or shape[0] != 4 or self.cond is not unconditional:
            return None
        quick = replace(self.spec, sampler=DDIMSampler(self.spec.schedule), times=uniform_times)
        pipeline = StagePipeline(quick.stage(quick.denoiser(model), threshold=Threshold()))
        request = SampleRequest(range(16), shape[-1], num_steps=20)
        return sheet(drive_to_end(pipeline.sample(request)).chunk(2))

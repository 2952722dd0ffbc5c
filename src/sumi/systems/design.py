"""A design: the choices in which one diffusion model differs from another. Everything else is the same for all.

    schedule      how signal and noise mix             x_t = alpha x + sigma eps
    target        what the network is asked for        p x + q eps
    loss          which times count how much
    sampler       how to walk back, and the times to halt at

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
    seeded,
    threshold,
    uniform_times,
)
from sumi.nn import Cond, UNet
from sumi.pipelines import Settings, Stage, run
from sumi.pipelines.steps import Work, drive_to_end
from sumi.systems import Examples, Method, Wish
from sumi.systems.objectives import to_picture
from sumi.training import Batch

__all__ = ["NOTHING", "Design", "DesignLesson", "one_hot", "signals"]

NOTHING = Cond()


def signals(examples: Any, indices: Tensor, device: torch.device | str = "cpu") -> Tensor:
    """Some examples as floats: uint8 pictures in [-1, 1], everything else as it is."""
    where = indices if isinstance(examples, Tensor) else indices.numpy()
    rows = torch.as_tensor(examples[where]).to(device)
    return rows.float() / 127.5 - 1 if rows.dtype == torch.uint8 else rows.float()


def one_hot(labels: Sequence[int] | Tensor, num_labels: int) -> Cond:
    """Labels as the condition that networks read; a row of zeros says nothing."""
    return Cond(vector=torch.nn.functional.one_hot(torch.as_tensor(labels).long(), num_labels).float())


def unet(out_channels: int = 4, vector_width: int = 0) -> UNet:
    """The default network: it folds squares of four pixels, which makes a small machine learn three times as much."""
    levels: dict[str, Any] = {"channels": [64, 96], "blocks": [1, 1], "attention": [False, True], "middle": 1}
    return UNet(4, out_channels, **levels, patch=2, vector_width=vector_width, head_width=32)


@dataclass(frozen=True)
class Design(Method):
    """One network, as it is trained and as it draws. The last of its stages, "network", draws."""

    name: str
    schedule: Schedule
    target: Target
    loss: Loss
    sampler: Sampler[Any]
    times: Times = uniform_times
    num_steps: int = 50
    stages: tuple[str, ...] = ("network",)

    def network(self, vector_width: int = 0) -> nn.Module:
        """A fresh default network; a learned variance takes as many channels again."""
        return unet(8 if isinstance(self.target, LearnedVariance) else 4, vector_width)

    def denoiser(self, network: nn.Module) -> Denoiser[Cond]:
        """The network as an estimate of the clean signal."""
        return NetworkDenoiser(network, self.target, self.schedule)

    def sample(
        self,
        denoise: Denoiser[Cond],
        shape: Sequence[int],
        seeds: Sequence[int],
        cond: Cond = NOTHING,
        num_steps: int | None = None,
        stage: str = "network",
    ) -> Work[Tensor]:
        """Draw one signal of this shape for each seed, from pure noise, asking for every step; returns (B, *shape).

        stage: the name that progress reports.
        """
        settings = Settings(self.name, num_steps or self.num_steps)
        made = Stage(stage, denoise, self.schedule, self.times, tuple(shape), settings, sampler=self.sampler)
        return (yield from run(made, cond, seeds, rngs=seeded(seeds)))

    def lesson(self, stage: str, examples: Examples, parts: Mapping[str, nn.Module]) -> DesignLesson:
        """Train the default network on the examples."""
        return DesignLesson(self.name, parts.get(stage) or self.network(), self, examples.pictures)

    def pictures(
        self, network: nn.Module, size_px: int, seeds: Sequence[int], num_steps: int | None = None
    ) -> Work[Tensor]:
        """Draw one picture a seed, uint8 (B, 4, S, S); estimates on the way are clamped to [-1, 1] (DDPM)."""
        denoise = threshold(self.denoiser(network))
        return to_picture((yield from self.sample(denoise, (4, size_px, size_px), seeds, num_steps=num_steps)))

    def draw(self, parts: Mapping[str, nn.Module], wish: Wish) -> Work[Tensor]:
        """Draw pictures, uint8 (B, 4, S, S)."""
        return self.pictures(parts[self.stages[-1]], wish.size_px, wish.seeds, wish.num_steps)


def unconditional(batch: Batch) -> Cond:
    """Say nothing."""
    return NOTHING


@dataclass(frozen=True)
class DesignLesson:
    """Train a network by a design's loss. cond: what the network is told about the examples of a batch."""

    name: str
    model: nn.Module
    design: Design
    examples: Any
    cond: Callable[[Batch], Cond] = unconditional

    def __len__(self) -> int:
        """How many examples."""
        return len(self.examples)

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """The mean of the design's loss over a batch."""
        x = signals(self.examples, batch.indices, batch.rng.device)
        return {"loss": self.design.loss(model, x, self.cond(batch), batch.rng).mean()}

    def picture(self, model: nn.Module) -> Tensor | None:
        """Sixteen pictures, if pictures are what it draws: a quick look, by DDIM in twenty steps."""
        shape = self.examples.shape[1:]
        if len(shape) != 3 or shape[0] != 4 or self.cond is not unconditional:
            return None
        quick = replace(self.design, sampler=DDIMSampler(self.design.schedule), times=uniform_times)
        drawn = drive_to_end(quick.pictures(model, shape[-1], range(16), num_steps=20))
        return torch.cat([torch.cat(list(row), dim=2) for row in drawn.chunk(2)], dim=1)

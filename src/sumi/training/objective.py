"""What one stage learns: a model, how many examples there are, and the loss of a batch of them.

The loop owns time and chance and the lesson owns meaning. A lesson is stateless: everything it needs to know
about the present moment comes in the `Batch`, and everything random in it is drawn from `batch.rng`, so

    gradient(step) = function of (weights, seed, step)

and a run that was killed goes on as if nothing had happened.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Batch:
    """One step's share of the examples, and its source of chance.

    step: counts from 0; of: how many steps the run has (for a curriculum, `step / of`).
    indices: int64 (B,) on the CPU, positions in 0 … len(lesson) - 1.
    rng: generator on the device of training, fresh for this step.
    """

    step: int
    of: int
    indices: Tensor
    rng: torch.Generator


class Objective(Protocol):
    """What one stage learns. `model` is trained, averaged and checkpointed; the rest is only read."""

    @property
    def name(self) -> str:
        """A short name ("clip", "prior", …); a checkpoint of another lesson is refused."""
        ...

    @property
    def model(self) -> nn.Module:
        """The network to train, with fp32 weights in whatever memory format suits it."""
        ...

    def __len__(self) -> int:
        """How many examples there are; each is seen once an epoch, in an order drawn anew each time."""
        ...

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """Scalars of a batch: "loss" is descended, the others are reported. `model` may be a wrapped one."""
        ...

    def picture(self, model: nn.Module) -> Tensor | None:
        """A sheet of samples from the averaged model: uint8 (3 or 4, H, W), premultiplied if it has alpha."""
        ...

"""What a stage learns: a model, a number of examples, and the loss of a batch.

An objective is stateless. It takes the step from the `Batch` and draws all random numbers from `batch.rng`, so

    gradient(step) = function of (weights, seed, step)

and a run that was killed resumes exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Batch:
    """The examples and the random generator of one step.

    Attributes:
        step: counted from 0.
        num_steps: steps of the run; a curriculum can follow step / num_steps.
        indices: int64 (B,) on the CPU, positions in 0 … len(objective) - 1.
        rng: generator of this step, on the device of training.
    """

    step: int
    num_steps: int
    indices: Tensor
    rng: torch.Generator


class Objective(Protocol):
    """What a stage learns. `model` is trained, averaged and checkpointed; the rest is only read."""

    @property
    def name(self) -> str:
        """A short name ("clip", "prior", …); a run resumes only with an objective of the same name."""
        ...

    @property
    def model(self) -> nn.Module:
        """The network to train, with fp32 weights in any memory format."""
        ...

    def __len__(self) -> int:
        """The number of examples; each is used once per epoch, in a new random order."""
        ...

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """Return scalars of a batch: "loss" is minimised, the others are reported. `model` may be wrapped."""
        ...

    def picture(self, model: nn.Module) -> Tensor | None:
        """Draw a sheet of samples with the averaged model: uint8 (3 or 4, H, W), premultiplied if RGBA; or None."""
        ...

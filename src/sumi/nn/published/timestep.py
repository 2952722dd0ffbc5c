"""The time as published diffusion models hear it: a step n of their training, 0 … 999, as sines and cosines.

    t = (n + 1) / 1000,    embedding = W2 silu(W1 sinusoids(n))

On Sumi's schedules step n of a chain of 1000 is the time (n + 1) / 1000, since t = 0 is the data itself.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sumi.nn.embedding import sinusoids

TRAIN_STEPS = 1000


def timesteps(t: Tensor) -> Tensor:
    """Times t in (0, 1] as steps, exactly whole where they are meant to be whole; float32."""
    steps = TRAIN_STEPS * t.float() - 1
    nearest = steps.round()
    return torch.where((steps - nearest).abs() < 1e-3, nearest, steps)


class TimestepEmbedding(nn.Module):
    """Two layers (B, in_width) to (B, width)."""

    def __init__(self, in_width: int, width: int) -> None:
        super().__init__()
        self.in_width = in_width
        self.linear_1, self.linear_2 = nn.Linear(in_width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_width) to (B, width)."""
        return self.linear_2(F.silu(self.linear_1(x.to(self.linear_1.weight.dtype))))  # type: ignore[no-any-return]

    def at(self, t: Tensor) -> Tensor:
        """The embedding of times t (B,) in (0, 1], (B, width)."""
        return self(sinusoids(timesteps(t), self.in_width, scale=1.0))  # type: ignore[no-any-return]

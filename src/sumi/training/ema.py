"""The exponential moving average of the weights, which draws better images than the weights.

    average <- d·average + (1 - d)·weights,     d = min(decay, (1 + k)/(10 + k))

at step k, so that the window is short at first and the average does not keep the initial weights.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class Ema:
    """The moving average of a model; `average` is a module of the same class, in eval mode, without gradients."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.average = copy.deepcopy(model).eval().requires_grad_(False)
        pairs = list(zip(_tensors(self.average), _tensors(model), strict=True))
        self._smooth = [(a, w) for a, w in pairs if w.is_floating_point()]
        self._exact = [(a, w) for a, w in pairs if not w.is_floating_point()]  # counters are not averaged

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average towards the weights and buffers after step `step`, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        if self._smooth:
            torch._foreach_lerp_([a for a, _ in self._smooth], [w for _, w in self._smooth], 1 - decay)
        for average, weights in self._exact:
            average.copy_(weights)


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*(p.detach() for p in model.parameters()), *model.buffers()]

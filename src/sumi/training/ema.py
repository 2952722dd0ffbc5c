"""The exponential moving average of the weights, which draws better images than the weights.

    average <- d·average + (1 - d)·weights,     d = min(decay, (1 + k)/(10 + k))

at step k, so that the window is short at first and the average does not keep the initial weights.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from sumi.training.large_networks import local_part


class Ema:
    """The moving average of a model; `average` is a module of the same class, in eval mode, without gradients."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.model = decay, model
        self.average = copy.deepcopy(model).eval().requires_grad_(False)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average towards the weights and buffers after step `step`, counted from 0."""
        decay = min(self.decay, (1 + step) / (10 + step))
        pairs = list(zip(_tensors(self.average), _tensors(self.model), strict=True))
        smooth = [(a, w) for a, w in pairs if w.is_floating_point()]
        if smooth:
            torch._foreach_lerp_([a for a, _ in smooth], [w for _, w in smooth], 1 - decay)
        for average, weights in pairs:
            if not weights.is_floating_point():  # counters are not averaged
                average.copy_(weights)


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*(local_part(p.detach()) for p in model.parameters()), *model.buffers()]

"""Spacings: the n steps of a chain of T that a sampler visits, by the three conventions of public libraries.

    leading:  k (T // n) + offset             DDPM and the first Stable Diffusion; never starts at pure noise
    trailing: round(T - k T / n) - 1          ends of equal intervals; Lin et al. 2023, arXiv 2305.08891, section 3.3
    linspace: equal steps from T - 1 to 0     k-diffusion

Step number m, 0 ... T - 1, is the time (m + 1) / T on a schedule.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Spacing = Literal["leading", "trailing", "linspace"]


def spaced_steps(spacing: Spacing, num_steps: int, train_steps: int = 1000, offset: int = 0) -> Tensor:
    """Return `num_steps` steps of a chain of `train_steps`, falling, float64; those of linspace may be fractions.

    offset: added to leading steps. ValueError unless 1 <= num_steps and the steps lie on the chain.
    """
    if not 1 <= num_steps <= train_steps:
        raise ValueError(f"a chain of {train_steps} can be walked in 1 to {train_steps} steps, not {num_steps}")
    k = torch.arange(num_steps, dtype=torch.float64)
    if spacing == "linspace":
        return torch.linspace(train_steps - 1, 0, num_steps, dtype=torch.float64)
    if spacing == "trailing":
        return (train_steps - k * train_steps / num_steps).round() - 1
    steps = k.flip(0) * (train_steps // num_steps) + offset
    if float(steps[0]) >= train_steps:
        raise ValueError(f"{num_steps} leading steps from {offset} on end past a chain of {train_steps}")
    return steps

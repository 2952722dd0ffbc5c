"""Random numbers that do not depend on the batch a sample is in.

With one generator per sample, sample k gets the same numbers alone, in any batch and on any device: each draw happens
on the generator's device (normally the CPU) in float32 and is then moved. With a single generator the whole batch is
one draw, which is faster and is what training uses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor

Rng = Generator | Sequence[Generator]


def seeded(seeds: Sequence[int]) -> list[Generator]:
    """Make one CPU generator per seed."""
    return [Generator().manual_seed(seed) for seed in seeds]


def normal(like: Tensor, rng: Rng) -> Tensor:
    """Draw standard normal numbers with the shape (B, ...), device and dtype of `like`.

    Raises:
        ValueError: `rng` is a sequence whose length is not B.
    """
    return _draw(torch.randn, tuple(like.shape), rng).to(device=like.device, dtype=like.dtype)


def uniform(count: int, rng: Rng) -> Tensor:
    """Draw `count` numbers uniform on [0, 1), float32, (count,)."""
    return _draw(torch.rand, (count,), rng)


def _draw(kind: Callable[..., Tensor], shape: tuple[int, ...], rng: Rng) -> Tensor:
    if isinstance(rng, Generator):
        return kind(shape, generator=rng, device=rng.device, dtype=torch.float32)
    if len(rng) != shape[0]:
        raise ValueError(f"{len(rng)} generators for {shape[0]} samples: give one for each, or a single one")
    return torch.stack([kind(shape[1:], generator=g, device=g.device, dtype=torch.float32) for g in rng])

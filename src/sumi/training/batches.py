"""The examples and the random numbers of step k, as functions of (seed, k) alone.

The epochs form one endless stream, each epoch a permutation keyed by (seed, epoch):

    stream[p] = permutation(seed, p // size)[p mod size]
    batch(k)  = stream[k·B : (k + 1)·B]

so resuming needs no saved state. A batch may span two epochs.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import torch
from torch import Tensor


def stable_seed(seed: int, stream: str, number: int) -> int:
    """Hash (seed, stream, number) to 63 bits, the same on every machine and in every process."""
    digest = hashlib.blake2b(f"{seed}/{stream}/{number}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def step_seed(seed: int, stream: str, step: int, microbatch: int = 0) -> int:
    """Return the seed of a stream of random numbers in one micro-batch of one step."""
    return stable_seed(seed, f"{stream}.{microbatch}" if microbatch else stream, step)


def step_rng(seed: int, step: int, device: torch.device | str = "cpu", microbatch: int = 0) -> torch.Generator:
    """Make the random generator of one micro-batch of one step, on `device`."""
    return torch.Generator(device).manual_seed(step_seed(seed, "step", step, microbatch))


@lru_cache(maxsize=2)  # a batch that spans two epochs needs both
def _permutation(seed: int, epoch: int, size: int) -> Tensor:
    return torch.randperm(size, generator=torch.Generator().manual_seed(stable_seed(seed, "epoch", epoch)))


def batch_indices(step: int, batch_size: int, size: int, seed: int) -> Tensor:
    """Return the positions of the examples of one step: int64 (batch_size,), each in 0 … size - 1.

    Args:
        step: counted from 0.
        batch_size: examples of a step.
        size: examples of the data.
        seed: of the run.
    """
    start, end = step * batch_size, (step + 1) * batch_size
    parts = []
    while start < end:
        epoch, place = divmod(start, size)
        parts.append(_permutation(seed, epoch, size)[place : place + end - start])
        start += len(parts[-1])
    return torch.cat(parts)

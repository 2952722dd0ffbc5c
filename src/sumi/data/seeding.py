"""Chance: a stream of its own for every (seed, index, purpose), the same on every machine.

    stream(seed, index, purpose) = Random(blake2b(seed | index | purpose))

Only `.random()` is ever drawn from it: of all that Python's generator offers, that alone is promised never to
change between versions.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeVar

__all__ = ["pick", "scene_rng", "weighted_choice"]

T = TypeVar("T")


def scene_rng(seed: int, index: int, purpose: str) -> random.Random:
    """The chance of one scene, for one purpose."""
    digest = blake2b(f"{seed}|{index}|{purpose}".encode(), digest_size=8).digest()
    return random.Random(int.from_bytes(digest, "big"))


def pick(rng: random.Random, choices: Sequence[T]) -> T:
    """One of `choices`, all alike."""
    return choices[int(rng.random() * len(choices))]


def weighted_choice(rng: random.Random, names: Sequence[str], weights: Sequence[float]) -> str:
    """One of `names`, in proportion to its weight; the weights need not sum to 1."""
    draw = rng.random() * sum(weights)
    for name, weight in zip(names, weights, strict=True):
        draw -= weight
        if draw < 0:
            return name
    return names[-1]

"""The bias that a filter adds to a data set, and weights that undo it.

A filter that drops more captions of one kind than of another changes what a model draws when it is asked for nothing in
particular. Weights bring the share of each group back to what it was before:

    p_g = share of group g before        w_i <- w_i p_g / q_g  for members,  w_i (1 - p_g) / (1 - q_g)  for others

in turn for each group, with q_g its weighted share, until nothing moves: iterative proportional fitting (Deming &
Stephan 1940, Ann. Math. Statist. 11, 427-444). DALL-E 2 reweights for the same reason, with a classifier (Nichol 2022,
"DALL-E 2 pre-training mitigations").
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sumi.conditioning.lexicon import words_of
from sumi.curation.machine_captions import FUNCTION_WORDS

__all__ = ["GroupShare", "Reweighting", "common_groups", "reweight"]

ROUNDS = 200
MOST_GROUPS = 30
LEAST_MEMBERS = 5
LARGEST_WEIGHT = 20.0


@dataclass(frozen=True)
class GroupShare:
    """The share of captions that have a word of a group, in [0, 1]: before a filter, after it, and with weights."""

    name: str
    before: float
    after: float
    weighted: float


@dataclass(frozen=True)
class Reweighting:
    """Weights of the pictures that are kept, of mean 1.

    Attributes:
        weights: (K,).
        shares: of each group.
        effective: how many equally weighted pictures are worth as much, (sum w)^2 / sum w^2.
    """

    weights: NDArray[np.float64]
    shares: tuple[GroupShare, ...]
    effective: float


def common_groups(captions: Sequence[str], most: int = MOST_GROUPS) -> dict[str, tuple[str, ...]]:
    """Return a group for each of the commonest words of captions that say something."""
    counts = Counter(word for text in captions for word in set(words_of(text)) - FUNCTION_WORDS if word.isalpha())
    return {word: (word,) for word, count in counts.most_common(most) if count >= LEAST_MEMBERS and len(word) > 1}


def reweight(captions: Sequence[str], kept: Sequence[int], groups: Mapping[str, Sequence[str]]) -> Reweighting:
    """Return weights for the captions that a filter keeps.

    Args:
        captions: all of them, before the filter.
        kept: the numbers of those that it keeps.
        groups: words by the name of their group; a caption belongs to each group of which it has a word.
    """
    worded = [set(words_of(text)) for text in captions]
    members = np.array([[bool(words & set(group)) for group in groups.values()] for words in worded], dtype=bool)
    members = members.reshape(len(captions), len(groups))
    before, inside = members.mean(axis=0) if len(captions) else np.zeros(len(groups)), members[list(kept)]
    weights = np.ones(len(kept))
    for _ in range(ROUNDS if len(kept) else 0):
        last = weights
        for group, share in zip(inside.T, before, strict=True):
            now = weights[group].sum() / weights.sum()
            if 0 < now < 1 and 0 < share < 1:
                weights = weights * np.where(group, share / now, (1 - share) / (1 - now))
        weights = np.clip(weights / weights.mean(), 1 / LARGEST_WEIGHT, LARGEST_WEIGHT)
        if np.abs(weights - last).max() < 1e-6:
            break
    after = inside.mean(axis=0) if len(kept) else np.zeros(len(groups))
    weighted = (inside * weights[:, None]).sum(axis=0) / max(weights.sum(), 1e-9)
    shares = tuple(
        GroupShare(*row) for row in zip(groups, before.tolist(), after.tolist(), weighted.tolist(), strict=True)
    )
    return Reweighting(weights, shares, float(weights.sum() ** 2 / max((weights**2).sum(), 1e-9)))

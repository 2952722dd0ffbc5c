"""The objective of CLIP's image tower: classify the concept of a picture, and the words of its caption."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sumi.conditioning import ImageClassifier
from sumi.imaging.pixels import from_levels
from sumi.systems.objectives import Arrays, soften, take
from sumi.training import Batch

__all__ = ["TowerObjective", "common_words"]

COMMON = 0.3
"""A word of more than this share of the captions, such as "a", says nothing about a picture."""


def common_words(ids: Arrays, size: int) -> Tensor:
    """Return which of `size` words (size,) stand in many of the captions ids (N, L); padding is one of them."""
    some = np.asarray(ids[:20_000]).astype(np.int64)
    present = np.zeros((len(some), size), dtype=bool)
    np.put_along_axis(present, some, True, axis=1)
    common = torch.from_numpy(present.mean(axis=0) > COMMON)
    common[0] = True
    return common


@dataclass(frozen=True)
class TowerObjective:
    """Classify the concept of a picture, and the words of its caption.

        loss = -log p(concept | x) - w · mean over the words of the caption of log p(word | x)

    Args:
        model: the classifiers and their tower.
        pictures: uint8 (N, C, S, S).
        concepts: the concept of each picture (N,), -1 for a picture of several or of none.
        ids: token ids of the captions (N, L).
        common: words that are not learned (V,), of `common_words`.
        weight: w.
    """

    model: ImageClassifier
    pictures: Arrays
    concepts: Arrays
    ids: Arrays
    common: Tensor
    weight: float = 0.7
    name: str = "tower"

    def __len__(self) -> int:
        """How many pictures."""
        return len(self.pictures)

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """Return the loss, and the share of the pictures of one concept that are named right."""
        assert isinstance(model, ImageClassifier)
        device = batch.rng.device
        concept, word = model(soften(from_levels(take(self.pictures, batch.indices, device)), batch.rng))
        target = torch.zeros_like(word).scatter_(1, take(self.ids, batch.indices, device).long(), 1.0)
        target[:, self.common.to(device)] = 0.0
        target = target / target.sum(dim=1, keepdim=True).clamp(min=1)
        loss = -self.weight * (target * F.log_softmax(word, dim=1)).sum(dim=1).mean()
        shown = take(self.concepts, batch.indices, device).long()
        known = shown >= 0
        if not known.any():
            return {"loss": loss}
        named = (concept[known].argmax(dim=1) == shown[known]).float().mean()
        return {"loss": loss + F.cross_entropy(concept[known], shown[known]), "named": named}

    def picture(self, model: nn.Module) -> None:
        """Return nothing: a classifier draws no pictures."""

"""An image tower that learns to classify before it becomes CLIP's.

    p(concept | x) = softmax(W_c h),   p(word | x) = softmax(W_w h),   h = (tower(x) - mean) / deviation

Cross-entropy over all classes, whose weights are learned, teaches a small tower from far fewer pictures than the
contrastive loss of a small batch. The words of a caption are classes too, which holds for pictures of any kind (Joulin
et al. 2015, arXiv 1511.02251, section 3).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sumi.conditioning.clip import ResNetTower

__all__ = ["ImageClassifier"]


class ImageClassifier(nn.Module):
    """An image tower, and classifiers of the concept and of the words of a caption.

    Args:
        image: configuration of a `ResNetTower`.
        concepts: how many concepts there are.
        words: how many words there are.
    """

    def __init__(self, image: Mapping[str, Any], concepts: int, words: int) -> None:
        super().__init__()
        self.config: dict[str, Any] = {"image": dict(image), "concepts": concepts, "words": words}
        self.tower, width = ResNetTower(**image), int(image["width"])
        self.norm = nn.BatchNorm1d(width)
        self.concept, self.words = nn.Linear(width, concepts), nn.Linear(width, words)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (B, concepts) and (B, words) of pictures (B, in_channels, size_px, size_px) in [-1, 1]."""
        h = self.norm(self.tower(x).float())
        return self.concept(h), self.words(h)

    @torch.no_grad()
    def standardised_tower(self) -> dict[str, Tensor]:
        """Return the weights of a tower whose features are standardised: the norm is folded into its last layer."""
        assert self.norm.running_mean is not None and self.norm.running_var is not None
        gain = self.norm.weight / (self.norm.running_var + self.norm.eps).sqrt()
        weights = {name: value.clone() for name, value in self.tower.state_dict().items()}
        weights["pool.weight"] *= gain[:, None]
        weights["pool.bias"] = (weights["pool.bias"] - self.norm.running_mean) * gain + self.norm.bias
        return weights

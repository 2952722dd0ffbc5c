"""A classifier that is told how noisy its picture is, so that its gradient means something at every time.

Half a U-Net: blocks and halvings, then the mean over all positions (Dhariwal & Nichol 2021, section 4.1). With an
embedding for an answer it is the image tower of a noised CLIP (GLIDE: Nichol et al. 2021, section 2.4).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from sumi.nn.cond import Cond
from sumi.nn.embedding import TimeEmbedding
from sumi.nn.unet import Downsample, ResBlock, norm


class Classifier(nn.Module):
    """Pictures (B, in_channels, H, W) to answers (B, out_features); channels: one entry per level, finest first."""

    def __init__(self, in_channels: int, out_features: int, channels: Sequence[int]) -> None:
        super().__init__()
        width = 4 * channels[0]
        self.config: dict[str, Any] = {
            "in_channels": in_channels, "out_features": out_features, "channels": list(channels),
        }  # fmt: skip
        self.time = TimeEmbedding(width)
        self.mouth = nn.Conv2d(in_channels, channels[0], 3, padding=1)
        self.down = nn.ModuleList()
        for level, count in enumerate(channels):
            if level:
                self.down.append(Downsample(channels[level - 1], count))
            self.down.append(ResBlock(count, count, width))
        self.norm = norm(channels[-1])
        self.head = nn.Linear(channels[-1], out_features)

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """x (B, in_channels, H, W), t (B,) in [0, 1]; the condition is what it is asked for, so it is not shown."""
        embedding, h = self.time(t), self.mouth(x)
        for layer in self.down:
            h = layer(h, embedding) if isinstance(layer, ResBlock) else layer(h)
        return self.head(F.silu(self.norm(h)).mean(dim=(2, 3)))  # type: ignore[no-any-return]

"""A classifier of noisy images, conditioned on the time, for classifier guidance.

Half a U-Net: residual blocks and downsampling, then the mean over all positions (Dhariwal and Nichol 2021, arXiv
2105.05233, sec. 4.1). With an embedding as its output it is the image tower of a noised CLIP (GLIDE, arXiv
2112.10741, sec. 2.4).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from sumi.nn.cond import Cond
from sumi.nn.config_module import ConfigModule
from sumi.nn.embedding import TimeEmbedding
from sumi.nn.unet import Downsample, ResBlock, norm


class Classifier(ConfigModule):
    """Noisy images (B, in_channels, H, W) to logits (B, out_features).

    Args:
        in_channels: channels of an image.
        out_features: number of classes, or width of the embedding.
        channels: channels of each level, finest first.
    """

    def __init__(self, in_channels: int, out_features: int, channels: Sequence[int]) -> None:
        super().__init__()
        width = 4 * channels[0]
        self.time = TimeEmbedding(width)
        self.conv_in = nn.Conv2d(in_channels, channels[0], 3, padding=1)
        self.down = nn.ModuleList()
        for level, count in enumerate(channels):
            if level:
                self.down.append(Downsample(channels[level - 1], count))
            self.down.append(ResBlock(count, count, width))
        self.norm = norm(channels[-1])
        self.proj_out = nn.Linear(channels[-1], out_features)

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """Map x_t (B, in_channels, H, W) at t (B,) in [0, 1] to (B, out_features); `cond` is ignored."""
        embedding, h = self.time(t), self.conv_in(x)
        for layer in self.down:
            h = layer(h, embedding) if isinstance(layer, ResBlock) else layer(h)
        return self.proj_out(F.silu(self.norm(h)).mean(dim=(2, 3)))  # type: ignore[no-any-return]

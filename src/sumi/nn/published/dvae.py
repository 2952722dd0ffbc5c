"""OpenAI's discrete VAE, with the parameter names of its authors' code.

    x + f(x) / n^2,    f: relu, conv, relu, conv, relu, conv, relu, conv;    n residual blocks in all

Four groups of such blocks; the encoder halves the picture after each but the last, the decoder doubles it. Ramesh et
al. 2021, Zero-Shot Text-to-Image Generation, arXiv 2102.12092, appendix A.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sumi.nn.published.config import PublishedConfig

GROUPS = 4


@dataclass(frozen=True, kw_only=True)
class DVAEConfig(PublishedConfig):
    """The widths of one half. n_hid: of the finest group; each coarser one is twice as wide."""

    vocab_size: int
    n_hid: int
    n_blk_per_group: int
    channels: int
    n_init: int | None = None


class DVAEConv(nn.Module):
    """A convolution that keeps the size, its weight and bias called w and b."""

    def __init__(self, in_channels: int, out_channels: int, side: int) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(out_channels, in_channels, side, side))
        self.b = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        return F.conv2d(x, self.w, self.b, padding=self.w.shape[-1] // 2)


class DVAEBlock(nn.Module):
    """A residual block. sides: of the kernels of its four convolutions. gain: what the branch is multiplied by."""

    def __init__(self, in_channels: int, out_channels: int, sides: Sequence[int], gain: float) -> None:
        super().__init__()
        self.gain, inner = gain, out_channels // 4
        self.id_path = DVAEConv(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()
        widths = [in_channels, inner, inner, inner, out_channels]
        self.res_path = nn.Sequential()
        for number, side in enumerate(sides, start=1):
            self.res_path.add_module(f"relu_{number}", nn.ReLU())
            self.res_path.add_module(f"conv_{number}", DVAEConv(widths[number - 1], widths[number], side))

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        return self.id_path(x) + self.gain * self.res_path(x)  # type: ignore[no-any-return]


def dvae_groups(
    first: int, widths: Sequence[int], blocks: int, sides: Sequence[int], between: type[nn.Module], **how: Any
) -> list[tuple[str, nn.Module]]:
    """Return the groups of one half, `between` after each but the last."""
    made: list[tuple[str, nn.Module]] = []
    gain = 1 / (len(widths) * blocks) ** 2
    for number, width in enumerate(widths, start=1):
        group: OrderedDict[str, nn.Module] = OrderedDict()
        for block in range(1, blocks + 1):
            group[f"block_{block}"] = DVAEBlock(first, width, sides, gain)
            first = width
        if number < len(widths):
            group["resample"] = between(**how)
        made.append((f"group_{number}", nn.Sequential(group)))
    return made


def dvae_output(width: int, channels: int) -> nn.Module:
    """Return the last layer of one half."""
    return nn.Sequential(OrderedDict(relu=nn.ReLU(), conv=DVAEConv(width, channels, 1)))


class DVAEEncoder(nn.Module):
    """Pictures to the logits of their tokens. Keyword arguments are the fields of `DVAEConfig`."""

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self.config, read = config, DVAEConfig.read(config)
        widths = [2**group * read.n_hid for group in range(GROUPS)]
        self.blocks = nn.Sequential(
            OrderedDict(
                [
                    ("input", DVAEConv(read.channels, read.n_hid, 7)),
                    *dvae_groups(read.n_hid, widths, read.n_blk_per_group, (3, 3, 3, 1), nn.MaxPool2d, kernel_size=2),
                    ("output", dvae_output(widths[-1], read.vocab_size)),
                ]
            )
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels (B, channels, H, W) in [0.1, 0.9] to logits (B, vocab_size, H/8, W/8), float32."""
        return self.blocks(pixels.to(next(self.parameters()).dtype)).float()  # type: ignore[no-any-return]


class DVAEDecoder(nn.Module):
    """Tokens to the distribution of pixels. Keyword arguments are the fields of `DVAEConfig`, n_init among them."""

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self.config, read = config, DVAEConfig.read(config)
        if read.n_init is None:
            raise ValueError("the decoder needs n_init, the width of its first layer")
        self.vocab_size = read.vocab_size
        widths = [2**group * read.n_hid for group in reversed(range(GROUPS))]
        self.blocks = nn.Sequential(
            OrderedDict(
                [
                    ("input", DVAEConv(read.vocab_size, read.n_init, 1)),
                    *dvae_groups(
                        read.n_init, widths, read.n_blk_per_group, (1, 3, 3, 3), nn.Upsample, scale_factor=2.0
                    ),
                    ("output", dvae_output(read.n_hid, 2 * read.channels)),
                ]
            )
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens (B, h, w) to mu and ln b of the logits of pixels, together (B, 2 channels, 8 h, 8 w), float32."""
        one_hot = F.one_hot(tokens, self.vocab_size).movedim(-1, 1).to(next(self.parameters()).dtype)
        return self.blocks(one_hot).float()  # type: ignore[no-any-return]

"""Pixels in three forms: signals in [-1, 1] for networks, uint8 levels to keep, and images for people.

    x = u8 / 127.5 - 1        over(picture, ground) = picture + (1 - alpha) ground    (Porter & Duff 1984)

Tensors are premultiplied RGBA: each colour is multiplied by its alpha. Then a transparent pixel holds no hidden colour,
and an average of pixels is the average of what is visible. Images are straight RGBA, as files hold them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from sumi.imaging.image_file import rgba

__all__ = [
    "HAZE",
    "from_image",
    "from_levels",
    "over",
    "pad_to_square",
    "place_in_square",
    "premultiply",
    "resize",
    "resize_picture",
    "to_image",
    "to_levels",
    "to_uint8",
]

HAZE = 6 / 255
"""Alpha this near to 0 or 1 is the network's noise, not the picture's edge."""


def to_uint8(unit: Tensor) -> Tensor:
    """Return floats in [0, 1], of any shape, as uint8 from 0 to 255; what lies outside is clipped."""
    return unit.clamp(0, 1).mul(255).round().to(torch.uint8)


def over(picture: Tensor, ground: Tensor) -> Tensor:
    """Return a picture composited over a ground, both premultiplied floats in [0, 1].

    Args:
        picture: (..., 4, H, W).
        ground: (..., C, H, W) or what broadcasts to it; C = 3 for an opaque ground, 4 for another picture.

    Returns:
        (..., C, H, W).
    """
    return picture[..., : ground.shape[-3], :, :] + (1 - picture[..., 3:4, :, :]) * ground


def to_levels(x: Tensor) -> Tensor:
    """Return a network's output as clean premultiplied uint8: no haze, and no colour above its alpha.

    Args:
        x: premultiplied signals (B, 4, H, W) in [-1, 1].
    """
    unit = ((x.float() + 1) / 2).clamp(0, 1)
    alpha = ((unit[:, 3:] - HAZE) / (1 - 2 * HAZE)).clamp(0, 1)
    return to_uint8(torch.cat([torch.minimum(unit[:, :3], alpha), alpha], dim=1))


def from_levels(levels: Tensor) -> Tensor:
    """Return premultiplied uint8 (B, 4, H, W) as signals in [-1, 1]."""
    return levels.float() / 127.5 - 1


def to_image(levels: Tensor, background: tuple[int, int, int] | None = None) -> Image.Image:
    """Return one picture as an image.

    Args:
        levels: premultiplied uint8 (4, H, W).
        background: a colour to composite the picture over, 0 to 255; by default the picture stays transparent.

    Returns:
        Straight RGBA, or RGB over the background.
    """
    unit = levels.cpu().float() / 255
    if background is not None:
        shown = over(unit, torch.tensor(background, dtype=torch.float32)[:, None, None] / 255)
    else:
        shown = torch.cat([unit[:3] / unit[3:].clamp(min=1 / 255), unit[3:]])
    return Image.fromarray(to_uint8(shown).permute(1, 2, 0).contiguous().numpy())


def from_image(image: Image.Image, size_px: int) -> Tensor:
    """Return any image as premultiplied uint8 (4, S, S), whole, in the middle of a transparent square."""
    return to_uint8(pad_to_square(premultiply(image), size_px))


def premultiply(image: Image.Image) -> Tensor:
    """Return any image at its own size as premultiplied floats (4, H, W) in [0, 1]."""
    straight = torch.from_numpy(np.array(rgba(image))).permute(2, 0, 1).float() / 255
    return torch.cat([straight[:3] * straight[3:], straight[3:]])


def pad_to_square(picture: Tensor, size_px: int) -> Tensor:
    """Return a picture scaled to fit a transparent square, in the middle of it.

    Args:
        picture: premultiplied floats (4, H, W) in [0, 1].
        size_px: S, the side of the square.

    Returns:
        Premultiplied floats (4, S, S) in [0, 1].
    """
    left, top, width, height = place_in_square(picture.shape[2], picture.shape[1], size_px)
    small = resize_picture(picture, (height, width))
    return F.pad(small, (left, size_px - width - left, top, size_px - height - top))


def place_in_square(width: int, height: int, size_px: int) -> tuple[int, int, int, int]:
    """Return where `pad_to_square` puts a picture of this size: left, top, width, height in pixels."""
    scale = size_px / max(width, height)
    inside = max(1, round(width * scale)), max(1, round(height * scale))
    return (size_px - inside[0]) // 2, (size_px - inside[1]) // 2, *inside


def resize_picture(picture: Tensor, size: Sequence[int]) -> Tensor:
    """Return premultiplied floats (4, H, W) in [0, 1] at another size (H, W), with no colour above its alpha."""
    unit = resize(picture[None], size)[0].clamp(0, 1)
    return torch.cat([torch.minimum(unit[:3], unit[3:]), unit[3:]])


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """Return pictures (B, C, H, W) at another size (H, W), bicubic and antialiased."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x, size=tuple(size), mode="bicubic", antialias=True, align_corners=False)

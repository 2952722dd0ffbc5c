"""Pictures in three dresses: premultiplied tensors for networks, straight RGBA images for people, and files.

Premultiplied: a colour times its alpha, so that nothing is hidden where nothing is seen, and averages are
right.
    x = u8 / 127.5 - 1        over(x, c) = rgb + (1 - alpha) c
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from sumi.imaging.image_file import open_image, read_image, rgba

__all__ = [
    "HAZE", "checkerboard", "frame", "from_image", "from_levels", "open_image", "premultiplied", "read_image", "resize",
    "resized", "rgba", "sheet", "squared", "to_image", "to_levels",
]  # fmt: skip

LETTERS_PX = 10
HAZE = 6 / 255
"""Alpha this near to 0 or 1 is the network's noise, not the picture's edge."""


def to_levels(x: Tensor) -> Tensor:
    """Return x (B, 4, H, W) of [-1, 1], premultiplied, as clean uint8: no haze, no colour above its alpha."""
    unit = ((x.float() + 1) / 2).clamp(0, 1)
    alpha = ((unit[:, 3:] - HAZE) / (1 - 2 * HAZE)).clamp(0, 1)
    return torch.cat([torch.minimum(unit[:, :3], alpha), alpha], dim=1).mul(255).round().to(torch.uint8)


def from_levels(levels: Tensor) -> Tensor:
    """Return premultiplied uint8 (B, 4, H, W) as x of [-1, 1]."""
    return levels.float() / 127.5 - 1


def to_image(levels: Tensor, background: tuple[int, int, int] | None = None) -> Image.Image:
    """Return one picture, premultiplied uint8 (4, H, W), as RGBA, or as RGB over a colour."""
    pixels = levels.permute(1, 2, 0).cpu().numpy().astype(np.float32)
    colour, alpha = pixels[..., :3], pixels[..., 3:]
    if background is not None:
        flat = colour + (1 - alpha / 255) * np.asarray(background, dtype=np.float32)
        return Image.fromarray(flat.clip(0, 255).round().astype(np.uint8))
    straight = np.where(alpha > 0, colour * 255 / np.maximum(alpha, 1), 0)
    return Image.fromarray(np.concatenate([straight, alpha], axis=-1).clip(0, 255).round().astype(np.uint8))


def from_image(image: Image.Image, size_px: int) -> Tensor:
    """Return any image as premultiplied uint8 (4, S, S), whole, in the middle of a transparent square."""
    return squared(premultiplied(image), size_px).mul(255).round().to(torch.uint8)


def premultiplied(image: Image.Image) -> Tensor:
    """Return any image at its own size as premultiplied floats (4, H, W) in [0, 1]."""
    straight = torch.from_numpy(np.array(rgba(image))).permute(2, 0, 1).float() / 255
    return torch.cat([straight[:3] * straight[3:], straight[3:]])


def squared(picture: Tensor, size_px: int) -> Tensor:
    """Return a premultiplied picture (4, H, W) of [0, 1], whole, in the middle of a square (4, S, S) of zeros."""
    left, top, width, height = frame(picture.shape[2], picture.shape[1], size_px)
    small = resized(picture, (height, width))
    return F.pad(small, (left, size_px - width - left, top, size_px - height - top))


def frame(width: int, height: int, size_px: int) -> tuple[int, int, int, int]:
    """Return where such a picture lies in the square: left, top, width, height."""
    scale = size_px / max(width, height)
    inside = max(1, round(width * scale)), max(1, round(height * scale))
    return (size_px - inside[0]) // 2, (size_px - inside[1]) // 2, *inside


def resized(picture: Tensor, size: Sequence[int]) -> Tensor:
    """Return a premultiplied picture (4, H, W) of [0, 1] at another size, no colour above its alpha."""
    unit = resize(picture[None], size)[0].clamp(0, 1)
    return torch.cat([torch.minimum(unit[:3], unit[3:]), unit[3:]])


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """Return pictures (B, C, H, W) at another size, bicubic and antialiased."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x, size=tuple(size), mode="bicubic", antialias=True, align_corners=False)


def sheet(images: Sequence[Image.Image], captions: Sequence[str] = (), gap_px: int = 8) -> Image.Image:
    """Return a contact sheet: the pictures in rows, over a soft checkerboard where they are transparent.

    captions: a line under each picture, or none at all.
    """
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    width, height = max(image.width for image in images), max(image.height for image in images)
    board, font = checkerboard(width, height), ImageFont.load_default(LETTERS_PX)
    wide = gap_px + max(width, *(math.ceil(font.getlength(caption)) for caption in ("", *captions)))
    high = gap_px + height + (LETTERS_PX + 4 if captions else 0)
    page = Image.new("RGB", (gap_px + columns * wide, gap_px + rows * high), "white")
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        corner = gap_px + column * wide, gap_px + row * high
        page.paste(board, corner)
        page.paste(image.convert("RGB"), corner, image.getchannel("A") if image.mode == "RGBA" else None)
    for index, caption in enumerate(captions):
        row, column = divmod(index, columns)
        place = gap_px + column * wide, gap_px + row * high + height + 1
        ImageDraw.Draw(page).text(place, caption, fill="black", font=font)
    return page


def checkerboard(width: int, height: int, cell_px: int = 8) -> Image.Image:
    """Return the pattern that says 'transparent'."""
    rows, columns = np.arange(height)[:, None] // cell_px, np.arange(width)[None] // cell_px
    grey = np.where((rows + columns) % 2, 235, 250).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")

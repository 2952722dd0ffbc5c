"""Pictures in three dresses: premultiplied tensors for networks, straight RGBA images for people, and files.

Premultiplied: a colour times its alpha, so that nothing is hidden where nothing is seen, and averages are
right.
    x = u8 / 127.5 - 1        over(x, c) = rgb + (1 - alpha) c
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageOps
from torch import Tensor

from sumi.errors import SumiError

FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
LARGEST_FILE_BYTES = 64 * 2**20
LARGEST_PICTURE_PX = 2**25
LONGEST_SIDE_PX = 16_384
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
    straight = torch.from_numpy(np.array(_rgba(image))).permute(2, 0, 1).float() / 255
    premultiplied = torch.cat([straight[:3] * straight[3:], straight[3:]])
    height, width = premultiplied.shape[1:]
    scale = size_px / max(height, width)
    inside = max(1, round(height * scale)), max(1, round(width * scale))
    small = resize(premultiplied[None], inside).clamp(0, 1)[0]
    down, right = size_px - inside[0], size_px - inside[1]
    padded = F.pad(small, (right // 2, right - right // 2, down // 2, down - down // 2))
    return padded.mul(255).round().to(torch.uint8)


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """Return pictures (B, C, H, W) at another size, bicubic and antialiased."""
    if tuple(x.shape[-2:]) == tuple(size):
        return x
    return F.interpolate(x, size=tuple(size), mode="bicubic", antialias=True, align_corners=False)


def open_image(path: str | Path) -> Image.Image:
    """Read a picture from anywhere; SumiError when it is missing, too large, damaged or of another format."""
    try:
        if Path(path).stat().st_size > LARGEST_FILE_BYTES:
            raise SumiError(f"{_named(path)} is over {LARGEST_FILE_BYTES // 2**20} MB, too large for a picture")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as image:
                width, height = image.size
                if not (0 < max(width, height) <= LONGEST_SIDE_PX and 0 < width * height <= LARGEST_PICTURE_PX):
                    raise SumiError(f"{_named(path)} has {width}x{height} pixels, too large a picture to read")
                image.load()
                return image.copy()
    except SumiError:
        raise
    except Image.DecompressionBombError:
        raise SumiError(f"{_named(path)} is too large a picture to read") from None
    except OSError as error:
        reason = error.strerror or f"it is damaged, or not one of {', '.join(FORMATS)}"
        raise SumiError(f"cannot read the picture {_named(path)}: {reason}") from None
    except Exception:  # decoders fail on damaged files in every way there is
        raise SumiError(f"cannot read the picture {_named(path)}: it is damaged") from None


def _rgba(image: Image.Image) -> Image.Image:
    try:
        upright = ImageOps.exif_transpose(image)
    except Exception:  # damaged EXIF is no reason to refuse sound pixels
        upright = image
    if upright.mode.startswith("I") or upright.mode == "F":  # 16-bit grey: PIL would clip it, not scale it
        upright = Image.fromarray((np.asarray(upright, dtype=np.float32) / 257).clip(0, 255).astype(np.uint8))
    return upright.convert("RGBA")


def sheet(images: Sequence[Image.Image], gap_px: int = 8) -> Image.Image:
    """Return a contact sheet: the pictures in rows, over a soft checkerboard where they are transparent."""
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    width, height = max(image.width for image in images), max(image.height for image in images)
    page = Image.new("RGB", (gap_px + columns * (width + gap_px), gap_px + rows * (height + gap_px)), "white")
    board = checkerboard(width, height)
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        corner = gap_px + column * (width + gap_px), gap_px + row * (height + gap_px)
        page.paste(board, corner)
        page.paste(image.convert("RGB"), corner, image.getchannel("A") if image.mode == "RGBA" else None)
    return page


def checkerboard(width: int, height: int, cell_px: int = 8) -> Image.Image:
    """Return the pattern that says 'transparent'."""
    rows, columns = np.arange(height)[:, None] // cell_px, np.arange(width)[None] // cell_px
    grey = np.where((rows + columns) % 2, 235, 250).astype(np.uint8)
    return Image.fromarray(grey).convert("RGB")


def _named(path: str | Path) -> str:
    return ascii(str(path)) if not str(path).isprintable() else str(path)

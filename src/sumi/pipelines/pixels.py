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
from typing import IO

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


def open_image(path: str | Path) -> Image.Image:
    """Read a picture from anywhere; SumiError when it is missing, too large, damaged or of another format."""
    named = ascii(str(path)) if not str(path).isprintable() else str(path)
    try:
        if Path(path).stat().st_size > LARGEST_FILE_BYTES:
            raise SumiError(f"{named} is over {LARGEST_FILE_BYTES // 2**20} MB, too large for a picture")
        with Path(path).open("rb") as file:
            return read_image(file, named)
    except OSError as error:
        raise SumiError(f"cannot read the picture {named}: {error.strerror or error}") from None
    except ValueError:
        raise SumiError(f"cannot read the picture {named}: no file can have that name") from None


def read_image(file: IO[bytes], named: str) -> Image.Image:
    """Read a picture from an open file; SumiError when it is too large, damaged or of another format."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(file, formats=FORMATS) as image:
                width, height = image.size
                if not (0 < max(width, height) <= LONGEST_SIDE_PX and 0 < width * height <= LARGEST_PICTURE_PX):
                    raise SumiError(f"{named} has {width}x{height} pixels, too large a picture to read")
                image.load()
                return image.copy()
    except SumiError:
        raise
    except Image.DecompressionBombError:
        raise SumiError(f"{named} is too large a picture to read") from None
    except OSError as error:
        reason = error.strerror or f"it is damaged, or not one of {', '.join(FORMATS)}"
        raise SumiError(f"cannot read the picture {named}: {reason}") from None
    except Exception:  # decoders fail on damaged files in every way there is
        raise SumiError(f"cannot read the picture {named}: it is damaged") from None


def rgba(image: Image.Image) -> Image.Image:
    """Return any image upright as straight 8-bit RGBA."""
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

"""A picture file from anywhere, opened without trusting it: sizes are bounded, and every fault is one line.

Whatever the mode (palette, grey of 16 bits, CMYK) and however it lies (EXIF), `rgba` makes it upright straight RGBA.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image, ImageOps

from sumi.errors import SumiError

FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
LARGEST_FILE_BYTES = 64 * 2**20
LARGEST_PICTURE_PX = 2**25
LONGEST_SIDE_PX = 16_384


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

"""Opening pictures from untrusted sources: sizes are bounded, and every fault is a `SumiError` of one line.

`as_image` takes a path, bytes, an open file, a Pillow image or a numpy array. `rgba` converts any Pillow image to
upright straight RGBA in sRGB, from every mode (palette, gray of 16 bits, CMYK, LAB), colour profile and orientation.
"""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image, ImageCms, ImageOps

from sumi.errors import SumiError

__all__ = [
    "FORMATS", "LARGEST_FILE_BYTES", "ImageLike", "as_image", "contents", "open_image", "read_image", "rgba",
]  # fmt: skip

FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
LARGEST_FILE_BYTES = 64 * 2**20
LARGEST_PICTURE_PX = 2**25
LONGEST_SIDE_PX = 16_384
LARGEST_PROFILE_BYTES = 16 * 2**20
NEAR_SRGB = 2
"""A profile that changes no colour by more than this, of 255, counts as sRGB, and its pixels are kept."""

ImageLike = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes] | Image.Image | np.ndarray[Any, Any]
"""A picture: a path, the bytes of a file, an open file, a Pillow image or a numpy array."""


def as_image(picture: object, named: str = "given") -> Image.Image:
    """Return a picture as a Pillow image.

    Args:
        picture: a path, the bytes of a file, a file opened in binary mode, a Pillow image, or a numpy array of shape
            (H, W) or (H, W, 1 to 4): integers from 0 to 255 (uint16: to 65535), floats from 0 to 1, or bools.
        named: its name in error messages.

    Raises:
        SumiError: when it is too large, damaged, or none of these.
    """
    if isinstance(picture, Image.Image):
        return check_size(picture, named)
    if isinstance(picture, str | os.PathLike):
        return open_image(picture)
    if isinstance(picture, bytes | bytearray | memoryview):
        return read_image(io.BytesIO(picture), named)
    if isinstance(picture, np.ndarray):
        return check_size(from_array(picture), named)
    if hasattr(picture, "read"):
        return read_image(io.BytesIO(contents(picture, named)), named)
    kinds = "a path, bytes, an open file, a Pillow image, a numpy array or a Picture of Sumi's"
    raise SumiError(f"a picture should be {kinds}, not {type(picture).__name__}")


def open_image(path: str | os.PathLike[str]) -> Image.Image:
    """Read a picture file.

    Raises:
        SumiError: when it is missing, too large, damaged or of another format.
    """
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
    """Read a picture from an open file.

    Args:
        file: opened in binary mode.
        named: its name in error messages.

    Raises:
        SumiError: when it is too large, damaged or of another format.
    """
    try:
        return _decode(file, named)
    except SumiError:
        raise
    except Exception as error:  # decoders raise many kinds of exceptions on damaged files
        fault = error
    try:
        return _decode_bare(file, named)
    except SumiError:
        raise
    except Exception:
        pass
    if isinstance(fault, OSError):
        reason = fault.strerror or f"it is damaged, or not one of {', '.join(FORMATS)}"
        raise SumiError(f"cannot read the picture {named}: {reason}") from None
    raise SumiError(f"cannot read the picture {named}: it is damaged") from None


def contents(file: Any, named: str) -> bytes:
    """Return the bytes of an open file, from its beginning where it can be rewound; SumiError when it has none."""
    try:
        if getattr(file, "seekable", bool)():
            file.seek(0)
        data = file.read(LARGEST_FILE_BYTES + 1)
    except (OSError, ValueError, TypeError) as error:
        raise SumiError(f"cannot read the picture {named}: {getattr(error, 'strerror', None) or error}") from None
    if not isinstance(data, bytes):
        raise SumiError("a picture's file should be opened in binary mode, such as open(path, 'rb')")
    if len(data) > LARGEST_FILE_BYTES:
        raise SumiError(f"the picture {named} is over {LARGEST_FILE_BYTES // 2**20} MB, too large for a picture")
    return data


def from_array(array: np.ndarray[Any, Any]) -> Image.Image:
    """Return a numpy array as a Pillow image; SumiError for a shape or for values that no picture has."""
    if array.ndim not in (2, 3) or (array.ndim == 3 and not 1 <= array.shape[2] <= 4):
        raise SumiError(f"a picture as an array should have the shape (H, W) or (H, W, 1 to 4), not {array.shape}")
    if array.dtype.kind not in "buif":
        raise SumiError(f"a picture as an array should hold numbers, not {array.dtype}")
    if array.size == 0:
        raise SumiError("the picture given has no pixels")
    low, high = array.min(), array.max()
    if array.dtype.kind == "f":
        if not (low >= -1e-3 and high <= 1 + 1e-3):
            raise SumiError(f"a picture of floats should lie from 0 to 1, not from {low:g} to {high:g}")
        levels = (array.clip(0, 1) * 255).round()
    elif array.dtype == np.uint16:
        levels = (array / 257).round()
    elif array.dtype.kind != "b" and not (low >= 0 and high <= 255):
        raise SumiError(f"a picture of whole numbers should lie from 0 to 255, not from {low} to {high}")
    else:
        levels = array * 255 if array.dtype.kind == "b" else array
    levels = levels.astype(np.uint8)
    return Image.fromarray(np.ascontiguousarray(levels[..., 0] if levels.shape[2:] == (1,) else levels))


def check_size(image: Image.Image, named: str) -> Image.Image:
    """Return the image; SumiError unless it has pixels, and not too many."""
    width, height = image.size
    if width < 1 or height < 1:
        raise SumiError(f"the picture {named} has no pixels: it is {width}x{height}")
    if max(width, height) > LONGEST_SIDE_PX or width * height > LARGEST_PICTURE_PX:
        raise SumiError(f"{named} has {width}x{height} pixels, too large a picture to read")
    return image


# Any mode, profile and orientation ---------------------------------------------------------------------------


def rgba(image: Image.Image) -> Image.Image:
    """Return any image upright as straight 8-bit RGBA in sRGB, without a profile.

    A profile that is broken or does not fit the mode is ignored.

    Raises:
        SumiError: when the pixels are damaged.
    """
    check_size(image, "given")
    _scale_transparency(image)
    try:
        image.load()
        upright = _upright(image)
        straight = _straight(upright)
    except SumiError:
        raise
    except Exception as error:  # Pillow may decode a damaged file only now
        raise SumiError(f"the picture given cannot be read: {str(error)[:80] or 'it is damaged'}") from None
    profile = image.info.get("icc_profile")
    if profile and (coloured := _to_srgb(upright, straight, profile)) is not None:
        coloured.putalpha(straight.getchannel("A"))
        straight = coloured
    straight.info = {}
    return straight


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # intact pixels are read despite damaged EXIF
        return image


def _straight(image: Image.Image) -> Image.Image:
    """Return an image of any mode as RGBA, without applying its profile."""
    if image.mode.startswith("I;16"):
        return _grey16(image)
    if image.mode == "I":
        levels = np.asarray(image)
        return _grey16(image) if 255 < levels.max() <= 65535 else image.convert("L").convert("RGBA")
    if image.mode == "F":
        return image.convert("L").convert("RGBA")
    if image.mode == "La":
        return image.convert("LA").convert("RGBA")
    if image.mode == "LAB":
        return _between(image, ImageCms.createProfile("LAB"), "LAB").convert("RGBA")
    if image.mode in ("RGB", "RGBA", "RGBa", "L", "LA", "1", "P", "PA"):
        return image.convert("RGBA")
    return image.convert("RGB").convert("RGBA")


def _grey16(image: Image.Image) -> Image.Image:
    """Return gray of 16 bits as RGBA; Pillow would clip it instead of scaling, and lose its transparent value."""
    levels = np.asarray(image).astype(np.float32)
    straight = Image.fromarray((levels / 257).round().clip(0, 255).astype(np.uint8)).convert("RGBA")
    clear = image.info.get("transparency")
    if isinstance(clear, int):
        straight.putalpha(Image.fromarray(np.where(levels == clear, 0, 255).astype(np.uint8)))
    return straight


def _scale_transparency(image: Image.Image) -> None:
    """Scale the transparent colour of a PNG of 2, 4 or 16 bits to the levels that Pillow will load."""
    clear, tile = image.info.get("transparency"), getattr(image, "tile", None)
    if clear is None or not tile:
        return
    pixels = tile[0][3]
    kind = pixels[0] if isinstance(pixels, tuple) else pixels
    if kind in ("L;2", "L;4") and isinstance(clear, int):
        image.info["transparency"] = clear * (85 if kind == "L;2" else 17)
    elif kind == "RGB;16B" and isinstance(clear, tuple):
        image.info["transparency"] = tuple(value >> 8 for value in clear)


def _to_srgb(image: Image.Image, straight: Image.Image, profile: bytes) -> Image.Image | None:
    """Return an image converted from its profile to sRGB; None where the profile is sRGB, broken or does not fit."""
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = opened.profile.xcolor_space.strip()
        if space == "RGB" and image.mode not in ("CMYK", "LAB"):
            return None if _is_srgb(opened) else _between(straight.convert("RGB"), opened, "RGB")
        if space == "GRAY" and image.mode in ("1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I;16N", "I", "F"):
            return _between(straight.getchannel("R"), opened, "L")
        if space == "CMYK" and image.mode == "CMYK":
            return _between(image, opened, "CMYK")
    except Exception:  # intact pixels are read despite a broken profile, or without lcms
        pass
    return None


def _is_srgb(profile: ImageCms.ImageCmsProfile) -> bool:
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(len(levels), -1, 3)
    moved = np.asarray(_between(Image.fromarray(grid), profile, "RGB")).astype(int) - grid
    return int(np.abs(moved).max()) <= NEAR_SRGB


def _between(image: Image.Image, profile: Any, mode: str) -> Image.Image:
    """Convert an image of a mode and a profile to RGB in sRGB."""
    transform = ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), mode, "RGB")
    converted = ImageCms.applyTransform(image, transform)
    assert converted is not None
    return converted


# Decoding ----------------------------------------------------------------------------------------------------


def _decode(file: IO[bytes], named: str) -> Image.Image:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(file, formats=FORMATS) as image:
                check_size(image, named)
                _scale_transparency(image)
                image.load()
                return image.copy()
        except Image.DecompressionBombError:
            raise SumiError(f"{named} is too large a picture to read") from None


def _decode_bare(file: IO[bytes], named: str) -> Image.Image:
    """Read a PNG by its pixel chunks alone, without text that is too large and damaged chunks."""
    file.seek(0)
    data, profile = _bare_png(file.read(LARGEST_FILE_BYTES + 1))
    image = _decode(io.BytesIO(data), named)
    if profile:
        image.info["icc_profile"] = profile
    return image


def _bare_png(data: bytes) -> tuple[bytes, bytes]:
    """Return a PNG of only its pixel chunks, and its unpacked profile; ValueError for other files."""
    kept, profile, place = [data[:8]], b"", 8
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError("not a PNG file")
    while len(head := data[place : place + 8]) == 8:
        length, kind = struct.unpack(">I4s", head)
        end = place + 12 + length
        body, sound = data[place + 8 : end - 4], data[end - 4 : end] == _crc(data[place + 4 : end - 4])
        if not kind[0] & 0x20 or (sound and (kind in (b"tRNS", b"eXIf") or body.startswith(b"sumi\0"))):
            kept.append(data[place:end])
        elif kind == b"iCCP" and sound:
            packed = body[body.index(b"\0") + 2 :]
            profile = zlib.decompressobj().decompress(packed, LARGEST_PROFILE_BYTES)
        place = end
        if kind == b"IEND":
            break
    return b"".join(kept), profile


def _crc(data: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(data))

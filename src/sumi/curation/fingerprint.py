"""Fingerprints of pictures: the same file, the same pixels, and nearly the same picture.

    file hash        sha256 of the bytes
    pixel hash       blake2b of the size and the upright sRGB pixels
    perceptual hash  signs of the 16 x 16 lowest cosine frequencies of a 64 x 64 view in gray, 256 bits

The view is the picture over white, cut to what differs from an even border and stretched to a square. So a border and
the size of the file change nothing. Two hashes are compared by the number of bits in which they differ (Zauner 2010,
"Implementation and benchmarking of perceptual image hash functions", section 3.2.1).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["Fingerprint", "fingerprint_of", "hash_bits", "make_view", "mirrored_hash", "perceptual_hash"]

VIEW_PX = 64
FREQUENCIES = 16
NEAR_BORDER = 20
"""Levels, of 255, by which a pixel of an even border may differ from the corners."""
BORDERS = 2
"""Even borders that are cut off, one within the other: a frame, and the margin of a drawing."""
LEAST_CONTRAST = 10
"""Standard deviation in levels; a box with less, such as a black square, is not cut out of its surroundings."""
LEAST_CONTENT = 0.15
"""A box smaller than this share of a side is not taken for the content within a border."""


@dataclass(frozen=True)
class Fingerprint:
    """What identifies a picture.

    Attributes:
        sha256: of its file.
        pixels: of its size and pixels, 32 hexadecimal digits.
        phash: its perceptual hash, 64 hexadecimal digits.
    """

    sha256: str
    pixels: str
    phash: str


def fingerprint_of(data: bytes, image: Image.Image, view: NDArray[np.uint8]) -> Fingerprint:
    """Return the fingerprint of a file, of the upright RGBA image in it, and of its view."""
    pixels = hashlib.blake2b(f"{image.size}".encode() + image.tobytes(), digest_size=16).hexdigest()
    return Fingerprint(hashlib.sha256(data).hexdigest(), pixels, perceptual_hash(view))


def make_view(image: Image.Image) -> NDArray[np.uint8]:
    """Return an RGBA image over white, without an even border and stretched to a square: uint8 (3, 64, 64).

    A picture that shows nothing over white is put over black.
    """
    over = _over(image, 255)
    if over.std() < 1:
        over = _over(image, 0)
    for _ in range(BORDERS):
        top, bottom, left, right = content_box(over)
        inner = over[top:bottom, left:right]
        over = inner if inner.std(axis=(0, 1)).max() >= LEAST_CONTRAST else over
    cut = Image.fromarray(over)
    return np.asarray(cut.resize((VIEW_PX, VIEW_PX), Image.Resampling.BOX)).transpose(2, 0, 1).copy()


def _over(image: Image.Image, level: int) -> NDArray[np.uint8]:
    ground = Image.new("RGBA", image.size, (level, level, level, 255))
    return np.asarray(Image.alpha_composite(ground, image).convert("RGB"))


def content_box(pixels: NDArray[np.uint8]) -> tuple[int, int, int, int]:
    """Return top, bottom, left and right of what lies within an even border; the whole where there is none.

    Args:
        pixels: (H, W, 3).
    """
    height, width, _ = pixels.shape
    corners = pixels[[0, 0, -1, -1], [0, -1, 0, -1]].astype(np.int16)
    whole = (0, height, 0, width)
    if np.ptp(corners, axis=0).max() > NEAR_BORDER:
        return whole
    differs = np.abs(pixels.astype(np.int16) - np.median(corners, axis=0)).max(axis=2) > NEAR_BORDER
    rows, columns = (np.flatnonzero(differs.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return whole
    box = (int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1)
    large = box[1] - box[0] >= LEAST_CONTENT * height and box[3] - box[2] >= LEAST_CONTENT * width
    return box if large else whole


def perceptual_hash(view: NDArray[np.uint8]) -> str:
    """Return the hash of a view (3, 64, 64), 64 hexadecimal digits."""
    return _pack(_spectrum(view) > 0)


def mirrored_hash(phash: str) -> str:
    """Return the hash of the mirrored picture: the signs of odd horizontal frequencies turn."""
    bits = hash_bits([phash])[0].reshape(FREQUENCIES, FREQUENCIES) > 0
    bits[:, 1::2] = ~bits[:, 1::2]
    return _pack(bits)


def hash_bits(hashes: Sequence[str]) -> NDArray[np.float32]:
    """Return hashes as unit vectors (N, 256), so that cosine = 1 - 2 d / 256 for d different bits."""
    raw = np.frombuffer(bytes.fromhex("".join(hashes)), dtype=np.uint8).reshape(len(hashes), -1)
    return ((2.0 * np.unpackbits(raw, axis=1) - 1) / FREQUENCIES).astype(np.float32)


def _spectrum(view: NDArray[np.uint8]) -> NDArray[np.float64]:
    gray = view.astype(np.float64).transpose(1, 2, 0) @ np.array([0.299, 0.587, 0.114])
    waves = _cosines()
    return np.asarray(waves @ (gray - gray.mean()) @ waves.T)


@cache
def _cosines() -> NDArray[np.float64]:
    """The lowest frequencies of the discrete cosine transform (DCT-II): (16, 64)."""
    place = (np.arange(VIEW_PX) + 0.5) * np.pi / VIEW_PX
    return np.asarray(np.cos(np.outer(np.arange(FREQUENCIES), place)), dtype=np.float64)


def _pack(bits: NDArray[np.bool_]) -> str:
    return np.packbits(bits.reshape(-1)).tobytes().hex()

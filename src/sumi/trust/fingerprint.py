"""Fingerprints: a perceptual hash by which a picture is found again after an ordinary edit.

    bit(u, v) = [ DCT(u, v) > median ],    the lowest 16 x 16 frequencies of a 64 x 64 gray picture, without the mean

The margin is trimmed first, and its colour counts as white, so that a sticker has one fingerprint on any background.
The distance of two fingerprints is the number of bits that differ, of 256; two unrelated pictures differ in about 128.

Zauner 2010, Implementation and benchmarking of perceptual image hash functions.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["BITS", "NEAR", "make_fingerprint"]

SIDE_PX: Final = 64
FREQUENCIES: Final = 16
BITS: Final = FREQUENCIES**2
NEAR: Final = 60
"""Distance below which two pictures count as the same; docs/provenance.md has the rate of false positives."""
MARGIN_LEVELS: Final = 24


def make_fingerprint(image: Image.Image) -> bytes:
    """Return the fingerprint of a picture, 32 bytes."""
    gray = np.asarray(trim_margin(image).resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR), np.float64)
    basis = cosine_basis()
    low = basis @ gray @ basis.T
    low[0, 0] = np.median(low)  # the mean says how bright it is, not what it shows
    return np.packbits(low > np.median(low)).tobytes()


def trim_margin(image: Image.Image) -> Image.Image:
    """Return a picture in gray without its margin of one colour, whose colour becomes white."""
    page = Image.new("RGBA", image.size, (255, 255, 255, 255))
    levels = np.asarray(Image.alpha_composite(page, image.convert("RGBA")).convert("RGB"), np.int16)
    corners = np.stack([levels[0, 0], levels[0, -1], levels[-1, 0], levels[-1, -1]])
    margin = np.median(corners, axis=0)
    behind = (np.abs(levels - margin) <= MARGIN_LEVELS).all(axis=2)
    gray = np.where(behind, 255, levels @ np.array([0.299, 0.587, 0.114])).astype(np.uint8)
    rows, columns = np.flatnonzero(~behind.all(axis=1)), np.flatnonzero(~behind.all(axis=0))
    if not len(rows):
        return Image.fromarray(gray)
    return Image.fromarray(gray[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])


@lru_cache(maxsize=1)
def cosine_basis() -> NDArray[np.floating[Any]]:
    """Return the first rows of the orthogonal DCT-II, (16, 64)."""
    k, n = np.arange(FREQUENCIES)[:, None], np.arange(SIDE_PX)[None, :]
    basis = np.cos(np.pi * k * (2 * n + 1) / (2 * SIDE_PX)) * np.sqrt(2 / SIDE_PX)
    basis[0] /= np.sqrt(2)
    return np.asarray(basis)

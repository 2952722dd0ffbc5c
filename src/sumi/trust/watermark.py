"""A keyed watermark in the pixels: spread spectrum over the smooth parts of a picture (Cox et al. 1997).

    marked = picture + strength w P,    w = the weights of R, G and B

P is smooth noise that a key seeds: waves of 7 to 26 px, periodic in 256 px, of zero mean. It changes a level by at most
two of 255 in red and green, and by five in blue, where the eye sees least. Transparent pixels stay as they are.

The detector subtracts the local mean, ignores what lies near edges, and correlates the rest with P at every place and
at many scales. So it finds the mark after a resize, a crop or a screenshot.

    score = (peak - mean) / std    of the correlation over all places

The mark survives ordinary edits. Whoever knows the key can remove it or put it on any picture, and the default key is
public: so it proves nothing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

__all__ = [
    "DEFAULT_KEY",
    "THRESHOLD",
    "WatermarkResult",
    "add_watermark",
    "correlate",
    "detect_watermark",
    "find_key",
    "is_on",
    "make_filter",
    "residual_spectra",
]

Array = NDArray[np.float32]
Spectrum = NDArray[np.complexfloating[Any, Any]]

VARIABLE: Final = "SUMI_WATERMARK"
KEY_VARIABLE: Final = "SUMI_WATERMARK_KEY"
DEFAULT_KEY: Final = "sumi"
TILE_PX: Final = 256
STRENGTH: Final = 1.0
WEIGHTS: Final = np.array([1.2, 0.8, 2.4], np.float32)
WAVELENGTHS_PX: Final = (7.0, 26.0)
HALF_PX: Final = TILE_PX // 2
"""The detector works at half the resolution, where the pattern is as clear and the search four times as fast."""
RADIUS_PX: Final = 8
"""Half the side of the box whose mean is subtracted, at half the resolution."""
EDGE_LEVELS: Final = 24.0
"""A pixel whose neighbourhood spans more levels than this is ignored: an edge says nothing about the mark."""
CLIP_LEVELS: Final = 6.0
LARGEST_PEAK: Final = 2.0
"""Of the pattern, in standard deviations, so that no level changes by much more than the others."""
WHITENING: Final = 0.7
"""Exponent of each frequency's amplitude that the correlation divides by: 0 a matched filter, 1 phase alone."""
THRESHOLD: Final = 6.3
"""Score above which a mark counts as found; docs/provenance.md has the rate of false positives."""
SMALLEST_PX, LARGEST_PX = 24, 768
_COMMON: Final = (1.0, 2.0, 0.5, 1.25, 1.5, 0.75, 3.0)
SCALES: Final = (*_COMMON, *(round(1.03**power, 4) for power in range(-24, 38)))
"""Enlargements that are tried: the usual ones, then 0.49 to 2.99 in steps of 3 per cent."""
SURE: Final = 8.0
"""A score at which the search ends."""


@dataclass(frozen=True)
class WatermarkResult:
    """What the detector found.

    Attributes:
        score: of the best place and scale, in standard deviations.
        scale: the enlargement at which it was found.
        detected: whether the score is above `THRESHOLD`.
    """

    score: float
    scale: float
    detected: bool

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {name: round(value, 3) for name, value in asdict(self).items()} | {"detected": self.detected}


def is_on() -> bool:
    """Return whether pictures get a watermark when they are handed out: where $SUMI_WATERMARK is on."""
    return os.environ.get(VARIABLE, "").casefold() in ("on", "1", "true")


def find_key() -> str:
    """Return the key of this machine's watermark: $SUMI_WATERMARK_KEY, or the public one."""
    return os.environ.get(KEY_VARIABLE) or DEFAULT_KEY


def add_watermark(image: Image.Image, key: str = DEFAULT_KEY, strength: float = STRENGTH) -> Image.Image:
    """Return a picture with the watermark.

    Args:
        image: RGB or RGBA; transparent pixels and the alpha stay as they are.
        key: any text.
        strength: 1 is invisible on flat surfaces.
    """
    levels = np.asarray(image.convert("RGBA"), np.float32)
    height, width = levels.shape[:2]
    pattern = np.tile(make_pattern(key), (-(-height // TILE_PX), -(-width // TILE_PX)))[:height, :width]
    opaque = levels[..., 3:] / 255
    colour = levels[..., :3] + strength * opaque * pattern[..., None] * WEIGHTS
    marked = np.concatenate([colour.round().clip(0, 255), levels[..., 3:]], axis=-1).astype(np.uint8)
    return Image.fromarray(marked).convert(image.mode if image.mode in ("RGB", "RGBA") else "RGBA")


def detect_watermark(image: Image.Image, key: str = DEFAULT_KEY, scales: tuple[float, ...] = SCALES) -> WatermarkResult:
    """Return whether a picture carries the watermark of a key, wherever it was cut out and however it was scaled.

    Args:
        image: any picture.
        key: the key of the mark.
        scales: the enlargements to try.
    """
    pattern, best, found = make_filter(key), 0.0, 1.0
    for scale, spectrum in residual_spectra(image, scales):
        score = correlate(spectrum, pattern)
        if score > best:
            best, found = score, scale
        if best >= SURE:
            break
    return WatermarkResult(best, found, best >= THRESHOLD)


def residual_spectra(image: Image.Image, scales: tuple[float, ...] = SCALES) -> Iterator[tuple[float, Spectrum]]:
    """Yield each scale with the whitened spectrum of what is left of the picture at that scale; keys share them."""
    page = Image.new("RGBA", image.size, (255, 255, 255, 255))
    flat = Image.alpha_composite(page, image.convert("RGBA")).convert("RGB")
    for scale in scales:
        width, height = (round(side / scale / 2) for side in flat.size)
        if SMALLEST_PX <= min(width, height) <= max(width, height) <= LARGEST_PX:
            transformed = np.fft.rfft2(smooth_residual(flat.resize((width, height), Image.Resampling.BILINEAR)))
            yield scale, transformed / (np.abs(transformed) ** WHITENING + 1e-6)


def correlate(spectrum: Spectrum, pattern: Spectrum) -> float:
    """Return how far the highest correlation with the pattern stands out, in standard deviations."""
    surface = np.fft.irfft2(spectrum * pattern, s=(HALF_PX, HALF_PX))
    deviation = float(surface.std())
    return 0.0 if deviation < 1e-9 else float((surface.max() - surface.mean()) / deviation)


@lru_cache(maxsize=64)
def make_pattern(key: str) -> Array:
    """Return the pattern of a key, (256, 256): band-limited noise of zero mean and unit variance."""
    seed = int.from_bytes(hashlib.sha256(f"sumi watermark {key}".encode()).digest()[:16], "big")
    noise = np.random.Generator(np.random.Philox(seed)).standard_normal((TILE_PX, TILE_PX))
    rows, columns = np.fft.fftfreq(TILE_PX), np.fft.rfftfreq(TILE_PX)
    frequency = np.hypot(rows[:, None], columns[None, :])
    short, long = WAVELENGTHS_PX
    band = (frequency >= 1 / long) & (frequency <= 1 / short)
    pattern = np.fft.irfft2(np.fft.rfft2(noise) * band, s=noise.shape)
    return np.asarray((pattern / pattern.std()).clip(-LARGEST_PEAK, LARGEST_PEAK), np.float32)


@lru_cache(maxsize=64)
def make_filter(key: str) -> Spectrum:
    """Return the spectrum that a residual is correlated with: the pattern's at half the resolution, whitened."""
    halved = make_pattern(key).reshape(HALF_PX, 2, HALF_PX, 2).mean(axis=(1, 3))
    spectrum = np.fft.rfft2(halved)
    amplitude = np.abs(spectrum)
    in_band = amplitude > 0.02 * amplitude.max()
    return np.asarray(np.conj(spectrum) / (amplitude**WHITENING + 1e-3) * in_band)


def smooth_residual(image: Image.Image) -> Array:
    """Return what is left of the smooth parts of a halved picture without their local mean, folded to (128, 128)."""
    levels = np.asarray(image, np.float32)
    high, low = (np.asarray(image.filter(kind(5)), np.int16) for kind in (ImageFilter.MaxFilter, ImageFilter.MinFilter))
    smooth = ((high - low).max(axis=2) <= EDGE_LEVELS).astype(np.float32)
    share = np.maximum(box_mean(smooth, RADIUS_PX), 1e-3)
    residual = np.zeros_like(smooth)
    for channel, weight in enumerate(WEIGHTS):
        band = levels[..., channel]
        local = box_mean(band * smooth, RADIUS_PX) / share
        limit = CLIP_LEVELS * weight / WEIGHTS.max()
        residual += weight * (band - local).clip(-limit, limit) * smooth
    return fold(residual)


def fold(values: Array) -> Array:
    """Return the sum of all tiles of a halved picture, (128, 128): the pattern is periodic in them."""
    height, width = values.shape
    padded = np.pad(values, ((0, -height % HALF_PX), (0, -width % HALF_PX)))
    tiles = padded.reshape(padded.shape[0] // HALF_PX, HALF_PX, padded.shape[1] // HALF_PX, HALF_PX)
    return np.asarray(tiles.sum(axis=(0, 2)), np.float32)


def box_mean(values: Array, radius: int) -> Array:
    """Return the mean of the box around each pixel, with the edge pixels repeated."""
    side = 2 * radius + 1
    padded = np.pad(values.astype(np.float64), radius, mode="edge")
    sums = np.pad(padded.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    total = sums[side:, side:] - sums[:-side, side:] - sums[side:, :-side] + sums[:-side, :-side]
    return np.asarray(total / side**2, np.float32)

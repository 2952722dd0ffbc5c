"""Augmentation of shape: a drawing mirrored, leaned, wobbled, outlined, or in the palette of another artist's drawing.

    sprite coordinates = C L^-1 (frame coordinates - place) + box centre + elastic field        L: turn, stretch, shear
    colour'            = (colour - mean) std' / std + mean'                                      of another drawing

Three to six drawings of a thing stay few, and a model that sees them again and again remembers them. What is varied is
derived from (seed, index) of the scene, is written into the scene, and is drawn by tensor operations.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sumi.data.scene import Place, Variation
from sumi.data.seeding import pick
from sumi.data.styles import blur

__all__ = ["STROKES", "Augmentation", "affine", "elastic_grid", "in_palette", "outlined", "palettes"]

Box = tuple[float, float, float, float]

NUM_FIELDS = 64
"""How many elastic fields there are to choose from."""
STROKES = (0.008, 0.014)
"""Widths of an outline, as fractions of the frame."""
_INK = (0.13, 0.10, 0.12)
_MOST_CONTRAST, _LEAST_CONTRAST = 1.7, 0.6


@dataclass(frozen=True)
class Augmentation:
    """How often things are varied, and how far at most; see `Variation` for the units.

    mirror, affine, elastic, stroke, palette: the share of things that are varied so.
    """

    mirror: float = 0.5
    affine: float = 0.5
    turn: float = 0.03
    stretch: float = 0.16
    shear: float = 0.12
    elastic: float = 0.4
    elastic_most: float = 0.035
    stroke: float = 0.12
    palette: float = 0.3

    def to_json(self) -> dict[str, float]:
        """Return the dials by name."""
        return asdict(self)

    def draw(self, rng: random.Random, mirrors: bool, palettes: Sequence[str]) -> Variation | None:
        """Draw a variation, or None where nothing is varied.

        Args:
            rng: The chance of the scene, for this purpose.
            mirrors: Whether the mirror image is still the same thing.
            palettes: Other artists who drew the same thing.
        """
        mirror = rng.random() < self.mirror and mirrors
        turn = stretch = shear = elastic = stroke = 0.0
        palette, field = None, 0
        if rng.random() < self.affine:
            turn, stretch, shear = (_within(rng, most) for most in (self.turn, self.stretch, self.shear))
        if rng.random() < self.elastic:
            elastic, field = round(self.elastic_most * (0.3 + 0.7 * rng.random()), 4), int(rng.random() * NUM_FIELDS)
        if rng.random() < self.stroke:
            stroke = pick(rng, STROKES)
        if palettes and rng.random() < self.palette:
            palette = pick(rng, palettes)
        drawn = Variation(mirror, turn, stretch, shear, elastic, field, stroke, palette)
        return None if drawn == Variation(field=field) else drawn


def _within(rng: random.Random, most: float) -> float:
    return round((2 * rng.random() - 1) * most, 4)


def affine(place: Place, box: Box, variation: Variation | None) -> list[list[float]]:
    """Return theta (2, 3) of `affine_grid`: frame coordinates in [-1, 1] to sprite coordinates in [-1, 1].

    The tight box goes onto the place; where it is leaned, the box around it does.
    """
    left, top, right, bottom = box
    wide, high = right - left, bottom - top
    (a, b), (c, d) = _lean(variation)
    leaned = max(abs(a) * wide + abs(b) * high, abs(c) * wide + abs(d) * high)
    scale, area = leaned / place.side, a * d - b * c
    back = ((d / area * scale, -b / area * scale), (-c / area * scale, a / area * scale))
    u, v = 2 * place.x - 1, 2 * place.y - 1
    return [
        [back[0][0], back[0][1], (left + right - 1) - back[0][0] * u - back[0][1] * v],
        [back[1][0], back[1][1], (top + bottom - 1) - back[1][0] * u - back[1][1] * v],
    ]


def _lean(variation: Variation | None) -> tuple[tuple[float, float], tuple[float, float]]:
    """Turn @ shear @ stretch @ mirror, as a matrix."""
    if variation is None:
        return (1.0, 0.0), (0.0, 1.0)
    cos, sin = math.cos(2 * math.pi * variation.turn), math.sin(2 * math.pi * variation.turn)
    wide, high = math.exp(variation.stretch / 2), math.exp(-variation.stretch / 2)
    flip = -1.0 if variation.mirror else 1.0
    (a, b), (c, d) = (flip * wide, variation.shear * high), (0.0, high)
    return (cos * a - sin * c, cos * b - sin * d), (sin * a + cos * c, sin * b + cos * d)


@cache
def _fields() -> Tensor:
    """Smooth displacements in [-1, 1], (NUM_FIELDS, 2, 5, 5), the same on every machine."""
    draws = np.random.default_rng(20261130).random((NUM_FIELDS, 2, 5, 5))
    return torch.from_numpy(draws * 2 - 1).float()


def elastic_grid(size_px: int, variations: Sequence[Variation | None], extents: Sequence[float]) -> Tensor | None:
    """Return displacements (B, S, S, 2) in sprite coordinates, or None where no variation has any.

    extents: the longest side of each tight box, as a fraction of its canvas.
    """
    if not any(variation is not None and variation.elastic for variation in variations):
        return None
    chosen = _fields()[[0 if v is None else v.field for v in variations]]
    smooth = F.interpolate(chosen, size=(size_px, size_px), mode="bicubic", align_corners=True)
    most = [0.0 if v is None else 2 * v.elastic * extent for v, extent in zip(variations, extents, strict=True)]
    return smooth.permute(0, 2, 3, 1) * torch.tensor(most)[:, None, None, None]


def outlined(picture: Tensor, width: float) -> Tensor:
    """Return premultiplied pictures (B, 4, S, S) with a dark outline, `width` frames wide, drawn around them."""
    alpha = picture[:, 3:]
    line = ((blur(alpha, width) - 0.06) * max(4.0, 0.6 * width * picture.shape[-1])).clamp(0, 1) * (1 - alpha)
    ink = torch.tensor(_INK, device=picture.device).view(1, 3, 1, 1)
    return torch.cat([picture[:, :3] + ink * line, alpha + line], dim=1)


def palettes(drawings: Tensor) -> Tensor:
    """Return mean and standard deviation of the lively colours of uint8 drawings (N, 4, H, W): float (N, 2, 3).

    A drawing without lively colours, black and white, has those of all of it.
    """
    picture = drawings.float().div_(255)
    alpha = picture[:, 3:]
    colour = (picture[:, :3] / alpha.clamp_min(1e-3)).clamp(0, 1)
    lively = alpha * _liveliness(colour)
    weight = torch.where(lively.sum((2, 3), keepdim=True) > 0.02 * alpha.sum((2, 3), keepdim=True), lively, alpha)
    total = weight.sum((2, 3)).clamp_min(1e-3)
    mean = (colour * weight).sum((2, 3)) / total
    variance = ((colour - mean[..., None, None]) ** 2 * weight).sum((2, 3)) / total
    return torch.stack([mean, variance.clamp_min(1e-3).sqrt()], dim=1)


def in_palette(picture: Tensor, own: Tensor, other: Tensor) -> Tensor:
    """Return premultiplied pictures (B, 4, S, S) whose lively colours, (B, 2, 3), have the other ones' mean and spread.

    Black, grey and white stay, or eyes and teeth would be tinted.
    """
    alpha = picture[:, 3:]
    colour = (picture[:, :3] / alpha.clamp_min(1e-4)).clamp(0, 1)
    spread = (other[:, 1] / own[:, 1]).clamp(_LEAST_CONTRAST, _MOST_CONTRAST)
    moved = (colour - own[:, 0, :, None, None]) * spread[..., None, None] + other[:, 0, :, None, None]
    colour = colour + (moved.clamp(0, 1) - colour) * _liveliness(colour)
    return torch.cat([colour * alpha, alpha], dim=1)


def _liveliness(colour: Tensor) -> Tensor:
    """How much of a colour straight rgb (B, 3, H, W) has: 0 for greys, 1 for what is clearly coloured."""
    return ((colour.amax(1, keepdim=True) - colour.amin(1, keepdim=True) - 0.12) / 0.13).clamp(0, 1)

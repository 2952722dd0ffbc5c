"""Copies in disguise: whether a picture is a training drawing that was mirrored, turned or recoloured.

    d(x) = min over treatments T and drawings y of the distance of T(x) to y

The treatments are undone on the picture: mirrored, turned by quarters or a little, or both it and the drawings without
their colours. Each has a threshold of its own, the distance that 95 per cent of copies by the model's codec stay below,
and a level of chance: the share of drawings that are as near to another artist's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sumi.evaluation.intervals import Share
from sumi.explain.nearest_drawings import aligned, all_distances

__all__ = ["TransformedCopies", "measure_transformed_copies"]

TURNS = (90, 180, 270)
TILTS = (-30, -15, 15, 30)
NEAR_COPY = 0.95
MOST_CONTROLS = 400

View = Callable[[Tensor], Tensor]
"""Aligned pictures, uint8 (B, 4, S, S), to the same after a change."""


def turned(pictures: Tensor, degrees: float) -> Tensor:
    """Return pictures turned about their middle, and aligned again."""
    side, angle = pictures.shape[-1], math.radians(degrees)
    cos, sin = math.cos(angle), math.sin(angle)
    scale = abs(cos) + abs(sin)  # so that no corner leaves the frame
    theta = torch.tensor([[cos, -sin, 0.0], [sin, cos, 0.0]]) * scale
    grid = F.affine_grid(theta[None].expand(len(pictures), -1, -1), list(pictures.shape), align_corners=False)
    moved = F.grid_sample(pictures.float() / 255, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return torch.stack([aligned(picture, side) for picture in moved])


def mirrored(pictures: Tensor) -> Tensor:
    """Return pictures seen in a mirror."""
    return pictures.flip(-1)


def without_colour(pictures: Tensor) -> Tensor:
    """Return pictures with the mean of red, green and blue in each of these channels."""
    gray = pictures[:, :3].float().mean(dim=1, keepdim=True).round().to(torch.uint8)
    return torch.cat([gray.expand(-1, 3, -1, -1), pictures[:, 3:]], dim=1)


def _turns(degrees: Sequence[float]) -> list[View]:
    return [lambda pictures, angle=angle: turned(pictures, angle) for angle in degrees]  # type: ignore[misc]


TREATMENTS: Mapping[str, tuple[Sequence[View], bool]] = {
    "as they are": ([lambda pictures: pictures], False),
    "mirrored": ([mirrored], False),
    "turned": (_turns((*TURNS, *TILTS)), False),
    "recoloured": ([lambda pictures: pictures], True),
    "recoloured and mirrored": ([mirrored], True),
}
"""Each treatment: the views of a picture, and whether colours are taken away from it and the drawings."""


@dataclass(frozen=True)
class TransformedCopies:
    """Near copies of drawings after each treatment.

    Args:
        near: for each treatment whether each picture is a near copy.
        chances: for each treatment whether each of some drawings is one of another artist's.
        thresholds: of each treatment.
    """

    near: Mapping[str, tuple[bool, ...]]
    chances: Mapping[str, Share]
    thresholds: Mapping[str, float]

    @property
    def marks(self) -> dict[str, list[bool]]:
        """The marks of each treatment, and of any of them."""
        rows = {name: list(marks) for name, marks in self.near.items()}
        return {**rows, "any of these": [any(each) for each in zip(*rows.values(), strict=True)]}

    def lines(self) -> list[str]:
        """Return the figures for the terminal."""
        said = ["near copies of a drawing that was treated so (between two artists by chance):"]
        for name, marks in self.marks.items():
            chance = f" ({self.chances[name]})" if name in self.chances else ""
            said.append(f"  {name}: {Share.of(marks)}{chance}")
        return said

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            name: {
                **Share.of(marks).to_json(),
                "chance": self.chances[name].to_json() if name in self.chances else None,
                "nearer than": round(self.thresholds[name], 4) if name in self.thresholds else None,
            }
            for name, marks in self.marks.items()
        }


def nearest_distance(pictures: Tensor, drawings: Tensor, views: Sequence[View], gray: bool) -> Tensor:
    """Return the least distance of any view of each picture (B, 4, S, S) to each drawing (N, 4, S, S): (B, N)."""
    goal = without_colour(drawings) if gray else drawings
    seen = [view(without_colour(pictures) if gray else pictures) for view in views]
    return torch.stack([all_distances(some, goal) for some in seen]).amin(dim=0)


def measure_transformed_copies(
    pictures: Tensor, drawings: Tensor, artists: Sequence[str], copies: Tensor, originals: Tensor
) -> TransformedCopies:
    """Look for drawings among pictures after each treatment.

    Args:
        pictures: of the model, aligned, uint8 (B, 4, S, S).
        drawings: that taught it, (N, 4, S, S).
        artists: of the drawings.
        copies: some drawings after the model's codec, aligned, (K, 4, S, S).
        originals: the same drawings before it.
    """
    step = max(1, len(drawings) // MOST_CONTROLS)
    controls = torch.arange(0, len(drawings), step)
    order = {name: number for number, name in enumerate(dict.fromkeys(artists))}
    hands = torch.tensor([order[name] for name in artists])
    near: dict[str, tuple[bool, ...]] = {}
    chances: dict[str, Share] = {}
    thresholds: dict[str, float] = {}
    for name, (views, gray) in TREATMENTS.items():
        kept = [without_colour(some) if gray else some for some in (copies, originals)]
        own = ((kept[0].float() - kept[1].float()) / 255).square().mean(dim=(1, 2, 3)).sqrt()
        thresholds[name] = float(own.quantile(NEAR_COPY))
        near[name] = tuple((nearest_distance(pictures, drawings, views, gray).amin(dim=1) < thresholds[name]).tolist())
        apart = nearest_distance(drawings[controls], drawings, views, gray)
        apart = apart.masked_fill(hands[controls][:, None] == hands, math.inf).amin(dim=1)
        chances[name] = Share.of((apart[apart.isfinite()] < thresholds[name]).tolist())
    return TransformedCopies(near, chances, thresholds)

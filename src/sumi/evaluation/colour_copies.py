"""Copies in a held-out colour: whether a picture of a thing in a new colour is a training drawing recoloured.

    d(x) = min over the drawings of the thing of the distance to the drawing, recoloured as training recolours

Training shows a drawing in many colours, so a model that knows a drawing and a colour can copy the recoloured drawing
without having seen it. Three controls give a share of near copies its meaning: the same drawings in their own colours,
the same drawings in another colour, and as many drawings of another thing in the asked colour.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sumi.bundles import TrainingDrawings
from sumi.data.render import recolour, tones
from sumi.data.scene import COLOURS
from sumi.evaluation.intervals import Share
from sumi.evaluation.questions import Question
from sumi.explain.nearest_drawings import LEVELS, distances

__all__ = ["ColourCopyReport", "measure_colour_copies"]

CONTROLS = ("the same drawings in their own colours", "the same in another colour", "another thing's in that colour")


@dataclass(frozen=True)
class ColourCopyReport:
    """Distances from pictures to recoloured drawings.

    Args:
        prompts: of the pictures.
        drawn: the pictures as they are compared, uint8 (n, 4, S, S).
        nearest: for each picture the nearest drawing of its thing in the asked colour, uint8 (n, 4, S, S).
        distances: from each picture to that drawing, (n,).
        controls: the distances to the drawings of each of `CONTROLS`, (n,).
        threshold: a picture at less than this distance is a near copy.
    """

    prompts: tuple[str, ...]
    drawn: Tensor
    nearest: Tensor
    distances: Tensor
    controls: dict[str, Tensor]
    threshold: float

    @property
    def near_copies(self) -> Share:
        """The share of near copies of a recoloured drawing of the thing."""
        return Share.of((self.distances < self.threshold).tolist())

    @property
    def control_shares(self) -> dict[str, Share]:
        """The share of pictures that are as near to each control."""
        return {name: Share.of((values < self.threshold).tolist()) for name, values in self.controls.items()}

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        pairs = zip(self.prompts, self.distances.tolist(), strict=True)
        return {
            "near copies": self.near_copies.to_json(),
            "controls": {name: share.to_json() for name, share in self.control_shares.items()},
            "pictures": [{"prompt": prompt, "distance": round(distance, 4)} for prompt, distance in pairs],
        }

    def lines(self) -> list[str]:
        """Return the figures as lines for the terminal."""
        said = ["colours never shown with their thing, against the thing's drawings in that colour:"]
        said.append(f"  near copies (nearer than {self.threshold:.3f}): {self.near_copies}")
        return said + [f"  control, {name}: {share}" for name, share in self.control_shares.items()]


def measure_colour_copies(
    asked: Sequence[Question], drawn: Tensor, drawings: TrainingDrawings, threshold: float
) -> ColourCopyReport:
    """Compare pictures of things in colours with recoloured drawings of these things.

    Args:
        asked: n questions of one thing in one colour.
        drawn: the picture of each, aligned, uint8 (n, 4, S, S).
        drawings: the training drawings.
        threshold: a picture at less than this distance is a near copy.
    """
    of_thing: dict[str, list[int]] = {}
    for number, drawing in enumerate(drawings.rows):
        if not drawing["person"]:
            of_thing.setdefault(drawing["concept"], []).append(number)
    kept = [row for row, question in enumerate(asked) if question.things[0] in of_thing]
    things, colours = list(of_thing), list(COLOURS)
    found: dict[str, list[Tensor]] = {name: [] for name in ("own", *CONTROLS)}
    nearest = []
    for row in kept:
        thing, colour = asked[row].things[0], asked[row].colours[0]
        assert colour is not None
        other_colour = colours[(colours.index(colour) + 1 + row % (len(colours) - 1)) % len(colours)]
        other_thing = things[(things.index(thing) + 1 + row % (len(things) - 1)) % len(things)] if things[1:] else thing
        own = drawings.pictures[of_thing[thing]]
        others = drawings.pictures[of_thing[other_thing][: len(own)]]
        sets = (
            recolour_drawings(own, colour),
            own,
            recolour_drawings(own, other_colour),
            recolour_drawings(others, colour),
        )
        for name, pictures in zip(found, sets, strict=True):
            apart = distances(drawn[row], pictures)
            found[name].append(apart.amin())
            if name == "own":
                nearest.append(pictures[apart.argmin()])
    measured = {name: torch.stack(values) if values else torch.empty(0) for name, values in found.items()}
    side = drawings.pictures.shape[-1]
    return ColourCopyReport(
        prompts=tuple(asked[row].prompt for row in kept),
        drawn=drawn[kept],
        nearest=torch.stack(nearest) if nearest else torch.zeros(0, 4, side, side, dtype=torch.uint8),
        distances=measured.pop("own"),
        controls=measured,
        threshold=threshold,
    )


def recolour_drawings(pictures: Tensor, colour: str) -> Tensor:
    """Return drawings, premultiplied uint8 (N, 4, S, S), recoloured as in training and quantized for comparison."""
    painted = recolour(pictures.float() / 255, [colour] * len(pictures), tones(pictures))
    step = 255 / (LEVELS - 1)
    return ((painted.clamp(0, 1) * (LEVELS - 1)).round() * step).round().to(torch.uint8)

"""A world of coloured blobs that the judge learns in seconds, in the shapes of the real one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sumi.data.scene import COLOURS, STYLES, Place, Scene, Thing
from sumi.judge.network import SIZE_PX, Judge

NAMES = ("bar", "block", "cross", "plank")
ASPECTS = {("bar", "toy"): 1 / 3, ("block", "toy"): 1.0, ("cross", "toy"): 1.0, ("plank", "toy"): 3.0}


def tiny_judge(names: Sequence[str] = NAMES) -> Judge:
    torch.manual_seed(0)
    return Judge(names, tuple(COLOURS), ("none", *STYLES), channels=(16, 24), blocks=(1, 1), features=32).eval()


def scene(*things: tuple[str, str | None, float, float]) -> Scene:
    """Things as (name, colour, x, y), each a third of the frame high."""
    side = 0.8 if len(things) == 1 else 0.4
    shown = tuple(Thing(name, "toy", (Place(x, y, side),), colour) for name, colour, x, y in things)
    return Scene("single" if len(things) == 1 else "pair", shown)


def picture(shown: Scene) -> Tensor:
    """A scene as premultiplied uint8 (4, 64, 64): tall, square, crossed and wide blobs."""
    canvas = torch.zeros(4, SIZE_PX, SIZE_PX, dtype=torch.uint8)
    for thing in shown.things:
        place, rgb = thing.places[0], COLOURS[thing.colour or "gray"]
        half = int(place.side * SIZE_PX / 2)
        thin = half // 3
        wide, high = {"bar": (thin, half), "block": (half, half), "cross": (half, thin), "plank": (half, thin)}[
            thing.concept
        ]
        for w, h in ((wide, high), (high, wide)) if thing.concept == "cross" else ((wide, high),):
            x, y = int(place.x * SIZE_PX), int(place.y * SIZE_PX)
            window = (slice(max(0, y - h), y + h), slice(max(0, x - w), x + w))
            canvas[(slice(None), *window)] = torch.tensor([*rgb, 255], dtype=torch.uint8)[:, None, None]
    return canvas


def some_scenes(count: int, seed: int) -> list[Scene]:
    """Scenes of one or two different things in any colours."""
    rng = torch.Generator().manual_seed(seed)

    def draw(upto: int) -> int:
        return int(torch.randint(0, upto, (), generator=rng))

    made = []
    for _ in range(count):
        first, second = torch.randperm(len(NAMES), generator=rng)[:2].tolist()
        colours = [tuple(COLOURS)[draw(5)] for _ in "ab"]
        sway = (draw(9) - 4) / 100
        if draw(2):
            made.append(scene((NAMES[first], colours[0], 0.5 + sway, 0.5 - sway)))
        else:
            made.append(scene((NAMES[first], colours[0], 0.25, 0.5 + sway), (NAMES[second], colours[1], 0.75, 0.5)))
    return made

"""A model that copies a drawing into another colour is found out, and one that does not is not accused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sumi.bundles import TrainingDrawings
from sumi.data.scene import COLOURS
from sumi.evaluation.colour_copies import CONTROLS, measure_colour_copies, recolour_drawings
from sumi.evaluation.questions import Question
from sumi.explain.nearest_drawings import distances

SIDE = 16
THINGS = ("fox", "owl", "car", "cup")


def shaded(seed: int) -> Tensor:
    """A drawing of random shapes in shades of one hue, premultiplied uint8 (4, SIDE, SIDE)."""
    rng = torch.Generator().manual_seed(seed)
    shade = 0.35 + 0.6 * torch.rand(1, SIDE // 4, SIDE // 4, generator=rng).repeat_interleave(4, 1).repeat_interleave(
        4, 2
    )
    hue = torch.tensor([1.0, 0.55, 0.15])[:, None, None]
    alpha = torch.ones(1, SIDE, SIDE)
    alpha[:, : seed % 5, : seed % 5] = 0
    return (torch.cat([shade * hue * alpha, alpha]) * 255).to(torch.uint8)


@pytest.fixture
def drawings() -> TrainingDrawings:
    rows = [{"concept": name, "person": "", "source": hand} for name in THINGS for hand in "ab"]
    pictures = torch.stack([shaded(number) for number in range(len(rows))])
    return TrainingDrawings(torch.ones(len(rows), 8), pictures, rows, "")


def asked(colour: str = "blue") -> list[Question]:
    return [Question("colour", f"a {colour} {name}", (name,), (colour,)) for name in THINGS]


def test_colour_copies_count_a_recoloured_drawing_and_not_the_plain_one(drawings: TrainingDrawings) -> None:
    copied = torch.stack([recolour_drawings(drawings.pictures[2 * k : 2 * k + 1], "blue")[0] for k in range(4)])
    found = measure_colour_copies(asked(), copied, drawings, threshold=0.05)
    assert (found.near_copies.right, found.near_copies.n) == (4, 4) and found.distances.max() < 1e-6
    assert torch.equal(found.nearest, copied)
    assert {name: share.right for name, share in found.control_shares.items()} == dict.fromkeys(CONTROLS, 0)


def test_colour_copies_attribute_a_plain_copy_to_its_control(drawings: TrainingDrawings) -> None:
    found = measure_colour_copies(asked(), drawings.pictures[::2], drawings, threshold=0.05)
    assert found.near_copies.right == 0 and found.control_shares[CONTROLS[0]].right == 4


def test_colour_copies_do_not_count_another_picture_in_the_colour(drawings: TrainingDrawings) -> None:
    strange = torch.stack([recolour_drawings(shaded(100 + k)[None], "blue")[0] for k in range(4)])
    assert measure_colour_copies(asked(), strange, drawings, threshold=0.05).near_copies.right == 0


@pytest.mark.parametrize("colour", ["blue", "green", "black", "white"])
def test_recolour_drawings_keeps_the_outline_and_takes_the_colour(colour: str) -> None:
    drawing = shaded(3)[None]
    painted = recolour_drawings(drawing, colour)
    assert torch.equal(painted[:, 3] > 0, drawing[:, 3] > 0)
    seen = painted[0, :3][:, painted[0, 3] > 250].float().mean(dim=1)
    near = min(COLOURS, key=lambda name: float((torch.tensor(COLOURS[name]).float() - seen).square().sum()))
    assert near == colour or colour in ("black", "white")
    assert float(distances(painted[0], drawing)) > 0.1


def test_colour_copies_skip_things_without_drawings(drawings: TrainingDrawings) -> None:
    unknown = Question("colour", "a blue zebra", ("zebra",), ("blue",))
    found = measure_colour_copies([unknown, *asked()], torch.zeros(5, 4, SIDE, SIDE, dtype=torch.uint8), drawings, 0.05)
    assert found.prompts == tuple(question.prompt for question in asked()) and found.near_copies.n == 4
    assert len(found.lines()) == 2 + len(CONTROLS) and len(found.to_json()["pictures"]) == 4

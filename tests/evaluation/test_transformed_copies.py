"""Copies that were mirrored, turned or recoloured are found, and pictures that are none are not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sumi.evaluation.intervals import Share
from sumi.evaluation.transformed_copies import TREATMENTS, measure_transformed_copies, mirrored, turned, without_colour

SIDE = 44
ARTISTS = ["a", "b"] * 6


def drawing(seed: int) -> Tensor:
    """A square of smooth colours that is like no other, nor like itself in a mirror."""
    coarse = torch.rand(1, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bilinear")[0]
    return torch.cat([(255 * smooth).round(), torch.full((1, SIDE, SIDE), 255.0)]).to(torch.uint8)


DRAWINGS = torch.stack([drawing(seed) for seed in range(12)])
BLURRED = (DRAWINGS.float() * 0.96).round().to(torch.uint8)


@pytest.mark.parametrize(
    ("treatment", "change"),
    [
        ("as they are", lambda x: x),
        ("mirrored", mirrored),
        ("turned", lambda x: torch.rot90(x, 1, dims=(2, 3))),
        ("turned", lambda x: torch.rot90(x, 2, dims=(2, 3))),
        ("recoloured", lambda x: torch.cat([x[:, [2, 0, 1]], x[:, 3:]], dim=1)),
        ("recoloured and mirrored", lambda x: mirrored(torch.cat([x[:, [2, 0, 1]], x[:, 3:]], dim=1))),
    ],
)
def test_a_copy_is_found_by_its_treatment_alone(treatment: str, change: object) -> None:
    pictures = torch.cat([change(DRAWINGS[:3]), torch.stack([drawing(99)])])  # type: ignore[operator]
    found = measure_transformed_copies(pictures, DRAWINGS, ARTISTS, BLURRED, DRAWINGS)
    assert found.near[treatment] == (True, True, True, False)
    others = {"as they are", "mirrored", "turned"} - {treatment}
    if treatment in ("mirrored", "turned"):
        assert not any(any(found.near[name]) for name in others)
    assert found.marks["any of these"] == [True, True, True, False]


def test_chance_is_what_two_artists_have_in_common() -> None:
    found = measure_transformed_copies(DRAWINGS[:1], DRAWINGS, ARTISTS, BLURRED, DRAWINGS)
    assert found.chances["turned"] == Share(0, 12)
    same = torch.cat([DRAWINGS[:6], DRAWINGS[:6]])
    found = measure_transformed_copies(DRAWINGS[:1], same, ["a"] * 6 + ["b"] * 6, BLURRED, DRAWINGS)
    assert found.chances["as they are"] == Share(12, 12)
    kept = found.to_json()
    assert kept["any of these"]["share"] == 1.0 and kept["mirrored"]["chance"]["n"] == 12
    assert len(found.lines()) == len(TREATMENTS) + 2


def test_a_tilted_drawing_keeps_its_size() -> None:
    back = turned(turned(DRAWINGS[:2], 90), -90)
    assert (back.float() - DRAWINGS[:2].float()).abs().mean() < 12
    assert torch.equal(without_colour(DRAWINGS)[:, 0], without_colour(DRAWINGS)[:, 2])

"""A picture in a recipe is the picture that the model saw, to the bit."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sumi import SumiError
from sumi.imaging.pixels import from_image, to_image
from sumi.pipelines.source import Source


def test_premultiplied_levels_survive_as_a_straight_picture() -> None:
    """Every level under every alpha: c -> round(255 c / a) -> round(that a / 255) is c again."""
    alpha, colour = np.mgrid[:256, :256]
    colour = np.minimum(colour, alpha)
    levels = torch.from_numpy(np.stack([colour, colour, colour, alpha]).astype(np.uint8))
    assert torch.equal(from_image(to_image(levels), 256), levels)


@pytest.mark.parametrize("size", [(16, 16), (50, 20), (3, 9)])
def test_what_a_recipe_keeps_is_shown_as_the_original_was(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    source = Source.of(Image.fromarray(noise))
    again = Source.from_json(source.to_record(16))
    assert again.sha256 == source.sha256 and again.size == (16, 16)
    assert torch.equal(again.levels(16), source.levels(16))
    whole = Source.from_json(source.to_record())
    assert np.array_equal(np.asarray(whole.image), noise)


def test_its_name_is_that_of_its_pixels() -> None:
    red = Image.new("RGB", (4, 2), "red")
    assert Source.of(red).sha256 == Source.of(red.convert("RGBA")).sha256 == Source.of(red.convert("P")).sha256
    assert Source.of(red).sha256 != Source.of(red.resize((2, 4))).sha256
    assert Source.of(red).sha256 != Source.of(Image.new("RGB", (4, 2), "blue")).sha256


def zipped_bomb() -> str:
    file = io.BytesIO()
    Image.new("1", (9000, 9000)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


@pytest.mark.parametrize(
    "values",
    [None, {}, [], {"png": ""}, {"png": 3}, {"png": "***"}, {"png": "AAAA"}, {"png": "é"}, {"png": zipped_bomb()}],
)
def test_a_strange_source_is_refused_in_one_line(values: Any) -> None:
    with pytest.raises(SumiError) as caught:
        Source.from_json(values)
    assert "\n" not in str(caught.value)

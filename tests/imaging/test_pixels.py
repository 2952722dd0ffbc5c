"""Premultiplied pixels: what a person sees, what a network gets, and pictures composited over a ground."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from sumi.imaging.pixels import (
    HAZE,
    from_image,
    from_levels,
    over,
    pad_to_square,
    premultiply,
    resize,
    to_image,
    to_levels,
    to_uint8,
)


def paint(red: int, green: int, blue: int, alpha: int) -> torch.Tensor:
    return torch.tensor([red, green, blue, alpha], dtype=torch.uint8)[:, None, None].expand(4, 2, 2)


def test_to_uint8_rounds_to_the_nearest_level_and_clips() -> None:
    unit = torch.tensor([-0.5, 0.0, 0.49 / 255, 0.51 / 255, 254.6 / 255, 1.0, 1.5])
    assert to_uint8(unit).tolist() == [0, 0, 0, 1, 255, 255, 255]


def test_to_uint8_returns_every_level_that_it_is_given() -> None:
    levels = torch.arange(256).to(torch.uint8)
    assert torch.equal(to_uint8(levels.float() / 255), levels)


def test_over_mixes_colors_by_alpha() -> None:
    half_red = torch.tensor([0.5, 0.0, 0.0, 0.5])[:, None, None]
    blue = torch.tensor([0.0, 0.0, 1.0])[:, None, None]
    assert over(half_red, blue).flatten().tolist() == [0.5, 0.0, 0.5]


def test_over_of_a_transparent_picture_is_the_ground() -> None:
    ground = torch.rand(2, 4, 3, 3)
    assert torch.equal(over(torch.zeros(2, 4, 3, 3), ground), ground)


def test_over_is_associative() -> None:
    pictures = torch.rand(3, 4, 5, 5)
    a, b, c = (torch.cat([picture[:3] * picture[3:], picture[3:]]) for picture in pictures)
    torch.testing.assert_close(over(a, over(b, c)), over(over(a, b), c))


def test_to_levels_inverts_from_levels() -> None:
    alpha = torch.randint(0, 2, (3, 1, 8, 8)) * 255
    levels = torch.cat([torch.randint(0, 256, (3, 3, 8, 8)).minimum(alpha), alpha], dim=1).to(torch.uint8)
    assert torch.equal(to_levels(from_levels(levels)), levels)


def test_to_levels_clears_haze_and_limits_colors_to_alpha() -> None:
    x = torch.full((1, 4, 2, 2), HAZE) * 2 - 1
    assert to_levels(x).max() == 0, "a faint veil is nothing"
    x = torch.rand(1, 4, 16, 16) * 2.4 - 1.2
    levels = to_levels(x)
    assert (levels[:, :3] <= levels[:, 3:]).all()
    nearly = torch.ones(1, 4, 2, 2) - HAZE
    assert to_levels(nearly)[:, 3].min() == 255, "nearly opaque is opaque"


def test_to_image_keeps_transparency_or_composites_over_a_color() -> None:
    half_red = paint(128, 0, 0, 128)
    assert to_image(half_red).getpixel((0, 0)) == (255, 0, 0, 128)
    assert to_image(half_red, (255, 255, 255)).getpixel((0, 0)) == (255, 127, 127)
    assert to_image(half_red, (0, 0, 255)).getpixel((0, 0)) == (128, 0, 127)
    assert to_image(paint(0, 0, 0, 0)).getpixel((0, 0)) == (0, 0, 0, 0)
    assert to_image(paint(0, 0, 0, 0), (9, 8, 7)).getpixel((0, 0)) == (9, 8, 7)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_from_image_reads_every_mode_as_premultiplied_rgba(mode: str) -> None:
    grey = np.full((8, 16), 65535 if mode == "I;16" else 255, dtype=np.uint16 if mode == "I;16" else np.uint8)
    image = Image.fromarray(grey)
    levels = from_image(image if mode == "I;16" else image.convert(mode), 8)
    assert levels.shape == (4, 8, 8) and levels.dtype == torch.uint8
    assert levels[:, 4].min() == 255, "white inside"
    assert levels[:, 0].max() == levels[:, 7].max() == 0, "and nothing above and below a wide picture"


def test_from_image_scales_gray_of_16_bits() -> None:
    image = Image.fromarray(np.full((4, 4), 32768, dtype=np.uint16))
    assert from_image(image, 4)[0, 0, 0] in (127, 128)


def test_from_image_drops_hidden_colors() -> None:
    hidden = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert from_image(hidden, 4).max() == 0


def test_resize_to_the_same_size_changes_nothing() -> None:
    x = torch.rand(1, 4, 5, 5)
    assert resize(x, (5, 5)) is x
    flat = torch.full((1, 4, 64, 64), 0.25)
    assert torch.allclose(resize(flat, (16, 16)), flat[..., :16, :16], atol=1e-6)


def test_pad_to_square_centers_a_wide_picture() -> None:
    square = pad_to_square(torch.ones(4, 2, 4), 4)
    assert square[3].tolist() == [[0.0] * 4, [1.0] * 4, [1.0] * 4, [0.0] * 4]


def test_premultiply_multiplies_by_alpha() -> None:
    pixel = premultiply(Image.new("RGBA", (1, 1), (255, 0, 0, 51))).flatten()
    torch.testing.assert_close(pixel, torch.tensor([0.2, 0.0, 0.0, 0.2]))

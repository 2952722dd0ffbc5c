"""A fingerprint stays near itself under ordinary edits, and far from other pictures."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageDraw

from sumi.store.search_index import hamming_distance
from sumi.trust.fingerprint import NEAR, make_fingerprint


def draw_sticker(seed: int) -> Image.Image:
    """An irregular figure on a transparent background, another for each seed."""
    image = Image.new("RGBA", (256, 256), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    rng = np.random.default_rng(seed)
    for x, y, width, height, *colour in rng.integers(20, 130, (8, 7)).tolist():
        draw.ellipse((x, y, x + width, y + height), fill=(colour[0] + 60, colour[1], colour[2], 255))
    return image


def flat(colour: str) -> Callable[[Image.Image], Image.Image]:
    def edit(image: Image.Image) -> Image.Image:
        page = Image.new("RGBA", (400, 380), colour)
        page.alpha_composite(image, (70, 50))
        return page.convert("RGB")

    return edit


EDITS: dict[str, Callable[[Image.Image], Image.Image]] = {
    "white": flat("white"),
    "dark": flat("#202124"),
    "half": lambda image: image.resize((128, 128), Image.Resampling.BICUBIC),
    "triple": lambda image: image.resize((768, 768), Image.Resampling.BICUBIC),
}


@pytest.mark.parametrize("edit", EDITS)
def test_make_fingerprint_stays_near_after_an_edit(edit: str) -> None:
    own = [make_fingerprint(draw_sticker(seed)) for seed in range(8)]
    for seed in range(8):
        apart = hamming_distance(make_fingerprint(EDITS[edit](draw_sticker(seed))), own)
        assert apart.argmin() == seed and apart[seed] < NEAR
        assert min(bits for other, bits in enumerate(apart) if other != seed) > NEAR


def test_make_fingerprint_of_an_empty_picture_is_32_bytes() -> None:
    assert len(make_fingerprint(Image.new("RGBA", (5, 3)))) == 32

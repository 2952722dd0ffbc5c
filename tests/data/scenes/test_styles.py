"""Styles: each keeps the picture premultiplied, looks like itself, and scales with the frame."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sumi.data.generator import Scenes
from sumi.data.scene import STYLES, Place, Scene, Thing
from sumi.data.styles import STYLERS, blur


@pytest.fixture(scope="module")
def plain(scenes: Scenes) -> Tensor:
    """Foxes, trees and cars at 128 px, in [0, 1]."""
    drawn = [Scene("single", (Thing(n, "noto", (Place(0.5, 0.5, 0.8),)),)) for n in ("fox", "tree", "car")]
    return scenes.render(drawn, 128).float() / 255


def test_every_style_has_a_styler() -> None:
    assert tuple(STYLERS) == STYLES


@pytest.mark.parametrize("style", STYLES)
def test_a_style_keeps_colour_within_alpha(plain: Tensor, style: str) -> None:
    styled = STYLERS[style](plain, [1, 2, 3])
    assert styled.shape == plain.shape and (styled[:, :3] <= styled[:, 3:] + 1e-5).all()
    assert styled.min() >= 0 and styled[:, 3].max() <= 1 + 1e-5


@pytest.mark.parametrize("style", STYLES)
def test_a_style_repeats_itself(plain: Tensor, style: str) -> None:
    alone = STYLERS[style](plain[1:2], [7])
    together = STYLERS[style](plain, [3, 7, 5])
    assert torch.allclose(alone[0], together[1], atol=1e-5)


@pytest.mark.parametrize("style", STYLES)
def test_the_corners_stay_clear(plain: Tensor, style: str) -> None:
    styled = STYLERS[style](plain, [0, 1, 2])
    assert styled[:, :, :4, :4].max() < 0.02


def test_a_silhouette_has_no_features(plain: Tensor) -> None:
    styled = STYLERS["silhouette"](plain, [0, 0, 0])
    inside = styled[:, 3] > 0.99
    assert styled[:, 0][inside].std() < 1e-4 and torch.equal(styled[:, 3], plain[:, 3])


def test_pixel_art_has_big_pixels_and_hard_edges(plain: Tensor) -> None:
    styled = STYLERS["pixel art"](plain, [0, 0, 0])
    assert torch.equal(styled[..., ::4, ::4].repeat_interleave(4, -1).repeat_interleave(4, -2), styled)
    assert set(styled[:, 3].unique().tolist()) == {0.0, 1.0}


def test_a_pencil_drawing_has_no_colour(plain: Tensor) -> None:
    styled = STYLERS["pencil drawing"](plain, [0, 0, 0])
    assert (styled[:, :3].amax(1) - styled[:, :3].amin(1)).max() < 0.06


def test_neon_glows_in_the_dark(plain: Tensor) -> None:
    styled = STYLERS["neon"](plain, [0, 0, 0])
    assert styled[:, :3].amax() > 0.95 and styled[:, :3, 40:52, 60:68].mean() < 0.35


def test_a_sticker_gets_a_white_border(plain: Tensor) -> None:
    styled = STYLERS["sticker outline"](plain, [0, 0, 0])
    border = (styled[:, 3] > 0.99) & (plain[:, 3] < 0.01)
    assert 0.03 < border.float().mean() < 0.2
    white = styled[:, :3].amin(1)[border]
    assert (white > 0.95).float().mean() > 0.5
    assert torch.allclose(styled[:, :, 64, 64], plain[:, :, 64, 64], atol=1e-4)


def test_mosaic_and_watercolour_keep_the_colours(plain: Tensor) -> None:
    for style in ("mosaic", "watercolour", "pixel art"):
        styled = STYLERS[style](plain, [0, 1, 2])
        before = plain[:, :3].sum((2, 3)) / plain[:, 3:].sum((2, 3))
        after = styled[:, :3].sum((2, 3)) / styled[:, 3:].sum((2, 3))
        assert (before - after).abs().max() < 0.3
        assert (before.argmax(1) == after.argmax(1)).all()


def test_blur_keeps_what_is_even() -> None:
    assert torch.allclose(blur(torch.full((1, 2, 32, 32), 0.7), 0.03), torch.tensor(0.7))
    spot = torch.zeros(1, 1, 33, 33)
    spot[..., 16, 16] = 1
    assert blur(spot, 0.03).sum() == pytest.approx(1, abs=1e-4)

"""A picture taken apart into (z_i, x_1) and put together again, and the arc between two of them."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from PIL import Image

from sumi.imaging.pixels import from_image, from_levels
from sumi.pipelines.invert import detailed, inverted, latents, slerp
from sumi.pipelines.stage import run
from sumi.pipelines.steps import drive_to_end
from sumi.systems.unclip.artist import Sumi


def test_the_arc_begins_and_ends_exactly_and_keeps_its_length() -> None:
    a, b = torch.nn.functional.normalize(torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(1)), dim=-1)
    assert torch.equal(slerp(a, b, 0.0), a) and torch.equal(slerp(a, b, 1.0), b)
    for amount in (0.1, 0.5, 0.8):
        point = slerp(a, b, amount)
        assert torch.allclose(point.norm(dim=1), torch.ones(5), atol=1e-5)
        angle = torch.arccos((a * b).sum(1))
        assert torch.allclose(torch.arccos((a * point).sum(1)), amount * angle, atol=1e-3), "at a steady pace"


def test_a_quarter_turn_is_known() -> None:
    east, north = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    root = math.sqrt(0.5)
    assert torch.allclose(slerp(east, north, 0.5), torch.tensor([[root, 2 * root]]))
    both = slerp(east.expand(3, 2), north.expand(3, 2), torch.tensor([0.0, 0.5, 1.0]))
    assert torch.allclose(both, torch.tensor([[1.0, 0.0], [root, 2 * root], [0.0, 2.0]]), atol=1e-6)


def test_where_there_is_no_arc_there_is_a_line() -> None:
    a = torch.tensor([[1.0, 2.0]])
    assert torch.allclose(slerp(a, 3 * a, 0.5), 2 * a)
    assert torch.allclose(slerp(a, -a, 0.25), 0.5 * a)
    assert slerp(torch.zeros(1, 2), a, 0.5).isfinite().all()


def test_the_noise_found_draws_the_picture_again(exact: Sumi, disc: Image.Image) -> None:
    pipeline = replace(exact.pipeline, decoder=exact.pipeline.decoder.with_settings("ddim", 32, 1.0))
    levels = from_image(disc, 16)[None]
    cond = pipeline.image_cond(pipeline.embed(levels))
    with torch.no_grad():
        x_1 = drive_to_end(inverted(pipeline, levels, cond))
        again = drive_to_end(run(pipeline.decoder, cond, [1], x=x_1))
    mse = float((again - latents(pipeline, levels)).square().mean())
    assert 10 * math.log10(4 / mse) > 40, "dB"
    m, sd = float(cond.vector[0, 0]) / 2, 0.6  # type: ignore[index]
    truth = (from_levels(levels) - m) / sd
    assert float((x_1 - truth).abs().max()) < 0.15, "the probability flow of a Gaussian standardises it"


def test_what_the_codec_loses_is_given_back_only_where_nothing_changed(tiny: Sumi, disc: Image.Image) -> None:
    pipeline, levels = tiny.pipeline, from_image(disc, 16)[None]
    with torch.no_grad():
        z = latents(pipeline, levels)
        coded = pipeline.decoder.decode(z)
        again = detailed(pipeline, levels).decoder.decode(z)
        twice = detailed(pipeline, levels.repeat(2, 1, 1, 1)).decoder.decode(z)
        far = detailed(pipeline, levels).decoder.decode(z + 50)
        plain = pipeline.decoder.decode(z + 50)
    x = from_levels(levels)
    assert (coded - x).abs().max() > 0.3, "a random codec loses much"
    assert torch.allclose(again, x, atol=1e-5), "all of it comes back"
    assert torch.allclose(twice, x, atol=1e-5), "and never twice"
    moved = (plain - coded).abs().amax(dim=1, keepdim=True).expand_as(plain) > 0.6
    assert moved.any() and (far - plain).abs().mean() < (again - coded).abs().mean()


@pytest.mark.parametrize("count", [1, 3])
def test_only_the_picture_speaks_where_no_word_is_known(tiny: Sumi, count: int) -> None:
    z_i = torch.randn(count, 8)
    cond = tiny.pipeline.image_cond(z_i)
    assert cond.vector is not None
    assert torch.equal(cond.vector[:, :8], z_i) and not cond.vector[:, 8:].any(), "z_i, and zeros for z_t"
    assert cond.tokens is not None and cond.tokens.shape == (count, 12, 16) and not cond.tokens.any()

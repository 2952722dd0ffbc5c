"""Pictures to edit, and a model whose decoder is known in closed form, so that what should come out is known too."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

from sumi.diffusion import Estimate, FlowSchedule
from sumi.diffusion.schedule import per_sample
from sumi.nn import Cond
from sumi.pipelines.stage import identity
from sumi.systems.unclip.artist import Sumi

SD = 0.6


def towards(x_t: Tensor, t: Tensor, cond: Cond, /) -> Estimate:
    """E[x | x_t] where x ~ N(m, SD^2) in every coordinate, and the embedding says m: half its first entry."""
    assert cond.vector is not None
    alpha, sigma = FlowSchedule()(t).like(x_t)
    m = per_sample(cond.vector[:, 0] / 2, x_t)
    return Estimate(m + alpha * SD**2 / (alpha**2 * SD**2 + sigma**2) * (x_t - alpha * m))


@pytest.fixture
def exact(tiny: Sumi) -> Sumi:
    """The tiny model, but that its decoder draws pixels and is known in closed form, and nothing is enlarged."""
    decoder = replace(tiny.pipeline.decoder, denoiser=towards, shape=(4, 16, 16), decode=clamped, encode=identity)
    return replace(tiny, pipeline=replace(tiny.pipeline, decoder=decoder, upsamplers=()))


def clamped(x: Tensor) -> Tensor:
    return x.clamp(-1, 1)


def drawing(width: int = 16, height: int = 16, hue: int = 0) -> Image.Image:
    """A disc on a transparent ground, with soft edges and a gradient inside."""
    y, x = np.mgrid[:height, :width]
    away = np.hypot((x + 0.5) / width - 0.5, (y + 0.5) / height - 0.5)
    alpha = (np.clip(0.4 - away, 0, 0.1) * 2550).astype(np.uint8)
    colours = [np.full_like(alpha, 40), (x * 255 // width).astype(np.uint8), np.full_like(alpha, 220)]
    return Image.fromarray(np.stack([*np.roll(np.array(colours), hue, axis=0), alpha], axis=-1))


@pytest.fixture
def disc() -> Image.Image:
    """A picture of the tiny model's own size."""
    return drawing()


@pytest.fixture
def other() -> Image.Image:
    """The same in another colour."""
    return drawing(hue=1)

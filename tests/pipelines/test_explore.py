"""A picture drawn from more and more of its embedding: the last one says all, and each can be drawn again."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from PIL import Image
from same_picture import ROUNDING, apart

from sumi import SumiError
from sumi.imaging.pixels import from_image, to_image, to_levels
from sumi.pipelines import Explore, Picture
from sumi.pipelines.stage import initial_noise, run
from sumi.pipelines.steps import drive_to_end
from sumi.systems.unclip.artist import Sumi


def test_the_last_picture_is_drawn_from_the_whole_embedding(tiny: Sumi, disc: Image.Image) -> None:
    pipeline = tiny.pipeline.settle(Explore(size=16, seed=3))[0]
    z_i = pipeline.embed(from_image(disc, 16)[None])
    with torch.no_grad():
        x = drive_to_end(run(pipeline.decoder, pipeline.image_cond(z_i), [3], x=initial_noise(pipeline.decoder, [3])))
        whole = to_image(to_levels(pipeline.decoder.decode(x))[0])
    every = tiny.explore(disc, seed=3, size=16, background="transparent")
    assert [picture.recipe.options["dims"] for picture in every] == [1, 2, 4, 8], "of eight dimensions five are kept"
    assert apart(every[-1].image, whole) <= ROUNDING
    assert apart(every[0].image, whole) > 1
    (alone,) = tiny.explore(disc, dims=8, seed=3, size=16, background="transparent")
    assert apart(alone.image, whole) <= ROUNDING


def test_each_can_be_drawn_again(tiny: Sumi, disc: Image.Image) -> None:
    for picture in tiny.explore(disc, seed=5, steps=3, guidance=1.5):
        assert picture.recipe.stages["decoder"].steps == 3 and "prior" not in picture.recipe.stages
        (again,) = [event for event in tiny.replay(picture.recipe) if isinstance(event, Picture)]
        assert apart(again.image, picture.image) <= ROUNDING


def test_what_cannot_be_explored_is_said_before_anything_is_drawn(tiny: Sumi, disc: Image.Image) -> None:
    without = replace(tiny, pipeline=replace(tiny.pipeline, axes=None))
    with pytest.raises(SumiError, match="explore needs a model that keeps the principal axes"):
        without.explore(disc)
    with pytest.raises(SumiError, match="dims should be from 1 to 5, or 8 for all, not 7"):
        tiny.explore(disc, dims=7)
    with pytest.raises(TypeError, match="unexpected keyword argument 'sampler'"):
        tiny.explore(disc, sampler="ddpm")

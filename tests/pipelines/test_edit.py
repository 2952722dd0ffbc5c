"""Outside its mask an edited picture is the picture, to the bit; inside, the model is told what lies around."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sumi import SumiError
from sumi.diffusion import DDIMSampler, EulerSampler, FlowSchedule, normal, sample, seeded, uniform_times
from sumi.nn import Cond
from sumi.pipelines import Edit
from sumi.pipelines.edit import LARGEST_PX, Resampled, canvas, extend_edges
from sumi.pipelines.source import Source
from sumi.pipelines.steps import Inpainting, inpaint
from sumi.systems.unclip.artist import Sumi

from .conftest import SD, drawing, towards

BOX = (5, 3, 14, 12)


def masked(size: tuple[int, int], box: tuple[int, int, int, int] = BOX) -> Image.Image:
    mask = Image.new("L", size)
    mask.paste(255, box)
    return mask


def rgba(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGBA"))


@pytest.mark.parametrize("size", [(16, 16), (20, 20), (64, 40), (150, 90)])
@pytest.mark.parametrize("mode", ["RGBA", "RGB", "P", "L"])
def test_outside_the_mask_nothing_changes(size: tuple[int, int], mode: str, tiny: Sumi) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 4), dtype=np.uint8)
    image = Image.fromarray(noise).convert(mode)
    mask = masked(size)
    for picture in tiny.edit(image, "a fox", mask, n=2, seed=4):
        assert picture.image.size == size
        changed = (rgba(picture.image) != rgba(image)).any(axis=-1)
        assert not changed[np.asarray(mask) == 0].any()
        assert changed[np.asarray(mask) == 255].mean() > 0.5


def test_what_the_mask_covers_is_never_looked_at(tiny: Sumi) -> None:
    image, mask = drawing(40, 30), masked((40, 30))
    hidden = image.copy()
    hidden.paste((255, 0, 255, 255), BOX)
    for prompt in ("a fox", ""):
        pictures = [tiny.edit(one, prompt, mask, seed=4)[0].image for one in (image, hidden)]
        assert pictures[0].tobytes() == pictures[1].tobytes()


def test_margins_are_drawn_and_the_picture_stays(tiny: Sumi) -> None:
    image = drawing(20, 12)
    (picture,) = tiny.edit(image, "a fox", expand=(4, 0, 6, 2), seed=4)
    assert picture.image.size == (30, 14)
    assert (rgba(picture.image)[:12, 4:24] == rgba(image)).all()
    (both,) = tiny.edit(image, "a fox", masked((20, 12)), expand=[0, 5, 0, 0], seed=4)
    assert both.image.size == (20, 17) and (rgba(both.image)[5:8] == rgba(image)[:3]).all()


def test_a_mask_is_where_it_is_nearer_to_white(tiny: Sumi) -> None:
    image = drawing(16, 16)
    kinds = {
        "soft": Image.new("L", (16, 16), 127),
        "clear": Image.new("RGBA", (16, 16), (255, 255, 255, 0)),
        "black": Image.new("RGB", (16, 16)),
    }
    for mask in kinds.values():
        with pytest.raises(SumiError, match="the mask covers nothing"):
            tiny.edit(image, "a fox", mask)
    assert canvas(Edit(), Source.of(image), Source.of(Image.new("L", (16, 16), 128))).redraw.all()


def test_what_cannot_be_edited_is_said_before_anything_is_drawn(tiny: Sumi) -> None:
    image = drawing(16, 16)
    with pytest.raises(SumiError, match="this one has 8x9 pixels, and the picture 16x16"):
        tiny.edit(image, "a fox", masked((8, 9)))
    with pytest.raises(SumiError, match="needs a mask, white where to draw, or a margin"):
        tiny.stream(Edit("a fox"), image)
    with pytest.raises(SumiError, match="up to 4096 pixels along a side, margins included"):
        tiny.stream(Edit(expand=(0, LARGEST_PX, 0, 0)), image)
    (picture,) = tiny.edit(image, "a fox", masked((16, 16)), seed=1)
    with pytest.raises(SumiError, match="drawn again from the picture that it is in"):
        tiny.replay(picture.recipe)


def test_a_large_picture_comes_with_a_note(tiny: Sumi, tmp_path: Path) -> None:
    assert tiny.edit(drawing(32, 20), mask=masked((32, 20)), seed=1).notes == ()
    assert tiny.edit(drawing(32, 20), expand=(1, 0, 0, 0), seed=1).notes, "margins count"
    (note,) = tiny.edit(drawing(90, 20), mask=masked((90, 20)), seed=1).notes
    assert "as if the picture had 32 pixels a side" in note


def test_the_decoder_is_told_what_is_known(exact: Sumi) -> None:
    """Inside an opaque picture a hole is filled; where the codec loses nothing, all else is there already."""
    image = Image.new("RGB", (16, 16), (90, 140, 200))
    pipeline = replace(exact.pipeline, decoder=exact.pipeline.decoder)
    (picture,) = replace(exact, pipeline=pipeline).edit(image, "a fox", masked((16, 16)), seed=2)
    outside = np.asarray(masked((16, 16))) == 0
    assert (rgba(picture.image)[outside] == rgba(image)[outside]).all()


def test_what_is_known_replaces_what_is_believed() -> None:
    known, mask = torch.full((1, 2, 4), 7.0), torch.tensor([[[1.0, 0.0, 1.0, 0.0]]])
    estimate = inpaint(towards, Inpainting(known, 1 - mask))(
        torch.randn(3, 2, 4), torch.full((3,), 0.5), Cond(vector=torch.ones(3, 1))
    )
    assert (estimate.mean[..., 1::2] == 7).all() and (estimate.mean[..., ::2] < 7).all()
    x = sample(
        EulerSampler(FlowSchedule()),
        inpaint(towards, Inpainting(known, 1 - mask)),
        torch.randn(3, 2, 4),
        uniform_times(6),
        Cond(torch.ones(3, 1)),
        [],
    )
    assert (x[..., 1::2] == 7).all()


def test_walking_each_step_again_and_again_draws_the_same_distribution() -> None:
    sampler = Resampled(DDIMSampler(FlowSchedule()), FlowSchedule(), rounds=3)
    rng, cond = torch.Generator().manual_seed(2), Cond(vector=torch.full((1, 1), 0.8))
    x = sample(sampler, towards, torch.randn(1, 20_000, generator=rng), uniform_times(40), cond, [rng])
    assert float(x.mean()) == pytest.approx(0.4, abs=0.03)
    assert float(x.std()) == pytest.approx(SD, abs=0.05)
    assert sampler.order == 1 and sampler.stochastic


def test_once_is_the_sampler_itself() -> None:
    cond, rngs = Cond(vector=torch.ones(2, 1)), seeded([1, 2])
    x = normal(torch.empty(2, 5), rngs)
    once = sample(Resampled(DDIMSampler(FlowSchedule()), FlowSchedule(), 1), towards, x, uniform_times(5), cond, rngs)
    assert torch.equal(once, sample(DDIMSampler(FlowSchedule()), towards, x, uniform_times(5), cond, rngs))


def test_a_hole_is_filled_from_its_edges() -> None:
    whole, known = torch.zeros(4, 8, 8), torch.ones(1, 8, 8)
    whole[:, :, :4], whole[:, :, 4:] = 0.25, 0.75
    known[:, 2:6] = 0
    filled = extend_edges(whole, known, 8)
    assert torch.equal(filled[:, :2], whole[:, :2])
    assert float(filled[0, 3, 0]) == 0.25 and float(filled[0, 3, 7]) == 0.75
    assert float(filled.min()) >= 0.25 and float(filled.max()) <= 0.75
    assert not extend_edges(whole, torch.zeros(1, 8, 8), 8).any(), "of nothing there is nothing"

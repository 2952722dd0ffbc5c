"""Pictures varied, blended, restyled, drawn over and enlarged: what is known of each, and that all can be redone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image
from same_picture import ROUNDING, apart

from sumi import SumiError
from sumi.imaging.pixels import premultiply
from sumi.pipelines import Img2img, Picture, Pictures, Progress, Vary, read_recipe
from sumi.pipelines.img2img import start_latents
from sumi.systems.unclip.artist import Sumi

Do = Callable[[Sumi, Image.Image, Image.Image], Pictures]

HALF = Image.new("L", (16, 16))
HALF.paste(255, (8, 0, 16, 16))

EVERY: dict[str, Do] = {
    "vary": lambda artist, one, other: artist.vary(one, n=4, seed=3),
    "vary a little": lambda artist, one, other: artist.vary(one, n=2, seed=3, eta=0.5, steps=4, guidance=1.5),
    "blend": lambda artist, one, other: artist.blend(one, other, frames=4, seed=3, steps=4),
    "blend, fixed": lambda artist, one, other: artist.blend(one, other, frames=3, seed=3, steps=4, noise="fixed"),
    "restyle": lambda artist, one, other: artist.restyle(one, "a red fox", "a blue car", 0.5, seed=3, steps=4),
    "img2img": lambda artist, one, other: artist.img2img(one, "a fox", n=2, strength=0.6, seed=3, negative="hat"),
    "upscale": lambda artist, one, other: artist.upscale(one, seed=3),
    "edit": lambda artist, one, other: artist.edit(one, "a fox", HALF, n=2, seed=3, negative="hat"),
    "expand": lambda artist, one, other: artist.edit(one, expand=(3, 0, 5, 2), seed=3),
}


def psnr(one: Image.Image, other: Image.Image) -> float:
    return -10 * math.log10(float((premultiply(one) - premultiply(other)).square().mean()) + 1e-12)


@pytest.mark.parametrize("kind", EVERY)
def test_whatever_was_drawn_is_drawn_again_from_its_file(
    kind: str, tiny: Sumi, disc: Image.Image, other: Image.Image, tmp_path: Path
) -> None:
    pictures = EVERY[kind](tiny, disc, other)
    for number, picture in enumerate(pictures):
        path = picture.save(tmp_path / f"{number}.png")
        image, recipe = read_recipe(path)
        assert recipe.operation == kind.split(",")[0].split()[0].replace("expand", "edit")
        (again,) = [event for event in tiny.replay(recipe, image) if isinstance(event, Picture)]
        assert (again.image.size, again.image.mode) == (image.size, image.mode)
        assert apart(image, again.image) <= ROUNDING, "alone as in its batch"
        assert again.recipe.stages == recipe.stages and list(again.recipe.sources[1:]) == list(recipe.sources[1:])
    assert len(path.read_bytes()) < 20_000, "a recipe is small"


def test_the_recipe_names_its_sources_and_what_ran(tiny: Sumi, disc: Image.Image, other: Image.Image) -> None:
    ran = {kind: EVERY[kind](tiny, disc, other)[0].recipe for kind in EVERY}
    assert len(ran["blend"].sources) == 2 and ran["vary"].sources == ran["restyle"].sources
    assert set(ran["vary"].stages) == {"decoder", "upsampler"}, "no prior: nothing had to be imagined"
    assert set(ran["img2img"].stages) == {"prior", "decoder", "upsampler"}
    assert set(ran["upscale"].stages) == {"upsampler"}
    assert ran["vary a little"].stages["decoder"].sampler == "ddim"
    assert "Operation: restyle" in ran["restyle"].parameters()
    assert "Size: 24x18" in ran["expand"].parameters()


def test_without_new_noise_the_picture_comes_back(exact: Sumi, disc: Image.Image) -> None:
    (same,) = exact.vary(disc, eta=0.0, seed=1)
    assert psnr(same.image, disc) > 30
    far = [psnr(exact.vary(disc, eta=eta, seed=1)[0].image, disc) for eta in (0.0, 0.5, 1.0)]
    assert far == sorted(far, reverse=True) and far[-1] < 15


def test_variations_differ_and_are_ranked_by_what_they_show(tiny: Sumi, disc: Image.Image) -> None:
    pictures = tiny.vary(disc, n=3, seed=8)
    assert [picture.seed for picture in pictures] == [8, 9, 10]
    assert apart(pictures[0].image, pictures[1].image) > 1
    assert all(0 < picture.score <= 1 for picture in pictures)


def test_both_ends_of_a_blend_are_the_pictures(exact: Sumi, disc: Image.Image, other: Image.Image) -> None:
    frames = exact.blend(disc, other, frames=5, seed=1)
    assert psnr(frames[0].image, disc) > 30 and psnr(frames[-1].image, other) > 30
    nearness = [psnr(frame.image, disc) for frame in frames]
    assert nearness == sorted(nearness, reverse=True), "and the way leads from one to the other"
    assert [frame.recipe.options["amount"] for frame in frames] == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_a_blend_of_a_picture_with_itself_stands_still(tiny: Sumi, disc: Image.Image) -> None:
    frames = tiny.blend(disc, disc, frames=3, seed=1, steps=4)
    assert apart(frames[0].image, frames[2].image) <= ROUNDING, "all frames share their random numbers"


def test_restyling_by_nothing_changes_nothing_however_hard(exact: Sumi, disc: Image.Image) -> None:
    (same,) = exact.restyle(disc, "a red fox", "a blue car", 0.0, guidance=9.0, seed=1)
    assert psnr(same.image, disc) > 30
    (moved,) = exact.restyle(disc, "a red fox", "a blue car", 0.9, seed=1)
    assert psnr(moved.image, disc) < 25


def test_restyling_moves_what_is_shown_steadily_towards_the_text(tiny: Sumi) -> None:
    """cos(slerp(z_i, z_d, amount), z_d) rises with the amount, whatever z_i is."""
    from sumi.pipelines.invert import slerp

    z_t = tiny.pipeline.read(["a red fox", "a blue car"]).z_t.detach()
    z_d = torch.nn.functional.normalize(z_t[1] - z_t[0], dim=0)
    z_i = torch.nn.functional.normalize(torch.randn(50, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    steps = torch.stack([slerp(z_i, z_d.expand(50, 8), amount) @ z_d for amount in (0, 0.25, 0.5, 0.75, 1)])
    assert (steps.diff(dim=0) > 0).all()


def test_texts_that_a_model_cannot_tell_apart_are_refused(tiny: Sumi, disc: Image.Image) -> None:
    with pytest.raises(SumiError, match="the two texts say the same"):
        tiny.restyle(disc, "a red fox", "a red fox,")


def test_strength_says_how_much_is_given_up(exact: Sumi, disc: Image.Image) -> None:
    kept = [psnr(exact.img2img(disc, "a fox", strength=t, seed=1)[0].image, disc) for t in (0.05, 0.4, 0.9)]
    assert kept == sorted(kept, reverse=True) and kept[0] > 25


def test_a_stage_may_start_on_the_way(tiny: Sumi) -> None:
    stage = start_latents(tiny.pipeline.decoder, 0.5)
    assert stage.settings.steps == 2 and stage.settings.start == 0.5
    events = list(tiny.stream(Img2img("a fox", strength=0.5, seed=1), Image.new("RGB", (9, 9))))
    steps = Counter(event.stage for event in events if isinstance(event, Progress))
    assert steps == {"prior": 3, "decoder": 2, "upsampler": 2}


def test_progress_of_an_inversion_can_be_shown(tiny: Sumi, disc: Image.Image) -> None:
    events = [e for e in tiny.stream(Vary(eta=0.5, seed=1, steps=5), disc) if isinstance(e, Progress)]
    found = [(event.step, event.of) for event in events if event.stage == "inversion"]
    assert found == [(step, 5) for step in range(1, 6)]
    assert tiny.pipeline.preview(events[0]) is None


@pytest.mark.parametrize("size", [(1, 1), (16, 16), (30, 7)])
def test_upscaling_keeps_the_shape(tiny: Sumi, size: tuple[int, int]) -> None:
    (large,) = tiny.upscale(Image.new("RGBA", size, (200, 10, 10, 255)), seed=1)
    assert large.image.size == (2 * size[0], 2 * size[1]), "the tiny model doubles"


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "CMYK"])
def test_any_kind_of_picture_may_be_brought(mode: str, tiny: Sumi, disc: Image.Image, tmp_path: Path) -> None:
    image = disc.resize((23, 17)).convert("RGB" if mode == "CMYK" else "RGBA").convert(mode)
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    image.save(path)
    assert tiny.vary(path, seed=1, size=16)[0].image.size == (16, 16)


def test_what_the_model_or_the_pictures_cannot_do_is_said(tiny: Sumi, disc: Image.Image) -> None:
    small = replace(tiny, pipeline=replace(tiny.pipeline, upsamplers=()))
    for wrong, says in (
        (lambda: small.upscale(disc), "needs a model with an upsampler"),
        (lambda: tiny.upscale(Image.new("L", (300, 2))), "up to 256 pixels along a side, and this one has 300x2"),
        (lambda: tiny.blend(disc, disc.resize((8, 16))), "two pictures of one size, not 16x16 and 8x16"),
        (lambda: tiny.vary(disc, size=64), "unknown size '64': choose one of 16, 32"),
        (lambda: tiny.img2img(disc, "a fox", sampler="heum"), "did you mean heun"),
        (lambda: tiny.vary("absent.png"), "No such file"),
    ):
        with pytest.raises(SumiError, match=says):
            wrong()
    assert small.vary(disc, seed=1)[0].image.size == (16, 16), "the rest needs no upsampler"

"""Which word drew what: known where one word paints the left half, and the same whoever else is drawn beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from conftest import SIZE_PX
from PIL import Image
from same_picture import ROUNDING, apart
from torch import Tensor

from sumi import Sumi, SumiError
from sumi.diffusion import Estimate
from sumi.explain.heatmap import heat, page
from sumi.explain.prompt_words import FixedPrior, explain, without_word
from sumi.imaging.pixels import from_image
from sumi.nn import Cond
from sumi.pipelines import EncodedText, Picture, Recipe, Request, Settings, Work
from sumi.pipelines.stage import identity
from sumi.pipelines.steps import StepRequest, drive_to_end, run_side_by_side, run_steps

PAINTERS = ("left", "right")


def read(prompts: Sequence[str]) -> EncodedText:
    """What is told of a prompt: which of the two painting words it has."""
    said = torch.tensor([[float(word in prompt.split()) for word in PAINTERS] for prompt in prompts])
    return EncodedText(torch.ones(len(prompts), 2), said[:, None], torch.ones(len(prompts), 1, dtype=torch.int64))


def halves(x_t: Tensor, t: Tensor, cond: Cond, /) -> Estimate:
    """Each painting word makes its half opaque white; there is no chance in it."""
    assert cond.tokens is not None
    mean = torch.full_like(x_t, -1.0)
    for number, half in enumerate((slice(None, SIZE_PX // 2), slice(SIZE_PX // 2, None))):
        mean[..., half] += 2 * cond.tokens[:, 0, number][:, None, None, None]
    return Estimate(mean)


@dataclass(frozen=True)
class Blind:
    """A prior that draws the same for everything."""

    settings: Settings = field(default_factory=lambda: Settings("ddim", 1))
    name: str = "prior"

    def with_settings_of(self, settings: Settings) -> Blind:
        return self

    def sample(
        self, text: EncodedText, seeds: Sequence[int], stream: str | None = None, batch: int | None = None
    ) -> Work[Tensor]:
        return torch.ones(len(text), 2)
        yield


@pytest.fixture
def painter(exact: Sumi) -> Sumi:
    decoder = replace(exact.pipeline.decoder, denoiser=halves, encode=identity)
    return replace(exact, pipeline=replace(exact.pipeline, read=read, priors={"diffusion": Blind()}, decoder=decoder))


def recipe_of(sumi: Sumi, prompt: str, **settings: object) -> Recipe:
    request = Request.of(prompt, **settings)
    stages = {stage.name: stage.settings for stage in (sumi.pipeline.prior, sumi.pipeline.decoder)}
    hashes = sumi.model.hashes
    return Recipe(prompt, request.seed or 0, SIZE_PX, stages, sumi.model.name, "0", hashes, request.negative)


def test_a_word_that_paints_the_left_half_is_seen_there_and_nowhere_else(painter: Sumi) -> None:
    found = painter.explain(recipe_of(painter, "left quiet right"))
    left, quiet, right = found.words
    half = torch.zeros(SIZE_PX, SIZE_PX)
    half[:, : SIZE_PX // 2] = 1
    torch.testing.assert_close(left.change, half)
    torch.testing.assert_close(right.change, 1 - half)
    assert [word.text for word in found.words] == ["left", "quiet", "right"]
    assert [word.share for word in found.words] == [0.5, 0.0, 0.5] and quiet.change.max() == 0 and found.peak == 1
    assert (found.picture == 255).all() and (left.without[:, :, : SIZE_PX // 2] == 0).all()


def test_the_map_is_red_where_the_word_acted(painter: Sumi) -> None:
    found = painter.explain(recipe_of(painter, "left right"))
    map_ = np.asarray(heat(found, found.words[0], SIZE_PX)).astype(int)
    red = map_[..., 0] - map_[..., 1]
    assert (red[:, : SIZE_PX // 2] > 100).all() and (red[:, SIZE_PX // 2 :] == 0).all()
    shown = page(found, Image.new("RGBA", (64, 64)))
    assert shown.mode == "RGB" and shown.width > 3 * 160


def test_where_the_last_word_goes_nothing_is_said(painter: Sumi) -> None:
    (word,) = painter.explain(recipe_of(painter, "left")).words
    assert word.share == 1.0 and (word.without == 0).all()
    (deaf,) = painter.explain(recipe_of(painter, "quiet")).words
    assert deaf.share == 0.0


def test_words_are_left_out_one_at_a_time_and_letters_stay_together() -> None:
    assert list(without_word('a "HI YOU" fox, a hat')) == [
        ("a", '"HI YOU" fox, a hat'), ('"HI YOU"', "a fox, a hat"), ("fox,", 'a "HI YOU" a hat'),
        ("a", 'a "HI YOU" fox, hat'), ("hat", 'a "HI YOU" fox, a'),
    ]  # fmt: skip


@pytest.mark.parametrize("settings", [{}, {"negative": "a dog", "sampler": "ddpm"}])
def test_it_is_the_picture_that_is_explained(tiny: Sumi, settings: dict[str, str]) -> None:
    (drawn,) = tiny.generate("a red fox wearing a hat", seed=5, size=SIZE_PX, background="transparent", **settings)
    found = tiny.explain(drawn.recipe)
    assert apart(found.picture, from_image(drawn.image, SIZE_PX)) <= ROUNDING, "unpremultiplied and premultiplied again"
    assert sum(word.share for word in found.words) == pytest.approx(1)


def test_the_draw_that_is_kept_stays_the_same_without_a_word(tiny: Sumi) -> None:
    prior = FixedPrior(tiny.pipeline.prior)
    drawn = [
        drive_to_end(prior.sample(tiny.pipeline.read([text]).repeat(4), [3] * 4, "x")) for text in ("a fox", "a car")
    ]
    (kept,) = prior.kept.values()
    other = drive_to_end(tiny.pipeline.prior.sample(tiny.pipeline.read(["a car"]).repeat(4), [3] * 4, "x"))
    assert len({tuple(row.tolist()) for row in drawn[0]}) == 1
    torch.testing.assert_close(drawn[1], other[kept].expand_as(other))


def test_what_words_did_not_draw_is_refused(tiny: Sumi) -> None:
    (drawn,) = tiny.generate("a fox", seed=1, size=SIZE_PX)
    (varied,) = tiny.vary(drawn.image, seed=1, size=SIZE_PX)
    with pytest.raises(SumiError, match="made by vary"):
        explain(tiny.pipeline, varied.recipe)
    with pytest.raises(SumiError, match="drawn by another decoder than"):
        explain(tiny.pipeline, replace(drawn.recipe, hashes={**drawn.recipe.hashes, "decoder": "0"}))
    with pytest.raises(SumiError, match="has 41 words, and at most 40"):
        explain(tiny.pipeline, replace(drawn.recipe, prompt="a " * 41))


def test_works_done_together_ask_once_and_draw_what_each_draws_alone(tiny: Sumi) -> None:
    requests = [Request("a red fox", seed=1, sampler="ddpm"), Request("a car", seed=1, sampler="ddpm")]
    longer = Request("a car", seed=2, steps=7)

    def pictures(work: Work[None]) -> Work[list[Picture]]:
        seen: list[Picture] = []
        step = None
        while True:
            try:
                said = work.send(step)
            except StopIteration:
                return seen
            if isinstance(said, Picture):
                seen.append(said)
                step = None
            else:
                step = yield said

    asked: list[int] = []
    work = run_side_by_side([pictures(tiny.work(request)) for request in (*requests, longer)])
    step = None
    while True:
        try:
            said = work.send(step)
        except StopIteration as end:
            found = [pictures[0].image for pictures in end.value]
            break
        step = None
        if isinstance(said, StepRequest):
            asked.append(len(said))
            step = run_steps([said])[0]
    alone = [drive_to_end(pictures(tiny.work(request)))[0].image for request in (*requests, longer)]
    for one, other in zip(found, alone, strict=True):
        assert apart(one, other) <= ROUNDING
    draws = tiny.pipeline.draws
    assert asked[0] == 3 * draws, "the prior's steps are alike, so they are one"

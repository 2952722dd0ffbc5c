"""Which prior imagines is a dial, and how many upsamplers follow is the model's affair."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from PIL import Image
from same_picture import ROUNDING, apart

from sumi import SumiError
from sumi.autoregressive import DEFAULT_SAMPLING, EmbeddingTokens, sample_tokens
from sumi.nn import ARPriorNetwork, Cond
from sumi.pipelines import Picture, Progress, Request, Settings, TokenPrior
from sumi.pipelines.stage import seeded_generators
from sumi.pipelines.steps import drive_to_end
from sumi.systems.unclip.artist import Sumi

from .conftest import drawing


@pytest.fixture
def both(tiny: Sumi) -> Sumi:
    """The tiny model with a second prior."""
    torch.manual_seed(1)
    z_i, z_t = (torch.nn.functional.normalize(torch.randn(64, 8), dim=1) for _ in range(2))
    words = EmbeddingTokens.fit(z_i, z_t, buckets=16)
    network = ARPriorNetwork(8, 16, 12, words.dims, words.buckets, 16, 1, 2).eval().requires_grad_(False)
    words.store_in(network)
    writes = TokenPrior(network, Settings("tokens", network.length, 1.5))
    return replace(tiny, pipeline=replace(tiny.pipeline, priors={**tiny.pipeline.priors, "ar": writes}))


@pytest.fixture
def larger(tiny: Sumi) -> Sumi:
    """The tiny model with a second upsampler: 16, 32 and 64 px."""
    first = tiny.pipeline.upsamplers[0]
    second = replace(first, name="upsampler2", shape=(4, 64, 64))
    return replace(tiny, pipeline=replace(tiny.pipeline, upsamplers=(first, second)))


def test_either_prior_imagines_and_the_recipe_knows_which(both: Sumi) -> None:
    wish = dict(n=4, seed=3, size=16, negative="hat")
    denoised, written = both.generate("a red fox", **wish), both.generate("a red fox", prior="ar", **wish)
    assert list(written[0].recipe.stages) == ["ar_prior", "decoder"]
    assert list(denoised[0].recipe.stages) == ["prior", "decoder"]
    assert apart(denoised[0].image, both.generate("a red fox", prior="diffusion", **wish)[0].image) == 0
    assert any(apart(one.image, other.image) > 0 for one, other in zip(denoised, written, strict=True))
    (again,) = [event for event in both.replay(written[3].recipe) if isinstance(event, Picture)]
    assert apart(again.image, written[3].image) <= ROUNDING, "alone as in its batch, and by the same prior"


def test_an_imagined_embedding_is_of_unit_length_and_is_told_of(both: Sumi) -> None:
    events = list(both.stream(Request("a fox", n=4, seed=1, prior="ar", size=16)))
    told = [event for event in events if isinstance(event, Progress) and event.stage == "ar_prior"]
    words = both.pipeline.priors["ar"].settings.steps
    assert [(event.step, event.of) for event in told] == [(word, 2 * words) for word in range(1, 2 * words + 1)]
    torch.testing.assert_close(told[0].mean.norm(dim=1), torch.ones(6))  # three seeds of a batch, twice each
    assert both.pipeline.preview(told[0]) is None


def test_written_word_by_word_it_is_what_is_drawn_in_one_go(both: Sumi) -> None:
    prior = both.pipeline.priors["ar"]
    assert isinstance(prior, TokenPrior)
    text = both.pipeline.read(["a red fox", "a dog"])
    cond, words = Cond(vector=text.z_t, tokens=text.hidden), EmbeddingTokens.from_network(prior.network)
    rngs = seeded_generators([3, 4], "ar_prior")
    at_once = words.decode(
        sample_tokens(prior.network, cond, words.sample_nearness(rngs), rngs, DEFAULT_SAMPLING, cond.null(), 1.5)
    )
    assert torch.equal(drive_to_end(prior.sample(text, [3, 4])), at_once)


def test_a_prior_that_is_not_there_is_named(tiny: Sumi, disc: Image.Image) -> None:
    with pytest.raises(SumiError, match="no prior of the kind 'ar': it has diffusion"):
        tiny.generate("a fox", prior="ar")
    with pytest.raises(SumiError, match="unknown prior 'art': choose one of diffusion, ar; did you mean ar"):
        tiny.generate("a fox", prior="art")
    with pytest.raises(TypeError, match="unexpected keyword argument 'prior'"):
        tiny.vary(disc, prior="ar")


def test_each_upsampler_enlarges_what_the_one_before_it_drew(larger: Sumi) -> None:
    assert larger.pipeline.sizes == (16, 32, 64)
    drawn = {size: larger.generate("a fox", seed=1, size=size)[0] for size in (16, 32, 64)}
    assert [picture.image.size[0] for picture in drawn.values()] == [16, 32, 64]
    assert list(drawn[32].recipe.stages) == ["prior", "decoder", "upsampler"]
    assert list(drawn[64].recipe.stages) == ["prior", "decoder", "upsampler", "upsampler2"]
    (again,) = [event for event in larger.replay(drawn[64].recipe) if isinstance(event, Picture)]
    assert apart(again.image, drawn[64].image) <= ROUNDING


@pytest.mark.parametrize(("side", "name"), [(9, "upsampler"), (16, "upsampler"), (40, "upsampler2")])
def test_upscaling_takes_the_upsampler_that_was_taught_on_such_sizes(side: int, name: str, larger: Sumi) -> None:
    (large,) = larger.upscale(drawing(side, side), seed=1)
    assert large.image.size == (2 * side, 2 * side) and list(large.recipe.stages) == [name]
    (again,) = [event for event in larger.replay(large.recipe) if isinstance(event, Picture)]
    assert apart(again.image, large.image) <= ROUNDING


@pytest.mark.parametrize(("side", "count"), [(16, 0), (30, 1), (40, 2), (70, 2)])
def test_an_edit_is_drawn_as_large_as_its_picture_and_no_larger(side: int, count: int, larger: Sumi) -> None:
    picture, mask = drawing(side, side), Image.new("L", (side, side))
    mask.paste(255, (side // 2, 0, side, side))
    (edited,) = larger.edit(picture, "a fox", mask, seed=1)
    assert len(edited.recipe.stages) == 2 + count
    kept = (0, 0, side // 2, side)
    assert apart(edited.image.crop(kept), picture.crop(kept)) == 0


@pytest.mark.parametrize("draws", [1, 2, 5])
def test_of_several_draws_of_the_prior_the_nearest_to_the_text_is_kept(tiny: Sumi, draws: int) -> None:
    """Ramesh et al. 2022, section 2.2: the sample with the higher dot product with z_t, for every seed by itself."""
    pipeline = replace(tiny.pipeline, draws=draws)
    text = pipeline.read(["a red fox", "a blue car", "the dog"])
    seeds = [seed for seed in (3, 4, 3) for _ in range(draws)]
    every = drive_to_end(pipeline.prior.sample(text.repeat(draws), seeds))
    nearness = (every.view(3, draws, -1) * text.z_t[:, None]).sum(dim=2)
    kept = drive_to_end(pipeline.sample_prior(text, [3, 4, 3]))
    torch.testing.assert_close((kept * text.z_t).sum(dim=1), nearness.amax(dim=1), atol=1e-4, rtol=1e-4)


def test_a_model_draws_its_embedding_twice(tiny: Sumi) -> None:
    assert tiny.pipeline.draws == 2

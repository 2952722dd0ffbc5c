"""The whole of unCLIP at a tiny size: six stages that train and resume, two priors, two upsamplers, one model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from same_picture import ROUNDING, apart
from torch import Tensor, nn

import sumi
from sumi.bundles import Bundle, save_bundle
from sumi.diffusion import BetaSchedule, seeded
from sumi.errors import SumiError
from sumi.imaging.pixels import from_levels
from sumi.nn import DecoderNetwork, UNet
from sumi.pipelines import Request
from sumi.pipelines.steps import drive_to_end
from sumi.systems import SYSTEMS, Examples, load, save
from sumi.systems.objectives import CaptionFeatures
from sumi.systems.pipeline import SampleRequest
from sumi.systems.unclip import ASKED, SETTINGS, networks
from sumi.systems.unclip.degradation import blurred, bsr_degradation, sometimes_blurred
from sumi.systems.unclip.objectives import UpsamplerObjective
from sumi.systems.unclip.system import UNCLIP
from sumi.training import TrainConfig, load_ema, train

WORDS = ("red", "green", "blue")
SMALL = replace(UNCLIP, width=16)
PLAN = TrainConfig(2, 4, warmup_steps=1, precision="fp32", log_s=0.0)


def examples(count: int = 12, size_px: int = 32) -> Examples:
    """Discs of three colours, each with its word."""
    where = torch.linspace(-1, 1, size_px)
    disc = (where[:, None] ** 2 + where**2 < 0.5).float()
    hues = torch.eye(3)[torch.arange(count) % 3]
    pictures = torch.cat([hues, torch.ones(count, 1)], dim=1)[:, :, None, None] * disc * 255
    return Examples(pictures.to(torch.uint8), captions=[WORDS[k % 3] for k in range(count)])


def lesson(stage: str, parts: Mapping[str, nn.Module]) -> Any:
    torch.manual_seed(1)
    return SMALL.objective(stage, examples(), parts)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("unclip")


@pytest.fixture(scope="module")
def parts(run_folder: Path) -> dict[str, nn.Module]:
    """Every stage after its two steps, in sixteen bits, as a bundle would keep it."""
    made: dict[str, nn.Module] = {}
    for stage in SMALL.stages:
        learned = lesson(stage, made)
        for report in train(learned, PLAN, run_folder / stage):
            assert report.loss == report.loss
        part = learned.model.eval().requires_grad_(False)
        for weight in part.parameters():
            weight.copy_((weight if weight.count_nonzero() else 0.05 * torch.randn_like(weight)).bfloat16().float())
        made[stage] = part
    return made


@pytest.mark.parametrize("stage", SMALL.stages)
def test_a_stage_stopped_and_resumed_ends_in_the_same_bytes(
    stage: str, parts: dict[str, nn.Module], run_folder: Path, tmp_path: Path
) -> None:
    before = {name: parts[name] for name in SMALL.stages[: SMALL.stages.index(stage)]}
    for _ in train(lesson(stage, before), PLAN, tmp_path, stop=lambda: True):
        pass
    for _ in train(lesson(stage, before), PLAN, tmp_path):
        pass
    straight, resumed = load_ema(run_folder / stage), load_ema(tmp_path)
    assert all(torch.equal(resumed[name], weight) for name, weight in straight.items())


def test_it_is_saved_loaded_and_draws_every_size(parts: dict[str, nn.Module], tmp_path: Path) -> None:
    save("unclip", parts, tmp_path / "model")
    system, loaded = load(tmp_path / "model")
    assert system == SYSTEMS["unclip"] and tuple(loaded) == SMALL.stages and system.needs == ("pictures", "captions")
    wish = SampleRequest(seeds=(5, 6), size_px=32, captions=("red", "blue"), num_steps=2)
    drawn = drive_to_end(SMALL.pipeline(loaded).sample(wish))
    assert drawn.shape == (2, 4, 32, 32) and drawn.dtype == torch.uint8
    assert (drawn[:, :3] <= drawn[:, 3:]).all() and not torch.equal(drawn[0], drawn[1])
    assert torch.equal(drawn, drive_to_end(SMALL.pipeline(parts).sample(wish)))
    alone = drive_to_end(SMALL.pipeline(loaded).sample(replace(wish, seeds=(6,), captions=("blue",))))
    assert apart(alone[0], drawn[1]) <= ROUNDING, "a seed is a picture, whatever its company"
    assert drive_to_end(SMALL.pipeline(loaded).sample(replace(wish, size_px=8))).shape[-1] == 8
    assert drive_to_end(SMALL.pipeline(loaded).sample(replace(wish, size_px=16))).shape[-1] == 16


def test_which_prior_imagines_is_a_dial(parts: dict[str, nn.Module]) -> None:
    wish = SampleRequest(seeds=range(3), size_px=8, captions=["red"] * 3, num_steps=2)
    written = replace(SMALL, prior="ar")
    assert not torch.equal(
        drive_to_end(SMALL.pipeline(parts).sample(wish)), drive_to_end(written.pipeline(parts).sample(wish))
    )
    assert torch.equal(
        drive_to_end(written.pipeline(parts).sample(wish)),
        drive_to_end(written.pipeline({name: parts[name] for name in parts if name != "prior"}).sample(wish)),
    )
    with pytest.raises(SumiError, match="no prior of the kind 'diffusion': it has ar"):
        drive_to_end(SMALL.pipeline({name: parts[name] for name in parts if name != "prior"}).sample(wish))


def test_it_is_a_model_like_any_other(parts: dict[str, nn.Module], tmp_path: Path) -> None:
    save("unclip", parts, tmp_path / "model", vocabulary={"concepts": {}, "words": ["red"]})
    artist = sumi.load(tmp_path / "model")
    assert isinstance(artist, sumi.Sumi)
    assert artist.notes(Request("red")) == [] and artist.notes(Request("red rot"))[0] == "drawn as: red. Not known: rot"
    with pytest.raises(SumiError, match="knows nothing of 'rot'"):
        artist.generate("rot")
    assert "only the beginning" in artist.notes(Request("red " * 40))[0]
    assert artist.pipeline.sizes == (8, 16, 32) and set(artist.pipeline.priors) == {"diffusion", "ar"}
    (drawn,) = artist.generate("red", seed=5, prior="ar", steps=2)
    assert drawn.image.size == (32, 32) and drawn.recipe.model == "model"
    assert artist.vary(drawn.image, n=1, seed=1, steps=2)[0].image.size == (32, 32)
    with pytest.raises(SumiError, match="explore needs a model that keeps the principal axes"):
        artist.explore(Image.new("RGB", (16, 16)))


def test_the_second_upsampler_runs_along_a_linear_chain(parts: dict[str, nn.Module]) -> None:
    first, second = SMALL.pipeline(parts).unclip.upsamplers
    assert first.schedule == BetaSchedule.cosine() and second.schedule == BetaSchedule.linear()
    assert first.settings.guidance == second.settings.guidance == 1.0, "and neither is guided"
    shown = {stage: lesson(stage, {}) for stage in ("upsampler", "upsampler2")}
    assert all(isinstance(each, UpsamplerObjective) for each in shown.values())
    assert shown["upsampler"].large.shape == shown["upsampler2"].small.shape == (12, 4, 16, 16)


def test_the_autoregressive_prior_keeps_all_but_a_hundredth_of_what_clip_sees(parts: dict[str, Any]) -> None:
    from sumi.autoregressive import EmbeddingTokens

    z_i = torch.from_numpy(networks.image_embeddings(parts["clip"], examples().pictures))
    z_t, _ = CaptionFeatures(parts["clip"], SMALL.tokenizer.encode(examples().captions))(torch.arange(12), networks.CPU)
    words = EmbeddingTokens.from_network(parts["ar_prior"])
    assert (words.decode(words.encode(z_i, z_t)) - z_i).square().sum(dim=1).mean() < 0.01


def test_of_very_small_pictures_the_decoder_draws_half_and_one_upsampler_the_rest(parts: dict[str, nn.Module]) -> None:
    assert SMALL.stages_for(16) == SMALL.stages[:-1] and SMALL.stages_for(32) == SMALL.stages
    shown = SMALL.objective("upsampler", examples(size_px=16), {})
    assert isinstance(shown, UpsamplerObjective)
    assert shown.small.shape == (12, 4, 8, 8) and shown.large.shape == (12, 4, 16, 16)


def test_the_axes_of_what_clip_sees_come_with_it(parts: dict[str, Any], tmp_path: Path) -> None:
    more = SMALL.extra_parts(parts, examples())
    save("unclip", {**parts, **more}, tmp_path / "model")
    artist = sumi.load(tmp_path / "model")
    assert isinstance(artist, sumi.Sumi)
    assert artist.explore(Image.new("RGB", (32, 32)), dims=2, seed=1, steps=2)[0].image.size == (32, 32)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (replace(examples(), captions=()), "unclip needs a caption a picture: 12, not 0"),
        (examples(size_px=24), "unclip learns from pictures of 16 px or a multiple, not 24"),
    ],
)
def test_pictures_that_it_cannot_learn_from_are_named(given: Examples, says: str) -> None:
    with pytest.raises(SumiError, match=says):
        SMALL.objective("clip", given, {})


def test_wishes_that_it_cannot_fulfil_are_named(parts: dict[str, nn.Module]) -> None:
    with pytest.raises(SumiError, match="one caption a seed: 2, not 0"):
        drive_to_end(SMALL.pipeline(parts).sample(SampleRequest(seeds=(1, 2), size_px=32)))
    with pytest.raises(SumiError, match="unknown size '64': choose one of 8, 16, 32"):
        drive_to_end(SMALL.pipeline(parts).sample(SampleRequest(seeds=(1,), size_px=64, captions=("red",))))


def test_a_bundle_may_hold_either_prior_and_a_second_upsampler(
    tiny_bundle: Bundle, parts: dict[str, nn.Module], tmp_path: Path
) -> None:
    tokenizer, tiny = tiny_bundle.tokenizer(), {name: tiny_bundle.part(name) for name in tiny_bundle.parts}
    tiny["decoder"] = DecoderNetwork(2 * 8, 16, tiny_bundle.part("decoder").config["unet"])  # type: ignore[index, arg-type]
    tiny["upsampler2"] = UNet(4, 4, [16], [1], [False], patch=4, concat_channels=4, middle=1)
    asked = {**ASKED, "upsampler2": ("v", "linear")}
    settings = {**SETTINGS, "upsampler2": {"sampler": "ddim", "steps": 2}, "asked": asked}
    save_bundle(tmp_path / "large", system="unclip", parts=tiny, tokenizer=tokenizer, settings=settings)
    artist = sumi.load(tmp_path / "large")
    assert isinstance(artist, sumi.Sumi)
    assert artist.pipeline.sizes == (16, 64, 256) and artist.pipeline.axes is not None
    assert artist.generate("a fox", seed=1, steps=2)[0].image.size == (256, 256)
    del tiny["prior"]
    save_bundle(tmp_path / "none", system="unclip", parts=tiny, tokenizer=tokenizer, settings=settings)
    with pytest.raises(SumiError, match="it needs a prior, an ar_prior, or both"):
        sumi.load(tmp_path / "none")
    tiny["ar_prior"] = parts["ar_prior"]
    save_bundle(tmp_path / "mute", system="unclip", parts=tiny, tokenizer=tokenizer, settings=settings)
    with pytest.raises(SumiError, match="no settings for 'ar_prior'"):
        sumi.load(tmp_path / "mute")


def test_networks_are_made_for_the_size_of_the_pictures_and_a_width() -> None:
    eye = networks.clip(SMALL.tokenizer, 64, 32).config["image"]
    assert (eye["patch"], eye["channels"], eye["width"]) == (4, [16, 32], 32), "16 px of it are convolved"
    config = networks.upsampler(32, 2).config
    assert (config["channels"], config["attention"], config["patch"]) == ([16, 32], [False, False], 2)


def test_blur_is_a_bell_that_keeps_the_light() -> None:
    point = torch.zeros(1, 2, 9, 9)
    point[..., 4, 4] = 1
    down, across = 1.1, 0.6
    spot = blurred(point, (down, across))[0, 0]
    assert spot.sum() == pytest.approx(1)
    assert (spot[5, 4] / spot[4, 4]).item() == pytest.approx(torch.tensor(-0.5 / down**2).exp().item())
    assert (spot[4, 5] / spot[4, 4]).item() == pytest.approx(torch.tensor(-0.5 / across**2).exp().item())
    assert torch.allclose(blurred(torch.full((1, 2, 5, 5), 0.3)), torch.tensor(0.3))


def test_wear_is_of_every_strength_and_follows_its_generator() -> None:
    x = from_levels(examples(6, size_px=16).pictures)

    def away(shown: Tensor) -> Tensor:
        return (shown - x).square().mean(dim=(1, 2, 3))

    every = [bsr_degradation(x, rng) for rng in seeded(range(12))]
    assert all(torch.equal(again, bsr_degradation(x, rng)) for again, rng in zip(every, seeded(range(12)), strict=True))
    assert all(shown.shape == x.shape for shown in every)
    lost = torch.stack([away(shown).mean() for shown in every])
    assert lost.min() > 0 and lost.max() > 4 * lost.min()
    blurs = torch.cat([away(sometimes_blurred(x, rng)) > 0 for rng in seeded(range(12))])
    assert 0.3 < blurs.float().mean() < 0.7, "half are shown as they are"

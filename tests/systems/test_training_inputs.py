"""What training shows a network beside the noisy signal: degraded inputs, noise levels, silence that keeps the rest.

Every number here is written from the papers, never read from the code.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sumi.codecs import Pixels
from sumi.conditioning import LanguageModel, WordTokenizer
from sumi.diffusion import VPSchedule, seeded
from sumi.imaging.pixels import from_levels
from sumi.nn import Cond
from sumi.systems import Examples
from sumi.systems.glide import GLIDE, NoisedPairs
from sumi.systems.guidance import BY_CLASSIFIER
from sumi.systems.imagen import IMAGEN, without_words
from sumi.systems.objectives import upsampled
from sumi.systems.unclip.degradation import DecoderDegradation
from sumi.systems.unclip.system import UNCLIP
from sumi.systems.vqvae import TokenCodecObjective
from sumi.training import Batch

from .spy import share, shown, silent, told
from .toys import coins, stepping

PICTURES = torch.randint(1, 255, (6, 4, 32, 32), generator=coins()).to(torch.uint8)
PICTURES = torch.cat([torch.minimum(PICTURES[:, :3], PICTURES[:, 3:]), PICTURES[:, 3:]], dim=1)  # premultiplied
WORDS = ("blue", "green", "red")
EXAMPLES = Examples(PICTURES, [WORDS[k % 3] for k in range(6)], torch.arange(6) % 3, 3)
COUNT = 1000
EVEN = [0.1, 0.25, 0.5, 0.75, 0.9]


def quantiles(values: Tensor) -> list[float]:
    return values.double().quantile(torch.tensor(EVEN, dtype=torch.float64)).tolist()


@pytest.mark.parametrize(("stage", "least", "most"), [("upsampler", 0.4, 0.6), ("upsampler2", 1.0, 1.0)])
def test_unclip_s_upsamplers_are_shown_pictures_that_are_degraded(stage: str, least: float, most: float) -> None:
    """Half of the first one's are blurred, every one of the second's is worn (unCLIP, section 2.1 and appendix C)."""
    torch.manual_seed(0)
    lesson: Any = replace(UNCLIP, width=16).objective(stage, EXAMPLES, {})
    cond = told(lesson, 300)
    clean = upsampled(from_levels(lesson.small[torch.arange(300) % 6]), lesson.large.shape[-1])
    assert cond.concat is not None and cond.concat.shape == clean.shape
    degraded = (cond.concat - clean).flatten(1).abs().amax(dim=1) > 1e-3
    assert least <= share(degraded) <= most


@pytest.mark.parametrize("redrawn", [0.0, 0.35])
def test_the_sticker_s_upsampler_is_shown_what_a_decoder_leaves(redrawn: float) -> None:
    """A third sharp or blurred, the rest through the codec, a third by the decoder if there is one; all noisy."""

    class Shifting(Pixels):
        """A codec whose decoded pictures are recognised by their level."""

        def encode(self, x: Tensor) -> Tensor:
            return torch.zeros_like(x)

        def decode(self, z: Tensor) -> Tensor:
            return 5 + z

    x = torch.zeros(1600, 4, 4, 4)
    x[:, :, ::2] = 1
    redraw = (lambda z, small, rng: z + 10) if redrawn else None
    seen = DecoderDegradation(Shifting(), redraw)(x, coins())
    level = seen.flatten(1).mean(dim=1)
    assert share(level > 10) == pytest.approx(redrawn, abs=0.05)
    coded = (level > 3) & (level < 10)
    assert share(coded) == pytest.approx(0.65 - redrawn, abs=0.05)
    off = (seen[coded] - 5).flatten(1).std(dim=1)
    assert off.max() == pytest.approx(0.4, abs=0.12) and off.min() < 0.08, "by up to 0.4, from nearly nothing"
    plain = level < 3
    contrast = seen[plain][:, :, ::2].flatten(1).mean(dim=1) - seen[plain][:, :, 1::2].flatten(1).mean(dim=1)
    assert share(contrast < 0.9) == pytest.approx(0.1 / 0.35, abs=0.1), "of the others"
    noise = (seen[plain] - x[plain])[contrast > 0.9].flatten(1).std(dim=1)
    assert noise.min() < 0.01 and 0.02 < noise.max() < 0.045


def imagen(stage: str, examples: Examples, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(LanguageModel, "pin", lambda self: self)
    monkeypatch.setattr(LanguageModel, "width", property(lambda self: 6))
    monkeypatch.setattr(LanguageModel, "encode", lambda self, texts: torch.ones(len(texts), 5, 6))
    torch.manual_seed(0)
    return IMAGEN.objective(stage, examples, {})


def test_imagen_s_upsampler_is_shown_every_level_of_noise_and_told_which(monkeypatch: pytest.MonkeyPatch) -> None:
    """Saharia et al. 2022, section 2.4: the augmentation level is uniform on [0, 1] and a condition."""
    flat = Examples(torch.full((6, 4, 32, 32), 255, dtype=torch.uint8), EXAMPLES.captions)
    cond = told(imagen("upsampler", flat, monkeypatch), COUNT)
    assert cond.vector is not None and cond.concat is not None
    level = cond.vector[:, 0]
    assert quantiles(level) == pytest.approx(EVEN, abs=0.05)
    sigma = torch.sin((level + 0.008) / 1.008 * math.pi / 2)  # of the cosine chain, whose alpha is the cosine
    found = cond.concat.flatten(1).std(dim=1)
    noisy = level > 0.1
    ratio = (found / sigma)[noisy]
    assert ratio.std() / ratio.mean() < 0.1 and ratio.mean() > 0.3, "as noisy as it is told"
    assert found[level < 0.05].max() < 0.1 * found.max()
    middle = cond.concat.flatten(1).mean(dim=1)
    torch.testing.assert_close(middle, torch.cos((level + 0.008) / 1.008 * math.pi / 2), atol=0.15, rtol=0)


@pytest.mark.parametrize("drawn_at", [0.0, 0.7])
def test_imagen_s_upsampler_is_told_the_level_that_it_is_drawn_with(drawn_at: float) -> None:
    method = replace(IMAGEN, level=drawn_at)
    low = torch.zeros(2, 4, 4, 4)
    cond = method.augmented(low, torch.full((2,), method.level), torch.ones(2, 5, 6), seeded([1, 2]))
    assert cond.vector is not None and cond.concat is not None
    assert cond.vector.flatten().tolist() == pytest.approx([drawn_at] * 2)
    assert (cond.concat.std() > 0.3) == (drawn_at > 0)


def deaf_to_words(x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
    """A network that hears everything but the words; what it is not told changes its answer."""
    vector = torch.zeros(len(x_t)) if cond.vector is None else cond.vector.sum(dim=1)
    concat = torch.zeros(len(x_t)) if cond.concat is None else cond.concat.flatten(1).sum(dim=1)
    return x_t + (vector + concat)[:, None, None, None]


def test_imagen_s_silence_keeps_the_level_and_the_picture() -> None:
    """Guidance leans away from saying no words; what is enlarged, and how noisy it is, is said all the same."""
    cond = Cond(torch.tensor([[0.4], [0.9]]), torch.ones(2, 5, 6), concat=torch.ones(2, 4, 4, 4))
    x_t, t = 0.1 * torch.randn(2, 4, 4, 4, generator=coins()), torch.tensor([0.3, 0.6])
    stages = [replace(IMAGEN, scale=(scale, 1.0)).stage(deaf_to_words) for scale in (7.0, 1.0)]  # type: ignore[arg-type]
    guided, bare = (stepping(stage, cond, without_words(cond))(x_t, t, cond).mean for stage in stages)
    torch.testing.assert_close(guided, bare)


def test_imagen_s_silence_has_no_words() -> None:
    def hears(x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
        assert cond.tokens is not None
        return 0.1 * cond.tokens.sum(dim=(1, 2))[:, None, None, None].expand_as(x_t)

    cond = Cond(torch.zeros(1, 1), torch.ones(1, 1, 1))
    x_t, t = torch.zeros(1, 1, 2, 2), torch.tensor([0.5])
    level = IMAGEN.spec.schedule(t)
    stage = replace(IMAGEN, scale=(3.0, 1.0)).stage(hears)  # type: ignore[arg-type]
    mean = stepping(stage, cond, without_words(cond))(x_t, t, cond).mean
    expected = -level.sigma / level.alpha * 0.1 * 3  # eps = 0.1 told, 0 untold, three times the difference
    torch.testing.assert_close(mean, expected.expand_as(x_t), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("stage", ["base", "inpaint"])
def test_glide_s_silence_keeps_the_hole(stage: str) -> None:
    cond = Cond(None, torch.ones(2, 4).long(), concat=torch.ones(2, 5, 4, 4))
    x_t, t = 0.1 * torch.randn(2, 4, 4, 4, generator=coins()), torch.tensor([0.3, 0.6])

    def network(x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
        return torch.cat([deaf_to_words(x_t, t, cond)] * 2, dim=1)  # and as much again for the variance

    guided = replace(GLIDE, scale=6.0, hole_scale=6.0).stage({stage: network}, stage)
    null = replace(cond.null(), concat=cond.concat)
    bare = GLIDE.base.denoiser(network)(x_t, t, cond).mean  # type: ignore[arg-type]
    torch.testing.assert_close(stepping(guided, cond, null)(x_t, t, cond).mean, bare.clamp(-1, 1))


@pytest.mark.parametrize("stage", ["inpaint", "upsampler"])
def test_glide_shows_the_picture_that_is_to_be_filled_or_enlarged(stage: str) -> None:
    small = replace(GLIDE, tokenizer=WordTokenizer(WORDS, 4))
    torch.manual_seed(0)
    parts = {"base": small.network("base", {})} if stage == "inpaint" else {}
    cond = told(small.objective(stage, EXAMPLES, parts), 300)
    assert cond.concat is not None
    if stage == "upsampler":
        assert cond.concat.shape[1:] == (4, 32, 32) and not silent(cond.concat).any()
        return
    known_pixels = cond.concat[:, 4:]
    assert set(known_pixels.unique().tolist()) == {0.0, 1.0}
    assert 0.05 < 1 - known_pixels.mean() < 0.2, "some is hidden, a ninth on average"
    assert (cond.concat[:, :4] * (1 - known_pixels)).abs().max() == 0, "what is hidden is not shown"


def test_a_noised_clip_is_taught_on_noisy_pictures_and_told_how_noisy() -> None:
    """Nichol et al. 2021, section 2.4: f(x_t) on noised pictures, at every time alike."""
    heard: list[tuple[Tensor, Tensor]] = []

    class Tower:
        def __call__(self, x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
            heard.append((x_t, t))
            return torch.ones(len(x_t), 3)

        def encode_text(self, ids: Tensor) -> Tensor:
            return torch.ones(len(ids), 3)

    NoisedPairs(VPSchedule())(Tower(), torch.zeros(500, 4, 8, 8), Cond(tokens=torch.ones(500, 2)), coins())
    check_noisy(*heard[0])


def test_the_classifier_that_guides_is_taught_on_noisy_pictures() -> None:
    torch.manual_seed(0)
    lesson: Any = BY_CLASSIFIER.objective("classifier", replace(EXAMPLES, pictures=torch.zeros(6, 4, 8, 8)), {})
    x_t, t, _ = shown(replace(lesson, schedule=VPSchedule()), 500)
    check_noisy(x_t, t)


def check_noisy(x_t: Tensor, t: Tensor) -> None:
    """Noise alone, of which each row is as noisy as VP is at its time; all times alike."""
    sigma = torch.sqrt(1 - torch.exp(-(19.9 * t**2 + 0.2 * t) / 2))
    torch.testing.assert_close(x_t.flatten(1).std(dim=1), sigma, atol=0.01, rtol=0.25)
    assert quantiles(t) == pytest.approx(EVEN, abs=0.01)


def test_a_codec_of_tokens_is_told_how_far_its_training_is() -> None:
    """The discrete VAE cools as it learns (Ramesh et al. 2021, appendix A.2), so the lesson has to say when it is."""
    said: list[float] = []

    class Model:
        def losses(self, x: Tensor, rng: torch.Generator, progress: float) -> dict[str, Tensor]:
            said.append(progress)
            return {"loss": x.mean()}

    lesson = TokenCodecObjective("codec", Model(), PICTURES.numpy())
    for step in (0, 5, 9):
        lesson.loss(Model(), Batch(step, 10, torch.arange(3), coins()))
    assert said == [0.0, 0.5, 0.9]

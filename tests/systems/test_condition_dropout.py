"""Guidance leans away from silence, so training has to show silence: how often each system hears nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from sumi.codecs import Pixels
from sumi.conditioning import CLIP, LanguageModel, WordTokenizer
from sumi.diffusion import BetaSchedule, DenoisingLoss, X0Prediction
from sumi.systems import Examples
from sumi.systems.glide import GLIDE
from sumi.systems.guidance import BY_CLASSIFIER, BY_WEAKER, FREE
from sumi.systems.imagen import IMAGEN
from sumi.systems.latent import LATENT_2022, LATENT_2024
from sumi.systems.objectives import CaptionFeatures
from sumi.systems.unclip import networks
from sumi.systems.unclip.ar_prior import ARPriorObjective
from sumi.systems.unclip.objectives import DecoderCondition, DecoderObjective, PriorObjective
from sumi.training import Batch

from .spy import share, silent, told
from .toys import coins

WORDS = ("blue", "green", "red")
PICTURES = torch.randint(1, 255, (6, 4, 16, 16), generator=coins()).to(torch.uint8)
EXAMPLES = Examples(PICTURES, [WORDS[k % 3] for k in range(6)], torch.arange(6) % 3, 3)
#: Of 1500 rows, at a share of 0.1 and 0.2, four standard errors.
NEAR = 0.042
TOKENIZER = WordTokenizer(WORDS, 4)


def rates(what: float) -> Any:
    return pytest.approx(what, abs=NEAR)


@pytest.fixture(scope="module")
def read() -> tuple[CLIP, np.ndarray[Any, Any], CaptionFeatures]:
    """A tiny CLIP, what it sees in six pictures, and what it reads in their captions."""
    torch.manual_seed(0)
    clip = networks.clip(TOKENIZER, 16, 16)
    ids = TOKENIZER.encode(list(EXAMPLES.captions)).numpy()
    return clip, networks.image_embeddings(clip, PICTURES), CaptionFeatures(clip, ids).once()


def prior_lesson(read: Any, **changes: Any) -> PriorObjective:
    clip, z_i, words = read
    return PriorObjective(networks.prior(clip, z_i), z_i, words, X0Prediction(), BetaSchedule.cosine(), **changes)


def test_the_prior_hears_no_caption_in_a_tenth_of_its_lessons(read: Any) -> None:
    cond = told(prior_lesson(read))
    assert share(silent(cond.vector)) == rates(0.1)
    assert torch.equal(silent(cond.vector), silent(cond.tokens)), "z_t and the words fall silent together"
    heard = ~silent(cond.vector)
    z_t, words = read[2](torch.arange(1500) % 6, networks.CPU)
    assert torch.equal(cond.vector[heard], z_t[heard]) and torch.equal(cond.tokens[heard], words[heard])  # type: ignore[index]


@pytest.mark.parametrize("drop", [0.0, 0.5, 1.0])
def test_the_share_of_silence_is_a_dial(read: Any, drop: float) -> None:
    assert share(silent(told(prior_lesson(read, text_drop=drop)).vector)) == rates(drop)


def test_the_autoregressive_prior_hears_no_caption_in_a_tenth_of_its_lessons(read: Any) -> None:
    clip, z_i, words = read
    cond = told(ARPriorObjective(networks.ar_prior(clip, z_i, words), z_i, words))
    assert share(silent(cond.vector)) == rates(0.1) and torch.equal(silent(cond.vector), silent(cond.tokens))


def test_the_decoder_loses_z_i_in_a_fifth_and_its_words_in_a_seventh(read: Any) -> None:
    clip, z_i, words = read
    latents = np.zeros((6, 4, 8, 8), dtype=np.float32)
    schedule = BetaSchedule.cosine()
    lesson = DecoderObjective(
        networks.decoder(clip, 8),
        Pixels(),
        latents,
        DecoderCondition(z_i, words),
        X0Prediction(),
        schedule,
        DenoisingLoss(X0Prediction(), schedule),
    )
    cond = told(lesson)
    assert cond.vector is not None
    picture, text = (silent(half) for half in cond.vector.chunk(2, dim=1))
    assert torch.equal(text, silent(cond.tokens))
    assert share(picture) == rates(0.2) and share(text) == rates(0.15)
    assert share(picture & text) == rates(0.1), "half of the silent pictures are silent altogether"
    assert share(picture & ~text) == rates(0.1), "or the words would never be listened to"
    assert share(text & ~picture) == rates(0.05)
    z_t, features = words(torch.arange(1500) % 6, networks.CPU)
    seen = torch.from_numpy(z_i)[torch.arange(1500) % 6]
    assert torch.equal(cond.vector[~picture, :16], seen[~picture]) and torch.equal(cond.vector[~text, 16:], z_t[~text])
    assert cond.tokens is not None and torch.equal(cond.tokens[~text], features[~text])


@pytest.mark.parametrize("stage", ["base", "inpaint", "upsampler"])
def test_glide_hears_no_caption_in_a_fifth_of_its_lessons(stage: str) -> None:
    small = replace(GLIDE, tokenizer=TOKENIZER)
    torch.manual_seed(0)
    parts = {"base": small.network("base", {})} if stage == "inpaint" else {}
    cond = told(small.objective(stage, EXAMPLES, parts))
    assert share(silent(cond.tokens)) == rates(0.2)


def test_a_noised_clip_always_has_a_caption_to_match() -> None:
    both = replace(GLIDE, tokenizer=TOKENIZER, guided_by="clip")
    torch.manual_seed(0)
    lesson = both.objective("clip", EXAMPLES, {})
    texts: list[torch.Tensor] = []
    network: Any = lesson.model
    reader = network.encode_text
    network.encode_text = lambda ids: texts.append(ids) or reader(ids)
    lesson.loss(network, Batch(0, 1, torch.arange(60) % 6, coins()))
    assert share(silent(torch.cat(texts))) == 0


@pytest.mark.parametrize("stage", ["base", "upsampler"])
def test_imagen_hears_no_caption_in_a_tenth_of_its_lessons(stage: str, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    features = torch.randn(3, 5, 6, generator=coins(1))
    monkeypatch.setattr(LanguageModel, "pin", lambda self: self)
    monkeypatch.setattr(LanguageModel, "width", property(lambda self: 6))
    monkeypatch.setattr(LanguageModel, "encode", lambda self, texts: features[: len(texts)])
    cond = told(IMAGEN.objective(stage, EXAMPLES, {}))
    assert share(silent(cond.tokens)) == rates(0.1)


@pytest.mark.parametrize(
    ("method", "stage"), [(FREE, "network"), (BY_CLASSIFIER, "network"), (BY_WEAKER, "network"), (BY_WEAKER, "weaker")]
)
def test_labelled_systems_hear_no_label_in_a_tenth_of_their_lessons(method: Any, stage: str) -> None:
    torch.manual_seed(0)
    cond = told(method.objective(stage, EXAMPLES, {}))
    assert share(silent(cond.vector)) == rates(0.1)
    heard = ~silent(cond.vector)
    assert cond.vector is not None
    assert torch.equal(cond.vector[heard].argmax(1), (torch.arange(1500) % 3)[heard])


@pytest.mark.parametrize("method", [LATENT_2022, LATENT_2024], ids=lambda method: method.spec.name)
def test_latent_diffusion_hears_no_caption_in_a_tenth_of_its_lessons(method: Any) -> None:
    small = replace(method, tokenizer=TOKENIZER)
    torch.manual_seed(0)
    parts = {"codec": small.codec(16).eval(), "clip": small.clip(16, TOKENIZER).eval()}
    cond = told(small.objective("network", EXAMPLES, parts))
    assert share(silent(cond.vector)) == rates(0.1) and torch.equal(silent(cond.vector), silent(cond.tokens))

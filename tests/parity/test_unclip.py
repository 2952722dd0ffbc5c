from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from parity.reference import assert_equal, load, randomised

from sumi.nn import Cond
from sumi.nn.published import PriorTransformer, StableUnCLIPImageNormalizer, UnCLIPTextProjModel

diffusers = pytest.importorskip("diffusers")

PRIOR: dict[str, Any] = {
    "embedding_dim": 12, "num_attention_heads": 3, "attention_head_dim": 8, "num_layers": 2, "num_embeddings": 6,
}  # fmt: skip
MASK = torch.tensor([[True] * 6, [True, True, True, False, False, False]])


def normal(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_prior_equals_diffusers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = randomised(diffusers.PriorTransformer(**PRIOR))
    theirs.save_pretrained(tmp_path)
    ours = load(PriorTransformer, tmp_path)
    x, text, words, steps = normal(2, 12), normal(2, 12, seed=2), normal(2, 6, 12, seed=3), torch.tensor([999, 4])
    expected = theirs(x, steps, text, words, MASK).predicted_image_embedding
    assert_equal(ours(x, (steps + 1) / 1000, Cond(text, words, MASK)), expected)
    assert_equal(ours.denormalise(x), theirs.post_process_latents(x))
    assert_equal(ours.normalise(ours.denormalise(x)), x)


@torch.no_grad()
def test_prior_without_a_mask_sees_every_word_and_stays_causal(tmp_path: Path) -> None:
    theirs = randomised(diffusers.PriorTransformer(**PRIOR))
    theirs.save_pretrained(tmp_path)
    x, text, words, steps = normal(2, 12), normal(2, 12, seed=2), normal(2, 6, 12, seed=3), torch.tensor([999, 4])
    expected = theirs(x, steps, text, words, torch.ones_like(MASK)).predicted_image_embedding
    assert_equal(load(PriorTransformer, tmp_path)(x, (steps + 1) / 1000, Cond(text, words)), expected)


@torch.no_grad()
def test_karlo_text_projection_equals_diffusers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = pytest.importorskip("diffusers.pipelines.deprecated.unclip.text_proj")
    theirs = randomised(module.UnCLIPTextProjModel(clip_embeddings_dim=12, time_embed_dim=20, cross_attention_dim=8))
    theirs.save_pretrained(tmp_path)
    ours = load(UnCLIPTextProjModel, tmp_path)
    image, text, words = normal(2, 12), normal(2, 12, seed=2), normal(2, 6, 12, seed=3)
    tokens, vector = theirs(
        image_embeddings=image,
        prompt_embeds=text.repeat(2, 1),
        text_encoder_hidden_states=words.repeat(2, 1, 1),
        do_classifier_free_guidance=True,
    )
    null, cond = (ours(embed, text, words, MASK) for embed in (ours.null_image_embed.expand(2, -1), image))
    assert_equal(torch.cat([null.vector, cond.vector]), vector)
    assert_equal(torch.cat([null.tokens, cond.tokens]), tokens)
    assert torch.equal(cond.mask, torch.cat([torch.ones(2, 4, dtype=torch.bool), MASK], dim=1))


@torch.no_grad()
def test_stable_unclip_image_condition_equals_diffusers(tmp_path: Path) -> None:
    module = pytest.importorskip("diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer")
    embeddings = pytest.importorskip("diffusers.models.embeddings")
    theirs = randomised(module.StableUnCLIPImageNormalizer(embedding_dim=12))
    theirs.save_pretrained(tmp_path)
    ours, x, level = load(StableUnCLIPImageNormalizer, tmp_path), normal(2, 12), torch.tensor([0, 20])
    assert_equal(ours.normalise(x), theirs.scale(x))
    assert_equal(ours.denormalise(x), theirs.unscale(x))
    waves = embeddings.get_timestep_embedding(level, 12, flip_sin_to_cos=True, downscale_freq_shift=0)
    assert_equal(ours.condition(x, level), torch.cat([x, waves], dim=1))

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from parity.reference import assert_equal, load, randomised

from sumi.nn.published import CLIPModel, CLIPTextModel, CLIPTextModelWithProjection, CLIPVisionModelWithProjection

transformers = pytest.importorskip("transformers")

TEXT: dict[str, Any] = {
    "vocab_size": 50, "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 3, "num_attention_heads": 3,
    "max_position_embeddings": 9, "projection_dim": 10, "eos_token_id": 49,
}  # fmt: skip
VISION: dict[str, Any] = {
    "hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 4, "image_size": 12,
    "patch_size": 4, "projection_dim": 10,
}  # fmt: skip
IDS = torch.tensor([[48, 3, 7, 49, 49, 49, 49, 49, 49], [48, 5, 49, 0, 0, 0, 0, 0, 0]])


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
@pytest.mark.parametrize("end_of_text", [2, 49])
def test_clip_text_tower_equals_transformers(tmp_path: Path, activation: str, end_of_text: int) -> None:
    config = transformers.CLIPTextConfig(**TEXT | {"hidden_act": activation, "eos_token_id": end_of_text})
    theirs = randomised(transformers.CLIPTextModel(config))
    theirs.save_pretrained(tmp_path)
    with torch.no_grad():
        expected = theirs(IDS, output_hidden_states=True)
        ours = load(CLIPTextModel, tmp_path)(IDS)
    assert_equal(ours.tokens, expected.last_hidden_state)
    assert_equal(ours.pooled, expected.pooler_output)
    for state, other in zip(ours.hidden_states, expected.hidden_states, strict=True):
        assert_equal(state, other)


def test_clip_text_embedding_equals_transformers(tmp_path: Path) -> None:
    theirs = randomised(transformers.CLIPTextModelWithProjection(transformers.CLIPTextConfig(**TEXT)))
    theirs.save_pretrained(tmp_path)
    with torch.no_grad():
        assert_equal(load(CLIPTextModelWithProjection, tmp_path)(IDS).pooled, theirs(IDS).text_embeds)


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_clip_image_tower_equals_transformers(tmp_path: Path, activation: str) -> None:
    config = transformers.CLIPVisionConfig(**VISION | {"hidden_act": activation})
    theirs = randomised(transformers.CLIPVisionModelWithProjection(config))
    theirs.save_pretrained(tmp_path)
    pixels = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, ours = (
            theirs(pixels, output_hidden_states=True),
            load(CLIPVisionModelWithProjection, tmp_path)(pixels),
        )
    assert_equal(ours.pooled, expected.image_embeds)
    assert_equal(ours.tokens, expected.last_hidden_state)
    assert_equal(ours.hidden_states[-2], expected.hidden_states[-2])


def test_clip_logits_equal_transformers(tmp_path: Path) -> None:
    config = transformers.CLIPConfig(text_config=TEXT, vision_config=VISION, projection_dim=10)
    theirs = randomised(transformers.CLIPModel(config))
    theirs.save_pretrained(tmp_path)
    clip = load(CLIPModel, tmp_path)
    pixels = torch.randn(3, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = theirs(input_ids=IDS, pixel_values=pixels)
        ours = clip.logits(clip.encode_text(IDS), clip.encode_image(pixels))
    assert_equal(ours, expected.logits_per_text)

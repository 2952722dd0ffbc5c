"""Small U-Nets of every published kind, against diffusers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from parity.reference import assert_equal, load, randomised

from sumi.nn import Cond
from sumi.nn.published import UNet2DConditionModel, UNet2DModel

diffusers = pytest.importorskip("diffusers")

SD: dict[str, Any] = {
    "sample_size": 8, "block_out_channels": [8, 16, 16], "norm_num_groups": 4, "layers_per_block": 2,
    "cross_attention_dim": 12, "attention_head_dim": 2,
    "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
    "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
}  # fmt: skip
SD2 = SD | {"attention_head_dim": [1, 2, 4], "use_linear_projection": True}
SDXL = SD2 | {
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "transformer_layers_per_block": [1, 2, 3], "addition_embed_type": "text_time", "addition_time_embed_dim": 8,
    "projection_class_embeddings_input_dim": 10 + 6 * 8,
}  # fmt: skip
STABLE_UNCLIP = SD2 | {"class_embed_type": "projection", "projection_class_embeddings_input_dim": 20}
KARLO = SD | {
    "in_channels": 3, "out_channels": 6, "attention_head_dim": 4, "class_embed_type": "identity",
    "resnet_time_scale_shift": "scale_shift", "mid_block_type": "UNetMidBlock2DSimpleCrossAttn",
    "down_block_types": ["ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D", "SimpleCrossAttnDownBlock2D"],
    "up_block_types": ["SimpleCrossAttnUpBlock2D", "SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"],
}  # fmt: skip
KANDINSKY = KARLO | {
    "in_channels": 4, "out_channels": 8, "class_embed_type": None, "addition_embed_type": "image",
    "encoder_hid_dim": 10, "encoder_hid_dim_type": "image_proj",
}  # fmt: skip
STEPS = torch.tensor([999, 17])
TIMES = (STEPS + 1) / 1000


def normal(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def words() -> torch.Tensor:
    return normal(2, 5, 12, seed=2)


def pair(config: dict[str, Any], folder: Path) -> tuple[UNet2DConditionModel, Any]:
    torch.manual_seed(0)
    theirs = randomised(diffusers.UNet2DConditionModel(**config))
    theirs.save_pretrained(folder)
    return load(UNet2DConditionModel, folder), theirs


@torch.no_grad()
@pytest.mark.parametrize("config", [SD, SD2], ids=["1.x", "2.x"])
@pytest.mark.parametrize("size", [(8, 12), (7, 10)], ids=["divisible", "odd"])
def test_stable_diffusion_unet_equals_diffusers(
    tmp_path: Path, config: dict[str, Any], size: tuple[int, int], words: torch.Tensor
) -> None:
    ours, theirs = pair(config, tmp_path)
    x = normal(2, 4, *size)
    assert_equal(ours(x, TIMES, Cond(tokens=words)), theirs(x, STEPS, words).sample)


@torch.no_grad()
def test_stable_diffusion_inpainting_unet_takes_mask_and_picture_as_channels(
    tmp_path: Path, words: torch.Tensor
) -> None:
    ours, theirs = pair(SD | {"in_channels": 9}, tmp_path)
    x, more = normal(2, 4, 8, 8), normal(2, 5, 8, 8, seed=3)
    expected = theirs(torch.cat([x, more], dim=1), STEPS, words).sample
    assert_equal(ours(x, TIMES, Cond(tokens=words, concat=more)), expected)


@torch.no_grad()
def test_fractional_timesteps_reach_the_unet_unchanged(tmp_path: Path, words: torch.Tensor) -> None:
    ours, theirs = pair(SD, tmp_path)
    x, steps = normal(2, 4, 8, 8), torch.tensor([946.4211, 52.6316])
    assert_equal(ours(x, (steps + 1) / 1000, Cond(tokens=words)), theirs(x, steps, words).sample)


@torch.no_grad()
def test_sdxl_unet_equals_diffusers(tmp_path: Path, words: torch.Tensor) -> None:
    ours, theirs = pair(SDXL, tmp_path)
    x, pooled, sizes = normal(2, 4, 8, 8), normal(2, 10, seed=3), torch.tensor([[512, 640, 0, 3, 1024, 1024.0]] * 2)
    expected = theirs(x, STEPS, words, added_cond_kwargs={"text_embeds": pooled, "time_ids": sizes}).sample
    assert_equal(ours(x, TIMES, Cond(torch.cat([pooled, sizes], dim=1), words)), expected)


@torch.no_grad()
def test_stable_unclip_unet_equals_diffusers(tmp_path: Path, words: torch.Tensor) -> None:
    ours, theirs = pair(STABLE_UNCLIP, tmp_path)
    x, vector = normal(2, 4, 8, 8), normal(2, 20, seed=3)
    assert_equal(ours(x, TIMES, Cond(vector, words)), theirs(x, STEPS, words, class_labels=vector).sample)


@torch.no_grad()
def test_karlo_decoder_equals_diffusers(tmp_path: Path, words: torch.Tensor) -> None:
    ours, theirs = pair(KARLO, tmp_path)
    x, vector = normal(2, 3, 8, 8), normal(2, 32, seed=3)
    mask = torch.tensor([[True] * 5, [True, True, False, False, True]])
    expected = theirs(x, STEPS, words, class_labels=vector, attention_mask=mask).sample
    assert_equal(ours(x, TIMES, Cond(vector, words, mask)), expected)
    assert float((ours(x, TIMES, Cond(vector, words)) - expected).abs().max()) > 1e-3 * float(expected.abs().max())


@torch.no_grad()
def test_kandinsky_decoder_equals_diffusers(tmp_path: Path) -> None:
    ours, theirs = pair(KANDINSKY, tmp_path)
    x, embed = normal(2, 4, 8, 8), normal(2, 10, seed=3)
    expected = theirs(x, STEPS, None, added_cond_kwargs={"image_embeds": embed}).sample
    assert_equal(ours(x, TIMES, Cond(embed)), expected)


@torch.no_grad()
def test_karlo_super_resolution_equals_diffusers(tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = randomised(
        diffusers.UNet2DModel(
            in_channels=6, out_channels=3, block_out_channels=[8, 16], norm_num_groups=4, layers_per_block=2,
            add_attention=False, down_block_types=["ResnetDownsampleBlock2D"] * 2,
            up_block_types=["ResnetUpsampleBlock2D"] * 2,
        )
    )  # fmt: skip
    theirs.save_pretrained(tmp_path)
    x, small = normal(2, 3, 8, 8), normal(2, 3, 8, 8, seed=3)
    expected = theirs(torch.cat([x, small], dim=1), STEPS).sample
    assert_equal(load(UNet2DModel, tmp_path)(x, TIMES, Cond(concat=small)), expected)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"down_block_types": ["DownBlock2D"]}, "1 types of blocks for 3 levels"),
        ({"attention_head_dim": [1, 2]}, "attention_head_dim has 2 entries for 3 levels"),
        ({"class_embed_type": "projection"}, "needs projection_class_embeddings_input_dim"),
        ({"dual_cross_attention": True}, "dual_cross_attention is True, and only False is supported"),
    ],
)
def test_unet_configuration_that_does_not_fit_is_one_clear_line(change: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        UNet2DConditionModel(**SD | {"in_channels": 4, "out_channels": 4} | change)

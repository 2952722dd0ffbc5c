"""Stable Diffusion XL from a folder that diffusers saved: Sumi draws and serves the same pixels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from parity.reference import randomised
from parity.test_autoencoder import KL
from parity.test_unet import SDXL
from parity.tiny_pipelines import (
    CHAIN,
    NEGATIVE,
    PROMPT,
    assert_same_picture,
    quiet,
    seeded,
    striped,
    text_config,
    tokenizer_of,
)

import sumi

diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

PX = 32
POOLED = SDXL["projection_class_embeddings_input_dim"] - 6 * SDXL["addition_time_embed_dim"]


@dataclass(frozen=True)
class Published:
    """A tiny model of random weights: the folder, and diffusers' pipeline."""

    folder: Path
    pipeline: Any


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    root = tmp_path_factory.mktemp("published")
    one, two = tokenizer_of(root / "words"), tokenizer_of(root / "words", pad_token="!")
    torch.manual_seed(0)
    pipeline = diffusers.StableDiffusionXLPipeline(
        randomised(diffusers.AutoencoderKL(**KL | {"scaling_factor": 0.3})),
        transformers.CLIPTextModel(text_config(one, 8)).eval(),
        transformers.CLIPTextModelWithProjection(text_config(two, 4, projection_dim=POOLED)).eval(), one, two,
        randomised(diffusers.UNet2DConditionModel(**SDXL | {"sample_size": PX // 4})),
        diffusers.EulerDiscreteScheduler(**CHAIN, timestep_spacing="leading"), add_watermarker=False,
    )  # fmt: skip
    quiet(pipeline).save_pretrained(root / "tiny-sdxl")
    return Published(root / "tiny-sdxl", pipeline)


@pytest.fixture(scope="module")
def artist(published: Published) -> sumi.Artist:
    return sumi.load(published.folder)


@pytest.mark.parametrize("negative", [None, NEGATIVE])
@pytest.mark.parametrize("size", [PX, 48])
def test_sdxl_folder_draws_the_picture_of_diffusers(
    published: Published, artist: sumi.Artist, negative: str | None, size: int
) -> None:
    theirs = published.pipeline(
        PROMPT, negative_prompt=negative, num_inference_steps=6, guidance_scale=5.0, height=size, width=size,
        generator=seeded(5), output_type="np",
    ).images[0]  # fmt: skip
    ours = artist.generate(PROMPT, negative=negative or "", steps=6, guidance=5.0, size=size, seed=5)
    assert_same_picture(ours[0].image, theirs)


def test_sdxl_folder_without_zeros_for_no_negative_prompt_draws_the_picture_of_diffusers(
    published: Published, tmp_path: Path
) -> None:
    pipeline = quiet(diffusers.StableDiffusionXLPipeline(
        **{name: part for name, part in published.pipeline.components.items() if part is not None},
        force_zeros_for_empty_prompt=False, add_watermarker=False,
    ))  # fmt: skip
    pipeline.save_pretrained(tmp_path / "tiny")
    theirs = pipeline(
        PROMPT, num_inference_steps=4, guidance_scale=5.0, height=PX, width=PX, generator=seeded(5), output_type="np"
    ).images[0]
    assert_same_picture(sumi.load(tmp_path / "tiny").generate(PROMPT, steps=4, guidance=5.0, seed=5)[0].image, theirs)


def test_sdxl_draws_over_a_picture_and_in_a_part_of_one(artist: sumi.Artist) -> None:
    begin, mask = striped(PX), np.zeros((PX, PX), dtype=np.uint8)
    mask[: PX // 2] = 255
    (over,) = artist.img2img(begin, "a cat", 0.5, steps=4, seed=1)
    (edited,) = artist.edit(begin, "a cat", mask, steps=3, rounds=1, seed=1)
    assert over.image.size == (PX, PX)
    assert np.array_equal(np.asarray(edited.image.convert("RGB"))[PX // 2 :], np.asarray(begin)[PX // 2 :])

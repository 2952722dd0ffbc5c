"""Stable unCLIP and Kandinsky 2.2 from folders that diffusers saved: Sumi draws the same pixels."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from parity.reference import randomised
from parity.test_autoencoder import KL, MOVQ
from parity.test_schedulers import in_double_precision
from parity.test_unclip import PRIOR
from parity.test_unet import KANDINSKY, STABLE_UNCLIP
from parity.tiny_pipelines import (
    CHAIN,
    PROMPT,
    assert_same_picture,
    image_processor,
    image_tower,
    quiet,
    seeded,
    striped,
    text_config,
    tokenizer_of,
)

import sumi
from sumi import SumiError

diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

PX = 32
WIDTH = PRIOR["embedding_dim"]
V = {"prediction_type": "v_prediction", "clip_sample": False, "set_alpha_to_one": False}
PRIOR_CHAIN = {"beta_schedule": "squaredcos_cap_v2", "prediction_type": "sample", "clip_sample_range": 5.0}


@dataclass(frozen=True)
class Published:
    """A tiny model of random weights: the folder, and diffusers' pipeline."""

    folder: Path
    pipeline: Any


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The networks that both kinds of Stable unCLIP have."""
    module = pytest.importorskip("diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer")
    tokenizer = tokenizer_of(tmp_path_factory.mktemp("words") / "words")
    torch.manual_seed(0)
    unet = STABLE_UNCLIP | {"sample_size": PX // 4, "projection_class_embeddings_input_dim": 2 * WIDTH}
    return {
        "tokenizer": tokenizer,
        "text_encoder": transformers.CLIPTextModel(text_config(tokenizer, STABLE_UNCLIP["cross_attention_dim"])).eval(),
        "image_normalizer": randomised(module.StableUnCLIPImageNormalizer(embedding_dim=WIDTH)),
        "image_noising_scheduler": diffusers.DDPMScheduler(beta_schedule="squaredcos_cap_v2"),
        "unet": randomised(diffusers.UNet2DConditionModel(**unet)),
        "vae": randomised(diffusers.AutoencoderKL(**KL | {"scaling_factor": 0.3})),
        "scheduler": diffusers.DDIMScheduler(**CHAIN, **V),
    }


@pytest.fixture(scope="module")
def with_images(parts: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Published:
    torch.manual_seed(1)
    more = {"image_encoder": image_tower(WIDTH), "feature_extractor": image_processor()}
    pipeline = quiet(diffusers.StableUnCLIPImg2ImgPipeline(**parts, **more))
    folder = tmp_path_factory.mktemp("published") / "tiny-unclip"
    pipeline.save_pretrained(folder)
    return Published(folder, pipeline)


@pytest.fixture(scope="module")
def with_prior(parts: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Published:
    torch.manual_seed(2)
    config = text_config(parts["tokenizer"], WIDTH, projection_dim=WIDTH)
    more = {
        "prior": randomised(diffusers.PriorTransformer(**PRIOR | {"num_embeddings": 77})),
        "prior_tokenizer": parts["tokenizer"],
        "prior_text_encoder": transformers.CLIPTextModelWithProjection(config).eval(),
        "prior_scheduler": diffusers.DDPMScheduler(**PRIOR_CHAIN),
    }
    pipeline = quiet(diffusers.StableUnCLIPPipeline(**parts, **more))
    folder = tmp_path_factory.mktemp("published") / "tiny-unclip-small"
    pipeline.save_pretrained(folder)
    return Published(folder, pipeline)


def test_stable_unclip_image_folder_draws_the_picture_of_diffusers(with_images: Published) -> None:
    theirs = with_images.pipeline(
        striped(PX), num_inference_steps=6, guidance_scale=5.0, height=PX, width=PX, generator=seeded(5),
        output_type="np",
    ).images[0]  # fmt: skip
    artist = sumi.load(with_images.folder)
    (ours,) = artist.vary(striped(PX), steps=6, guidance=5.0, seed=5)
    assert_same_picture(ours.image, theirs)
    assert artist.operations == ("vary", "blend", "img2img", "edit")
    (again,) = (event for event in artist.replay(ours.recipe) if isinstance(event, sumi.Picture))
    assert np.array_equal(np.asarray(again.image), np.asarray(ours.image))


def test_stable_unclip_folder_with_a_prior_draws_the_picture_of_diffusers(with_prior: Published) -> None:
    theirs = with_prior.pipeline(
        PROMPT, prior_num_inference_steps=25, num_inference_steps=6, guidance_scale=5.0, height=PX, width=PX,
        generator=seeded(5), output_type="np",
    ).images[0]  # fmt: skip
    artist = sumi.load(with_prior.folder)
    (ours,) = artist.generate(PROMPT, steps=6, guidance=5.0, seed=5)
    assert_same_picture(ours.image, theirs)
    assert list(ours.recipe.stages) == ["prior", "unet"]


def test_stable_unclip_blends_two_pictures_from_one_end_to_the_other(with_images: Published) -> None:
    artist = sumi.load(with_images.folder)
    ends = artist.blend(striped(PX, 1), striped(PX, 2), frames=3, steps=4, seed=1, noise="fixed")
    alone = artist.blend(striped(PX, 1), striped(PX, 2), amount=1.0, steps=4, seed=1, noise="fixed")
    levels = [np.asarray(picture.image, dtype=int) for picture in (*ends, *alone)]
    assert np.abs(levels[2] - levels[3]).max() <= 1
    assert np.abs(levels[0] - levels[2]).max() > 2


@pytest.fixture(scope="module")
def kandinsky(parts: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Published:
    """Both folders side by side, and the pipeline that diffusers makes of them."""
    torch.manual_seed(4)
    root = tmp_path_factory.mktemp("published")
    width = KANDINSKY["encoder_hid_dim"]
    config = text_config(parts["tokenizer"], width, projection_dim=width)
    prior = {
        "prior": randomised(diffusers.PriorTransformer(**PRIOR | {"num_embeddings": 77, "embedding_dim": width})),
        "image_encoder": image_tower(width), "image_processor": image_processor(),
        "text_encoder": transformers.CLIPTextModelWithProjection(config).eval(), "tokenizer": parts["tokenizer"],
        "scheduler": diffusers.UnCLIPScheduler(prediction_type="sample", clip_sample_range=10.0),
    }  # fmt: skip
    movq = randomised(diffusers.VQModel(**MOVQ))
    movq.decoder.conv_out.weight.data.mul_(0.2)  # random norms would saturate every pixel
    chain = {"beta_schedule": "linear", "beta_start": 0.00085, "beta_end": 0.012, "clip_sample": False}
    decoder = {
        "unet": randomised(diffusers.UNet2DConditionModel(**KANDINSKY | {"sample_size": 8})), "movq": movq,
        "scheduler": diffusers.DDPMScheduler(**chain),
    }  # fmt: skip
    diffusers.KandinskyV22PriorPipeline(**prior).save_pretrained(root / "tiny-prior")
    diffusers.KandinskyV22Pipeline(**decoder).save_pretrained(root / "tiny-decoder")
    both = {**decoder, **{f"prior_{name}": part for name, part in prior.items()}}
    in_double_precision(prior["scheduler"])  # whose rounding is seen in these pixels
    return Published(root / "tiny-decoder", diffusers.KandinskyV22CombinedPipeline(**both))


def test_kandinsky_folders_draw_the_picture_of_diffusers(kandinsky: Published) -> None:
    theirs = kandinsky.pipeline(
        PROMPT, num_inference_steps=6, guidance_scale=3.0, height=16, width=16, generator=seeded(5), output_type="np"
    ).images[0]
    for artist in (
        sumi.load(kandinsky.folder),
        sumi.load(kandinsky.folder, prior_model=kandinsky.folder.with_name("tiny-prior")),
    ):
        (ours,) = artist.generate(PROMPT, steps=6, guidance=3.0, seed=5)
        assert_same_picture(ours.image, theirs)
    assert list(ours.recipe.stages) == ["prior", "unet"]


def test_kandinsky_varies_a_picture_without_its_prior(kandinsky: Published) -> None:
    artist = sumi.load(kandinsky.folder)
    (varied,) = artist.vary(striped(16), steps=3, seed=1)
    (edited,) = artist.edit(striped(16), expand=(4, 0, 0, 0), steps=3, rounds=1, seed=1)
    (moved,) = artist.restyle(striped(16), "a fox", "a cat", 0.5, steps=3, seed=1)
    for picture in (varied, moved):
        assert list(picture.recipe.stages) == ["unet"]
        (again,) = (event for event in artist.replay(picture.recipe) if isinstance(event, sumi.Picture))
        assert np.array_equal(np.asarray(again.image), np.asarray(picture.image))
    assert np.array_equal(np.asarray(edited.image.convert("RGB"))[:, 4:], np.asarray(striped(16)))


def test_kandinsky_inpainting_folder_keeps_what_the_mask_leaves_out(kandinsky: Published, tmp_path: Path) -> None:
    torch.manual_seed(5)
    folder = shutil.copytree(kandinsky.folder, tmp_path / "tiny-decoder-inpaint")
    unet = randomised(diffusers.UNet2DConditionModel(**KANDINSKY | {"sample_size": 8, "in_channels": 9}))
    unet.save_pretrained(folder / "unet")
    artist = sumi.load(folder, prior_model=kandinsky.folder.with_name("tiny-prior"))
    assert artist.operations == ("generate", "edit")
    begin, mask = striped(16), np.zeros((16, 16), dtype=np.uint8)
    mask[:, 8:] = 255
    (drawn,) = artist.edit(begin, "a cat", mask, steps=3, seed=1)
    after = np.asarray(drawn.image.convert("RGB"), dtype=int)
    assert np.array_equal(after[:, :8], np.asarray(begin)[:, :8])
    assert np.abs(after[:, 8:] - np.asarray(begin, dtype=int)[:, 8:]).mean() > 2


def test_kandinsky_folder_alone_names_what_is_missing(kandinsky: Published) -> None:
    moved = kandinsky.folder.rename(kandinsky.folder.with_name("alone"))
    try:
        with pytest.raises(SumiError, match="give the folder of its prior with --prior-model DIR"):
            sumi.load(moved)
    finally:
        moved.rename(kandinsky.folder)
    with pytest.raises(SumiError, match="holds Kandinsky's prior alone"):
        sumi.load(kandinsky.folder.with_name("tiny-prior"))
    with pytest.raises(SumiError, match=r"the prior of Kandinsky 2\.2 is needed there"):
        sumi.load(kandinsky.folder, prior_model=kandinsky.folder)

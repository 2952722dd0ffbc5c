"""guided-diffusion from files in its authors' naming answers what their code answered (`originals.py`)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from parity.originals import LABEL, SIDE, STEP, normal, read_answers, write_guided
from parity.reference import assert_equal, load, randomised

import sumi
from sumi.bundles.published import PublishedModel, open_model, with_flags
from sumi.nn import Cond
from sumi.nn.published import UNet2DModel
from sumi.pipelines import Settings, run
from sumi.pipelines.steps import drive_to_end
from sumi.systems.published.guided_diffusion import TIMES
from sumi.systems.published.respaced import respaced_stages

_, ANSWERS = read_answers()
TIME = torch.tensor([(STEP + 1) / 1000])
FLAGS = {
    "legacy": "--num_head_channels 64 --class_cond True --image_size 16",
    "new": "--num_head_channels 64 --use_new_attention_order True --use_fp16 True",
    "heads": "--attention_resolutions 8",  # the scripts' own default is four heads
    "half": "--num_head_channels 32 --num_channels 64",
    "plain": "--num_heads 2 --learn_sigma False --resblock_updown False --use_scale_shift_norm False",
}


def opened(tmp_path: Path, name: str, schedule: str = "linear") -> PublishedModel:
    model = open_model(write_guided(tmp_path / f"{name}.pt", name))
    return with_flags(model, f"{FLAGS[name]} --noise_schedule {schedule}")


def cond_of(model: PublishedModel) -> Cond:
    labelled = model.parts["unet"].config.get("num_class_embeds") is not None
    return Cond(tokens=torch.tensor([[LABEL]])) if labelled else Cond()


@torch.no_grad()
@pytest.mark.parametrize("name", FLAGS)
def test_guided_diffusion_network_answers_as_the_authors_code(name: str, tmp_path: Path) -> None:
    model = opened(tmp_path, name)
    out = model.parts["unet"].load()(normal(1, 3, SIDE, SIDE), TIME, cond_of(model))
    assert_equal(out, ANSWERS[f"guided/{name}"])


@torch.no_grad()
@pytest.mark.parametrize("schedule", ["linear", "cosine"])
@pytest.mark.parametrize("name", ["new", "plain"])
def test_guided_diffusion_draws_the_picture_of_the_authors_loop(name: str, schedule: str, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    flags = f"{FLAGS[name]} --noise_schedule {schedule}"
    artist = sumi.load(write_guided(tmp_path / "model" / "unet.pt", name), model_flags=flags)
    (drawn,) = artist.generate(str(LABEL), steps=5, seed=3)
    levels = torch.tensor(list(drawn.image.convert("RGB").tobytes())).view(SIDE, SIDE, 3).permute(2, 0, 1)
    expected = (ANSWERS[f"guided/{name} drawn, {schedule}"][0] + 1) * 127.5
    assert float((levels - expected).abs().max()) <= 0.6, "more than the rounding to a level"


@torch.no_grad()
def test_guided_diffusion_by_ddim_draws_the_picture_of_the_authors_loop(tmp_path: Path) -> None:
    unet = opened(tmp_path, "heads").parts["unet"].load()
    assert isinstance(unet, UNet2DModel)
    stage, _ = respaced_stages("unet", unet, SIDE, "linear", Settings("ddim", 5), TIMES)["ddim"]
    drawn = drive_to_end(run(stage, Cond(), [1], x=normal(1, 3, SIDE, SIDE), rngs=[torch.Generator()]))
    assert_equal(drawn, ANSWERS["guided/heads drawn, ddim"])


@torch.no_grad()
@pytest.mark.parametrize("scale_shift", ["default", "scale_shift"])
@pytest.mark.parametrize("resample", ["conv", "resnet"])
def test_unet_with_classes_and_self_attention_equals_diffusers(resample: str, scale_shift: str, tmp_path: Path) -> None:
    diffusers = pytest.importorskip("diffusers")
    theirs = randomised(
        diffusers.UNet2DModel(
            sample_size=16, block_out_channels=(32, 64), layers_per_block=1, attention_head_dim=16,
            down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            downsample_type=resample, upsample_type=resample, resnet_time_scale_shift=scale_shift,
            num_class_embeds=10, attn_norm_num_groups=32,
        )
    )  # fmt: skip
    theirs.save_pretrained(tmp_path)
    x, label = normal(1, 3, 16, 16), torch.tensor([LABEL])
    expected = theirs(x, torch.tensor([STEP]), class_labels=label).sample
    assert_equal(load(UNet2DModel, tmp_path)(x, TIME, Cond(tokens=label[None])), expected)

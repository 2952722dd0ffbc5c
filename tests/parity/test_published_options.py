"""How a published folder is opened, examined and written again: LoRA, precision, device, doctor, export."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from far_device import META
from parity.tiny_pipelines import PROMPT, PX, assert_same_picture, quiet, seeded, stable_diffusion
from safetensors.torch import load_file, save_file

import sumi
from sumi import SumiError
from sumi.bundles import device
from sumi.cli import main
from sumi.systems.published import loading
from sumi.systems.published.artist import PublishedArtist

diffusers = pytest.importorskip("diffusers")
pytest.importorskip("transformers")
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

LAYER = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("published")
    stable_diffusion(root)
    return root / "tiny-sd"


@pytest.fixture(scope="module")
def lora(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = torch.Generator().manual_seed(0)
    path = tmp_path_factory.mktemp("lora") / "style.safetensors"
    down, up = torch.randn(2, 12, generator=rng), torch.randn(8, 2, generator=rng)
    save_file({f"unet.{LAYER}.lora_A.weight": down, f"unet.{LAYER}.lora_B.weight": up}, path)
    return path


def levels(picture: sumi.Picture) -> Any:
    return np.asarray(picture.image, dtype=int)


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(arguments))
    assert isinstance(ended.value.code, int)
    return ended.value.code


def test_lora_with_weight_zero_changes_no_pixel_and_with_weight_one_many(folder: Path, lora: Path) -> None:
    settings: dict[str, Any] = {"steps": 3, "seed": 1}
    (plain,) = sumi.load(folder).generate("a cat", **settings)
    (none,) = sumi.load(folder, loras=[(lora, 0.0)]).generate("a cat", **settings)
    (full,) = sumi.load(folder, loras=[lora]).generate("a cat", **settings)
    assert np.array_equal(levels(plain), levels(none))
    assert np.abs(levels(plain) - levels(full)).max() > 2
    assert full.recipe.hashes["lora:style:1"] and "lora:style:1" not in plain.recipe.hashes


def test_generate_command_takes_a_lora_with_its_weight(folder: Path, lora: Path, tmp_path: Path) -> None:
    out = tmp_path / "cat.png"
    drawn = run("generate", "a cat", "--model", str(folder), "--lora", f"{lora}:0.5", "--steps", "3", "--seed", "1",
                "--out", str(out))  # fmt: skip
    assert drawn == 0
    image, recipe = sumi.read_recipe(out)
    (ours,) = sumi.load(folder, loras=[f"{lora}:0.5"]).generate("a cat", steps=3, seed=1)
    assert np.array_equal(np.asarray(image.convert("RGB")), np.asarray(ours.image.convert("RGB")))
    assert "lora:style:0.5" in recipe.hashes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loras": ["nowhere.safetensors"]}, "nowhere.safetensors"),
        ({"loras": [("style.safetensors", 11.0)]}, "the weight of a LoRA should be a number from -10 to 10"),
        ({"dtype": "fp8"}, "unknown dtype 'fp8': choose fp32, bf16"),
        ({"tokenizer": "words"}, "needs no further tokenizer"),
        ({"prior_model": "prior"}, "whose prior is no folder of its own"),
    ],
)
def test_load_refuses_options_that_do_not_fit_in_one_line(folder: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SumiError, match=message) as caught:
        sumi.load(folder, **options)
    assert "\n" not in str(caught.value)


def test_bf16_is_taken_where_the_processor_has_it_and_refused_elsewhere(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "chosen_precision", lambda device: "fp32")
    with pytest.raises(SumiError, match="no instructions for bf16 and would only emulate it"):
        sumi.load(folder, dtype="bf16")
    (exact,) = sumi.load(folder, dtype="auto").generate("a cat", steps=3, seed=1)
    monkeypatch.setattr(loading, "chosen_precision", lambda device: "bf16")
    artist = sumi.load(folder, dtype="auto")
    (rough,) = artist.generate("a cat", steps=3, seed=1)
    assert {weight.dtype for network in artist.networks.values() for weight in network.parameters()} == {torch.bfloat16}
    assert 0 < np.abs(levels(exact) - levels(rough)).mean() < 16


def test_networks_of_a_published_folder_compute_on_a_device(
    folder: Path,
    far: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(device, "usable_device", lambda name: META)
    artist = sumi.load(folder, device="meta")
    assert artist.generate("a (red:1.2) fox", seed=7, steps=2)[0].image.size == (PX, PX)
    assert artist.edit(np.zeros((PX, PX, 3), np.uint8), "a fox", np.ones((PX, PX), bool), seed=7, steps=1, rounds=1)
    assert "there" in far and "back" in far
    assert {weight.device for network in artist.networks.values() for weight in network.parameters()} == {META}


def test_scheduler_configuration_with_infinity_as_diffusers_writes_it_is_read(folder: Path, tmp_path: Path) -> None:
    other = shutil.copytree(folder, tmp_path / "dpm")
    scheduler = diffusers.DPMSolverMultistepScheduler.from_pretrained(folder / "scheduler")
    written = json.dumps({**scheduler.config, "lambda_min_clipped": float("-inf")})
    assert "-Infinity" in written
    (other / "scheduler" / "scheduler_config.json").write_text(written, "utf-8")
    index = json.loads((other / "model_index.json").read_text("utf-8"))
    index["scheduler"] = ["diffusers", "DPMSolverMultistepScheduler"]
    (other / "model_index.json").write_text(json.dumps(index), "utf-8")
    (drawn,) = sumi.load(other).generate("a cat", steps=2, seed=1)
    assert drawn.recipe.stages["unet"].sampler == "dpmpp-2m"


def test_doctor_command_finds_a_healthy_model_healthy(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("doctor", str(folder), "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["healthy"] and found["first_not_finite"] is None
    assert [part["name"] for part in found["parts"]] == ["unet", "vae", "text_encoder"]
    assert [(stage["name"], stage["steps"]) for stage in found["stages"]] == [("unet", 2), ("picture", 0)]


def test_doctor_command_names_the_tensor_and_the_module_where_nan_begins(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = shutil.copytree(folder, tmp_path / "broken")
    file = broken / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(file)
    tensors["mid_block.resnets.1.conv1.weight"][0, 0, 1, 1] = float("nan")
    save_file(tensors, file, {"format": "pt"})
    assert run("doctor", str(broken)) == 1
    out = capsys.readouterr().out
    assert "1 tensors are not finite, the first mid_block.resnets.1.conv1.weight" in out
    assert "not finite from here on: unet.mid_block.resnets.1.conv1, step 1 of unet" in out


def test_diffusers_loads_an_exported_folder_and_draws_the_same_picture(
    folder: Path, lora: Path, tmp_path: Path
) -> None:
    target = tmp_path / "exported"
    assert run("export", str(folder), str(target), "--lora", f"{lora}:0.7") == 0
    pipeline = quiet(diffusers.StableDiffusionPipeline.from_pretrained(target, local_files_only=True))
    theirs = pipeline(
        PROMPT, num_inference_steps=4, guidance_scale=7.5, height=PX, width=PX, generator=seeded(5), output_type="np"
    ).images[0]
    artist = sumi.load(folder, loras=[(lora, 0.7)])
    assert_same_picture(artist.generate(PROMPT, steps=4, guidance=7.5, seed=5)[0].image, theirs)
    again = sumi.load(target)
    assert isinstance(again, PublishedArtist)
    assert_same_picture(again.generate(PROMPT, steps=4, guidance=7.5, seed=5)[0].image, theirs)
    assert run("export", str(folder), str(target)) == 2

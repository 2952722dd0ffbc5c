"""Single files as their authors published them give the same networks as the folders of diffusers do."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from original_weights import clip, karlo, random_state, stable_diffusion
from published_weights import FILES, Tensors, published_system, stable_diffusion_folder
from safetensors.torch import save_file

from sumi import SumiError
from sumi.bundles.published import inspect, open_model
from sumi.bundles.published.model import PublishedModel
from sumi.systems.published import PublishedScheduler


def assert_parts(model: PublishedModel, states: dict[str, Tensors]) -> None:
    assert model.parts.keys() == states.keys()
    for name, state in states.items():
        loaded = model.parts[name].load().state_dict()
        assert loaded.keys() == state.keys(), name
        assert [key for key, value in state.items() if not torch.equal(loaded[key], value)] == [], name


@pytest.mark.parametrize("version", ["1", "2", "xl"])
def test_open_model_reads_a_single_file_of_stable_diffusion(version: str, tmp_path: Path) -> None:
    file, states = stable_diffusion(version)
    save_file({name: tensor.contiguous() for name, tensor in file.items()}, tmp_path / "model.safetensors")
    model = open_model(tmp_path / "model.safetensors")
    assert_parts(model, states)
    assert inspect(tmp_path / "model.safetensors").unknown == ()
    activation = {"1": "quick_gelu", "2": "gelu", "xl": "quick_gelu"}[version]
    assert model.parts["text_encoder"].config["hidden_act"] == activation
    assert model.parts["vae"].config["scaling_factor"] == (0.13025 if version == "xl" else 0.18215)


def test_open_model_reads_the_original_files_of_karlo(tmp_path: Path) -> None:
    files, states = karlo()
    for name, value in files.items():
        torch.save(value, tmp_path / name)
    model = open_model(tmp_path)
    assert_parts(model, states)
    assert model.parts["decoder"].config["attention_head_dim"] == 64


def test_open_model_of_karlo_names_the_files_that_are_missing(tmp_path: Path) -> None:
    torch.save({"state_dict": FILES["karlo-prior"]}, tmp_path / "prior.ckpt")
    with pytest.raises(SumiError, match="it lacks karlo-decoder, karlo-super-resolution, clip-statistics, clip"):
        open_model(tmp_path)


def test_open_model_reads_a_clip_by_openai(tmp_path: Path) -> None:
    config = published_system("clip-vit-large-patch14")["clip"]
    for tower in ("text_config", "vision_config"):
        config[tower] |= {"hidden_size": 64, "num_attention_heads": 1}
    state = random_state(config)
    numbers = {"input_resolution": torch.tensor(8), "context_length": torch.tensor(7), "vocab_size": torch.tensor(50)}
    torch.save(clip(state) | numbers, tmp_path / "clip.pt")
    assert_parts(open_model(tmp_path / "clip.pt"), {"clip": state})


def test_open_model_reads_a_folder_and_loads_in_the_dtype_that_is_asked_for(tmp_path: Path) -> None:
    model = open_model(stable_diffusion_folder(tmp_path / "sd"))
    assert {"unet", "vae", "text_encoder"} == model.parts.keys()
    network = model.parts["vae"].load(torch.bfloat16)
    assert {value.dtype for value in network.state_dict().values()} == {torch.bfloat16}
    assert not network.training and not any(weight.requires_grad for weight in network.parameters())


@pytest.mark.parametrize("source", ["1", "xl", "karlo"])
def test_open_model_gives_single_files_the_schedulers_of_the_published_folders(source: str, tmp_path: Path) -> None:
    name = {"1": "stable-diffusion-v1-5", "xl": "stable-diffusion-xl-base-1.0", "karlo": "karlo-v1-alpha"}[source]
    if source == "karlo":
        for file, value in karlo()[0].items():
            torch.save(value, tmp_path / file)
        model = open_model(tmp_path)
    else:
        save_file({k: v.contiguous() for k, v in stable_diffusion(source)[0].items()}, tmp_path / "model.safetensors")
        model = open_model(tmp_path / "model.safetensors")
    expected = {part: config for part, config in published_system(name).items() if "scheduler" in part}
    assert model.schedulers.keys() == expected.keys()
    for part, config in model.schedulers.items():
        assert config.items() <= expected[part].items(), part
        read, folder = PublishedScheduler.read(dict(config)), PublishedScheduler.read(expected[part])
        assert torch.equal(read.times(10), folder.times(10))


def test_open_model_gives_no_scheduler_where_a_file_does_not_say_what_it_predicts(tmp_path: Path) -> None:
    save_file({k: v.contiguous() for k, v in stable_diffusion("2")[0].items()}, tmp_path / "model.safetensors")
    assert open_model(tmp_path / "model.safetensors").schedulers == {}


def test_open_model_gives_the_schedulers_of_a_folder(tmp_path: Path) -> None:
    model = open_model(stable_diffusion_folder(tmp_path / "sd"))
    assert model.schedulers == {"scheduler": {"_class_name": "PNDMScheduler", "num_train_timesteps": 1000}}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (
            lambda f: f.pop("model.diffusion_model.middle_block.0.in_layers.0.bias"),
            "1 missing: mid_block.resnets.0.norm1",
        ),
        (
            lambda f: f.update({"model.diffusion_model.novel.weight": torch.zeros(1)}),
            "1 unused: model.diffusion_model.nov",
        ),
        (
            lambda f: f.update({"first_stage_model.quant_conv.weight": torch.zeros(8, 9, 1, 1)}),
            "1 misshapen: first_stage",
        ),
        (lambda f: f.pop("model.diffusion_model.time_embed.0.weight"), "missing: time_embedding.linear_1.weight"),
        (lambda f: f.pop("model.diffusion_model.out.2.weight"), "is incomplete: 'model.diffusion_model.out.2.weight'"),
    ],
)
def test_open_model_names_what_is_wrong_with_a_single_file(change: object, says: str, tmp_path: Path) -> None:
    file, _ = stable_diffusion("1")
    change(file)  # type: ignore[operator]
    save_file({name: tensor.contiguous() for name, tensor in file.items()}, tmp_path / "model.safetensors")
    with pytest.raises(SumiError, match=says) as refused:
        open_model(tmp_path / "model.safetensors")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "name",
    [
        "glide-clip-text",
        "guided-diffusion-classifier",
        "latent-diffusion",
        "lora-kohya",
        "dalle2-pytorch-decoder",
        "dalle2-pytorch-prior-1.8",
    ],
)
def test_open_model_says_what_it_recognises_and_cannot_run(name: str, tmp_path: Path) -> None:
    save_file(FILES[name], tmp_path / "model.safetensors")
    with pytest.raises(SumiError, match="Sumi recognises it, and cannot run it"):
        open_model(tmp_path / "model.safetensors")

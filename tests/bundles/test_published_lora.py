"""A LoRA is added to the weights it names, in each of its spellings, and refused where it names others."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from original_weights import stable_diffusion
from published_weights import Tensors, published_system
from safetensors.torch import save_file
from torch import nn

from sumi import SumiError
from sumi.bundles.published import merge_lora, open_weights
from sumi.bundles.published.original_unet import OriginalUNet, original_name
from sumi.bundles.tensors import Entry
from sumi.nn.published import CLIPTextModel, UNet2DConditionModel

ATTENTION = "down_blocks.0.attentions.0.transformer_blocks.0.attn1"
MLP = "text_model.encoder.layers.0.mlp.fc1"
CONV = "down_blocks.0.resnets.0.conv1"
RANK, ALPHA = 2, 1.0


def networks() -> dict[str, nn.Module]:
    parts = {name: config for name, config in published_system("stable-diffusion-v1-5").items() if name != "scheduler"}
    for config in parts.values():
        config.pop("_class_name")
    torch.manual_seed(0)
    return {"unet": UNet2DConditionModel(**parts["unet"]), "text_encoder": CLIPTextModel(**parts["text_encoder"])}


DOWN = {"q": torch.randn(RANK, 32), "out": torch.randn(RANK, 32), "fc1": torch.randn(RANK, 12)}
UP = {"q": torch.randn(32, RANK), "out": torch.randn(32, RANK), "fc1": torch.randn(16, RANK)}


def kohya() -> Tensors:
    names = {
        "q": f"lora_unet_{ATTENTION}.to_q", "out": f"lora_unet_{ATTENTION}.to_out.0", "fc1": f"lora_te_{MLP}",
    }  # fmt: skip
    made = {}
    for key, name in names.items():
        name = name.replace(".", "_")
        made |= {f"{name}.lora_down.weight": DOWN[key], f"{name}.lora_up.weight": UP[key]}
        made[f"{name}.alpha"] = torch.tensor(ALPHA)
    return made


def spelled(down: str, up: str) -> Tensors:
    names = {"q": f"unet.{ATTENTION}.to_q", "out": f"unet.{ATTENTION}.to_out.0", "fc1": f"text_encoder.{MLP}"}
    made = {f"{name}.{down}.weight": DOWN[key] for key, name in names.items()}
    return made | {f"{name}.{up}.weight": UP[key] for key, name in names.items()}


def processors() -> Tensors:
    made = {}
    for key, name in (("q", "to_q"), ("out", "to_out")):
        made[f"{ATTENTION}.processor.{name}_lora.down.weight"] = DOWN[key]
        made[f"{ATTENTION}.processor.{name}_lora.up.weight"] = UP[key]
    return made


SPELLINGS = {
    "kohya": (kohya(), ALPHA / RANK),
    "peft": (spelled("lora_A", "lora_B"), 1.0),
    "diffusers": (spelled("lora.down", "lora.up"), 1.0),
    "text encoder": (spelled("lora_linear_layer.down", "lora_linear_layer.up"), 1.0),
    "processors": (processors(), 1.0),
}


def saved(path: Path, tensors: Tensors) -> Path:
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path / "lora.safetensors")
    return path / "lora.safetensors"


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_merge_lora_adds_the_product_in_every_spelling(spelling: str, tmp_path: Path) -> None:
    tensors, strength = SPELLINGS[spelling]
    parts, before = networks(), networks()
    changed = merge_lora(parts, open_weights(saved(tmp_path, tensors)), scale=0.5)
    expected = {
        ("unet", f"{ATTENTION}.to_q"): "q",
        ("unet", f"{ATTENTION}.to_out.0"): "out",
        ("text_encoder", MLP): "fc1",
    }
    if spelling == "processors":
        del expected["text_encoder", MLP]
    assert changed == len(expected)
    for part, network in parts.items():
        for name, value in network.state_dict().items():
            old = before[part].state_dict()[name]
            key = expected.get((part, name.removesuffix(".weight"))) if name.endswith(".weight") else None
            delta = 0.5 * strength * UP[key] @ DOWN[key] if key else torch.zeros_like(old)
            torch.testing.assert_close(value, old + delta, rtol=1e-5, atol=1e-5)


def test_merge_lora_changes_convolutions(tmp_path: Path) -> None:
    parts = networks()
    before = parts["unet"].get_submodule(CONV).weight.clone()
    down, up, name = torch.randn(RANK, 32, 3, 3), torch.randn(32, RANK, 1, 1), f"lora_unet_{CONV}".replace(".", "_")
    path = saved(tmp_path, {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up})
    assert merge_lora(parts, open_weights(path)) == 1
    expected = before + torch.einsum("orhw,rikl->oikl", up, down)
    torch.testing.assert_close(parts["unet"].get_submodule(CONV).weight, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t: t.update({"lora_unet_nowhere.lora_down.weight": torch.zeros(2, 2)}), "lora_unet_nowhere"),
        (lambda t: t.update({"lora_te2_text.lora_down.weight": torch.zeros(2, 2)}), "unet, text_encoder do not have"),
        (lambda t: t.update({"lora_unet_x.hada_w1_a": torch.zeros(2, 2)}), "hada_w1_a"),
        (lambda t: t.pop(next(name for name in t if "lora_up" in name)), "only half of the change"),
        (
            lambda t: t.update({next(n for n in t if "lora_up" in n): torch.zeros(5, RANK)}),
            "does not fit: 5x2 times 2x",
        ),
        (lambda t: t.update({next(n for n in t if "lora_up" in n): torch.zeros(32, 3)}), "does not fit: 32x3 times 2x"),
    ],
)
def test_merge_lora_refuses_what_does_not_fit_and_changes_nothing(change: object, says: str, tmp_path: Path) -> None:
    tensors = kohya()
    change(tensors)  # type: ignore[operator]
    parts, before = networks(), networks()
    with pytest.raises(SumiError, match=says) as refused:
        merge_lora(parts, open_weights(saved(tmp_path, tensors)))
    assert "\n" not in str(refused.value)
    for part, network in parts.items():
        assert all(torch.equal(value, before[part].state_dict()[name]) for name, value in network.state_dict().items())


def test_original_name_is_what_the_table_of_single_files_says() -> None:
    for version, head_width, label in (("1", None, None), ("xl", 64, "text_time")):
        file, _ = stable_diffusion(version)
        entries = {name: Entry(value.dtype, tuple(value.shape), 0, 0) for name, value in file.items()}
        unet = OriginalUNet(entries, "model.diffusion_model.", head_width, label)
        moves = [(move.target.rpartition(".")[0], move.sources[0]) for move in unet.table()]
        attended = {ours.split(".attentions.")[0] for ours, _ in moves if ".attentions." in ours}
        for ours, source in moves:
            original = source.removeprefix("model.diffusion_model.").rpartition(".")[0]
            assert original_name(ours, unet.layers, attended.__contains__) == original


def test_merge_lora_reads_the_names_that_kohya_gives_to_xl(tmp_path: Path) -> None:
    config = published_system("stable-diffusion-xl-base-1.0")["unet"]
    config |= {"cross_attention_dim": 24, "projection_class_embeddings_input_dim": 60}
    config.pop("_class_name")
    torch.manual_seed(0)
    unet = UNet2DConditionModel(**config)
    layer = unet.get_submodule("up_blocks.0.attentions.1.transformer_blocks.0.attn2.to_out.0")
    before = layer.weight.clone()
    name = "lora_unet_output_blocks_1_1_transformer_blocks_0_attn2_to_out_0"
    down, up = torch.randn(RANK, 32), torch.randn(32, RANK)
    path = saved(tmp_path, {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up})
    assert merge_lora({"unet": unet}, open_weights(path), 0.5) == 1
    assert torch.allclose(layer.weight, before + 0.5 * up @ down, atol=1e-5)

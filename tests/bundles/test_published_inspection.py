"""Every published layout is recognised from headers and configurations alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from published_weights import FILES, FOLDERS, clip_original, karlo_folder, stable_diffusion_folder
from safetensors.torch import load_file, save_file

from sumi import SumiError
from sumi.bundles.published.inspection import inspect


@pytest.mark.parametrize("name", FOLDERS)
def test_inspect_folder_names_its_system_and_parts(name: str, tmp_path: Path) -> None:
    found = inspect(FOLDERS[name](tmp_path / "model"))
    assert found.layout == name and found.parameters > 0
    assert found.size_bytes == sum(path.stat().st_size for path in tmp_path.rglob("*.safetensors")) - headers(tmp_path)
    assert found.licence == (None if name == "transformers-clip" else "creativeml-openrail-m")


def headers(root: Path) -> int:
    return sum(8 + int.from_bytes(path.read_bytes()[:8], "little") for path in root.rglob("*.safetensors"))


@pytest.mark.parametrize("kind", ["safetensors", "state_dict", "bare", "legacy"])
@pytest.mark.parametrize("name", FILES)
def test_inspect_file_names_its_layout_in_every_container(name: str, kind: str, tmp_path: Path) -> None:
    tensors, path = FILES[name], tmp_path / "weights.pt"
    if kind == "safetensors":
        save_file(tensors, path)
    elif kind == "state_dict":
        torch.save({"epoch": 3, "state_dict": tensors}, path)
    else:
        torch.save(tensors, path, _use_new_zipfile_serialization=kind == "bare")
    found = inspect(path)
    assert found.layout == name and found.unknown == ()
    assert found.parameters == sum(value.numel() for key, value in tensors.items() if key not in found.ignored)


def test_inspect_glide_tells_its_networks_apart_by_the_channels(tmp_path: Path) -> None:
    save_file(FILES["glide"], tmp_path / "base_inpaint.safetensors")
    (part,) = inspect(tmp_path / "base_inpaint.safetensors").parts
    assert part.facts["network"] == "base, inpainting" and part.facts["out_channels"] == 6


def test_inspect_clip_infers_its_configuration_from_shapes(tmp_path: Path) -> None:
    torch.save(clip_original(), tmp_path / "clip.pt")
    (part,) = inspect(tmp_path / "clip.pt").parts
    assert part.facts["image"] == {"width": 128, "layers": 1, "heads": 2, "patch_px": 4, "size_px": 8}
    assert part.facts["text"]["heads"] == 1 and part.facts["embed_dim"] == 12


def test_inspect_open_clip_folder_reports_head_width_and_activation(tmp_path: Path) -> None:
    config = {"model_cfg": {"embed_dim": 12, "vision_cfg": {"head_width": 80}, "text_cfg": {}}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config), "utf-8")
    torch.save(clip_original(), tmp_path / "open_clip_pytorch_model.bin")
    found = inspect(tmp_path)
    assert found.layout == "open-clip" and found.parts[0].facts == {"head_width": 80, "quick_gelu": False}


def test_inspect_karlo_originals_together_are_one_system(tmp_path: Path) -> None:
    for name in ("karlo-prior", "karlo-decoder", "karlo-super-resolution"):
        torch.save({"state_dict": FILES[name]}, tmp_path / f"{name}.ckpt")
    torch.save((torch.zeros(12), torch.ones(12)), tmp_path / "ViT-L-14_stats.th")
    found = inspect(tmp_path)
    assert found.layout == "karlo-original" and len(found.parts) == 5


def test_inspect_sumi_bundle_says_so(tiny_folder: Path) -> None:
    found = inspect(tiny_folder)
    assert found.layout == "sumi" and {"clip", "prior", "decoder"} <= {part.name for part in found.parts}


def test_inspect_accepts_both_libraries_of_the_text_projection(tmp_path: Path) -> None:
    folder = karlo_folder(tmp_path / "karlo")
    index = json.loads((folder / "model_index.json").read_text("utf-8"))
    index["text_proj"] = ["diffusers", "UnCLIPTextProjModel"]
    (folder / "model_index.json").write_text(json.dumps(index), "utf-8")
    assert inspect(folder).layout == "karlo"


def test_inspect_accepts_a_text_encoder_without_its_prefix(tmp_path: Path) -> None:
    folder = stable_diffusion_folder(tmp_path / "sd")
    path = folder / "text_encoder" / "model.safetensors"
    save_file({name.removeprefix("text_model."): value for name, value in load_file(path).items()}, path)
    assert inspect(folder).layout == "stable-diffusion"


def test_inspect_reads_shards_as_one_network(tmp_path: Path) -> None:
    folder = stable_diffusion_folder(tmp_path / "sd")
    whole = folder / "text_encoder" / "model.safetensors"
    before = inspect(folder)
    tensors = load_file(whole)
    whole.unlink()
    names = sorted(tensors)
    weight_map = {}
    for number, share in enumerate((names[::2], names[1::2]), 1):
        shard = f"model-{number:05}-of-00002.safetensors"
        save_file({name: tensors[name] for name in share}, whole.parent / shard)
        weight_map |= dict.fromkeys(share, shard)
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (whole.parent / "model.safetensors.index.json").write_text(json.dumps(index), "utf-8")
    assert inspect(folder).parameters == before.parameters


def test_inspect_names_tensors_that_belong_to_no_part(tmp_path: Path) -> None:
    save_file({**FILES["stable-diffusion-1"], "novel.weight": torch.zeros(2)}, tmp_path / "model.safetensors")
    found = inspect(tmp_path / "model.safetensors")
    assert found.unknown == ("novel.weight",) and "unknown: 1 tensors: novel.weight" in found.text()


def test_inspect_one_network_of_a_folder_asks_for_the_folder(tmp_path: Path) -> None:
    save_file({"conv_in.weight": torch.zeros(8, 4, 3, 3)}, tmp_path / "unet.safetensors")
    with pytest.raises(SumiError, match="give the folder"):
        inspect(tmp_path / "unet.safetensors")


def test_inspect_text_says_parts_sizes_and_licence(tmp_path: Path) -> None:
    text = inspect(stable_diffusion_folder(tmp_path / "sd")).text()
    assert "UNet2DConditionModel" in text and "licence: creativeml-openrail-m" in text and "total" in text

"""Every layout that draws, damaged or put together wrongly: refused in one line, and nothing of it is executed."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from original_weights import karlo, stable_diffusion
from parity.dalle2 import write_prior
from parity.originals import write_dvae, write_glide, write_guided
from published_weights import (
    FOLDERS,
    kandinsky_decoder_folder,
    kandinsky_prior_folder,
    karlo_variation_folder,
    stable_diffusion_xl_folder,
    stable_unclip_folder,
    write_json,
    write_network,
)
from safetensors.torch import load_file, save_file

import sumi
from sumi import SumiError

Damage = Callable[[Path, Path], None]
"""What is done to a model: its folder, and one of its files of weights."""


class Runs:
    """What runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


def truncate(root: Path, file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1000])


def claim_100_gb(root: Path, file: Path) -> None:
    file.write_bytes((10**11).to_bytes(8, "little") + b'{"a": {}}')


def hide_a_command(root: Path, file: Path) -> None:
    command = f"{sys.executable} -c \"open({str(root.parent / 'executed')!r}, 'w')\""
    state = read(file)
    file.unlink()  # its tensors may be mapped
    torch.save({"state_dict": state, "hook": Runs(command)}, file)


def link_out(root: Path, file: Path) -> None:
    outside = root.parent / "elsewhere.bin"
    file.rename(outside)
    file.symlink_to(outside)


def read(file: Path) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = (
        load_file(file) if file.suffix == ".safetensors" else torch.load(file, weights_only=True)
    )
    return state.get("state_dict", state.get("model", state))  # type: ignore[return-value]


def rewritten(change: Callable[[dict[str, torch.Tensor]], None]) -> Damage:
    def damage(root: Path, file: Path) -> None:
        state = dict(read(file))
        change(state)
        file.unlink()  # its tensors may be mapped
        if file.suffix == ".safetensors":
            save_file(state, file)
        else:
            torch.save(state, file)

    return damage


def largest(state: dict[str, torch.Tensor]) -> str:
    """A tensor that no layout is recognised by: the largest of some block in the middle."""
    inner = [name for name in state if any(word in name for word in ("block", "layers", "embed", "mean"))]
    return max(inner, key=lambda name: (state[name].numel(), name))


def drop_largest(state: dict[str, torch.Tensor]) -> None:
    del state[largest(state)]


def reshape(state: dict[str, torch.Tensor]) -> None:
    name = largest(state)
    state[name] = torch.zeros(*state[name].shape[:-1], state[name].shape[-1] + 1)


OF_A_FILE: dict[str, tuple[Damage, str]] = {
    "truncated": (truncate, "truncated|too short|not a file of torch.save|damaged"),
    "with a header of 100 GB": (claim_100_gb, "header claims 100000000000 bytes"),
    "with a command in a pickle": (hide_a_command, "the global '(posix|nt).system'"),
    "with a tensor too many": (rewritten(lambda state: state.update({"novel.weight": torch.zeros(2)})), "novel.weight"),
    "without a tensor": (rewritten(drop_largest), "missing|incomplete|lacks|no published layout"),
    "with a tensor of another shape": (rewritten(reshape), "misshapen|do not fit|incomplete|instead of|cannot become"),
}  # fmt: skip


# Folders -------------------------------------------------------------------------------------------------------------


def networks(root: Path) -> list[Path]:
    return sorted(path.parent for path in root.glob("*/config.json"))


def weights_in(folder: Path) -> Path:
    return next(folder.glob("*.safetensors"))


def swap_two(root: Path, file: Path) -> None:
    one, *_, other = (weights_in(folder) for folder in networks(root))
    one.rename(root / "spare"), other.rename(one), (root / "spare").rename(other)


def drop_a_key(root: Path, file: Path) -> None:
    config = json.loads((file.parent / "config.json").read_text("utf-8"))
    key = next(
        key for key in ("block_out_channels", "embedding_dim", "hidden_size", "cross_attention_dim") if key in config
    )
    write_json(file.parent / "config.json", {name: value for name, value in config.items() if name != key})


def drop_the_configuration(root: Path, file: Path) -> None:
    (file.parent / "config.json").unlink()


def name_another_class(root: Path, file: Path) -> None:
    index = json.loads((root / "model_index.json").read_text("utf-8"))
    index[file.parent.name] = ["diffusers", "FluxTransformer2DModel"]
    write_json(root / "model_index.json", index)


def link_a_configuration_out(root: Path, file: Path) -> None:
    config = file.parent / "config.json"
    config.unlink()
    config.symlink_to("/proc/self/environ")


def lose_the_scheduler(root: Path, file: Path) -> None:
    next(iter(sorted(root.glob("*scheduler/scheduler_config.json")))).unlink()


OF_A_FOLDER: dict[str, tuple[Damage, str]] = OF_A_FILE | {
    "whose weights are a link out of it": (link_out, "is a link out of"),
    "with two parts swapped": (swap_two, "missing|misshapen"),
    "without a key of a configuration": (drop_a_key, "missing |lacks or mistypes"),
    "without a configuration": (drop_the_configuration, "config.json is missing"),
    "with a part of another class": (name_another_class, "needs a"),
    "whose configuration is a link out of it": (link_a_configuration_out, "is a link out of"),
    "without its scheduler": (lose_the_scheduler, "scheduler_config.json is missing"),
}  # fmt: skip
FOLDER_LAYOUTS = [name for name in FOLDERS if name != "transformers-clip"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("folders")
    for name in FOLDER_LAYOUTS:
        FOLDERS[name](root / name)
    return root


def refused(path: Path, says: str, executed: Path) -> None:
    with pytest.raises(SumiError, match=says) as caught:
        sumi.load(path)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 1500
    assert not executed.exists()


@pytest.mark.parametrize("fault", OF_A_FOLDER)
@pytest.mark.parametrize("layout", FOLDER_LAYOUTS)
def test_folder_that_is_damaged_is_refused_in_one_line(layout: str, fault: str, folders: Path, tmp_path: Path) -> None:
    damage, says = OF_A_FOLDER[fault]
    root = shutil.copytree(folders / layout, tmp_path / "model")
    damage(root, weights_in(networks(root)[len(fault) % len(networks(root))]))
    refused(root, says, tmp_path / "executed")


def rebuilt(folder: Path, part: str, **changes: object) -> Path:
    kind = json.loads((folder / "model_index.json").read_text("utf-8"))[part][1]
    config = json.loads((folder / part / "config.json").read_text("utf-8"))
    write_network(folder / part, config | {"_class_name": kind} | changes)
    return folder


def kandinsky_pair(root: Path) -> Path:
    kandinsky_prior_folder(root / "kandinsky-prior")
    folder = kandinsky_decoder_folder(root / "kandinsky-decoder")
    return rebuilt(folder, "unet", encoder_hid_dim=20)


MISMATCHED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "an XL U-Net without room for the sizes": (
        lambda root: rebuilt(stable_diffusion_xl_folder(root), "unet", cross_attention_dim=20), "do not fit",
    ),
    "an XL whose second text encoder is another's": (
        lambda root: rebuilt(stable_diffusion_xl_folder(root), "text_encoder_2", hidden_size=20), "do not fit",
    ),
    "a Stable unCLIP whose image tower is another's": (
        lambda root: rebuilt(stable_unclip_folder(root), "image_encoder", projection_dim=20), "do not fit",
    ),
    "a Stable unCLIP whose prior is for another CLIP": (
        lambda root: rebuilt(stable_unclip_folder(root, small_variant=True), "prior", embedding_dim=20), "do not fit",
    ),
    "a karlo whose image tower is another's": (
        lambda root: rebuilt(karlo_variation_folder(root), "image_encoder", projection_dim=20), "do not fit",
    ),
    "a Kandinsky whose prior draws for another decoder": (kandinsky_pair, "draws embeddings of 12, and .* hears 20"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISMATCHED)
def test_folder_of_parts_that_do_not_fit_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    write, says = MISMATCHED[name]
    refused(write(tmp_path / "model"), says, tmp_path / "executed")


# Files as their authors published them -------------------------------------------------------------------------------


def save_stable_diffusion(version: str) -> Callable[[Path], Path]:
    def save(root: Path) -> Path:
        state, _ = stable_diffusion(version)
        save_file({name: value.contiguous() for name, value in state.items()}, root / "model.safetensors")
        return root / "model.safetensors"

    return save


def save_karlo(root: Path) -> Path:
    files, _ = karlo()
    for name, value in files.items():
        torch.save(value, root / name)
    return next(root.glob("*decoder*"))


FILE_LAYOUTS: dict[str, Callable[[Path], Path]] = {
    "stable-diffusion-1": save_stable_diffusion("1"),
    "stable-diffusion-2": save_stable_diffusion("2"),
    "stable-diffusion-xl": save_stable_diffusion("xl"),
    "karlo": save_karlo,
    "glide": lambda root: write_glide(root, "base", "upsample") / "upsample.pt",
    "guided-diffusion": lambda root: write_guided(root / "256x256_diffusion.pt", "legacy"),
    "dalle-dvae": lambda root: write_dvae(root) / "decoder.pkl",
    "dalle2-pytorch-prior": write_prior,
}
"""What writes the files of each, and returns the one that is damaged."""


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    made = {}
    for name, write in FILE_LAYOUTS.items():
        made[name] = write(tmp_path_factory.mktemp(name))
    return made


@pytest.mark.parametrize("fault", OF_A_FILE)
@pytest.mark.parametrize("layout", FILE_LAYOUTS)
def test_original_file_that_is_damaged_is_refused_in_one_line(
    layout: str, fault: str, originals: dict[str, Path], tmp_path: Path
) -> None:
    damage, says = OF_A_FILE[fault]
    root = shutil.copytree(originals[layout].parent, tmp_path / "model")
    file = root / originals[layout].name
    damage(root, file)
    refused(root if layout in ("karlo", "glide", "dalle-dvae") else file, says, tmp_path / "executed")


@pytest.mark.parametrize("layout", ["karlo", "glide", "dalle-dvae"])
def test_original_file_that_is_a_link_out_of_its_folder_is_refused(
    layout: str, originals: dict[str, Path], tmp_path: Path
) -> None:
    root = shutil.copytree(originals[layout].parent, tmp_path / "model")
    link_out(root, root / originals[layout].name)
    refused(root, "is a link out of", tmp_path / "executed")


def halves_of_two(root: Path) -> Path:
    state = read(write_dvae(root) / "encoder.pkl")
    state["blocks.output.conv.w"], state["blocks.output.conv.b"] = torch.zeros(600, 512, 1, 1), torch.zeros(600)
    torch.save(state, root / "encoder.pkl")
    return root


def without(root: Path, name: str) -> Path:
    (root / name).unlink()
    return root


APART: dict[str, tuple[Callable[[Path], Path], str]] = {
    "a dVAE without its decoder": (lambda root: without(write_dvae(root), "decoder.pkl"), "lacks the decoder"),
    "half of a dVAE": (lambda root: write_dvae(root) / "encoder.pkl", "is one half of OpenAI's discrete VAE"),
    "halves of two dVAEs": (halves_of_two, "one writes 600 tokens, the other reads 512"),
    "GLIDE beside a dVAE": (
        lambda root: write_dvae(write_glide(root, "base")), "no system together: they are dalle-dvae, glide",
    ),
    "karlo without its statistics": (
        lambda root: without(save_karlo(root).parent, "ViT-L-14_stats.th"), "it lacks clip-statistics",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", APART)
def test_original_files_that_make_no_model_are_refused_in_one_line(name: str, tmp_path: Path) -> None:
    write, says = APART[name]
    (tmp_path / "model").mkdir()
    refused(write(tmp_path / "model"), says, tmp_path / "executed")

"""`sumi export`: a published model as a folder that diffusers and transformers load.

So single files become folders, half of a model's disk space is saved by another precision, and a LoRA that was merged
stays merged. The networks keep the names of diffusers, so writing them is the identity.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from torch import Tensor, nn

from sumi.bundles.json_file import write_json
from sumi.bundles.published.convert import write_safetensors
from sumi.bundles.published.folders import INDEX, SYSTEMS, FolderSystem
from sumi.bundles.published.model import PublishedModel
from sumi.bundles.published.networks import CONFIG, STEMS
from sumi.bundles.tensors import Entry
from sumi.errors import SumiError

__all__ = ["export_diffusers"]

FOLDER_NAMES: Final = {"stable-diffusion-1": "stable-diffusion", "stable-diffusion-2": "stable-diffusion"}
"""The system of folders that a single file becomes, where it is called otherwise."""
MODEL_TYPES: Final = {
    "CLIPTextModel": "clip_text_model", "CLIPTextModelWithProjection": "clip_text_model",
    "CLIPVisionModelWithProjection": "clip_vision_model",
}  # fmt: skip
"""What transformers calls its configurations."""
TOKENIZER_FILES: Final = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
)
TOKENIZER: Final = {
    "tokenizer_class": "CLIPTokenizer", "model_max_length": 77, "bos_token": "<|startoftext|>",
    "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>", "do_lower_case": True,
}  # fmt: skip
CARD: Final = "README.md"
VERSION: Final = "0.37.1"
"""The version of diffusers whose configurations these are."""


class NetworkWeights:
    """The tensors of a network, as a file would hold them."""

    def __init__(self, network: nn.Module, path: Path) -> None:
        self.path, self._state = path, network.state_dict()
        self.entries = {name: Entry(tensor.dtype, tuple(tensor.shape), 0, 0) for name, tensor in self._state.items()}

    def tensor(self, name: str) -> Tensor:
        """Return one tensor."""
        tensor: Tensor = self._state[name]
        return tensor.detach().cpu()


def export_diffusers(opened: PublishedModel, networks: Mapping[str, nn.Module], target: Path) -> Path:
    """Write a model as a folder of diffusers; returns the folder.

    Args:
        opened: the model.
        networks: its networks by the names of their parts, LoRA merged.
        target: the folder, which may not exist yet.

    Raises:
        SumiError: for a model that is no system of folders, or what cannot be written.
    """
    name = FOLDER_NAMES.get(opened.name, opened.name)
    system = next((system for system in SYSTEMS if system.name == name), None)
    if system is None or not system.parts.keys() <= networks.keys():
        raise SumiError(f"{opened.title} has no pipeline of its own in diffusers to be written as")
    if target.exists() or target.is_symlink():
        raise SumiError(f"{target} exists already: name another folder")
    draft = target.with_name(f"{target.name}.partial-{secrets.token_hex(4)}")
    try:
        draft.mkdir(parents=True)
        _write(draft, opened, networks, system)
        draft.rename(target)
    except OSError as error:
        raise SumiError(f"cannot write {target}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def _write(folder: Path, opened: PublishedModel, networks: Mapping[str, nn.Module], system: FolderSystem) -> None:
    index: dict[str, Any] = {"_class_name": system.pipelines[0], "_diffusers_version": VERSION, **opened.settings}
    for name, kind in system.parts.items():
        index[name] = ["transformers" if kind in MODEL_TYPES else "diffusers", kind]
        _write_network(folder / name, kind, opened.parts[name].config, networks[name])
    for name, config in opened.schedulers.items():
        index[name] = ["diffusers", str(config["_class_name"])]
        _write_config(folder / name / "scheduler_config.json", dict(config))
    for name, processor in opened.processors.items():
        index[name] = ["transformers", "CLIPImageProcessor"]
        _write_config(folder / name / "preprocessor_config.json", dict(processor))
    for name, source in opened.tokenizers.items():
        index[name] = ["transformers", "CLIPTokenizer"]
        _write_tokenizer(folder / name, source, opened.pad_tokens.get(name))
    if system.name == "stable-diffusion":
        index |= {"safety_checker": [None, None], "feature_extractor": [None, None], "requires_safety_checker": False}
    _write_config(folder / INDEX, index)
    if opened.path.is_dir() and (opened.path / CARD).is_file():  # which holds the licence
        shutil.copyfile(opened.path / CARD, folder / CARD)


def _write_network(folder: Path, kind: str, config: Mapping[str, Any], network: nn.Module) -> None:
    if kind in MODEL_TYPES:
        config = {"architectures": [kind], "model_type": MODEL_TYPES[kind], **config}
    else:
        config = {**config, "_class_name": kind, "_diffusers_version": VERSION}
    _write_config(folder / CONFIG, dict(config))
    path = folder / f"{STEMS[kind][0]}.safetensors"
    write_safetensors(path, NetworkWeights(network, path), {"format": "pt"})


def _write_config(path: Path, config: dict[str, Any]) -> None:
    path.parent.mkdir(exist_ok=True)
    write_json(path, {key: "-Infinity" if value == float("-inf") else value for key, value in config.items()})


def _write_tokenizer(folder: Path, source: Path, pad: str | None) -> None:
    folder.mkdir()
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    if pad is not None:
        _write_config(folder / "tokenizer_config.json", {**TOKENIZER, "pad_token": pad})
        (folder / "special_tokens_map.json").unlink(missing_ok=True)

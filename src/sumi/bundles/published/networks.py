"""The networks of published folders: which class each is, how its files are called, and whether its weights fit.

A network is built from its config.json on the meta device, which holds no numbers, and compared tensor by tensor with
the headers of its files. So a part that was swapped, cut short or configured otherwise is found before anything is
loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from sumi.bundles.json_file import read_object
from sumi.bundles.parts import LimitedBuild
from sumi.bundles.published.mapping import Move, Table, check
from sumi.bundles.published.weights import Weights, inside, open_weights
from sumi.errors import SumiError
from sumi.nn import published

CONFIG: Final = "config.json"
DIFFUSERS: Final = "diffusion_pytorch_model"
TRANSFORMERS: Final = ("model", "pytorch_model")
STEMS: Final[Mapping[str, tuple[str, ...]]] = {
    "UNet2DConditionModel": (DIFFUSERS,),
    "UNet2DModel": (DIFFUSERS,),
    "PriorTransformer": (DIFFUSERS,),
    "UnCLIPTextProjModel": (DIFFUSERS,),
    "AutoencoderKL": (DIFFUSERS,),
    "VQModel": (DIFFUSERS,),
    "StableUnCLIPImageNormalizer": (DIFFUSERS,),
    "CLIPTextModel": TRANSFORMERS,
    "CLIPTextModelWithProjection": TRANSFORMERS,
    "CLIPVisionModelWithProjection": TRANSFORMERS,
    "CLIPModel": TRANSFORMERS,
    "StableDiffusionSafetyChecker": TRANSFORMERS,
}
"""The classes that folders name, and how the weights of each are called, without the ending."""
ENDINGS: Final = (
    ".safetensors", ".safetensors.index.json", ".fp16.safetensors", ".fp16.safetensors.index.json", ".bin", ".fp16.bin",
)  # fmt: skip
"""What the weights end with, in the order of preference."""
IGNORED: Final = ("*.position_ids",)
"""Counters that older versions of transformers stored beside the weights."""
TEXT_TOWER: Final = "text_model."


@dataclass(frozen=True)
class FolderPart:
    """A network of a folder: its class, its configuration and its weights, none of them read."""

    name: str
    kind: str
    config: Mapping[str, Any]
    weights: Weights


def open_part(root: Path, folder: Path, name: str, kind: str) -> FolderPart:
    """Open one network of a published folder; SumiError where its configuration and its weights do not fit.

    Args:
        root: the folder of the model, which no file may lie outside of.
        folder: of this network.
        name: of the part.
        kind: the network's class, one of STEMS.
    """
    config_path = inside(root, folder / CONFIG)
    config = read_object(config_path)
    weights = open_weights(weights_file(root, folder, kind), root)
    part = FolderPart(name, kind, config, weights)
    shell = empty_network(part, config_path)
    if shell is not None:
        check(table_of(shell, part), weights.entries, shell.state_dict(), str(weights.path), IGNORED)
    return part


def empty_network(part: FolderPart, config_path: Path) -> nn.Module | None:
    """Return the network without numbers, on the meta device; None where there is no such class here yet."""
    if part.kind not in published.__all__:
        return None
    arguments = {key: value for key, value in part.config.items() if not key.startswith("_")}
    try:
        with torch.device("meta"), LimitedBuild(part.weights.entries, config_path):
            network: nn.Module = getattr(published, part.kind)(**arguments)
    except SumiError:
        raise
    except Exception as error:  # the arguments are a file's, and a constructor may fail on them in any way
        reason = (str(error).splitlines() or [type(error).__name__])[0][:400]
        raise SumiError(f"{config_path} describes no {part.kind}: {reason}") from None
    return network


def table_of(network: nn.Module, part: FolderPart) -> Table:
    """Return where each tensor comes from: the same name, but for the prefix that transformers 5 leaves out."""
    bare = part.kind == "CLIPTextModel" and not any(name.startswith(TEXT_TOWER) for name in part.weights.entries)
    return [Move(name, (name.removeprefix(TEXT_TOWER) if bare else name,)) for name in network.state_dict()]


def weights_file(root: Path, folder: Path, kind: str) -> Path:
    """Return the weights of a network: safetensors before pickles, full precision before half."""
    for ending in ENDINGS:
        for stem in STEMS[kind]:
            found = folder / f"{stem}{ending}"
            if found.exists() or found.is_symlink():
                return inside(root, found)
    raise SumiError(f"{folder} holds no weights: expected {STEMS[kind][0]}.safetensors")

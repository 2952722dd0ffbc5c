"""The networks of published folders: which class each is, how its files are called, and whether its weights fit.

A network is built from its config.json on the meta device, which holds no numbers, and compared tensor by tensor with
the headers of its files. So a part that was swapped, cut short or configured otherwise is found before anything is
loaded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from sumi.bundles.json_file import read_object
from sumi.bundles.parts import LimitedBuild
from sumi.bundles.published.mapping import Move, Table, find_faults, load_mapped, refuse
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
class PublishedPart:
    """A network of a published model: its class, its configuration, and where its tensors come from; none is read.

    ignored: patterns of tensors in its file that it does not need.
    """

    name: str
    kind: str
    config: Mapping[str, Any]
    weights: Weights
    table: Table
    ignored: Sequence[str] = IGNORED

    def check(self) -> None:
        """Raise SumiError for every missing, unused or misshapen tensor; only headers are compared."""
        refuse(self.faults(), str(self.weights.path))

    def faults(self) -> dict[str, list[str]]:
        """Return every missing, unused or misshapen tensor, by those words."""
        shell = empty_network(self.kind, self.config, self.weights, torch.device("meta"))
        return find_faults(self.table, self.weights.entries, shell.state_dict(), self.ignored)

    def load(self, dtype: torch.dtype | None = None) -> nn.Module:
        """Return the network, frozen and in evaluation mode; tensors of its own dtype stay mapped.

        dtype: of its floating-point tensors; default as they are stored.
        """
        network = empty_network(self.kind, self.config, self.weights, torch.device("cpu"))
        load_mapped(network, self.weights, self.table, self.ignored, dtype)
        return network.eval().requires_grad_(False)


def open_part(root: Path, folder: Path, name: str, kind: str) -> PublishedPart:
    """Open one network of a published folder; SumiError where its configuration and its weights do not fit.

    Args:
        root: the folder of the model, which no file may lie outside of.
        folder: of this network.
        name: of the part.
        kind: the network's class, one of STEMS.
    """
    config = read_object(inside(root, folder / CONFIG))
    weights = open_weights(weights_file(root, folder, kind), root)
    if kind not in published.__all__:  # a part that drawing does not need, such as the safety checker
        return PublishedPart(name, kind, config, weights, ())
    names = empty_network(kind, config, weights, torch.device("meta")).state_dict()
    # transformers 5 leaves the prefix of this one out
    bare = kind == "CLIPTextModel" and not any(stored.startswith(TEXT_TOWER) for stored in weights.entries)
    table = [Move(ours, (ours.removeprefix(TEXT_TOWER) if bare else ours,)) for ours in names]
    part = PublishedPart(name, kind, config, weights, table)
    part.check()
    return part


def empty_network(kind: str, config: Mapping[str, Any], weights: Weights, device: torch.device) -> nn.Module:
    """Return a network whose tensors hold no numbers yet; SumiError when its configuration describes none."""
    if kind not in published.__all__:
        raise SumiError(f"{weights.path} is a {kind}, which Sumi cannot run")
    arguments = {key: value for key, value in config.items() if not key.startswith("_")}
    try:
        with device, LimitedBuild(weights.entries, weights.path.with_name(CONFIG)):
            network: nn.Module = getattr(published, kind)(**arguments)
    except SumiError:
        raise
    except Exception as error:  # the arguments are a file's, and a constructor may fail on them in any way
        reason = (str(error).splitlines() or [type(error).__name__])[0][:400]
        raise SumiError(f"the configuration beside {weights.path} describes no {kind}: {reason}") from None
    return network


def weights_file(root: Path, folder: Path, kind: str) -> Path:
    """Return the weights of a network: safetensors before pickles, full precision before half."""
    for ending in ENDINGS:
        for stem in STEMS[kind]:
            found = folder / f"{stem}{ending}"
            if found.exists() or found.is_symlink():
                return inside(root, found)
    raise SumiError(f"{folder} holds no weights: expected {STEMS[kind][0]}.safetensors")

"""The parts of an opened model, loaded when a pipeline asks for them: in one precision, on one device, with LoRA."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import torch
from torch import nn

from sumi.bundles.device import CPU, keep_on
from sumi.bundles.published import PublishedModel, Weights, merge_lora, open_weights
from sumi.errors import SumiError
from sumi.hardware import chosen_precision
from sumi.pipelines.checks import check_number
from sumi.systems.published.tokenizer import CLIPTokenizer

__all__ = ["Lora", "ModelLoader", "read_lora", "usable_dtype"]

N = TypeVar("N", bound=nn.Module)

ADAPTED: Final = ("unet", "text_encoder", "text_encoder_2")
"""The networks that a LoRA changes."""
STRONGEST_LORA: Final = 10.0
TOKENIZER_OF_CLIP: Final = "a folder of Stable Diffusion or the tokenizer folder in one"
TOKENIZER_OF: Final = {"glide": "a folder with encoder.json and vocab.bpe of GLIDE, or the tokenizer of GPT-2"}
"""Where a missing tokenizer is to be had, by the system."""


class Lora(NamedTuple):
    """A LoRA file, and how much of it is added."""

    path: Path
    scale: float = 1.0


def read_lora(given: str | Path | tuple[str | Path, float]) -> Lora:
    """Return the LoRA that `FILE`, `FILE:WEIGHT` or (file, weight) names; SumiError for a weight out of range."""
    path, scale = given if isinstance(given, tuple) else (given, None)
    if isinstance(path, str) and scale is None and not Path(path).exists():
        start, _, end = path.rpartition(":")
        with suppress(ValueError):
            path, scale = start, float(end)
    scale = 1.0 if scale is None else check_number("the weight of a LoRA", scale, -STRONGEST_LORA, STRONGEST_LORA)
    return Lora(Path(path), scale)


def usable_dtype(name: str | None, device: torch.device) -> torch.dtype:
    """Return the dtype of a name; SumiError for one that the device computes in slowly or not at all."""
    if name in (None, "fp32"):
        return torch.float32
    if name not in ("auto", "bf16"):
        raise SumiError(f"unknown dtype {name!r:.40}: choose fp32, bf16, or auto, which is bf16 where that is fast")
    fast = chosen_precision(device) == "bf16"
    if name == "bf16" and not fast:
        raise SumiError(f"the device {str(device)!r} has no instructions for bf16 and would only emulate it: use fp32")
    return torch.bfloat16 if fast else torch.float32


class ModelLoader:
    """Loads the parts of an opened model.

    Args:
        opened: the model.
        dtype: of its networks.
        device: where they compute.
        loras: what is merged into its U-Net and text encoders, in this order.

    Raises:
        SumiError: when a LoRA does not fit.
    """

    def __init__(
        self, opened: PublishedModel, dtype: torch.dtype = torch.float32, device: torch.device = CPU,
        loras: Sequence[Lora] = (),
    ) -> None:  # fmt: skip
        self.opened, self.dtype, self.device = opened, dtype, device
        self._loaded: dict[str, nn.Module] = {}
        self.hashes: dict[str, str] = {}
        if loras:
            self._merge(loras)

    def _merge(self, loras: Sequence[Lora]) -> None:
        named = [name for name in ADAPTED if name in self.opened.parts]
        if "unet" not in named:
            raise SumiError(f"{self.opened.title} takes no LoRA: one changes the U-Net of Stable Diffusion")
        networks = {name: self.opened.parts[name].load(torch.float32) for name in named}
        for lora in loras:
            weights = open_weights(lora.path)
            merge_lora(networks, weights, lora.scale)
            self.hashes[f"lora:{lora.path.stem}:{lora.scale:g}"] = hash_weights(weights, weights.entries)
        self._loaded |= {name: keep_on(network.to(self.dtype), self.device) for name, network in networks.items()}

    def part(self, name: str, kind: type[N]) -> N:
        """Return a network of the model, loaded once, frozen and in evaluation mode."""
        if name not in self._loaded:
            self._loaded[name] = keep_on(self.opened.parts[name].load(self.dtype), self.device)
        network = self._loaded[name]
        assert isinstance(network, kind)
        return network

    @property
    def networks(self) -> Mapping[str, nn.Module]:
        """The networks that were loaded, by the names of their parts."""
        return dict(self._loaded)

    def model_hashes(self) -> dict[str, str]:
        """Return the sha256 of the weights of each loaded part, and of each LoRA."""
        parts = {name: self.opened.parts[name] for name in self._loaded}
        own = {
            name: hash_weights(part.weights, {source for move in part.table for source in move.sources})
            for name, part in parts.items()
        }
        return own | self.hashes

    def scheduler(self, name: str) -> Mapping[str, Any]:
        """Return the configuration of a scheduler; SumiError where the model has none."""
        if name not in self.opened.schedulers:
            raise SumiError(
                f"{self.opened.path} does not say whether its U-Net predicts noise or velocity, as no single file of "
                "its kind does: add --prediction epsilon for a base model of 512 px, or v_prediction for one of 768 px"
            )
        return self.opened.schedulers[name]

    def tokenizer(self, name: str = "tokenizer", encoder: str = "text_encoder") -> CLIPTokenizer:
        """Return a tokenizer, as long as its text encoder reads; SumiError where the model has none."""
        length = int(self.opened.parts[encoder].config.get("max_position_embeddings", 77))
        return CLIPTokenizer.read(self.tokenizer_folder(name), length, self.opened.pad_tokens.get(name))

    def tokenizer_folder(self, name: str) -> Path:
        """Return the folder of a tokenizer; SumiError where the model has none."""
        if name not in self.opened.tokenizers:
            raise SumiError(
                f"{self.opened.path} holds no tokenizer, as no single file does: give one with --tokenizer DIR "
                f"(tokenizer= in Python), {TOKENIZER_OF.get(self.opened.name, TOKENIZER_OF_CLIP)}"
            )
        return self.opened.tokenizers[name]


def hash_weights(weights: Weights, names: Iterable[str]) -> str:
    """Return the hash of some tensors: their names, shapes and bytes, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(names):
        tensor = weights.tensor(name).contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()

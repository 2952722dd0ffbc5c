"""LoRA and textual inversion: a small change of frozen networks, which a few pictures are enough to learn.

    W <- W + weight · alpha / rank · up down      for a matrix or a kernel (Hu et al. 2021, arXiv 2106.09685, eq. 3)
    embedding of a new word <- a learned row      (Gal et al. 2022, arXiv 2208.01618, eq. 2)

`LoRA` holds both for several networks. While it is attached, the networks compute with the change and their own weights
stay as they are; `bundles.adapter` adds it to the weights for good.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["LoRA", "LoRALayer", "add_embeddings"]


class LoRALayer(nn.Module):
    """The change of one linear or convolutional layer: up(down(x)), zero at first.

    Args:
        layer: the layer that is changed; nothing of it is kept.
        rank: the width between `down` and `up`.
    """

    def __init__(self, layer: nn.Linear | nn.Conv2d, rank: int) -> None:
        super().__init__()
        outputs, inputs = layer.weight.shape[:2]
        kernel = layer.weight.shape[2:]
        self.down = nn.Parameter(torch.randn(rank, inputs, *kernel) / layer.weight[0].numel() ** 0.5)
        self.up = nn.Parameter(torch.zeros(outputs, rank, *[1] * len(kernel)))
        self.conv: tuple[int, int] | None = None
        if isinstance(layer, nn.Conv2d):
            self.conv = layer.stride[0], int(layer.padding[0])

    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        """Map the input of the layer to what is added to its output, times the scale."""
        if self.conv is None:
            return F.linear(scale * F.linear(x, self.down), self.up)
        stride, padding = self.conv
        return F.conv2d(scale * F.conv2d(x, self.down, stride=stride, padding=padding), self.up)


class LoRA(nn.Module):
    """Changes of layers of several networks, and embeddings of new words.

    Args:
        networks: the frozen networks by name, such as prior and decoder.
        rank: of every change; a layer narrower than twice the rank is left alone.
        alpha: the change is scaled by alpha / rank.
        words: (K, width), the first embeddings of K new words.
    """

    def __init__(self, networks: Mapping[str, nn.Module], rank: int, alpha: float, words: Tensor) -> None:
        super().__init__()
        found = {
            f"{part}.{name}": layer
            for part, network in networks.items()
            for name, layer in network.named_modules()
            if isinstance(layer, nn.Linear | nn.Conv2d) and min(layer.weight.shape[:2]) >= 2 * rank
        }
        self.rank, self.alpha = rank, alpha
        self.names = tuple(found)
        self.layers = nn.ModuleList(LoRALayer(layer, rank) for layer in found.values())
        self.words = nn.Parameter(words.detach().clone().float())

    @property
    def scale(self) -> float:
        """alpha / rank."""
        return self.alpha / self.rank

    @contextmanager
    def attach(self, networks: Mapping[str, nn.Module], embedding: nn.Embedding | None = None) -> Iterator[None]:
        """While open, the networks compute with the changes, and the last K rows of an embedding are the new words'.

        Args:
            networks: those that the changes were made for, by the same names.
            embedding: the token embedding of the text tower, with a row for each new word.
        """
        with ExitStack() as hooks:
            for name, layer in self._named_layers():
                part, _, module = name.partition(".")
                target = networks[part].get_submodule(module)
                hooks.callback(target.register_forward_hook(self._adding(layer)).remove)
            if embedding is not None:
                hooks.callback(embedding.register_forward_hook(self._new_rows).remove)
            yield

    def _named_layers(self) -> Iterator[tuple[str, LoRALayer]]:
        for name, layer in zip(self.names, self.layers, strict=True):
            assert isinstance(layer, LoRALayer)
            yield name, layer

    def _adding(self, layer: LoRALayer) -> Callable[..., Tensor]:
        def add(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
            change: Tensor = layer(inputs[0], self.scale)
            return output + change

        return add

    def _new_rows(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        assert isinstance(module, nn.Embedding)
        number: Tensor = inputs[0] - (module.num_embeddings - len(self.words))
        learned: Tensor = self.words[number.clamp(min=0)]
        return learned.where((number >= 0)[..., None], output)

    def named_tensors(self) -> dict[str, Tensor]:
        """Return the learned tensors by the names that PEFT gives them: part.module.lora_A.weight is `down`."""
        tensors: dict[str, Tensor] = {}
        for name, layer in self._named_layers():
            tensors[f"{name}.lora_A.weight"], tensors[f"{name}.lora_B.weight"] = layer.down, layer.up
        return {name: tensor.detach() for name, tensor in tensors.items()}


def add_embeddings(embedding: nn.Embedding, rows: Tensor) -> nn.Embedding:
    """Return an embedding with further rows (K, width) after those it has; frozen where it was."""
    weight = torch.cat([embedding.weight.detach(), rows.to(embedding.weight)])
    grown = nn.Embedding(weight.shape[0], weight.shape[1], _weight=weight)
    grown.weight.requires_grad_(embedding.weight.requires_grad)
    return grown

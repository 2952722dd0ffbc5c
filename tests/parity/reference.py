"""The libraries that published these models, as the oracle: they save a folder, we load it, both answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from sumi.bundles.published.networks import open_part

PUBLISHED = Path(__file__).parent / "published"

N = TypeVar("N", bound=nn.Module)


def randomised(model: N) -> N:
    """The model with random numbers where it starts with constants, which would hide how a layer is used."""
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if name == "clip_std":  # starts at zero, and the answer is divided by it
                weight.fill_(1.0)
            elif weight.ndim < 2 or not weight.count_nonzero():
                weight.add_(0.2 * torch.randn(weight.shape, generator=rng))
    return model.eval()


def load(kind: type[N], folder: Path) -> N:
    """Our network from a folder that the reference saved, by the strict reader of published folders."""
    network = open_part(folder, folder, "part", kind.__name__).load()
    assert isinstance(network, kind)
    return network.eval()


def assert_equal(ours: Tensor, theirs: Tensor, tolerance: float = 1e-4) -> None:
    """Equal within `tolerance` of the largest entry of theirs."""
    assert ours.shape == theirs.shape, f"{tuple(ours.shape)} instead of {tuple(theirs.shape)}"
    assert bool(theirs.isfinite().all()), "the reference is not finite"
    error = float((ours - theirs).abs().max() / theirs.abs().max())
    assert error <= tolerance, f"off by {error:.2g} of the largest entry"


def published_parts() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(system, part, configuration) for each network of each published system in `published/`."""
    for path in sorted(PUBLISHED.glob("*.json")):
        for part, config in json.loads(path.read_text("utf-8")).items():
            if "scheduler" not in part:
                yield path.stem, part, config


def shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    """The shape of every tensor of a network's state."""
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}

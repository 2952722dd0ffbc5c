"""From the tensors of a published layout to those of our networks: a table of moves, checked before memory is given.

    ours[move.target] = move.transform(*(published[name] for name in move.sources))

A table is data, so it can be listed, checked and inverted. Every tensor that is missing, unused or misshapen is named
in one error: shapes are worked out on the meta device, so a fault costs no memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from sumi.bundles.published.weights import Weights
from sumi.bundles.tensors import Entry
from sumi.errors import SumiError

Transform = Callable[..., Tensor]
MOST_NAMED = 8


def keep(tensor: Tensor) -> Tensor:
    """Return the tensor unchanged."""
    return tensor


@dataclass(frozen=True)
class Move:
    """One tensor of ours, made from one or more published tensors."""

    target: str
    sources: tuple[str, ...]
    transform: Transform = keep


Table = Sequence[Move]


def identity(names: Iterable[str], prefix: str = "") -> list[Move]:
    """Return the table of a layout with our own names, each perhaps behind a prefix."""
    return [Move(name, (prefix + name,)) for name in names]


def renamed(published: Iterable[str], prefix: str, names: Mapping[str, str]) -> list[Move]:
    """Return the moves of all tensors of some modules to modules of other names.

    Args:
        published: the names in the file.
        prefix: before each name there.
        names: the module in the file (without the prefix), and ours.
    """
    return [
        Move(target + name.removeprefix(prefix + source), (name,))
        for source, target in names.items()
        for name in published
        if name.startswith(f"{prefix}{source}.")
    ]


def load_mapped(
    network: nn.Module, weights: Weights, table: Table, ignored: Sequence[str] = (), dtype: torch.dtype | None = None
) -> None:
    """Fill a network from published weights; what needs no change stays mapped and is not copied.

    Args:
        network: whatever its parameters hold now is dropped.
        weights: the published tensors.
        table: where each tensor of the network comes from.
        ignored: patterns of published names that are known and not needed, such as "model_ema.*".
        dtype: of the network's floating-point tensors; default as published.

    Raises:
        SumiError: names every missing, unused and misshapen tensor, the first few in full.
    """
    ours = network.state_dict()
    check(table, weights.entries, ours, str(weights.path), ignored)
    state = {}
    for move in table:
        value = move.transform(*(weights.tensor(name) for name in move.sources))
        kind = dtype if dtype is not None and value.is_floating_point() else value.dtype
        state[move.target] = value.to(kind).contiguous(memory_format=memory_format(ours[move.target]))
    network.load_state_dict(state, strict=True, assign=True)


def memory_format(tensor: Tensor) -> torch.memory_format:
    """Return the order in which a network keeps a tensor: its channels last, or contiguous."""
    last = tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()
    return torch.channels_last if last else torch.contiguous_format


def check(
    table: Table, published: Mapping[str, Entry], ours: Mapping[str, Tensor], where: str, ignored: Sequence[str] = ()
) -> None:
    """Compare a table with both its ends; SumiError names what does not fit."""
    refuse(find_faults(table, published, ours, ignored), where)


def find_faults(
    table: Table, published: Mapping[str, Entry], ours: Mapping[str, Tensor], ignored: Sequence[str] = ()
) -> dict[str, list[str]]:
    """Return the tensors that are missing, unused and misshapen, by those words."""
    used = {name for move in table for name in move.sources}
    missing = [name for name in sorted(used) if name not in published]
    missing += [f"{name} (ours)" for name in sorted(ours.keys() - {move.target for move in table})]
    patterns = [pattern for pattern in ignored if "*" in pattern]
    unused = [
        name
        for name in sorted(published.keys() - used - set(ignored))
        if not any(fnmatchcase(name, pattern) for pattern in patterns)
    ]
    unused += [f"{move.target} (ours)" for move in table if move.target not in ours]
    misshapen = [
        fault
        for move in table
        if move.target in ours and all(name in published for name in move.sources)
        for fault in _misfit(move, published, ours[move.target])
    ]
    return {"missing": missing, "unused": unused, "misshapen": misshapen}


def refuse(faults: Mapping[str, Sequence[str]], where: str) -> None:
    """Raise SumiError where there are faults."""
    named = [f"{len(names)} {kind}: {bounded(names)}" for kind, names in faults.items() if names]
    if named:
        raise SumiError(f"{where} does not fit the network: {'; '.join(named)}")


def bounded(names: Sequence[str]) -> str:
    """Return the first few names, and how many more there are."""
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _misfit(move: Move, published: Mapping[str, Entry], ours: Tensor) -> list[str]:
    """Say how the tensor that a move makes differs in shape or kind from ours; empty when it does not."""
    entries = [published[name] for name in move.sources]
    try:
        made = move.transform(*(torch.empty(entry.shape, dtype=entry.dtype, device="meta") for entry in entries))
    except (RuntimeError, ValueError, IndexError):
        return [f"{move.sources[0]} ({shape_text(entries[0].shape)} cannot become {shape_text(ours.shape)})"]
    if made.shape != ours.shape:
        return [f"{move.sources[0]} ({shape_text(made.shape)} instead of {shape_text(ours.shape)})"]
    if made.is_floating_point() != ours.is_floating_point():
        return [f"{move.sources[0]} ({made.dtype} instead of {ours.dtype})"]
    return []


def shape_text(shape: Sequence[int]) -> str:
    """Return a shape as 320x4x3x3."""
    return "x".join(map(str, shape)) or "scalar"


# Transforms. Each returns a function of one published tensor. --------------------------------------------------------


def rows(index: int, of: int) -> Transform:
    """Take block `index` of `of` equal blocks of rows: q, k or v of a packed projection, all heads of q first."""
    return lambda tensor: tensor.chunk(of)[index] if len(tensor) % of == 0 else _refuse(tensor, of)


def head_rows(index: int, of: int, width: int) -> Transform:
    """Take q, k or v (`index` of `of`) of a projection that is packed head by head, each `width` rows of each."""

    def take(tensor: Tensor) -> Tensor:
        heads = tensor.reshape(-1, of, width, *tensor.shape[1:])
        return heads[:, index].reshape(-1, *tensor.shape[1:])

    return take


def as_linear(tensor: Tensor) -> Tensor:
    """Turn the weight of a convolution of size 1, (O, I, 1[, 1]), into that of a linear layer, (O, I)."""
    if math.prod(tensor.shape[2:]) != 1:
        raise ValueError(f"a kernel of {shape_text(tensor.shape[2:])} is more than a linear layer")
    return tensor.reshape(tensor.shape[:2])


def transposed(tensor: Tensor) -> Tensor:
    """Turn a projection that multiplies from the right, (I, O), into the weight of a linear layer, (O, I)."""
    return tensor.t()


def as_row(tensor: Tensor) -> Tensor:
    """Turn a vector (D) into a row (1, D)."""
    return tensor[None]


def then(first: Transform, second: Transform) -> Transform:
    """Return the transform that takes one after the other."""
    return lambda *tensors: second(first(*tensors))


def _refuse(tensor: Tensor, of: int) -> Tensor:
    raise ValueError(f"{len(tensor)} rows do not divide into {of}")

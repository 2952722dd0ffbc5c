"""Concatenate and split batches of any structure, so that samples of different requests share an evaluation.

A tree is a tensor (B, ...), None, or a named tuple or dataclass of trees: a condition, a sampler's state, a step. Row k
of a tree is row k of each of its tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from itertools import accumulate
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

T = TypeVar("T")


def cat_rows(trees: Sequence[T], counts: Sequence[int]) -> T:
    """Concatenate trees of one type along their rows.

    Args:
        trees: trees of the same type.
        counts: rows of each tree. A tensor that only some trees have is filled with zeros, the null condition, in the
            others.

    Raises:
        TypeError: a value is not a tree.
    """
    if len(trees) == 1:
        return trees[0]
    first: Any = next((tree for tree in trees if tree is not None), None)
    if isinstance(first, Tensor):
        some = cast("Sequence[Tensor | None]", trees)
        filled = (first.new_zeros(n, *first.shape[1:]) if x is None else x for x, n in zip(some, counts, strict=True))
        return cast(T, torch.cat(list(filled)))
    return cast(T, _rebuild(first, lambda name: cat_rows([getattr(tree, name, None) for tree in trees], counts)))


def pick_rows(tree: T, index: Tensor | slice) -> T:
    """Select rows of a tree."""
    if isinstance(tree, Tensor):
        return cast(T, tree[index])
    return cast(T, _rebuild(tree, lambda name: pick_rows(getattr(tree, name), index)))


def split_rows(tree: T, counts: Sequence[int]) -> list[T]:
    """Split a tree into parts of `counts` rows each: the inverse of `cat_rows`."""
    if len(counts) == 1:
        return [tree]
    return [pick_rows(tree, slice(end - count, end)) for count, end in zip(counts, accumulate(counts), strict=True)]


def _rebuild(tree: Any, slot: Callable[[str], Any]) -> Any:
    """Make a tree of the same type, with `slot(name)` for each of its fields."""
    if tree is None:
        return None
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(slot(name) for name in tree._fields))
    if is_dataclass(tree) and not isinstance(tree, type):
        return type(tree)(*(slot(field.name) for field in fields(tree)))
    raise TypeError(f"rows are tensors, None, or named tuples and dataclasses of them, not {type(tree).__name__}")

"""Rows joined and parted again are the rows they were, whatever they are rows of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from sumi.diffusion import cat_rows, pick_rows, split_rows


class Inner(NamedTuple):
    a: Tensor
    b: Tensor | None


@dataclass(frozen=True)
class Outer:
    x: Tensor
    inner: Inner | None
    ids: Tensor | None = None


def tree(count: int, start: int = 0, inner: bool = True) -> Outer:
    x = torch.arange(start, start + count * 2.0).reshape(count, 2)
    return Outer(x, Inner(x[:, 0], None) if inner else None, torch.full((count, 3), start))


def test_split_rows_after_cat_rows_returns_the_trees() -> None:
    trees, counts = [tree(2), tree(1, 10), tree(3, 20)], [2, 1, 3]
    joined = cat_rows(trees, counts)
    assert joined.x.shape == (6, 2) and joined.inner is not None and joined.inner.b is None
    for part, original in zip(split_rows(joined, counts), trees, strict=True):
        assert type(part) is Outer and isinstance(part.inner, Inner) and isinstance(original.inner, Inner)
        assert torch.equal(part.x, original.x) and torch.equal(part.inner.a, original.inner.a)
        assert torch.equal(part.ids, original.ids)  # type: ignore[arg-type]


def test_cat_rows_with_a_slot_missing_fills_zeros() -> None:
    joined = cat_rows([tree(2, inner=False), tree(1, 10)], [2, 1])
    assert joined.inner is not None and joined.inner.a.tolist() == [0, 0, 10]
    assert cat_rows([None, None], [2, 1]) is None


def test_pick_rows_with_an_index_selects_in_its_order() -> None:
    picked = pick_rows(tree(4), torch.tensor([3, 0]))
    assert picked.x[:, 0].tolist() == [6, 0] and picked.ids is not None and len(picked.ids) == 2


def test_cat_rows_of_something_else_than_trees_raises() -> None:
    with pytest.raises(TypeError, match="not dict"):
        cat_rows([{}, {}], [1, 1])

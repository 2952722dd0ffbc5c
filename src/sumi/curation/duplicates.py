"""Pictures that are in a data set more than once: the same file, the same pixels, or a changed copy.

    exact         the same file or the same pixels
    perceptual    the nearest by perceptual hash, also mirrored
    embedding     the nearest by CLIP

The nearest are only candidates. A pair is a copy when its two views can be aligned so that no block of them differs
much (see `sumi.curation.alignment`), so a loose search costs time and not precision.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sumi.curation.alignment import align
from sumi.curation.fingerprint import hash_bits, mirrored_hash
from sumi.curation.scan import PictureScan
from sumi.data.picture_dataset import PictureRecord

__all__ = ["METHODS", "DuplicateGroup", "DuplicatePair", "find_duplicates", "group_same_pictures"]

METHODS = ("exact", "perceptual", "embedding")
NEIGHBORS = 12
"""Candidates that each picture gets from each search."""
NEAR_HASH, NEAR_EMBEDDING = 0.25, 0.6
"""Cosines from which a neighbour is a candidate."""
LEAST_EXPLAINED, LARGEST_WORST = 0.92, 0.14
ROWS = 1024

Embed = Callable[[Tensor], Tensor]
"""Returns unit vectors (N, D) of views, uint8 (N, 3, 64, 64)."""


@dataclass(frozen=True)
class DuplicatePair:
    """Two pictures that are one.

    Attributes:
        kept, other: their numbers in the data set.
        kind: "same file", "same pixels", "copy" or "mirrored copy".
    """

    kept: int
    other: int
    kind: str


@dataclass(frozen=True)
class DuplicateGroup:
    """Pictures that are one picture.

    Attributes:
        kept: the number of the largest, or of the first that has a caption.
        others: of the rest.
        kinds: how each of the rest came into the group.
    """

    kept: int
    others: tuple[int, ...]
    kinds: tuple[str, ...]

    def to_json(self, records: Sequence[PictureRecord]) -> dict[str, Any]:
        """Return it as JSON values, with the names of the pictures."""
        others = [{"name": records[n].name, "kind": kind} for n, kind in zip(self.others, self.kinds, strict=True)]
        return {"kept": records[self.kept].name, "duplicates": others}


def find_duplicates(
    records: Sequence[PictureRecord],
    scans: Sequence[PictureScan],
    methods: Sequence[str] = METHODS,
    embed: Embed | None = None,
) -> list[DuplicateGroup]:
    """Return the groups of pictures that are one picture.

    Args:
        records: the pictures.
        scans: of each of them.
        methods: from `METHODS`.
        embed: CLIP, which the method "embedding" needs.
    """
    pairs = find_pairs(scans, methods, embed)
    kinds = {(pair.kept, pair.other): pair.kind for pair in pairs}
    groups = []
    for group in join_pairs(len(scans), kinds):
        kept = max(group, key=lambda n: (bool(records[n].captions), np.prod(scans[n].size_px), -n))
        others = tuple(number for number in group if number != kept)
        groups.append(DuplicateGroup(kept, others, tuple(_kind_of(number, kept, kinds) for number in others)))
    return groups


def _kind_of(number: int, kept: int, kinds: dict[tuple[int, int], str]) -> str:
    direct = kinds.get((min(number, kept), max(number, kept)))
    return direct or next(kind for pair, kind in kinds.items() if number in pair)


def find_pairs(scans: Sequence[PictureScan], methods: Sequence[str], embed: Embed | None) -> list[DuplicatePair]:
    """Return pairs that are one picture, each with the smaller number first."""
    exact = list(find_same(scans))
    known = {pair.other for pair in exact}
    numbers = [n for n, scan in enumerate(scans) if not scan.fault and not scan.is_blank and n not in known]
    if len(numbers) < 2 or not set(methods) - {"exact"}:
        return exact
    views = torch.from_numpy(np.stack([view for number in numbers if (view := scans[number].view) is not None]))
    candidates = np.concatenate([np.zeros((0, 2), int), *_searches([scans[n] for n in numbers], views, methods, embed)])
    candidates = np.unique(np.sort(candidates, axis=1), axis=0)
    if not len(candidates):
        return exact
    one, other = (views[torch.from_numpy(candidates[:, side])] for side in (0, 1))
    found = []
    straight, mirrored = _are_copies(one, other), _are_copies(one, other.flip(-1))
    for (first, second), as_is, turned in zip(candidates.tolist(), straight.tolist(), mirrored.tolist(), strict=True):
        if as_is or turned:
            found.append(DuplicatePair(numbers[first], numbers[second], "copy" if as_is else "mirrored copy"))
    return [*exact, *found]


def _are_copies(one: Tensor, other: Tensor) -> Tensor:
    """Return which pairs of views are copies, (P,)."""
    return align(one, other).accept(LEAST_EXPLAINED, LARGEST_WORST)


def _searches(
    scans: Sequence[PictureScan], views: Tensor, methods: Sequence[str], embed: Embed | None
) -> Iterable[np.ndarray[Any, Any]]:
    """Yield candidates, (C, 2), from each search."""
    if "perceptual" in methods:
        hashes = [scan.fingerprint.phash for scan in scans]
        bits, turned = hash_bits(hashes), hash_bits([mirrored_hash(one) for one in hashes])
        yield find_near(bits, bits, NEAR_HASH)
        yield find_near(bits, turned, NEAR_HASH)
    if "embedding" in methods and embed is not None:
        vectors, turned = embed(views).numpy(), embed(views.flip(-1)).numpy()
        yield find_near(vectors, vectors, NEAR_EMBEDDING)
        yield find_near(vectors, turned, NEAR_EMBEDDING)


def find_near(
    vectors: np.ndarray[Any, Any], others: np.ndarray[Any, Any], least: float, most: int = NEIGHBORS
) -> np.ndarray[Any, Any]:
    """Return pairs (C, 2) of a row and one of its nearest other rows, of a cosine of at least `least`.

    Args:
        vectors: unit vectors (N, D).
        others: unit vectors (N, D); row n of both belongs to picture n.
        least: the smallest cosine.
        most: neighbours of each row.
    """
    count = min(most, len(vectors) - 1)
    found = []
    for start in range(0, len(vectors), ROWS):
        cosines = vectors[start : start + ROWS] @ others.T
        rows = np.arange(len(cosines))
        cosines[rows, rows + start] = -np.inf
        nearest = np.argpartition(-cosines, count - 1, axis=1)[:, :count]
        chosen, place = np.nonzero(np.take_along_axis(cosines, nearest, axis=1) >= least)
        found.append(np.stack([chosen + start, nearest[chosen, place]], axis=1))
    return np.concatenate(found)


def find_same(scans: Sequence[PictureScan]) -> Iterable[DuplicatePair]:
    """Yield pairs of the first picture and a later one with the same file or the same pixels."""
    first: dict[Hashable, int] = {}
    for number, scan in enumerate(scans):
        if scan.fault:
            continue
        by_file = first.setdefault(scan.fingerprint.sha256, number)
        by_pixels = first.setdefault(scan.fingerprint.pixels, number)
        if by_pixels != number:
            kind = "same file" if by_file != number else "same pixels"
            yield DuplicatePair(by_pixels, number, kind)


def group_same_pictures(scans: Sequence[PictureScan]) -> list[list[int]]:
    """Return groups of pictures with the same file or the same pixels: their numbers, in order."""
    return join_pairs(len(scans), ((pair.kept, pair.other) for pair in find_same(scans)))


def join_pairs(count: int, pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """Return the groups that pairs of numbers below `count` make; numbers without a pair are in none."""
    parent = list(range(count))

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = number = parent[parent[number]]
        return number

    for one, other in pairs:
        low, high = sorted((root(one), root(other)))
        parent[high] = low
    groups: dict[int, list[int]] = {}
    for number in range(count):
        groups.setdefault(root(number), []).append(number)
    return [group for group in groups.values() if len(group) > 1]

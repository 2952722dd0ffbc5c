"""Placement by rules, on made-up silhouettes: what touches touches, and nothing leaves the frame."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from sumi.autoregressive import LayoutBox
from sumi.layout.placement import FILL, clearance, copies, frame_spots, place_scene
from sumi.layout.scene import Link, RelatedScene, SceneThing
from sumi.layout.silhouette import Silhouette

SIZE = 128


def ball(size: int = 40) -> Silhouette:
    rows, columns = np.mgrid[:size, :size] + 0.5
    return Silhouette(np.hypot(columns - size / 2, rows - size / 2) <= size / 2)


def block(wide: int, high: int) -> Silhouette:
    return Silhouette(np.ones((high, wide), dtype=bool))


def tree() -> Silhouette:
    """A wide crown above a narrow stem."""
    cells = np.zeros((48, 40), dtype=bool)
    cells[:30], cells[30:, 17:23] = True, True
    return Silhouette(cells)


def cat() -> Silhouette:
    """A round head above a narrower body, with two ears."""
    cells = np.zeros((48, 26), dtype=bool)
    rows, columns = np.mgrid[:48, :26] + 0.5
    cells |= np.hypot(columns - 13, rows - 18) <= 13
    cells[28:, 7:19] = True
    cells[0:10, 3:5] = cells[0:10, 21:23] = True
    return Silhouette(cells)


def painted(shape: Silhouette, spots: tuple[LayoutBox, ...]) -> NDArray[np.bool_]:
    """Where a thing covers a canvas, by looking each pixel up in its silhouette."""
    canvas = np.zeros((SIZE, SIZE), dtype=bool)
    high, wide = shape.cells.shape
    rows, columns = (np.mgrid[:SIZE, :SIZE] + 0.5) / SIZE
    for x, y, side in spots:
        cell = side / max(high, wide)
        r, c = (rows - y) / cell + high / 2, (columns - x) / cell + wide / 2
        inside = (r >= 0) & (r < high) & (c >= 0) & (c < wide)
        canvas |= inside & shape.cells[np.clip(r, 0, high - 1).astype(int), np.clip(c, 0, wide - 1).astype(int)]
    return canvas


def box(mask: NDArray[np.bool_]) -> tuple[float, float, float, float]:
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    return columns[0] / SIZE, rows[0] / SIZE, (columns[-1] + 1) / SIZE, (rows[-1] + 1) / SIZE


def distance(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    a, b = np.argwhere(one), np.argwhere(other)
    return float(np.sqrt(((a[:, None] - b[None]) ** 2).sum(axis=2).min())) / SIZE


def scene(relation: str, *counts: int, nouns: tuple[str, ...] = ("cat", "tree", "house")) -> RelatedScene:
    things = tuple(SceneThing(f"a {noun}", noun, count) for noun, count in zip(nouns, counts, strict=False))
    return RelatedScene(things, (Link(relation, tuple(range(1, len(things)))),))


def placed(relation: str, shapes: list[Silhouette], *counts: int, **more: tuple[str, ...]) -> list[NDArray[np.bool_]]:
    spots = place_scene(scene(relation, *counts, **more), shapes)
    assert [len(some) for some in spots] == list(counts)
    masks = [painted(shape, some) for shape, some in zip(shapes, spots, strict=True)]
    left, top, right, bottom = box(np.logical_or.reduce(masks))
    assert min(left, top) >= 0 and max(right, bottom) <= 1
    assert max(right - left, bottom - top) == pytest.approx(FILL, abs=0.03)
    return masks


@pytest.mark.parametrize(("one", "other"), [(ball(), ball()), (cat(), tree()), (block(40, 10), ball())])
def test_what_touches_touches_by_its_outline(one: Silhouette, other: Silhouette) -> None:
    a, b = placed("touching", [one, other], 1, 1)
    assert distance(a, b) <= 2 / SIZE and (a & b).sum() < 0.1 * min(a.sum(), b.sum())


def test_what_stands_apart_does_not_touch() -> None:
    a, b = placed("apart", [ball(), ball()], 1, 1)
    assert distance(a, b) > 0.08


@pytest.mark.parametrize("count", [1, 3])
def test_what_stands_on_a_thing_rests_on_its_outline(count: int) -> None:
    thing, spots = ball(), place_scene(scene("on", count, 1), [ball(), ball()])
    base = painted(thing, spots[1])
    for spot in spots[0]:
        one = painted(thing, (spot,))
        assert distance(one, base) <= 2 / SIZE
        assert 0 < (one & base).sum() < 0.2 * one.sum()
        assert spot.y < spots[1][0].y


@pytest.mark.parametrize("count", [1, 2])
def test_what_is_under_a_tree_stands_before_its_stem(count: int) -> None:
    a, b = placed("under", [cat(), tree()], count, 1)
    (_, top, _, bottom), (_, top2, _, bottom2) = box(a), box(b)
    assert top > top2 + 0.5 * (bottom2 - top2), "below the crown"
    assert bottom == pytest.approx(bottom2, abs=0.1), "on the ground"


def test_what_is_under_a_thing_without_a_stem_is_below_it() -> None:
    a, b = placed("under", [cat(), block(40, 12)], 1, 1)
    assert box(a)[1] >= box(b)[3] - 0.02 and distance(a, b) <= 2 / SIZE


def test_what_is_within_a_thing_is_covered_by_its_outline() -> None:
    a, b = placed("within", [cat(), ball()], 1, 1)
    assert (a & ~b).sum() <= 0.02 * a.sum() and a.sum() > 0.1 * b.sum()


def test_what_is_inside_looks_out_above() -> None:
    a, b = placed("inside", [cat(), block(40, 30)], 1, 1)
    (left, top, right, bottom), (left2, top2, right2, bottom2) = box(a), box(b)
    assert left2 <= left and right <= right2 and top < top2 < bottom < bottom2


def test_what_is_between_is_between() -> None:
    a, b, c = placed("between", [ball(), tree(), block(30, 30)], 1, 1, 1)
    assert box(b)[2] <= box(a)[0] + 0.02 and box(a)[2] <= box(c)[0] + 0.02
    spots = place_scene(scene("between", 1, 2), [ball(), ball()])
    assert spots[1][0].x < spots[0][0].x < spots[1][1].x


@pytest.mark.parametrize("relation", ["behind", "in front of"])
@pytest.mark.parametrize("count", [1, 2])
def test_what_is_behind_is_hidden_in_part(relation: str, count: int) -> None:
    a, b = placed(relation, [cat(), block(36, 30)], count, 1)
    back = a if relation == "behind" else b
    assert 0.03 < (a & b).sum() / back.sum() < 0.7


@pytest.mark.parametrize(
    ("noun", "low", "high"), [("top hat", -0.2, 0.0), ("crown", -0.2, 0.0), ("glasses", 0.05, 0.5), ("scarf", 0.3, 0.9)]
)
def test_accessories_lie_on_their_part_of_the_head(noun: str, low: float, high: float) -> None:
    """The lower edge of what is worn, against the head's top (0) and chin (1); the ears do not count."""
    a, b = placed("wearing", [cat(), block(40, 20)], 1, 1, nouns=("cat", noun))
    (left, top, right, bottom), (left2, top2, right2, bottom2) = box(a), box(b)
    cell = (bottom - top) / 48
    skull, chin = top + 5 * cell, top + 31 * cell
    level = bottom2 if noun in ("top hat", "crown") else (top2 + bottom2) / 2
    share = (level - skull) / (chin - skull)
    assert low - 0.05 <= share - (0.15 if noun in ("top hat", "crown") else 0) <= high + 0.05
    assert (left2 + right2) / 2 == pytest.approx((left + right) / 2, abs=0.02)
    assert (a & b).any()


def test_each_of_several_wears_one() -> None:
    spots = place_scene(scene("wearing", 2, 2, nouns=("cat", "crown")), [cat(), block(30, 20)])
    assert [hat.x for hat in spots[1]] == pytest.approx([head.x for head in spots[0]], abs=0.02)


def test_a_hat_follows_a_mirrored_head() -> None:
    cells = np.zeros((40, 60), dtype=bool)
    rows, columns = np.mgrid[:40, :60] + 0.5
    cells |= (np.hypot(columns - 12, rows - 12) <= 10) | (np.hypot(columns - 38, rows - 28) <= 12)
    for shape, left in ((Silhouette(cells), True), (Silhouette(cells[:, ::-1]), False)):
        hat, bearer = place_scene(
            scene("wearing", 1, 1, nouns=("dog", "top hat")), [shape, block(20, 20)], {1: LayoutBox(-0.3, -0.35, 0.3)}
        )[::-1]
        assert (hat[0].x < bearer[0].x) == left


def test_what_is_held_touches_its_bearer_at_a_side() -> None:
    a, b = placed("holding", [cat(), ball()], 1, 1, nouns=("cat", "ball"))
    assert distance(a, b) <= 2 / SIZE and (a & b).sum() < 0.7 * b.sum()


def test_a_rider_sits_on_what_it_rides() -> None:
    a, b = placed("riding", [cat(), block(40, 20)], 1, 1)
    assert distance(a, b) <= 1 / SIZE and box(a)[1] < box(b)[1] and box(a)[3] < box(b)[3]


def test_planned_spots_are_brought_into_the_frame_together() -> None:
    shapes = [block(10, 10), block(10, 10)]
    kept = [(LayoutBox(0.3, 0.5, 0.4),), (LayoutBox(0.7, 0.5, 0.4),)]
    for some, own in zip(frame_spots(kept, shapes), kept, strict=True):
        assert some[0] == pytest.approx(own[0])
    low, high = frame_spots([(LayoutBox(0.1, 0.5, 0.4),), (LayoutBox(0.5, 0.5, 0.2),)], shapes)
    assert low[0] == pytest.approx((0.2, 0.5, 0.4)) and high[0] == pytest.approx((0.6, 0.5, 0.2))
    large = frame_spots([(LayoutBox(0.5, 0.5, 1.4),), (LayoutBox(0.5, 0.5, 0.7),)], shapes)
    assert large[0][0] == pytest.approx((0.5, 0.5, 1.0)) and large[1][0].side == pytest.approx(0.5)


def test_clearance_is_between_outlines_and_not_boxes() -> None:
    upper = copies(0, ball(), 1, 1)
    lower = [one.moved(0.6, 1.0) for one in copies(1, ball(), 1, 1)]
    assert clearance(upper, lower) > 0.1
    assert clearance(upper, [one.moved(0, 1.2) for one in copies(1, ball(), 1, 1)]) == pytest.approx(0.2, abs=0.03)


@pytest.mark.parametrize("noun", ["top hat", "crown", "glasses", "scarf"])
def test_a_usual_place_that_is_right_moves_nothing(noun: str) -> None:
    """The plan has the middle of the accessory, not that of the head: it must not be taken for it."""
    shapes, worn = [cat(), block(40, 20)], scene("wearing", 1, 1, nouns=("cat", noun))
    (bearer,), (alone,) = place_scene(worn, shapes)
    usual = LayoutBox((alone.x - bearer.x) / bearer.side, (alone.y - bearer.y) / bearer.side, alone.side / bearer.side)
    (again,), (told,) = place_scene(worn, shapes, {1: usual})
    assert (told.x - again.x) / again.side == pytest.approx(usual.x, abs=0.03)
    assert (told.y - again.y) / again.side == pytest.approx(usual.y, abs=0.03)


def test_a_hat_that_is_usually_higher_does_not_float() -> None:
    for noun in ("top hat", "crown"):
        spots = place_scene(
            scene("wearing", 1, 1, nouns=("cat", noun)), [cat(), block(40, 20)], {1: LayoutBox(0, -0.64, 0.4)}
        )
        bearer, hat = (painted(shape, some) for shape, some in zip([cat(), block(40, 20)], spots, strict=True))
        assert (bearer & hat).any()

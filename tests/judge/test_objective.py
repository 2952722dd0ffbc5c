"""What the judge learns from: labels, regions, grounds and augmentation, against what they are by hand."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from judge_toys import ASPECTS, NAMES, picture, scene, some_scenes, tiny_judge
from torch import Tensor

from sumi.data.scene import COLOURS, STYLES, Place, Scene, Thing
from sumi.judge import objective
from sumi.judge.network import GROUNDS, halves
from sumi.judge.objective import NONE, SPARE, JudgeObjective, SceneLabels, augment, grounds
from sumi.training import Batch


def make_objective(count: int = 40) -> JudgeObjective:
    scenes, judge = some_scenes(count, seed=1), tiny_judge()
    pictures = torch.stack([picture(shown) for shown in scenes]).numpy()
    return JudgeObjective(judge, [pictures], SceneLabels.of(scenes, judge, ASPECTS))


def batch_of(step: int, of: int, indices: Tensor) -> Batch:
    return Batch(step, of, indices, torch.Generator().manual_seed(step))


# Labels. ---------------------------------------------------------------------------------------------------------


def test_scene_labels_hold_the_box_of_all_places_of_a_thing() -> None:
    wide = Thing("plank", "toy", (Place(0.3, 0.5, 0.2), Place(0.7, 0.6, 0.2)), "red")
    tall = Thing("bar", "toy", (Place(0.5, 0.5, 0.6),), None)
    labels = SceneLabels.of([Scene("count", (wide,)), Scene("single", (tall,))], tiny_judge(), ASPECTS)
    # A plank is three times as wide as high, so a place of side 0.2 is 0.2 wide and 0.2 / 3 high.
    assert labels.boxes[0, 0] == pytest.approx([0.2, 0.5 - 0.1 / 3, 0.8, 0.6 + 0.1 / 3], abs=1e-6)
    assert labels.boxes[1, 0] == pytest.approx([0.4, 0.2, 0.6, 0.8], abs=1e-6)
    assert labels.concepts.tolist() == [[NAMES.index("plank"), NONE, NONE], [NAMES.index("bar"), NONE, NONE]]
    assert labels.colours[:, 0].tolist() == [list(COLOURS).index("red"), NONE]
    assert labels.counts.tolist() == [1, 0]


def test_scene_labels_know_styles_and_count_only_one_kind_of_thing_up_to_the_most() -> None:
    one = Thing("bar", "toy", (Place(0.5, 0.5, 0.6),), None)
    many = Thing("bar", "toy", (Place(0.5, 0.5, 0.1),) * 7, None)
    shown = [Scene("single", (one,), style=STYLES[1]), Scene("count", (many,)), Scene("pair", (one, one))]
    labels = SceneLabels.of(shown, tiny_judge(), ASPECTS)
    assert labels.styles.tolist() == [2, 0, 0]
    assert labels.counts.tolist() == [0, NONE, NONE]


def test_scene_labels_keep_three_things_at_most() -> None:
    things = tuple(Thing("bar", "toy", (Place(0.1 * k, 0.5, 0.1),), None) for k in range(1, 5))
    labels = SceneLabels.of([Scene("pair", things)], tiny_judge(), ASPECTS)
    assert labels.concepts.shape == (1, 3) and (labels.concepts != NONE).all()
    assert labels.boxes[0, :, 0] == pytest.approx([0.1 - 0.05 / 3, 0.2 - 0.05 / 3, 0.3 - 0.05 / 3], abs=1e-6)


# Curriculum. -----------------------------------------------------------------------------------------------------


def test_batch_holds_single_things_at_first_and_every_picture_from_a_third_of_the_run() -> None:
    learned = make_objective()
    indices = torch.arange(len(learned))
    single = {k for k in range(len(learned)) if learned.labels.concepts[k, 1] == NONE}
    amounts = {}
    for step, share in ((0, 0.0), (15, 0.5), (30, 1.0), (60, 1.0)):
        chosen, amounts[step] = learned.choose(batch_of(step, 90, indices))
        few = int(len(indices) * (1 - share))
        assert len(chosen) == len(indices)
        assert sum(k in single for k in chosen.tolist()) >= few
        rest = Counter(chosen.tolist())
        assert all(rest[k] >= 1 for k in indices[few:].tolist()), "those that give way are the first"
    assert [amounts[step] for step in (0, 15, 30, 60)] == pytest.approx([0.3, 0.65, 1.0, 1.0])


def test_batch_of_counted_things_is_not_of_single_things() -> None:
    pair = Thing("bar", "toy", (Place(0.3, 0.5, 0.2), Place(0.7, 0.5, 0.2)), None)
    shown, judge = [Scene("count", (pair,)), scene(("bar", "red", 0.5, 0.5))], tiny_judge()
    pictures = np.zeros((2, 4, 64, 64), dtype=np.uint8)
    learned = JudgeObjective(judge, [pictures], SceneLabels.of(shown, judge, ASPECTS))
    chosen, _ = learned.choose(batch_of(0, 90, torch.tensor([0, 0, 0])))
    assert chosen.tolist() == [1, 1, 1]


def test_pictures_come_from_the_pool_that_their_number_lies_in() -> None:
    learned = make_objective(3)
    pools = [np.full((count, 4, 64, 64), 51 * (k + 1), dtype=np.uint8) for k, count in enumerate((2, 3, 1))]
    several = JudgeObjective(learned.model, pools, learned.labels)
    seen = several.pictures(torch.tensor([5, 0, 2, 1, 4]))[:, 0, 0, 0]
    assert seen.tolist() == pytest.approx([0.6, 0.2, 0.4, 0.2, 0.4])


def test_loss_weighs_colour_by_three_tenths_and_style_and_count_by_two() -> None:
    learned = make_objective()
    metrics = learned.loss(learned.model.train(), batch_of(40, 90, torch.arange(24)))
    parts = {name: float(value.detach()) for name, value in metrics.items()}
    assert parts["loss"] == pytest.approx(
        parts["concept"] + 0.3 * parts["colour"] + 0.2 * (parts["style"] + parts["count"]), rel=1e-5
    )
    assert 0 <= parts["right"] <= 1


def test_cross_entropy_is_the_mean_of_the_rows_that_have_an_answer() -> None:
    logits, wanted = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([2, NONE, 0, NONE])
    expected = F.cross_entropy(logits[[0, 2]], wanted[[0, 2]])
    torch.testing.assert_close(objective._cross_entropy(logits, wanted), expected)
    assert objective._cross_entropy(logits, torch.full((4,), NONE)) == 0


# Regions. --------------------------------------------------------------------------------------------------------


def regions(count: int, *boxes: tuple[float, float, float, float], side: int = 10) -> Tensor:
    padded = [*boxes, *[(0.0, 0.0, 0.0, 0.0)] * (3 - len(boxes))]
    return objective._regions(torch.tensor([padded]), torch.tensor([count]), side)[0]


def test_region_of_one_kind_of_thing_is_the_whole_picture() -> None:
    assert regions(1, (0.4, 0.4, 0.6, 0.6))[0].eq(1).all()


@pytest.mark.parametrize(
    ("first", "second", "cut", "sides"),
    [
        ((0.1, 0.4, 0.3, 0.6), (0.7, 0.4, 0.9, 0.6), 0, (0, 1)),
        ((0.7, 0.4, 0.9, 0.6), (0.1, 0.4, 0.3, 0.6), 0, (1, 0)),
        ((0.4, 0.1, 0.6, 0.3), (0.4, 0.7, 0.6, 0.9), 1, (0, 1)),
        ((0.4, 0.7, 0.6, 0.9), (0.4, 0.1, 0.6, 0.3), 1, (1, 0)),
    ],
)
def test_regions_of_two_things_apart_are_their_sides_of_the_cut_between_them(
    first: Any, second: Any, cut: int, sides: tuple[int, int]
) -> None:
    expected = halves(10, 10)[cut][list(sides)]
    assert torch.equal(regions(2, first, second)[:2], expected)


@pytest.mark.parametrize(("away", "cut"), [(0.19, False), (0.21, True)])
def test_regions_of_two_things_are_sides_only_where_their_middles_are_apart(away: float, cut: bool) -> None:
    found = regions(2, (0.35, 0.4, 0.45, 0.6), (0.35 + away, 0.4, 0.45 + away, 0.6))
    assert bool((found[0] == halves(10, 10)[0, 0]).all()) is cut


def test_region_of_each_of_three_things_is_its_box_with_a_spare_edge() -> None:
    """A cell counts where the box, wider by SPARE on each side, reaches into it."""
    box = (0.3 + SPARE + 0.005, 0.5 + SPARE + 0.005, 0.6 - SPARE - 0.005, 0.7 - SPARE - 0.005)
    expected = torch.zeros(10, 10)
    expected[5:7, 3:6] = 1
    assert torch.equal(regions(3, box, (0, 0, 1, 1), (0, 0, 1, 1))[0], expected)
    wider = (0.3 + SPARE - 0.005, 0.5 + SPARE - 0.005, 0.6 - SPARE + 0.005, 0.7 - SPARE + 0.005)
    expected[4:8, 2:7] = 1
    assert torch.equal(regions(3, wider, (0, 0, 1, 1), (0, 0, 1, 1))[0], expected)


# Grounds and augmentation. ---------------------------------------------------------------------------------------


def test_half_of_the_grounds_are_those_of_the_exam_and_half_are_any() -> None:
    laid = grounds(4000, torch.Generator().manual_seed(0))
    fixed = [(laid == torch.tensor(ground)).all(dim=1).float().mean().item() for ground in GROUNDS]
    assert fixed == pytest.approx([0.25, 0.25], abs=0.03)
    others = laid[~(laid[:, None] == torch.tensor(GROUNDS)).all(dim=2).any(dim=1)]
    assert others.mean(dim=0).tolist() == pytest.approx([0.5] * 3, abs=0.03)
    assert others.std(dim=0).tolist() == pytest.approx([12**-0.5] * 3, abs=0.02)


@pytest.fixture
def constant(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """What every draw is: `uniform` in [0, 1) and `normal`."""
    values = {"uniform": 0.5, "normal": 0.0}

    def shape_of(*shape: Any) -> tuple[int, ...]:
        return tuple(shape[0]) if len(shape) == 1 and not isinstance(shape[0], int) else shape

    monkeypatch.setattr(torch, "rand", lambda *shape, **_: torch.full(shape_of(*shape), values["uniform"]))
    monkeypatch.setattr(torch, "randn", lambda *shape, **_: torch.full(shape_of(*shape), values["normal"]))
    return values


@pytest.mark.parametrize(
    ("uniform", "amount", "scale", "turn", "shift"),
    [
        (1.0, 1.0, (1.18, 1.18), 0.12, 0.1),
        (0.0, 1.0, (0.88, 0.88), -0.12, -0.1),
        (1.0, 0.5, (1.09, 1.09), 0.06, 0.05),
        (0.0, 0.5, (0.94, 0.94), -0.06, -0.05),
    ],
)
def test_grid_of_the_largest_and_the_smallest_draws_scales_turns_and_shifts_by_its_bounds(
    constant: dict[str, float], uniform: float, amount: float, scale: tuple[float, float], turn: float, shift: float
) -> None:
    constant["uniform"] = uniform
    grid = objective._grid(torch.zeros(2, 4, 21, 21), torch.Generator(), amount)
    cos, sin = np.cos(turn), np.sin(turn)
    for row, column, x, y in ((0, 0, -1, -1), (0, 20, 1, -1), (20, 0, -1, 1), (10, 10, 0, 0)):
        expected = (
            scale[0] * cos * x - scale[0] * sin * y + shift,
            scale[1] * sin * x + scale[1] * cos * y + shift,
        )
        assert grid[1, row, column].tolist() == pytest.approx(expected, abs=1e-5)


def test_grid_wobbles_by_three_hundredths_of_the_frame_at_most(constant: dict[str, float]) -> None:
    constant.update(uniform=1.0)
    still = objective._grid(torch.zeros(1, 4, 21, 21), torch.Generator(), 1.0)
    constant.update(normal=1.0)
    moved = objective._grid(torch.zeros(1, 4, 21, 21), torch.Generator(), 1.0)
    torch.testing.assert_close(moved - still, torch.full_like(still, 0.03))


@pytest.fixture
def unmoved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures stay where they are."""

    def identity(x: Tensor, rng: torch.Generator, amount: float) -> Tensor:
        return F.affine_grid(torch.eye(2, 3).expand(len(x), 2, 3), list(x.shape), align_corners=True)

    monkeypatch.setattr(objective, "_grid", identity)


@pytest.mark.usefixtures("unmoved")
@pytest.mark.parametrize(
    ("uniform", "shade", "noise"), [(1.0, 1.08, 0.1 + 0.08), (0.5, 1.0, 0.05 + 0.015), (0.0, 0.92, 0.0)]
)
def test_augmented_pictures_are_shaded_and_the_last_two_fifths_are_noisy(
    constant: dict[str, float], uniform: float, shade: float, noise: float
) -> None:
    constant.update(uniform=uniform, normal=1.0)
    worn = augment(torch.full((10, 4, 16, 16), 0.5), torch.Generator())
    for row in range(10):
        expected = 0.5 + (noise if row >= 6 else 0)
        assert worn[row, 3].mean().item() == pytest.approx(expected, abs=1e-5)
        assert worn[row, :3].mean().item() == pytest.approx(0.5 * shade + (noise if row >= 6 else 0), abs=1e-5)


@pytest.mark.usefixtures("unmoved")
@pytest.mark.parametrize(("uniform", "left"), [(0.0, 0.7), (1.0, 0.0)])
def test_augmented_pictures_are_soft_by_four_and_by_two_in_the_first_two_fifths(
    constant: dict[str, float], uniform: float, left: float
) -> None:
    """Stripes that cancel within the pixels that are averaged keep 1 - amount of their contrast."""
    constant["uniform"] = uniform
    fine = (torch.arange(16) % 2).float().expand(10, 4, 16, 16).clone()
    coarse = (torch.arange(16) // 2 % 2).float().expand(10, 4, 16, 16).clone()
    contrast = [augment(x, torch.Generator())[:, 3].std(dim=(1, 2)) / x[:, 3].std(dim=(1, 2)) for x in (fine, coarse)]
    assert contrast[0].tolist() == pytest.approx([left] * 4 + [1.0] * 6, abs=1e-4)
    assert contrast[1][:2].tolist() == pytest.approx([left] * 2, abs=1e-4), "by four"
    assert (contrast[1][2:4] > left + 0.05).all(), "by two, which two pixels wide stripes survive"
    assert contrast[1][4:].tolist() == pytest.approx([1.0] * 6, abs=1e-4)


@pytest.mark.usefixtures("unmoved")
def test_augmentation_by_half_is_half_as_strong(constant: dict[str, float]) -> None:
    constant.update(uniform=1.0, normal=1.0)
    worn = augment(torch.full((10, 4, 16, 16), 0.5), torch.Generator(), 0.5)
    assert worn[9, 3].mean().item() == pytest.approx(0.5 + 0.5 * 0.18, abs=1e-5)
    assert worn[0, 0].mean().item() == pytest.approx(0.5 * 1.04, abs=1e-5)

"""How the judge reads a picture: where it looks, how it tells two things apart, and what two grounds say together."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from judge_toys import NAMES, picture, some_scenes, tiny_judge
from torch import Tensor, nn

from sumi.data.scene import COLOURS, STYLES
from sumi.judge.network import GROUNDS, SIZE_PX, Judge, composite_input, judge_pictures, load_judge

WHITE, DARK = GROUNDS
NOTHING = torch.zeros(1, 4, SIZE_PX, SIZE_PX, dtype=torch.uint8)
A, B, C, D = range(4)


class SeeingJudge(Judge):
    """A judge whose feature k is concept k, seen where a test puts it: (concept, row, column, strength) on 8 x 8."""

    def __init__(self, *blobs: tuple[int, int, int, float]) -> None:
        super().__init__(NAMES, tuple(COLOURS), ("none", *STYLES), channels=(16, 24), blocks=(1, 1), features=32)
        self.features = torch.zeros(1, 32, 8, 8)
        for concept, row, column, strength in blobs:
            self.features[0, concept, row, column] = strength
        with torch.no_grad():
            nn.init.eye_(self.concept.weight).mul_(8)
            self.concept.bias.zero_()
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        return self.features.expand(len(x), -1, -1, -1)


def read(blobs: Sequence[tuple[int, int, int, float]], *asked: int) -> tuple[list[int], list[list[float]]]:
    """Return the ids of the things seen, and the centre of each thing asked for."""
    found = judge_pictures(SeeingJudge(*blobs), NOTHING, torch.tensor([asked]))
    return found.things[0].tolist(), found.where[0].tolist()


def test_grounds_of_the_exam_are_white_and_dark_grey() -> None:
    assert WHITE == (1.0, 1.0, 1.0) and DARK == (0.27, 0.29, 0.32)


def test_shipped_judge_has_the_architecture_that_training_makes() -> None:
    shipped = load_judge()
    assert Judge(shipped.names, tuple(COLOURS), ("none", *STYLES), people=shipped.people).config == shipped.config


def test_reading_is_the_mean_over_both_grounds() -> None:
    judge = tiny_judge()
    pictures = torch.stack([picture(shown) for shown in some_scenes(3, seed=9)])
    views = [judge(composite_input(pictures.float() / 255, torch.tensor([ground]))) for ground in GROUNDS]
    found = judge_pictures(judge, pictures)
    expected = torch.stack([judge.concept_logits(view).log_softmax(dim=1) for view in views]).mean(dim=0)
    torch.testing.assert_close(found.concepts, expected)
    style, count = zip(*map(judge.style_and_count_logits, views), strict=True)
    torch.testing.assert_close(found.style, torch.stack(style).mean(dim=0))
    torch.testing.assert_close(found.count, torch.stack(count).mean(dim=0))
    assert found.things[:, 0].tolist() == expected.argmax(dim=1).tolist()
    torch.testing.assert_close(found.shares[:, 0], expected.amax(dim=1))


def test_best_lists_the_likeliest_first_and_no_more_than_there_are() -> None:
    found = judge_pictures(SeeingJudge((C, 1, 1, 1.0), (A, 5, 5, 0.5)), NOTHING)
    assert found.best(2).tolist() == [[C, A]]
    assert found.best(9).shape == (1, len(NAMES)) and found.best().shape == (1, len(NAMES))


@pytest.mark.parametrize(("row", "column"), [(0, 0), (2, 5), (7, 7)])
def test_thing_is_where_its_feature_is(row: int, column: int) -> None:
    (seen,), (centre,) = read([(B, row, column, 1.0)], B)
    assert seen == B
    assert centre == pytest.approx([(column + 0.5) / 8, (row + 0.5) / 8], abs=1e-3)


def test_attention_rests_where_a_concept_is_likelier_than_on_average() -> None:
    judge = tiny_judge()
    features, scale = torch.zeros(1, 32, 8, 8), 1e-5
    features[0, 7, 2, 3] = 1.0
    with torch.no_grad():
        judge.concept.weight.zero_()
        judge.concept.weight[B, 7] = scale
        judge.standard.weight.fill_(3.0)
        judge.standard.running_var[7] = 4.0  # type: ignore[index]
    attention = judge.attention(features, torch.tensor([[B, A]]))
    peak = scale * 3 / (4 + judge.standard.eps) ** 0.5 * 63 / 64
    assert attention[0, 0, 2, 3].item() == pytest.approx((peak + 1e-6) / (peak + 64e-6), rel=1e-4)
    assert attention.sum(dim=(2, 3)).tolist()[0] == pytest.approx([1.0, 1.0])
    torch.testing.assert_close(attention[0, 1], torch.full((8, 8), 1 / 64))


def test_colour_is_read_from_the_features_where_the_attention_is() -> None:
    judge, rng = tiny_judge(), torch.Generator().manual_seed(0)
    features, attention = torch.randn(1, 32, 8, 8, generator=rng), torch.zeros(1, 1, 8, 8)
    attention[0, 0, 4, 6] = 1.0
    there = nn.functional.layer_norm(features[:, :, 4, 6], (32,))
    torch.testing.assert_close(judge.colour_logits(features, attention)[:, 0], judge.colour(there))


@pytest.mark.parametrize(
    ("blobs", "apart"),
    [
        ([(A, 4, 1, 1.0), (B, 4, 6, 1.0)], "beside"),
        ([(A, 1, 4, 1.0), (B, 6, 4, 1.0)], "above"),
    ],
)
def test_two_things_are_found_on_their_sides_in_whichever_order_they_are_asked_for(
    blobs: list[tuple[int, int, int, float]], apart: str
) -> None:
    for asked in ((A, B), (B, A)):
        things, where = read(blobs, *asked)
        assert set(things) == {A, B}
        places = dict(zip(asked, where, strict=True))
        axis = 0 if apart == "beside" else 1
        assert places[A][axis] < 0.3 and places[B][axis] > 0.7, "each is looked for on its own side"


def test_two_things_are_told_apart_by_the_surer_cut() -> None:
    """On the left and the right are A and B, clearly; above and below C and D, less so."""
    things, _ = read([(A, 3, 1, 1.0), (B, 4, 6, 1.0), (C, 1, 5, 0.6), (D, 6, 5, 0.6)], A, B)
    assert things == [A, B]
    things, _ = read([(A, 3, 1, 0.6), (B, 4, 6, 0.6), (C, 1, 5, 1.0), (D, 6, 5, 1.0)], A, B)
    assert things == [C, D]


def test_a_cut_that_shows_one_thing_twice_gives_way_to_one_that_shows_two() -> None:
    things, _ = read([(A, 1, 1, 1.0), (A, 1, 6, 1.0), (B, 6, 3, 0.3)], A, B)
    assert things == [A, B]


def test_thing_is_asked_for_by_a_number_of_its_own_for_each_picture_whatever_the_batch() -> None:
    judge = tiny_judge()
    pictures = torch.stack([picture(shown) for shown in some_scenes(5, seed=3)])
    asked = torch.tensor([[A, B], [B, A], [C, D], [D, A], [B, C]])
    whole, parts = judge_pictures(judge, pictures, asked), judge_pictures(judge, pictures, asked, batch=2)
    for name in ("concepts", "shares", "colours", "where"):
        torch.testing.assert_close(getattr(whole, name), getattr(parts, name))
    assert torch.equal(whole.things, parts.things)

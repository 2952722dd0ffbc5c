"""Each attention layout against its definition, said in rows and columns of the grid and not in distances."""

from collections.abc import Iterator

import pytest
import torch

from sumi.nn import LAYOUTS, dalle_layouts, layout_mask

PREFIX, SIDE = 3, 5


def pairs() -> Iterator[tuple[int, int, tuple[int, int], tuple[int, int]]]:
    """(i, j) of the grid with their rows and columns."""
    for i in range(SIDE * SIDE):
        for j in range(SIDE * SIDE):
            yield i, j, divmod(i, SIDE), divmod(j, SIDE)


def grid(layout: str, kernel: int = 3) -> torch.Tensor:
    return layout_mask(layout, PREFIX, SIDE, kernel)[PREFIX:, PREFIX:]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_text_reads_the_text_before_it_and_pictures_read_all_of_it(layout: str) -> None:
    mask = layout_mask(layout, PREFIX, SIDE)
    assert torch.equal(mask[:PREFIX, :PREFIX], torch.ones(PREFIX, PREFIX).tril().bool())
    assert mask[PREFIX:, :PREFIX].all() and not mask[:PREFIX, PREFIX:].any()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_place_sees_itself_and_none_sees_the_future(layout: str) -> None:
    mask = layout_mask(layout, PREFIX, SIDE)
    assert mask.diagonal().all() and not mask.triu(1).any()


def test_full_sees_all_of_the_past() -> None:
    assert all(grid("full")[i, j] == (j <= i) for i, j, _, _ in pairs())


def test_row_reaches_back_to_the_place_above() -> None:
    for i, j, (row, column), (other_row, other_column) in pairs():
        here = other_row == row and other_column <= column
        above = other_row == row - 1 and other_column >= column
        assert grid("row")[i, j] == (here or above)


def test_column_sees_its_column_down_to_itself() -> None:
    for i, j, (row, column), (other_row, other_column) in pairs():
        assert grid("column")[i, j] == (other_column == column and other_row <= row)


@pytest.mark.parametrize("kernel", [3, 5])
def test_convolutional_sees_the_past_half_of_a_square(kernel: int) -> None:
    reach = kernel // 2
    for i, j, (row, column), (other_row, other_column) in pairs():
        if reach <= column < SIDE - reach and row >= reach:  # nothing wraps around
            near = abs(row - other_row) <= reach and abs(column - other_column) <= reach
            assert grid("convolutional", kernel)[i, j] == (near and j <= i)


def test_the_figures_of_the_paper() -> None:
    """Figure 11: 4 x 4 places; a row of 5 tokens, the last in the same column of the row above; a square of 3 x 3."""
    for layout, seen in (("row", [10, 9, 8, 7, 6]), ("column", [10, 6, 2]), ("convolutional", [10, 9, 7, 6, 5])):
        assert layout_mask(layout, 6, 4, kernel=3)[6 + 10, 6:].nonzero().flatten().tolist() == sorted(seen)


def test_layers_take_turns_and_the_last_is_convolutional() -> None:
    assert dalle_layouts(9) == ["row", "column", "row", "row", "row", "column", "row", "row", "convolutional"]


def test_an_unknown_layout_is_named() -> None:
    with pytest.raises(ValueError, match="'spiral'; choose from full, row"):
        layout_mask("spiral", 1, 2)

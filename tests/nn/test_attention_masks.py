"""Each attention pattern against its definition, said in rows and columns of the grid and not in distances."""

from collections.abc import Iterator

import pytest
import torch

from sumi.nn import ATTENTION_PATTERNS, attention_mask, dalle_patterns

PREFIX, SIDE = 3, 5


def pairs() -> Iterator[tuple[int, int, tuple[int, int], tuple[int, int]]]:
    """(i, j) of the grid with their rows and columns."""
    for i in range(SIDE * SIDE):
        for j in range(SIDE * SIDE):
            yield i, j, divmod(i, SIDE), divmod(j, SIDE)


def grid(pattern: str, kernel: int = 3) -> torch.Tensor:
    return attention_mask(pattern, PREFIX, SIDE, kernel)[PREFIX:, PREFIX:]


@pytest.mark.parametrize("pattern", ATTENTION_PATTERNS)
def test_attention_mask_text_attends_to_earlier_text_and_images_to_all_text(pattern: str) -> None:
    mask = attention_mask(pattern, PREFIX, SIDE)
    assert torch.equal(mask[:PREFIX, :PREFIX], torch.ones(PREFIX, PREFIX).tril().bool())
    assert mask[PREFIX:, :PREFIX].all() and not mask[:PREFIX, PREFIX:].any()


@pytest.mark.parametrize("pattern", ATTENTION_PATTERNS)
def test_attention_mask_every_position_attends_to_itself_and_to_no_later_one(pattern: str) -> None:
    mask = attention_mask(pattern, PREFIX, SIDE)
    assert mask.diagonal().all() and not mask.triu(1).any()


def test_attention_mask_full_attends_to_all_earlier_positions() -> None:
    assert all(grid("full")[i, j] == (j <= i) for i, j, _, _ in pairs())


def test_attention_mask_row_reaches_back_to_the_position_above() -> None:
    for i, j, (row, column), (other_row, other_column) in pairs():
        here = other_row == row and other_column <= column
        above = other_row == row - 1 and other_column >= column
        assert grid("row")[i, j] == (here or above)


def test_attention_mask_column_attends_to_its_column() -> None:
    for i, j, (row, column), (other_row, other_column) in pairs():
        assert grid("column")[i, j] == (other_column == column and other_row <= row)


@pytest.mark.parametrize("kernel", [3, 5])
def test_attention_mask_convolutional_attends_to_the_past_half_of_a_square(kernel: int) -> None:
    reach = kernel // 2
    for i, j, (row, column), (other_row, other_column) in pairs():
        if reach <= column < SIDE - reach and row >= reach:  # nothing wraps around
            near = abs(row - other_row) <= reach and abs(column - other_column) <= reach
            assert grid("convolutional", kernel)[i, j] == (near and j <= i)


def test_attention_mask_on_small_grids_is_the_figure_of_the_paper() -> None:
    """Figure 11: 4 x 4 places; a row of 5 tokens, the last in the same column of the row above; a square of 3 x 3."""
    for pattern, seen in (("row", [10, 9, 8, 7, 6]), ("column", [10, 6, 2]), ("convolutional", [10, 9, 7, 6, 5])):
        assert attention_mask(pattern, 6, 4, kernel=3)[6 + 10, 6:].nonzero().flatten().tolist() == sorted(seen)


def test_dalle_patterns_alternate_and_end_with_convolutional() -> None:
    assert dalle_patterns(9) == ["row", "column", "row", "row", "row", "column", "row", "row", "convolutional"]


def test_attention_mask_of_an_unknown_layout_names_it() -> None:
    with pytest.raises(ValueError, match="'spiral'; choose from full, row"):
        attention_mask("spiral", 1, 2)

"""The sheet of an exam says of each picture what the judge found."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from sumi.evaluation import exam_sheet as sheets
from sumi.evaluation.exam import ExamResult
from sumi.evaluation.exam_sheet import CELL_PX, COLUMNS, RIGHT, WRONG, exam_sheet
from sumi.evaluation.grading import Grade
from sumi.evaluation.questions import Question
from sumi.judge.network import SIZE_PX


def result() -> ExamResult:
    """One right, one with a wrong colour, one of other things."""
    fox = Question("colour", "a red fox", ("fox",), ("red",))
    pair = Question("pair", "an owl and a fox", ("owl", "fox"), (None, None))
    grades = (
        Grade({"things": True, "top-5": True, "colours": True}, (("fox", 0.9), ("owl", 0.1))),
        Grade({"things": True, "top-5": False, "colours": False}, (("fox", 0.9), ("owl", 0.1))),
        Grade({"things": False, "position": True}, (("car", 0.5), ("hat", 0.3), ("cup", 0.1))),
    )
    pictures = torch.full((3, 4, SIZE_PX, SIZE_PX), 255, dtype=torch.uint8)
    return ExamResult((fox, fox, pair), (1, 2, 3), pictures, grades, 1.0)


def test_sheet_frames_and_captions_each_picture_with_what_the_judge_found(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Any, ...]] = []
    monkeypatch.setattr(sheets, "contact_sheet", lambda *arguments: seen.append(arguments))
    exam_sheet(result(), columns=2)
    ((pictures, captions, columns, cell_px, frames),) = seen
    assert captions == ["a red fox\nright", "a red fox\nnot the colours", "an owl and a fox\ncar, hat"]
    assert frames == [RIGHT, WRONG, WRONG] and (columns, cell_px) == (2, CELL_PX) and len(pictures) == 3


def test_sheet_has_rows_of_so_many_pictures_that_a_page_holds() -> None:
    wide = exam_sheet(result()).width
    assert (COLUMNS, CELL_PX) == (14, 96) and wide > exam_sheet(result(), columns=2).width

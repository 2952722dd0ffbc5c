"""Contact sheets of an exam: each picture with its prompt and what the judge recognized in it."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from sumi.evaluation.exam import ExamResult
from sumi.imaging.contact_sheet import contact_sheet
from sumi.imaging.png import save_png

__all__ = ["CELL_PX", "RIGHT", "WRONG", "exam_sheet", "save_sheets"]

CELL_PX, COLUMNS = 96, 14
RIGHT, WRONG = (40, 150, 70), (205, 50, 50)


def exam_sheet(result: ExamResult, columns: int = COLUMNS) -> Image.Image:
    """Return the pictures of a result in rows, with a green frame where the judge marked them right, else a red one."""
    captions = [f"{question.prompt}\n{_finding(result, k)}" for k, question in enumerate(result.questions)]
    frames = [RIGHT if grade.right else WRONG for grade in result.grades]
    return contact_sheet(result.pictures, captions, columns, CELL_PX, frames)


def _finding(result: ExamResult, number: int) -> str:
    """Say what the judge found wrong with a picture: what it took it for, or the first fact that does not hold."""
    question, grade = result.questions[number], result.grades[number]
    if not grade.facts["things"]:
        return ", ".join(name for name, _ in grade.seen[: len(question.things)])
    failed = [fact for fact, held in grade.facts.items() if not held and fact not in ("things", "top-5")]
    return f"not the {failed[0]}" if failed else "right"


def save_sheets(result: ExamResult, folder: Path) -> list[Path]:
    """Write one sheet for each category, named after it, and return the paths."""
    return [
        save_png(folder / f"{category.replace(' ', '-')}.png", exam_sheet(result.of(category)))
        for category in result.categories
    ]

"""Contact sheets of an exam: each picture with its prompt and what the judge recognized in it."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from sumi.evaluation.exam import Result
from sumi.imaging.contact_sheet import contact_sheet
from sumi.imaging.png import save_png

__all__ = ["exam_sheet", "save_sheets"]

CELL_PX, COLUMNS = 96, 14
RIGHT, WRONG = (40, 150, 70), (205, 50, 50)


def exam_sheet(result: Result, columns: int = COLUMNS) -> Image.Image:
    """Return the pictures of a result in rows, with a green frame where the judge marked them right, else a red one."""
    captions = [f"{question.prompt}\n{_finding(result, k)}" for k, question in enumerate(result.questions)]
    frames = [RIGHT if verdict.right else WRONG for verdict in result.verdicts]
    return contact_sheet(result.pictures, captions, columns, CELL_PX, frames)


def _finding(result: Result, number: int) -> str:
    """Say what the judge found wrong with a picture: what it took it for, or the first fact that does not hold."""
    question, verdict = result.questions[number], result.verdicts[number]
    if not verdict.facts["things"]:
        return ", ".join(name for name, _ in verdict.seen[: len(question.things)])
    failed = [fact for fact, held in verdict.facts.items() if not held and fact not in ("things", "top-5")]
    return f"not the {failed[0]}" if failed else "right"


def save_sheets(result: Result, folder: Path) -> list[Path]:
    """Write one sheet for each category, named after it, and return the paths."""
    return [
        save_png(folder / f"{category.replace(' ', '-')}.png", exam_sheet(result.of(category)))
        for category in result.categories
    ]

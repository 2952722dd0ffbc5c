"""Contact sheets of an exam: what was asked, what was drawn, and in red what the judge took it for."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from sumi.atomic_file import write_atomic_png
from sumi.data.preview import on_checkerboard
from sumi.evaluation.exam import Result

CELL_PX, COLUMNS, LINE_PX, EDGE_PX = 96, 14, 11, 3
RIGHT, WRONG, INK = (40, 150, 70), (205, 50, 50), (40, 40, 40)


def exam_sheet(result: Result, columns: int = COLUMNS) -> Image.Image:
    """Return the pictures of a result in rows, framed green where right and red where not."""
    font = ImageFont.load_default(size=9)
    wide, high = CELL_PX + 10, CELL_PX + 3 * LINE_PX + 12
    count = len(result.questions)
    page = Image.new("RGB", (min(columns, count) * wide + 6, -(-count // columns) * high + 6), "white")
    brush = ImageDraw.Draw(page)
    marked = zip(result.questions, result.pictures, result.verdicts, strict=True)
    for number, (question, picture, verdict) in enumerate(marked):
        x, y = 6 + number % columns * wide, 6 + number // columns * high
        colour = RIGHT if verdict.right else WRONG
        brush.rectangle((x - EDGE_PX, y - EDGE_PX, x + CELL_PX + EDGE_PX - 1, y + CELL_PX + EDGE_PX - 1), fill=colour)
        cell = Image.fromarray(on_checkerboard(picture.numpy(), 4))
        page.paste(cell.resize((CELL_PX, CELL_PX), Image.Resampling.NEAREST), (x, y))
        lines = [*_wrapped(brush, question.prompt, font), _finding(result, number)]
        for depth, text in enumerate(lines):
            fill = INK if depth < len(lines) - 1 else colour
            brush.text((x, y + CELL_PX + 4 + depth * LINE_PX), text, fill=fill, font=font)
    return page


def _finding(result: Result, number: int) -> str:
    question, verdict = result.questions[number], result.verdicts[number]
    named = ", ".join(name for name, _ in verdict.seen[: len(question.things)])
    failed = [fact for fact, held in verdict.facts.items() if not held and fact not in ("things", "top-5")]
    if verdict.facts["things"]:
        return f"not the {failed[0]}" if failed else "right"
    return named[:24]


def _wrapped(brush: ImageDraw.ImageDraw, text: str, font: ImageFont.ImageFont | ImageFont.FreeTypeFont) -> list[str]:
    """Break a prompt into at most two lines of a cell's width."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if brush.textlength(longer, font=font) <= CELL_PX + 6 or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines[:2]


def save_sheets(result: Result, folder: Path) -> list[Path]:
    """Write one sheet a category, named after it."""
    paths = []
    for category in result.categories:
        path = folder / f"{category.replace(' ', '-')}.png"
        write_atomic_png(path, exam_sheet(result.of(category)))
        paths.append(path)
    return paths

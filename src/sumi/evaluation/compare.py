"""Two exams side by side: each row of both, their difference with its interval, and the same prompts drawn by both.

    same questions and seeds:  paired, Newcombe's interval of paired shares (`sumi.evaluation.intervals.Gain`)
    otherwise:                 d - sqrt((p - pl)^2 + (qu - q)^2)  to  d + sqrt((pu - p)^2 + (q - ql)^2),  d = p - q

with (pl, pu) and (ql, qu) the intervals of the two values (Newcombe 1998, Stat. Med. 17, 873-890, method 10; for other
values than shares, Zou and Donner 2008, Stat. Med. 27, 1693-1702).
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any

import jinja2
from PIL import Image

from sumi.errors import SumiError
from sumi.evaluation.exam_record import ExamRecord, row_value
from sumi.evaluation.intervals import Gain
from sumi.imaging.contact_sheet import contact_sheet
from sumi.imaging.png import encode_png

__all__ = ["Comparison", "RowPair", "compare_exams", "comparison_lines", "comparison_page"]

CELL_PX, COLUMNS = 96, 8


@dataclass(frozen=True)
class RowPair:
    """One row of two exams.

    Args:
        name: of the row.
        unit: "%" for shares, else "".
        one: value and limits of the first exam, in per cent for shares; None where nothing was tried.
        other: those of the second.
        change: the second minus the first, with its limits.
        paired: whether the difference is paired.
        ceiling: the judge's score on true pictures, in per cent, where it was measured.
        usable: whether the judge can tell; None if unknown.
    """

    name: str
    unit: str
    one: tuple[float, float, float] | None
    other: tuple[float, float, float] | None
    change: tuple[float, float, float] | None
    paired: bool
    ceiling: float | None
    usable: bool | None

    @property
    def differs(self) -> bool:
        """Whether the interval of the difference excludes 0."""
        return self.change is not None and not self.change[1] <= 0 <= self.change[2]

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values: value, lower limit and upper limit of each."""
        places = {name: getattr(self, name) for name in ("one", "other", "change")}
        kept = {name: None if value is None else [round(x, 4) for x in value] for name, value in places.items()}
        return {**kept, "unit": self.unit, "paired": self.paired, "ceiling": self.ceiling, "usable": self.usable}


@dataclass(frozen=True)
class Comparison:
    """Two exams side by side.

    Args:
        one: the first record.
        other: the second.
        rows: those that both have.
        notes: what keeps the two from being compared, a line each.
    """

    one: ExamRecord
    other: ExamRecord
    rows: tuple[RowPair, ...]
    notes: tuple[str, ...]

    @property
    def names(self) -> tuple[str, str]:
        """What the two are called: their models, with their files where these are the same."""
        names = self.one.model, self.other.model
        if names[0] != names[1]:
            return names
        return f"{names[0]} ({self.one.path})", f"{names[1]} ({self.other.path})"

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        files = {"one": str(self.one.path), "other": str(self.other.path)}
        rows = {row.name: row.to_json() for row in self.rows}
        return {"suite": self.one.suite, "models": list(self.names), **files, "rows": rows, "notes": list(self.notes)}


def compare_exams(one: ExamRecord, other: ExamRecord) -> Comparison:
    """Compare two records.

    Raises:
        SumiError: when they have no row in common.
    """
    names = [name for name in one.rows if name in other.rows]
    if not names:
        raise SumiError(f"{one.path} ({one.suite}) and {other.path} ({other.suite}) have no row in common")
    same = bool(one.prompts_and_seeds) and one.prompts_and_seeds == other.prompts_and_seeds
    rows = tuple(pair_rows(name, one.rows[name], other.rows[name], same) for name in names)
    notes = []
    if one.values.get("judge") != other.values.get("judge"):
        notes.append("Another judge marked each of the two: their values cannot be compared.")
    if not same:
        notes.append("The two did not draw the same questions from the same seeds: differences are unpaired.")
    if single := [
        *(name for name in one.rows if name not in other.rows),
        *(n for n in other.rows if n not in one.rows),
    ]:
        notes.append(f"In one of the two alone: {', '.join(single)}.")
    return Comparison(one, other, rows, tuple(notes))


def pair_rows(name: str, one: Mapping[str, Any], other: Mapping[str, Any], same: bool) -> RowPair:
    """Return one row of two exams; `same` where they asked the same questions from the same seeds."""
    kind, _ = row_value(one)
    factor = 100.0 if kind in ("share", "difference") or "%" in (one.get("unit"), other.get("unit")) else 1.0
    first, second = (_limits(row, factor) for row in (one, other))
    marks = [str(row.get("marks", "")) for row in (one, other)]
    paired = same and bool(marks[0]) and len(marks[0]) == len(marks[1])
    change = None
    if paired:
        gain = Gain.of(*([mark == "1" for mark in each] for each in marks))
        change = (factor * gain.value, factor * gain.interval[0], factor * gain.interval[1])
    elif first is not None and second is not None:
        change = difference(first, second)
    ceiling = one.get("ceiling") or other.get("ceiling")
    limits = None if ceiling is None else _limits(ceiling, factor)
    usable = next((row["usable"] for row in (one, other) if row.get("usable") is not None), None)
    return RowPair(
        name, "%" if factor == 100 else "", first, second, change, paired, None if limits is None else limits[0], usable
    )


def difference(one: tuple[float, float, float], other: tuple[float, float, float]) -> tuple[float, float, float]:
    """Return the second value minus the first with its limits; each value is (value, low, high)."""
    (p, p_low, p_high), (q, q_low, q_high) = one, other
    change = q - p
    return change, change - math.hypot(q - q_low, p_high - p), change + math.hypot(q_high - q, p - p_low)


def _limits(row: Mapping[str, Any], factor: float) -> tuple[float, float, float] | None:
    _, value = row_value(row)
    if value is None or row.get("low") is None or row.get("high") is None:
        return None
    return factor * value, factor * row["low"], factor * row["high"]


def comparison_lines(compared: Comparison) -> list[str]:
    """Return the table as lines for the terminal, a star where the interval of a difference excludes 0."""
    table = [("", *compared.names, "difference (95%)", "")]
    for row in compared.rows:
        warning = "unusable" if row.usable is False else "*" if row.differs else ""
        table.append((row.name, _text(row.one, row), _text(row.other, row), _text(row.change, row, "+"), warning))
    widths = [max(len(row[column]) for row in table) for column in range(4)]
    lines = ["  ".join(f"{cell:{width}}" for cell, width in zip(row, (*widths, 0), strict=True)) for row in table]
    return [*(line.rstrip() for line in lines), *compared.notes]


def _text(values: tuple[float, float, float] | None, row: RowPair, sign: str = "") -> str:
    if values is None:
        return "nothing tried"
    places = 1 if row.unit else 3
    value, low, high = (f"{number:{sign}.{places}f}" for number in values)
    return f"{value}{row.unit} ({low} to {high})"


def comparison_page(compared: Comparison) -> str:
    """Return the comparison as one HTML file: a table, a chart of the differences, and pictures of the same prompts."""
    template = (resources.files("sumi.evaluation") / "compare.html").read_text("utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["cell"] = _text
    return environment.from_string(template).render(
        compared=compared,
        names=compared.names,
        chart=_chart(compared.rows),
        grids=[base64.b64encode(encode_png(sheet)).decode() for sheet in _grids(compared)],
    )


def _chart(rows: Sequence[RowPair]) -> list[dict[str, Any]]:
    """Return a bar for each difference of shares, with its places along an axis of 0 to 100 from -m to m points."""
    shares = [row for row in rows if row.unit == "%" and row.change is not None]
    most = max([10.0, *(abs(limit) for row in shares for limit in (row.change or ())[1:])])
    bars = []
    for row in shares:
        assert row.change is not None
        value, low, high = (50 + 50 * number / most for number in row.change)
        bars.append({"name": row.name, "value": value, "low": low, "high": high, "differs": row.differs, "most": most})
    return bars


def _grids(compared: Comparison) -> list[Image.Image]:
    """Return sheets of the prompts that both kept pictures of: a row of the first model over one of the second."""
    shared = [key for key in compared.one.grid if key in compared.other.grid]
    sheets = []
    for start in range(0, len(shared), COLUMNS):
        some = shared[start : start + COLUMNS]
        pictures = [record.grid[key] for record in (compared.one, compared.other) for key in some]
        captions = [*(f"{prompt}, seed {seed}" for prompt, seed in some), *[""] * len(some)]
        sheets.append(contact_sheet(pictures, captions, len(some), CELL_PX))
    return sheets

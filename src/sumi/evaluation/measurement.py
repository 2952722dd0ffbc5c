"""A measurement: a claim about a model, the figures that support or contradict it, and a contact sheet.

    claim -> figures, each with n, its 95 per cent interval and perhaps a target -> met, or missed

A figure meets its target when its value reaches it; a `sure` figure only when the whole interval lies above the target.
A missed target is recorded and raises no error.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from sumi.atomic_file import write_atomic
from sumi.evaluation.intervals import Value
from sumi.imaging.contact_sheet import contact_sheet
from sumi.imaging.png import save_png
from sumi.judge.network import SIZE_PX

__all__ = ["Figure", "Measurement", "load_record", "measurement_lines", "sample_sheet", "save_record"]

CELL_PX = 96
#: The record, and the same for people to read.
RECORD, TABLE = "edits.json", "edits.md"
COLUMNS = ("value", "interval", "n", "asked")


@dataclass(frozen=True)
class Figure:
    """One row of a measurement.

    Args:
        name: what the value is.
        value: the value with its interval.
        target: the least value that the claim requires, or None.
        sure: whether the claim requires that the whole interval lies above the target.
    """

    name: str
    value: Value
    target: float | None = None
    sure: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the value reaches its target; None where it has none."""
        if self.target is None:
            return None
        return self.value.interval[0] > self.target if self.sure else self.value.value >= self.target

    def to_json(self) -> dict[str, Any]:
        """Return the figure as JSON values, with its text for tables."""
        marked = {} if self.target is None else {"mark": self.target, "met": self.met}
        return {**self.value.to_json(), **marked, "text": self.text}

    @property
    def text(self) -> dict[str, str]:
        """The value, its interval, its count and its target, as they are printed."""
        as_text, (low, high) = self.value.as_text, self.value.interval
        requirement = (
            ""
            if self.target is None
            else f"surely above {as_text(self.target)}"
            if self.sure
            else f"{as_text(self.target)} or more"
        )
        asked = "" if self.target is None else f"{requirement}: {'met' if self.met else 'MISSED'}"
        interval = f"{as_text(low)} to {as_text(high)}" if self.value.n else ""
        return {"value": as_text(self.value.value), "interval": interval, "n": str(self.value.n), "asked": asked}


@dataclass(frozen=True)
class Measurement:
    """A claim with its figures and its contact sheet.

    Args:
        claim: one sentence.
        figures: the rows.
        sheet: pictures to look at.
        seeds: the seeds of everything that was drawn.
        note: another finding, or "".
    """

    claim: str
    figures: tuple[Figure, ...]
    sheet: Image.Image
    seeds: str
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        rows = {figure.name: figure.to_json() for figure in self.figures}
        return {"claim": self.claim, "note": self.note, "seeds": self.seeds, "rows": rows}


def sample_sheet(rows: Sequence[tuple[Tensor, Sequence[str]]], beside: int = 1) -> Image.Image:
    """Return a contact sheet of groups of pictures.

    Args:
        rows: groups of equal size, each uint8 pictures (K, 4, S, S) with a caption for each.
        beside: how many groups stand in one row of the sheet.
    """
    pictures = torch.cat([shown for shown, _ in rows]) if rows else torch.zeros(1, 4, SIZE_PX, SIZE_PX).byte()
    captions = [caption for _, some in rows for caption in some] or ["nothing to show"]
    return contact_sheet(pictures, captions, beside * (len(rows[0][1]) if rows else 1), CELL_PX)


def load_record(folder: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record in a folder if it has the same `about`, else an empty record."""
    try:
        kept = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        kept = None
    same = isinstance(kept, dict) and {name: value for name, value in kept.items() if name != "proofs"} == about
    return kept if same and isinstance(kept.get("proofs"), dict) else {**about, "proofs": {}}


def save_record(folder: Path, record: Mapping[str, Any], sheets: Mapping[str, Image.Image]) -> list[Path]:
    """Write the record as JSON and as Markdown, and the sheets as PNG; return the paths."""
    write_atomic(folder / RECORD, json.dumps(record, indent=1) + "\n")
    write_atomic(folder / TABLE, format_markdown(record))
    for name, sheet in sheets.items():
        save_png(folder / f"{name}.png", sheet)
    return [folder / RECORD, folder / TABLE, *(folder / f"{name}.png" for name in sheets)]


def format_markdown(record: Mapping[str, Any]) -> str:
    """Return a record as a Markdown page: for each measurement its claim and a table."""
    lines = [f"# What the edits of {record['model']} hold", ""]
    for name, measurement in record["proofs"].items():
        lines += [f"## {name}", "", measurement["claim"], ""]
        lines += ["| figure | value | 95 per cent | n | asked |", "|---|---|---|---|---|"]
        for row, kept in measurement["rows"].items():
            lines.append(f"| {row} | " + " | ".join(kept["text"][column] for column in COLUMNS) + " |")
        lines += [
            "",
            *([measurement["note"], ""] if measurement["note"] else []),
            f"Drawn from {measurement['seeds']}.",
            "",
        ]
    return "\n".join(lines)


def measurement_lines(name: str, measurement: Measurement) -> list[str]:
    """Return a measurement as lines for the terminal: its name and claim, its figures, its note."""
    texts = [figure.text for figure in measurement.figures]
    named, valued = max(len(figure.name) for figure in measurement.figures), max(len(text["value"]) for text in texts)
    lines = [f"{name}: {measurement.claim}"]
    for figure, text in zip(measurement.figures, texts, strict=True):
        around = f"({text['interval']}, n = {text['n']})" if figure.value.n else "nothing tried"
        lines.append(f"  {figure.name:{named}}  {text['value']:>{valued}}  {around}  {text['asked']}".rstrip())
    return [*lines, f"  {measurement.note}"] if measurement.note else lines

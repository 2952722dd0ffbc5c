"""A proof: something said of a model, the figures that bear it out or do not, and a sheet for a person to look at.

    claim -> figures, each with n, its 95 per cent interval and, where it was set one, its mark -> met, or missed

A figure meets its mark when its value does, the interval beside it saying how far to trust that; or, where it has to be
sure, when the whole interval lies above. Nothing fails on a miss: it is written down as one.
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

CELL_PX = 96
#: The record, and the same for people to read.
RECORD, TABLE = "edits.json", "edits.md"
COLUMNS = ("value", "interval", "n", "asked")


@dataclass(frozen=True)
class Figure:
    """One row: its name, its value and the least that is asked of it, if anything is.

    sure: that the whole interval lies above the mark.
    """

    name: str
    value: Value
    mark: float | None = None
    sure: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the mark is reached; None where there is none."""
        if self.mark is None:
            return None
        return self.value.interval[0] > self.mark if self.sure else self.value.value >= self.mark

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values, and as text for tables."""
        marked = {} if self.mark is None else {"mark": self.mark, "met": self.met}
        return {**self.value.to_json(), **marked, "text": self.text}

    @property
    def text(self) -> dict[str, str]:
        """Value, interval, count and mark as they are printed."""
        shown, (low, high) = self.value.shown, self.value.interval
        least = (
            ""
            if self.mark is None
            else f"surely above {shown(self.mark)}"
            if self.sure
            else f"{shown(self.mark)} or more"
        )
        asked = "" if self.mark is None else f"{least}: {'met' if self.met else 'MISSED'}"
        interval = f"{shown(low)} to {shown(high)}" if self.value.n else ""
        return {"value": shown(self.value.value), "interval": interval, "n": str(self.value.n), "asked": asked}


@dataclass(frozen=True)
class Measurement:
    """A claim with its figures and its sheet.

    seeds: what everything in it was drawn from. note: what else was found.
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
    """Return a sheet of equally long rows, pictures (K, 4, S, S) each with its caption, `beside` each other."""
    pictures = torch.cat([shown for shown, _ in rows]) if rows else torch.zeros(1, 4, SIZE_PX, SIZE_PX).byte()
    captions = [caption for _, some in rows for caption in some] or ["nothing to show"]
    return contact_sheet(pictures, captions, beside * (len(rows[0][1]) if rows else 1), CELL_PX)


def load_record(folder: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record in a folder where it is about the very same thing, or an empty one."""
    try:
        kept = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        kept = None
    same = isinstance(kept, dict) and {name: value for name, value in kept.items() if name != "proofs"} == about
    return kept if same and isinstance(kept.get("proofs"), dict) else {**about, "proofs": {}}


def write(folder: Path, record: Mapping[str, Any], sheets: Mapping[str, Image.Image]) -> list[Path]:
    """Write the record, its table and the sheets; returns their paths."""
    write_atomic(folder / RECORD, json.dumps(record, indent=1) + "\n")
    write_atomic(folder / TABLE, markdown(record))
    for name, sheet in sheets.items():
        save_png(folder / f"{name}.png", sheet)
    return [folder / RECORD, folder / TABLE, *(folder / f"{name}.png" for name in sheets)]


def markdown(record: Mapping[str, Any]) -> str:
    """Return a record as a page: for each proof its claim and a table."""
    lines = [f"# What the edits of {record['model']} hold", ""]
    for name, proof in record["proofs"].items():
        lines += [f"## {name}", "", proof["claim"], ""]
        lines += ["| figure | value | 95 per cent | n | asked |", "|---|---|---|---|---|"]
        for row, kept in proof["rows"].items():
            lines.append(f"| {row} | " + " | ".join(kept["text"][column] for column in COLUMNS) + " |")
        lines += ["", *([proof["note"], ""] if proof["note"] else []), f"Drawn from {proof['seeds']}.", ""]
    return "\n".join(lines)


def lines(name: str, proof: Measurement) -> list[str]:
    """Return a proof for the terminal: its name and claim, a line a figure, and what else was found."""
    texts = [figure.text for figure in proof.figures]
    named, valued = max(len(figure.name) for figure in proof.figures), max(len(text["value"]) for text in texts)
    said = [f"{name}: {proof.claim}"]
    for figure, text in zip(proof.figures, texts, strict=True):
        around = f"({text['interval']}, n = {text['n']})" if figure.value.n else "nothing tried"
        said.append(f"  {figure.name:{named}}  {text['value']:>{valued}}  {around}  {text['asked']}".rstrip())
    return [*said, f"  {proof.note}"] if proof.note else said

"""The model card: what a model is for, what the exams found, and whom it may harm, written from saved exams.

    records of exams + the bundle -> model_card.md

Nothing is typed by hand but the words of the template and GenEval's published values, which are context and no
comparison. The same records always give the same card.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2

from sumi.bundles import Bundle
from sumi.errors import SumiError
from sumi.evaluation.exam_record import ExamRecord, row_value

__all__ = ["find_records", "model_card"]

ORDER = ("exam", "composition", "bias", "quality", "memory", "clip")
TITLES: Mapping[str, str] = {
    "exam": "Things, colours, counts and pairs",
    "composition": "Composition",
    "bias": "Tones and genders",
    "quality": "Quality and diversity",
    "memory": "Copies of training drawings",
    "clip": "The CLIP inside",
}
COMMANDS: Mapping[str, str] = {name: "sumi exam" if name == "exam" else f"sumi exam {name}" for name in ORDER}
GENEVAL_HEAD = ("single thing", "two things", "counting", "colours", "position", "colour binding", "overall")
GENEVAL: Mapping[str, tuple[float, ...]] = {
    "DALL·E 2": (0.94, 0.66, 0.49, 0.77, 0.10, 0.19, 0.52),
    "Stable Diffusion 1.5": (0.97, 0.38, 0.35, 0.76, 0.04, 0.06, 0.43),
}
"""Ghosh et al. 2023, arXiv 2310.11513, of photographs; DALL·E 2's values as later papers print them beside these."""


def find_records(folder: Path) -> list[ExamRecord]:
    """Return the records of exams in a folder and below it, the first of each exam; other JSON files are left out.

    Raises:
        SumiError: when there are none.
    """
    found: dict[str, ExamRecord] = {}
    for path in sorted(folder.rglob("*.json"), key=lambda path: (len(path.parts), path)):
        try:
            record = ExamRecord.load(path)
        except SumiError:
            continue
        found.setdefault(record.suite, record)
    if not found:
        raise SumiError(f"there are no records of exams in {folder}: run `sumi exam` first")
    return list(found.values())


def model_card(bundle: Bundle, records: Sequence[ExamRecord]) -> str:
    """Return the card of a model as Markdown.

    Args:
        bundle: the model.
        records: its exams.

    Raises:
        SumiError: when a record is of other weights.
    """
    for record in records:
        hashes = record.values.get("hashes", {})
        if differing := sorted(name for name, own in hashes.items() if bundle.hashes.get(name, own) != own):
            parts = ", ".join(differing)
            raise SumiError(f"{record.path} is of other weights than {bundle.folder} ({parts}): examine it anew")
    ordered = sorted(
        records, key=lambda record: (ORDER.index(record.suite) if record.suite in ORDER else 99, record.suite)
    )
    template = (resources.files("sumi.evaluation") / "model_card.md.jinja").read_text("utf-8")
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    return environment.from_string(template).render(
        bundle=bundle,
        concepts=len(bundle.vocabulary.get("concepts", ())),
        words=len(bundle.vocabulary.get("words", ())),
        roles=list(bundle.vocabulary.get("roles", ())),
        rights=bundle.rights,
        suites=[suite_of(record) for record in ordered],
        professions=next((professions_of(record) for record in ordered if record.suite == "bias"), []),
        geneval_head=GENEVAL_HEAD,
        geneval=GENEVAL,
    )


def suite_of(record: ExamRecord) -> dict[str, Any]:
    """Return one exam as the template takes it."""
    rows = [row_of(name, row) for name, row in record.rows.items()]
    settings = record.values.get("settings") or {}
    return {
        "title": TITLES.get(record.suite, record.suite),
        "command": COMMANDS.get(record.suite, "sumi exam"),
        "judge": str(record.values.get("judge", ""))[:8],
        "software": str(record.values.get("software", "")),
        "seed": record.prompts_and_seeds[0][1] if record.prompts_and_seeds else None,
        "pictures": len(record.prompts_and_seeds),
        "settings": settings,
        "rows": rows,
        "unusable": sum(row["warning"] != "" for row in rows),
    }


def row_of(name: str, row: Mapping[str, Any]) -> dict[str, str]:
    """Return one row as texts."""
    return {
        "name": name,
        "value": as_text(row, row),
        "interval": interval_text(row),
        "n": str(row.get("n", "")),
        "chance": "" if not row.get("chance") else as_text(row["chance"], row["chance"]),
        "ceiling": "" if not row.get("ceiling") else as_text(row["ceiling"], row["ceiling"]),
        "warning": "unusable" if row.get("usable") is False else "",
    }


def as_text(row: Mapping[str, Any], unit_of: Mapping[str, Any]) -> str:
    """Return the value of a row as text; empty where nothing was tried."""
    _, value = row_value(row)
    return "" if value is None else number_text(value, unit_of)


def number_text(value: float, row: Mapping[str, Any]) -> str:
    """Return a number of a row as text with its unit."""
    kind, _ = row_value(row)
    if kind == "difference":
        return f"{100 * value:+.1f} points"
    return f"{100 * value:.1f}%" if kind == "share" or row.get("unit") == "%" else f"{value:.3f}"


def interval_text(row: Mapping[str, Any]) -> str:
    """Return the interval of a row as text; empty where there is none."""
    limits = [row.get("low"), row.get("high")]
    if row_value(row)[1] is None or None in limits:
        return ""
    return " to ".join(number_text(limit, row) for limit in limits if limit is not None)


def professions_of(record: ExamRecord) -> list[dict[str, str]]:
    """Return for each profession what is most often drawn, unspecified and balanced."""
    rows = []
    for role, ways in record.values.get("professions", {}).items():
        row = {"role": role}
        for way in ("unspecified", "balanced"):
            for kind in ("tone", "gender"):
                counts: Mapping[str, int] = ways[way][kind]
                listed = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
                row[f"{way}_{kind}"] = ", ".join(f"{name} {count}" for name, count in listed)
        rows.append(row)
    return rows

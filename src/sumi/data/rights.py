"""Rights: where a picture came from and on what terms it may be used.

Idea: the record is made when the artwork is read and travels with the picture into the atlas, the
training pool and the shipped model's `rights.json`; nothing is ever taught that has no record.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from sumi.errors import SumiError

__all__ = ["Rights", "attribution"]


@dataclass(frozen=True)
class Rights:
    """Origin and terms of one drawing. `licence` is an SPDX identifier, `sha256` that of the SVG text."""

    source: str
    version: str
    licence: str
    author: str
    url: str
    name: str
    sha256: str

    def to_json(self) -> dict[str, str]:
        """The record as a JSON-able dict."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Rights:
        """The record read back; raises SumiError naming every missing or unknown field."""
        expected = {field.name for field in fields(cls)}
        wrong = sorted(expected.symmetric_difference(record))
        if wrong:
            raise SumiError(f"a rights record needs exactly {sorted(expected)}; check {wrong}")
        return cls(**{name: str(record[name]) for name in expected})


def attribution(records: Iterable[Rights]) -> list[dict[str, str | int]]:
    """One JSON-able row per (source, version, licence, author, url) with its count of distinct drawings.

    Rows are ordered by falling count, then by source: what a model card and `rights.json` need.
    """
    distinct = {(r.source, r.name, r.sha256): r for r in records}.values()
    counts = Counter((r.source, r.version, r.licence, r.author, r.url) for r in distinct)
    names = ("source", "version", "licence", "author", "url")
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return [{**dict(zip(names, key, strict=True)), "pictures": count} for key, count in ordered]


def attribution_text(records: Iterable[Rights]) -> str:
    """The attribution as Markdown lines for a model card, one a source."""
    return "\n".join(
        f"- {row['pictures']} drawings from `{row['source']}` {row['version']} by {row['author']}, "
        f"{row['licence']}, <{row['url']}>"
        for row in attribution(records)
    )

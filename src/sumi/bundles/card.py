"""The model card: what a person should know about a model before using it, written from the bundle itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Card"]


@dataclass(frozen=True)
class Card:
    """What only its makers can say about a model; the rest is read from the bundle.

    results: rows of (what was measured, figure, the command that prints it).
    """

    title: str
    licence: str = "Apache-2.0"
    summary: str = "Words in, pictures out."
    training: str = ""
    limits: str = ""
    results: Sequence[tuple[str, str, str]] = ()

    def text(
        self,
        index: Mapping[str, Any],
        counts: Mapping[str, int],
        hashes: Mapping[str, str],
        rights: Sequence[Any],
        vocabulary: Mapping[str, Any],
    ) -> str:
        """Return the card as Markdown with the front matter that model hubs read."""
        title = self.title.replace("\n", " ")
        front = [
            "---",
            f"license: {self.licence.lower()}",
            "pipeline_tag: text-to-image",
            "library_name: sumi",
            "---",
        ]
        sections = [
            f"# {title}\n\n{self.summary}",
            f'```python\nimport sumi\n\nsumi.load("{title}").generate("a red fox").save("fox.png")\n```',
            _parts(index, counts, hashes),
            _section("What it was taught", _taught(vocabulary)),
            _section("How it was trained", self.training),
            _section("Measured", _table(("what", "figure", "command"), self.results)),
            _section("Limits", self.limits),
            _section("Where its training pictures came from", _sources(rights)),
            f"Written by Sumi {index['_sumi_version']}.",
        ]
        return "\n".join(front) + "\n\n" + "\n\n".join(filter(None, sections)) + "\n"


def _section(title: str, body: str) -> str:
    return f"## {title}\n\n{body}" if body else ""


def _parts(index: Mapping[str, Any], counts: Mapping[str, int], hashes: Mapping[str, str]) -> str:
    rows = [(name, ".".join(index[name]), f"{counts[name] / 1e6:.2f} M", f"`{hashes[name][:12]}`") for name in counts]
    total = ("all", "", f"{sum(counts.values()) / 1e6:.2f} M", "")
    return _section("Parts", _table(("part", "class", "parameters", "sha256"), [*rows, total]))


def _taught(vocabulary: Mapping[str, Any]) -> str:
    concepts = vocabulary.get("concepts", {})
    if not concepts:
        return ""
    held_out = sorted(vocabulary.get("held_out", ()))
    taught = sorted(set(concepts) - set(held_out))
    never = f" {len(held_out)} more were kept from it, to be examined by: {', '.join(held_out)}." if held_out else ""
    return f"{len(taught)} concepts (`vocabulary.json` has their synonyms): {', '.join(taught)}.{never}"


def _sources(rights: Sequence[Any]) -> str:
    fields = ("source", "version", "licence", "author", "url")
    sources: Counter[tuple[str, ...]] = Counter()
    for row in rights:
        if isinstance(row, dict):
            count = row.get("pictures", 1)
            sources[tuple(str(row.get(name, "")) for name in fields)] += count if isinstance(count, int) else 1
    return _table((*fields, "pictures"), [(*source, f"{count:,}") for source, count in sorted(sources.items())])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    return "\n".join([line(head), "|" + " --- |" * len(head), *map(line, rows)])

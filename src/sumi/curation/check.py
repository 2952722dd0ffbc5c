"""What would go wrong if a model learned from a data set, found before hours are spent on it.

    report = check_pictures(dataset, scan_pictures(dataset), tokenizer)
    report.findings     each with a level: error (training would fail), warning, note

A caption is in another language when most of its letters are not Latin, or when most of its words are neither words of
the tokenizer nor English.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sumi.conditioning.english import english
from sumi.conditioning.lexicon import words_of
from sumi.curation.duplicates import group_same_pictures
from sumi.curation.scan import PictureScan
from sumi.data.picture_array import FEW_BROKEN, MAX_BROKEN
from sumi.data.picture_dataset import CAPTION_FIELDS, PictureDataset, PictureRecord

__all__ = ["CaptionTokenizer", "DataReport", "Finding", "check_pictures", "count_pictures"]

LEVELS = ("error", "warning", "note")
LEAST_WORDS = 3
"""A caption with fewer words is in no language."""
FOREIGN_SHARE = 0.5
"""Share of words, or of letters, above which a caption is in another language."""
SHOWN_WORDS = 12
WIDEST = 4
"""Width over height, or height over width, from which most of a square is empty."""


class CaptionTokenizer(Protocol):
    """What turns captions into tokens."""

    def fits(self, text: str) -> bool:
        """Return whether a text fits into the context."""
        ...

    def unknown(self, text: str) -> list[str]:
        """Return the words of a text that were not taught."""
        ...


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with some pictures.

    Attributes:
        code: its name for programs, such as "tiny".
        level: "error", "warning" or "note".
        text: what is wrong, and what would be right.
        pictures: the names of the pictures; empty where it concerns the whole data set.
    """

    code: str
    level: str
    text: str
    pictures: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"code": self.code, "level": self.level, "text": self.text, "pictures": list(self.pictures)}


@dataclass(frozen=True)
class DataReport:
    """What was found in a data set.

    Attributes:
        place, kind: of the data set.
        count: pictures that can be read.
        captioned, labelled: how many of them have a caption, and a label.
        sizes_px: of the smaller side: the least, the median and the largest.
        words, unknown_words: in all captions, and how many of them the tokenizer does not know.
        findings: errors first.
    """

    place: str
    kind: str
    count: int
    captioned: int
    labelled: int
    sizes_px: tuple[int, int, int]
    words: int
    unknown_words: int
    findings: tuple[Finding, ...] = field(default=())

    @property
    def breaks_training(self) -> bool:
        """Whether anything would make training fail."""
        return any(finding.level == "error" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "place": self.place,
            "kind": self.kind,
            "pictures": self.count,
            "captioned": self.captioned,
            "labelled": self.labelled,
            "smaller_side_px": dict(zip(("least", "median", "most"), self.sizes_px, strict=True)),
            "words": self.words,
            "unknown_words": self.unknown_words,
            "breaks_training": self.breaks_training,
            "findings": [finding.to_json() for finding in self.findings],
        }


def count_pictures(count: int) -> str:
    """Return "1 picture", "2,000 pictures" and so on."""
    return f"{count:,} picture{'' if count == 1 else 's'}"


def check_pictures(
    dataset: PictureDataset,
    scans: Sequence[PictureScan],
    tokenizer: CaptionTokenizer | None = None,
    *,
    size_px: int = 64,
    max_broken: float = MAX_BROKEN,
) -> DataReport:
    """Return what would go wrong if a model learned from a data set.

    Args:
        dataset: the pictures.
        scans: of each of them, in their order.
        tokenizer: that of the model to be trained; None leaves out what depends on it.
        size_px: the side that the model draws; smaller pictures would be enlarged.
        max_broken: the share of samples that may be broken, as in `sumi train`.
    """
    pairs = [(record, scan) for record, scan in zip(dataset, scans, strict=True) if not scan.fault]
    records, sound = [record for record, _ in pairs], [scan for _, scan in pairs]
    words, unknown = _count_words(records, tokenizer)
    found = [
        *_check_reading(dataset, scans, max_broken),
        *_check_pixels(sound, size_px),
        *_check_captions(records),
        *(_check_words(records, tokenizer, words, unknown) if tokenizer else ()),
        *_check_duplicates(records, sound),
        *(Finding("not_read", "warning", note) for note in dataset.notes),
    ]
    sides = sorted(min(scan.size_px) for scan in sound) or [0]
    return DataReport(
        dataset.place, dataset.kind, len(sound),
        sum(bool(record.captions) for record in records), sum(bool(record.label) for record in records),
        (sides[0], sides[len(sides) // 2], sides[-1]), words, unknown.total(),
        tuple(sorted(found, key=lambda finding: LEVELS.index(finding.level))),
    )  # fmt: skip


def _check_reading(dataset: PictureDataset, scans: Sequence[PictureScan], max_broken: float) -> Iterable[Finding]:
    faults = [*dataset.broken, *(scan.fault for scan in scans if scan.fault)]
    allowed = max(FEW_BROKEN, int(max_broken * len(dataset))) if max_broken else 0
    names = tuple(scan.name for scan in scans if scan.fault)
    if all(scan.fault for scan in scans):
        yield Finding("unreadable", "error", f"no picture can be read: {faults[0]}", names)
    elif len(faults) > allowed:
        text = f"{len(faults):,} samples are broken, and training accepts {allowed:,} (--max-broken): {faults[0]}"
        yield Finding("unreadable", "error", text, names)
    elif faults:
        yield Finding("unreadable", "warning", f"left out, as in training: {'; '.join(faults[:5])}", names)


def _check_pixels(scans: Sequence[PictureScan], size_px: int) -> Iterable[Finding]:
    if names := tuple(scan.name for scan in scans if min(scan.size_px) < size_px):
        yield Finding("tiny", "warning", f"smaller than {size_px} px on a side, so training would enlarge them", names)
    if names := tuple(scan.name for scan in scans if scan.is_blank):
        yield Finding("blank", "warning", "all pixels are alike: they teach nothing", names)
    if names := tuple(scan.name for scan in scans if max(scan.size_px) >= WIDEST * min(scan.size_px)):
        text = f"over {WIDEST} times as long as wide, so most of the square would be empty: crop them"
        yield Finding("shape", "warning", text, names)
    if names := tuple(scan.name for scan in scans if scan.embedded.is_generated):
        yield Finding("generated", "warning", "their metadata say that a model drew them", names)
    if names := tuple(scan.name for scan in scans if scan.embedded.ban):
        ban = next(scan.embedded.ban for scan in scans if scan.embedded.ban)
        yield Finding("no_training", "warning", f"their files forbid training ({ban}); see sumi data rights", names)


def _check_captions(records: Sequence[PictureRecord]) -> Iterable[Finding]:
    lacking = [record for record in records if not record.captions]
    if not lacking:
        return
    names, hint = tuple(record.name for record in lacking), _unread_field(lacking)
    how = "write NAME.txt beside a picture, or a metadata.jsonl with file_name and text"
    if len(lacking) == len(records) and not any(record.label for record in records):
        text = f"no picture has a caption or a label, so a model cannot learn words: {hint or how}"
        yield Finding("field_mismatch" if hint else "no_caption", "error", text, names)
    else:
        text = f"without a caption; systems that learn from captions leave them out: {hint or how}"
        yield Finding("field_mismatch" if hint else "no_caption", "warning", text, names)


def _unread_field(records: Sequence[PictureRecord]) -> str:
    """Return what to do where a field that is not read holds a text for most records; "" where there is none."""
    counts = Counter(
        name
        for record in records
        for name, value in record.fields.items()
        if isinstance(value, str) and len(value.split()) >= LEAST_WORDS
    )
    name, count = max(counts.items(), key=lambda item: item[1], default=("", 0))
    return f"rename the field {name!r} to {CAPTION_FIELDS[0]!r}" if 2 * count > len(records) else ""


def _count_words(records: Sequence[PictureRecord], tokenizer: CaptionTokenizer | None) -> tuple[int, Counter[str]]:
    """Return how many words all captions have, and how often each unknown one occurs."""
    counts = Counter(word for record in records for caption in record.captions for word in words_of(caption))
    known = {} if tokenizer is None else {word: not tokenizer.unknown(word) for word in counts}
    return counts.total(), Counter({word: n for word, n in counts.items() if not known.get(word, True)})


def _check_words(
    records: Sequence[PictureRecord], tokenizer: CaptionTokenizer, words: int, unknown: Counter[str]
) -> Iterable[Finding]:
    if names := tuple(r.name for r in records if any(not tokenizer.fits(caption) for caption in r.captions)):
        yield Finding("long_caption", "warning", "the model would read only the beginning of the caption", names)
    if names := tuple(r.name for r in records if any(_is_foreign(text, unknown) for text in r.captions)):
        text = "the caption is in another language than the model's, which is English"
        yield Finding("language", "warning", text, names)
    if unknown:
        common = ", ".join(word for word, _ in unknown.most_common(SHOWN_WORDS))
        text = (
            f"{unknown.total():,} of {words:,} words ({100 * unknown.total() / words:.0f}%) are new to the model, "
            f"which spells them letter by letter until it has learned them: {common}"
        )
        yield Finding("unknown_words", "note", text)


def _is_foreign(text: str, unknown: Counter[str]) -> bool:
    """Return whether a caption is in another language than English."""
    letters = [sign for sign in text if sign.isalpha()]
    latin = sum(unicodedata.name(sign, "").startswith("LATIN") for sign in letters)
    if letters and len(letters) - latin > FOREIGN_SHARE * len(letters):
        return True
    words = [word for word in words_of(re.sub(r'"[^"]*"', " ", text)) if word.isalpha()]
    strange = sum(word in unknown and not english().is_word(word) for word in words)
    return len(words) >= LEAST_WORDS and strange > FOREIGN_SHARE * len(words)


def _check_duplicates(records: Sequence[PictureRecord], scans: Sequence[PictureScan]) -> Iterable[Finding]:
    groups = group_same_pictures(scans)
    if not groups:
        return
    names = tuple(scans[number].name for group in groups for number in group[1:])
    text = (
        f"the same file as one of {len(groups):,} others; sumi data dedup leaves one of each, and finds changed copies"
    )
    yield Finding("duplicate", "warning", text, names)
    captions = [{records[number].caption for number in group} for group in groups]
    if differing := [group for group, texts in zip(groups, captions, strict=True) if len(texts) > 1]:
        text = "the same picture has different captions"
        names = tuple(scans[number].name for group in differing for number in group)
        yield Finding("captions_differ", "warning", text, names)

"""Words: English articles and plurals, and the CLDR names and keywords of emoji.

Idea: what a drawing may be called is data (CLDR annotations, a small table of everyday synonyms); how a
name bends in a sentence is a few rules with a table of exceptions.
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Container, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from sumi.errors import SumiError

__all__ = ["Annotation", "article", "counted", "is_plural", "load_annotations", "plural", "slug", "table"]

ANNOTATION_PLACES = ("cldr/en.xml", "cldr/usr/share/unicode/cldr/common/annotations/en.xml")
SYSTEM_ANNOTATIONS = Path("/usr/share/unicode/cldr/common/annotations/en.xml")

_JOINTS = (" of ", " on ", " with ", " in ", " behind ", " at ", " without ")
_CLAUSE = re.compile(
    r" (?:blowing|coming|covering|doing|exhaling|facing|going|holding|pointing|rolling|savoring|seen|shaking|showing"
    r"|standing|sticking|taking|vomiting|wearing)\b"
)
"""Where a noun ends and what it does begins: 'face | blowing a kiss'."""
_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(frozen=True)
class Annotation:
    """What CLDR says of one emoji: its name and its keywords, in lower case where the source has them so."""

    name: str
    keywords: tuple[str, ...] = ()


def slug(name: str) -> str:
    """An icon name from a CLDR name: 'bear face' -> 'bear-face', "woman's hat" -> 'womans-hat'."""
    plain = name.lower().replace("’", "").replace("'", "").replace("“", "").replace("”", "")
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def load_annotations(folder: str | Path | None = None) -> dict[str, Annotation]:
    """Icon name -> annotation, from CLDR's en.xml under `folder` or where Debian's unicode-cldr-core puts it.

    With neither, the names alone from the `emoji` package; with none of the three, an empty dict (the
    everyday synonyms still serve).
    """
    places = [Path(folder) / place for place in ANNOTATION_PLACES] if folder is not None else []
    for path in (*places, SYSTEM_ANNOTATIONS):
        if path.is_file():
            return read_annotations(path)
    try:
        import emoji
    except ImportError:
        return {}
    names = (str(data["en"]).strip(":").replace("_", " ") for data in emoji.EMOJI_DATA.values())
    return {slug(name): Annotation(name) for name in names}


def read_annotations(path: Path) -> dict[str, Annotation]:
    """The annotations of a CLDR file, keyed by the slug of each name; raises SumiError on anything else."""
    try:
        nodes = list(ElementTree.parse(path).iter("annotation"))
    except (OSError, ElementTree.ParseError) as error:
        raise SumiError(f"cannot read CLDR annotations from {path}: {error}") from error
    keywords = {n.get("cp"): n.text or "" for n in nodes if n.get("type") is None}
    named = {n.get("cp"): (n.text or "").strip() for n in nodes if n.get("type") == "tts"}
    split = {cp: tuple(w.strip() for w in text.split("|") if w.strip()) for cp, text in keywords.items()}
    return {slug(name): Annotation(name, split.get(cp, ())) for cp, name in named.items() if slug(name)}


@cache
def table(name: str) -> Mapping[str, Any]:
    """A JSON table that ships beside this module, by file name without its ending."""
    loaded: Mapping[str, Any] = json.loads((resources.files("sumi.data") / f"{name}.json").read_text("utf-8"))
    return loaded


def article(word: str) -> str:
    """The phrase with its article, or bare where English wants none: 'an owl', 'a unicorn', 'blue jeans'."""
    bends = table("english")
    if is_plural(word) or _ending(word, bends["mass"]) or _ending(word, bends["proper"]):
        return word
    first = word.split()[0].lower()
    says_vowel = first[0] in "aeiou" and not first.startswith(tuple(bends["consonant_starts"]))
    return f"{'an' if says_vowel or first.startswith(tuple(bends['vowel_starts'])) else 'a'} {word}"


def plural(word: str) -> str:
    """The plural of a phrase, bending its head noun: 'red foxes', 'fish', 'glasses of milk'."""
    bends = table("english")["plural"]
    known = _ending(word, bends)
    if known:
        return word[: len(word) - len(known)] + str(bends[known])
    if is_plural(word):
        return word
    head = _head(word)
    if head != word:
        return plural(head) + word[len(head) :]
    lead, space, last = word.rpartition(" ")
    return f"{lead}{space}{_plural_noun(last)}"


def is_plural(word: str) -> bool:
    """Whether the phrase is a plural already: 'red glasses' is, 'stack of books' is not."""
    return bool(_ending(_head(word), table("english")["plural_only"]))


def counted(count: int, word: str) -> str:
    """A spoken count of a phrase: 'a fox', 'two red foxes', 'three pairs of glasses'."""
    if count == 1:
        return article(word)
    number = _NUMBERS[count] if 0 <= count < len(_NUMBERS) else str(count)
    measures = table("english")["measure"]
    measured = _ending(word, measures)
    return f"{number} {measures[measured]} of {word}" if measured else f"{number} {plural(word)}"


def _ending(phrase: str, known: Container[str]) -> str:
    """The longest run of last words of `phrase` that `known` holds and that starts in its head, or ''."""
    words = phrase.split(" ")
    for start in range(len(_head(phrase).split(" "))):
        tail = " ".join(words[start:])
        if tail in known:
            return tail
    return ""


def _head(phrase: str) -> str:
    """The phrase up to its first joint or clause: 'stack of books' -> 'stack', 'face blowing a kiss' -> 'face'."""
    cuts = [phrase.index(joint) for joint in _JOINTS if joint in phrase]
    cuts += [clause.start() for clause in [_CLAUSE.search(phrase)] if clause is not None]
    return phrase[: min(cuts)] if cuts else phrase


def _plural_noun(noun: str) -> str:
    if re.search(r"(s|x|z|ch|sh)$", noun):
        return noun + "es"
    if re.search(r"[^aeiou]y$", noun):
        return noun[:-1] + "ies"
    return noun + "s"

"""Captions that a machine wrote, each with the reason, as Whisper's authors found transcripts of machines.

A caption that software made teaches its habits: file names, boilerplate of shops, lists of tags, prompts of other
models, templates with one word changed. Each rule looks for one habit. Radford et al. 2022 (arXiv 2212.04356), section
2.1, removed transcripts by case and punctuation; lower case alone is no sign here, since people type so.

    reasons_of(["DSC_0041.JPG", "my cat asleep"])    [("file_name",), ()]
"""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, partial
from importlib import resources
from itertools import takewhile
from typing import Any

from sumi.conditioning.lexicon import words_of

__all__ = ["CAPTION_BY", "REASONS", "is_marked", "reasons_of"]

CAPTION_BY = "caption_by"
"""The field that says who wrote a caption; it begins with "machine" where that was a model."""

REASONS: Mapping[str, str] = {
    "marked": "the data set says that a machine wrote it",
    "case": "all capitals, or Every Word Capitalised",
    "punctuation": "separators of page titles, or more signs than letters",
    "markup": "tags, addresses or place holders of a program",
    "file_name": "the name of a file",
    "placeholder": "a word that stands for a missing caption",
    "boilerplate": "phrases of shops and agencies",
    "assistant": "phrases of captioning models",
    "prompt": "words of prompts for image models",
    "tags": "a list of tags",
    "entropy": "the same words or letters again and again",
    "template": "many captions differ from it in one place",
    "near_identical": "many pictures have the same caption",
}
"""The rules, and what each looks for."""

MANY = 5
"""So many captions make a template, or a caption that is the same for many pictures."""
SHORTEST_TEMPLATE, LONGEST_SLOT = 4, 3
"""Words of a template that stay, and words of its slot."""
SHORTEST_REPEATED = 4
"""Shorter captions, such as labels, may be the same for many pictures."""

FUNCTION_WORDS = frozenset(
    "a an and are as at be by for from has have he her him his i in is it its me my of on or our she that the their "
    "them there they this to was we were while who with you your over under behind near into after before".split()
)
_SUFFIX = re.compile(r"\.(?:jpe?g|png|webp|gif|tiff?|bmp|heic|svg|psd|raw|cr2)\b", re.IGNORECASE)
_CAMERA = re.compile(
    r"^(?:img|dsc[nf]?|pxl|mvimg|p|pict|gopr|screen ?shot|image|photo|picture|pic|scan|file|untitled|copy of)?"
    r"[\s_\-#(]*\d[\d\s_\-.:()x]*(?:at|copy|final|edit(?:ed)?|large|small|v)?[\s_\-\d().:]*$",
    re.IGNORECASE,
)
_GLUED = re.compile(r"^\S*[a-z0-9][_\-+][a-z0-9]\S*$", re.IGNORECASE)
_HASH = re.compile(r"\b[0-9a-f]{12,}\b|\b[0-9a-f]{8}-[0-9a-f]{4}-", re.IGNORECASE)


@cache
def _phrases(section: str) -> list[re.Pattern[str]]:
    """The regular expressions of a section of machine_phrases.txt."""
    lines = (resources.files("sumi.curation") / "machine_phrases.txt").read_text("utf-8").splitlines()
    start = lines.index(f"[{section}]") + 1
    some = takewhile(lambda line: not re.fullmatch(r"\[[a-z ]+\]", line), lines[start:])
    return [re.compile(line, re.IGNORECASE) for line in some if line]


def reasons_of(captions: Sequence[str]) -> list[tuple[str, ...]]:
    """Return for each caption the rules by which a machine wrote it; an empty tuple for one that a person wrote.

    Args:
        captions: of one data set, since templates show only in many.
    """
    found = [[code for code, rule in RULES.items() if rule(text)] for text in captions]
    repeated = find_repeated(captions)
    for number, slot in enumerate(find_templates(captions)):
        found[number] += ["template"] * (slot and number not in repeated)
        found[number] += ["near_identical"] * (number in repeated)
    return [tuple(codes) for codes in found]


def is_marked(fields: Mapping[str, Any]) -> bool:
    """Return whether the fields of a row say that a machine wrote its caption."""
    return str(fields.get(CAPTION_BY, "")).startswith("machine")


def has_odd_case(text: str) -> bool:
    """Return whether a caption is all capitals, or every word of a long one begins with a capital."""
    words = [word for word in re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)?", text) if len(word) > 1]
    letters = "".join(words)
    if len(words) >= 2 and len(letters) >= 8 and letters.isupper():
        return True
    capital = all(word[0].isupper() for word in words)
    return capital and len(words) >= 5


def has_odd_punctuation(text: str) -> bool:
    """Return whether a caption has separators of page titles, repeated signs, or more signs than letters."""
    if re.search(r"\s[|»•·~]+\s|::|>>|\|\||[-_=*.]{4,}|[!?]{3,}|\s[-–—]\s.*\s[-–—]\s|^\W+\w", text):
        return not text.startswith(('"', "'", "“", "¿", "¡", "‘"))
    signs = [sign for sign in text if not sign.isspace()]
    letters = sum(sign.isalpha() for sign in signs)
    return len(signs) >= 4 and 2 * letters < len(signs)


def is_file_name(text: str) -> bool:
    """Return whether a caption is the name of a file, or holds a hash."""
    stripped = text.strip()
    if _SUFFIX.search(stripped) or _HASH.search(stripped) or _CAMERA.match(stripped):
        return True
    joints = len(re.findall(r"[_\-+]", stripped))
    return bool(_GLUED.match(stripped)) and (joints >= 2 or "_" in stripped or any(sign.isdigit() for sign in stripped))


def is_tag_list(text: str) -> bool:
    """Return whether a caption is a list of tags: short pieces without a function word, or hashtags."""
    if len(re.findall(r"#\w", text)) >= 2:
        return True
    pieces = [words_of(piece) for piece in re.split(r"[,;/|]", text) if piece.strip()]
    if len(pieces) < 4:
        return False
    short = [piece for piece in pieces if len(piece) <= 3 and not FUNCTION_WORDS & set(piece)]
    return len(short) >= 0.75 * len(pieces)


def has_low_entropy(text: str) -> bool:
    """Return whether a caption says the same words, or the same letters, again and again."""
    words = words_of(text)
    content = [word for word in words if word not in FUNCTION_WORDS]
    if len(content) >= 4 and max(Counter(content).values()) >= max(3, 0.4 * len(content)):
        return True
    if len(words) >= 10 and len(zlib.compress(text.casefold().encode())) < 0.6 * len(text):
        return True
    letters = Counter(sign for sign in text.casefold() if not sign.isspace())
    total = letters.total()
    entropy = -sum(n / total * math.log2(n / total) for n in letters.values()) if total else 0.0
    return total >= 6 and entropy < 1.6


def find_templates(captions: Sequence[str]) -> list[bool]:
    """Return for each caption whether at least MANY of them differ from it in one slot alone."""
    fills: dict[tuple[tuple[str, ...], tuple[str, ...]], set[tuple[str, ...]]] = defaultdict(set)
    worded = [words_of(text) for text in captions]
    for words in worded:
        for before, slot, after in slots_of(words):
            fills[before, after].add(slot)
    return [any(len(fills[before, after]) >= MANY for before, _, after in slots_of(words)) for words in worded]


def slots_of(words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]]:
    """Yield each way to split words into what comes before a slot, the slot, and what comes after it."""
    for size in range(1, min(LONGEST_SLOT, len(words) - SHORTEST_TEMPLATE) + 1):
        for start in range(len(words) - size + 1):
            before, after = words[:start], words[start + size :]
            if len([word for word in (*before, *after) if word not in FUNCTION_WORDS]) >= 2:
                yield before, words[start : start + size], after


def find_repeated(captions: Sequence[str]) -> set[int]:
    """Return the numbers of captions that at least MANY pictures have, but for case, numbers and the order of words."""
    groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, text in enumerate(captions):
        words = tuple(sorted(word for word in words_of(text) if not word.isdigit()))
        if len(words) >= SHORTEST_REPEATED:
            groups[words].append(number)
    return {number for numbers in groups.values() if len(numbers) >= MANY for number in numbers}


def has_phrase(section: str, text: str) -> bool:
    """Return whether a caption has a phrase of a section of machine_phrases.txt."""
    return any(phrase.search(text) for phrase in _phrases(section))


def is_prompt(text: str) -> bool:
    """Return whether a caption is a prompt for an image model: by one strong sign, or by two weak ones."""
    return has_phrase("prompt", text) or sum(bool(word.search(text)) for word in _phrases("prompt words")) >= 2


RULES: Mapping[str, Callable[[str], bool]] = {
    "case": has_odd_case,
    "punctuation": has_odd_punctuation,
    "markup": partial(has_phrase, "markup"),
    "file_name": is_file_name,
    "placeholder": lambda text: has_phrase("placeholder", text.strip(" .!:[]()<>")),
    "boilerplate": partial(has_phrase, "boilerplate"),
    "assistant": partial(has_phrase, "assistant"),
    "prompt": is_prompt,
    "tags": is_tag_list,
    "entropy": has_low_entropy,
}

"""Spellings: a text in the forms in which a listed word may hide in it.

    text -> its words in its own script
         -> its words in Latin letters: look-alikes, digits for letters, accents and invisible characters undone
         -> the same with letters joined that stand apart, with neighbours joined, and with repeated letters reduced

A form is words between single spaces, so that " word " is found by searching.
"""

from __future__ import annotations

import itertools
import re
import sys
import unicodedata
from collections.abc import Collection, Iterator, Mapping
from typing import Final

__all__ = ["find_near_words", "index_deletions", "spell"]

_TABLE: Final = (
    "аa аa вb еe сc ԁd һh іi ӏl јj ҝk кk мm пn оo рp ԛq гr ѕs тt цu ѵv шw ԝw хx уy ґr ёe "  # Cyrillic
    "αa βb ϲc δd εe ϝf ηn ιi κk λl μu νv οo ρp σo τt υu φo χx ωw γy ϳj "  # Greek
    "աw ցg եe հh ոn ռn սu քp օo ѕs յj Լl Տs "  # Armenian
    "ᴀa ʙb ᴄc ᴅd ᴇe ꜰf ɢg ʜh ɪi ᴊj ᴋk ʟl ᴍm ɴn ᴏo ᴘp ꞯq ʀr ꜱs ᴛt ᴜu ᴠv ᴡw ʏy ᴢz "  # Latin small capitals
    "ɑa ɐa ɓb ƈc ɖd ɗd ǝe əe ɛe ƒf ɠg ɡg ɦh ıi ɨi ɩi ƙk łl ɭl ɱm ɲn ŋn øo ɵo ƥp ʠq ɍr ʂs ƨs ƭt ŧt ʉu ʋv ʍw ƴy ȥz đd ħh"
)
_LOOKALIKES: Final = {ord(pair[0]): pair[1] for pair in _TABLE.split()}
_LOOKALIKES.update({0x1F1E6 + place: chr(97 + place) for place in range(26)})  # regional indicators
for first in (0x1F130, 0x1F150, 0x1F170):  # letters in squares and circles
    _LOOKALIKES.update({first + place: chr(97 + place) for place in range(26)})
_INVISIBLE: Final = {
    code: None for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) in ("Mn", "Me", "Cf")
} | dict.fromkeys((0x115F, 0x1160, 0x2800, 0x3164, 0xFFA0))
"""Accents, invisible characters and blank letters, by code point."""
_UNPRINTED: Final = {code: None for code in _INVISIBLE if unicodedata.category(chr(code)) != "Mn"}
"""Invisible characters that are no accents, which some scripts need."""
_DIGITS: Final = str.maketrans("013457689@$!|€£+", "oieastgbgasileLt".lower())
_DIGITS_L: Final = str.maketrans("013457689@$!|€£+", "oleastgbgasileLt".lower())
_WORD: Final = re.compile(r"[\w@$€£](?:[\w@$€£!|+*'’]*[\w@$€£])?")
_SHORT_WORDS: Final = frozenset(
    "a an and are as at be but by do for from go has he her him his i if in is it its me my no not of off on or our out"
    " she so the to up us was we who you".split()
)
_REPEATED: Final = ((re.compile(r"(\w)\1+"), r"\1"), (re.compile(r"(\w)\1{2,}"), r"\1\1"))
MOST_MASKS: Final = 2
SHORTEST_FUZZY: Final = 5


def spell(text: str, whole_words: Collection[str] = ()) -> list[str]:
    """Return the forms of a text, each as words between single spaces.

    Args:
        text: any text.
        whole_words: words that count where two neighbours make one of them: nu de.
    """
    composed = unicodedata.normalize("NFKC", text).casefold()
    plain = _words(composed if composed.isascii() else composed.translate(_UNPRINTED))
    stripped = text if text.isascii() else unicodedata.normalize("NFKD", text).translate(_INVISIBLE)
    latin = unicodedata.normalize("NFKD", stripped.casefold().translate(_LOOKALIKES)).casefold()
    latin = latin.replace("'", "").replace("’", "").replace("_", " ")
    forms = [plain]
    for digits in (_DIGITS, _DIGITS_L):
        words = [word if word.isdecimal() else word.translate(digits) for word in _WORD.findall(latin)]
        joined = re.sub(r"\b\w(?: \w\b){2,}", _join_letters, " ".join(words))
        forms.append(f" {joined} ")
        forms += [f" {pattern.sub(kept, joined)} " for pattern, kept in _REPEATED]
        pairs = [one + other for one, other in _neighbours(joined.split()) if one + other in whole_words]
        if pairs:
            forms.append(f" {' '.join(pairs)} ")
    return list(dict.fromkeys(forms))


def find_near_words(form: str, deletions: Mapping[str, Collection[str]], others: Collection[str]) -> set[str]:
    """Return the listed words from which a word of a form is one typing mistake away, or that it masks: n*de.

    Args:
        form: words between single spaces.
        deletions: see `index_deletions`.
        others: words that are no mistakes.
    """
    found: set[str] = set()
    for word in set(form.split()):
        if "*" in word:
            found |= _unmask(word, deletions)
        elif SHORTEST_FUZZY <= len(word) <= 24 and word not in others and word not in deletions.get(word, ()):
            near = {listed for shorter in (word, *_delete_one(word)) for listed in deletions.get(shorter, ())}
            found |= {listed for listed in near if len(listed) >= SHORTEST_FUZZY and _is_one_mistake(word, listed)}
    return found


def index_deletions(words: Collection[str]) -> dict[str, list[str]]:
    """Return listed words by themselves and by what is left of them without one letter (SymSpell)."""
    index: dict[str, list[str]] = {}
    for word in words:
        for shorter in dict.fromkeys((word, *_delete_one(word))):
            index.setdefault(shorter, []).append(word)
    return index


def _words(text: str) -> str:
    words = re.findall(r"[^\W_]+", text)
    return f" {' '.join(words)} "


def _join_letters(letters: re.Match[str]) -> str:
    """Return spaced-out letters as a word, with and without the first, which may be a word of its own: a n u d e."""
    word = letters[0].replace(" ", "")
    return f"{word} {word[1:]}"


def _neighbours(words: list[str]) -> Iterator[tuple[str, str]]:
    """Yield neighbours that may be one word: at least one is short and neither is a common word."""
    for one, other in itertools.pairwise(words):
        if min(len(one), len(other)) <= 4 and one not in _SHORT_WORDS and other not in _SHORT_WORDS:
            yield one, other


def _delete_one(word: str) -> list[str]:
    return [word[:place] + word[place + 1 :] for place in range(len(word))]


def _is_one_mistake(one: str, other: str) -> bool:
    """Whether one letter was left out, added or replaced, or two neighbours swapped; the first letter stays."""
    if one == other or one[0] != other[0]:
        return False
    if len(one) == len(other):
        places = [place for place, pair in enumerate(zip(one, other, strict=True)) if pair[0] != pair[1]]
        swapped = len(places) == 2 and places[1] == places[0] + 1
        return len(places) == 1 or (
            swapped and one[places[0]] == other[places[1]] and one[places[1]] == other[places[0]]
        )
    longer, shorter = sorted((one, other), key=len, reverse=True)
    return len(longer) == len(shorter) + 1 and shorter in _delete_one(longer)


def _unmask(word: str, deletions: Mapping[str, Collection[str]]) -> set[str]:
    """Return the listed words that a word with one or two stars for letters may be."""
    if word.count("*") > MOST_MASKS or len(word) < 4 or len(word.replace("*", "")) < 2:
        return set()
    pattern = re.compile(re.escape(word).replace(r"\*", "."))
    listed = {one for ones in deletions.values() for one in ones}
    return {one for one in listed if pattern.fullmatch(one)}

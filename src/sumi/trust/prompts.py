"""A word policy: it refuses a prompt for its words, by lists that anybody can read below.

    flagged(c)  =  some rule of category c finds one of its words in each of its sets

It knows words, not meanings. A request in other words, or in an unlisted language, passes; a harmless sentence around a
listed word does not. So it guards little: a model draws only what it was taught, and safety begins there. Scores are 0
or 1, because a list is never in doubt.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sumi.errors import SumiError

__all__ = ["CATEGORIES", "NEVER", "ContentPolicyError", "ModerationResult", "check_words", "refuse_never"]

CATEGORIES: Final = (
    "harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent", "self-harm",
    "self-harm/instructions", "self-harm/intent", "sexual", "sexual/minors", "violence", "violence/graphic",
)  # fmt: skip
"""The categories of OpenAI's moderation endpoint."""

NEVER: Final = ("sexual/minors", "hate/threatening", "self-harm/instructions", "illicit/violent")
"""The hard categories: no setting of the API, the command line, the studio or Python permits them."""

Words = frozenset[str]


def _words(text: str) -> Words:
    return frozenset(entry.strip() for entry in text.split(","))


_CHILD = _words(
    "child, children, kid, kids, minor, minors, underage, preteen, teen, teens, teenager, toddler, baby, infant,"
    " schoolgirl, schoolboy, little girl, little boy, loli, shota"
)
_SEXUAL = _words(
    "nude, nudes, nudity, naked, topless, porn, porno, pornographic, pornography, nsfw, hentai, erotic, erotica,"
    " sexual, sexy, sex, orgasm, masturbating, masturbation, genitals, penis, vagina, blowjob, fetish,"
    " lingerie, striptease"
)
_ALWAYS_MINORS = _words("loli, lolicon, shota, shotacon, child porn, child pornography, csam, pedophile, paedophile")
_PEOPLE = _words(
    "jews, jew, muslims, muslim, christians, blacks, gays, gay people, lesbians, trans people, immigrants, refugees,"
    " women, roma, disabled people"
)
_DEMEANED = _words("vermin, subhuman, subhumans, inferior, parasites, cockroaches, deserve to die, should be killed")
_KILL = _words("kill, kills, killing, murder, murdering, exterminate, gas, lynch, lynching, shoot, behead, hang")
_YOU = _words("you, him, her, my neighbour, my neighbor, my boss, my wife, my husband, my teacher, my classmates")
_WANT = _words("i will, i am going to, im going to, i want to, going to, we will")
_SELF = _words("myself, my life, my wrists")
_END = _words("kill, killing, end, ending, cut, cutting, slit, slitting, hang, hanging, hurt, hurting")
_HOW = _words("how to, how do i, instructions, instruct, step by step, guide, recipe, ways to, method")
_SUICIDE = _words("suicide, self harm, kill myself, hang myself, cut myself, starve myself, overdose")
_WEAPON = _words("pipe bomb, bomb, explosive, explosives, nerve agent, sarin, ricin, molotov, ghost gun, land mine")
_CRIME = _words(
    "meth, methamphetamine, crack cocaine, heroin, fentanyl, counterfeit money, fake passport, fake id,"
    " credit card fraud, shoplift, launder money, hotwire a car"
)
_MAKE = _words("make, build, cook, assemble, synthesize, synthesise, manufacture, produce") | _HOW
_GORE = _words(
    "gore, gory, beheading, beheaded, decapitated, decapitation, dismembered, dismemberment, disembowelled,"
    " disemboweled, mutilated, mutilation, entrails, guts spilling, severed head, torture, tortured, bloodbath, snuff"
)
_VIOLENT = _words("massacre, genocide, mass shooting, school shooting, execution by, lynching, stabbed to death")
_INSULT = _words("worthless idiot, piece of shit, fucking idiot, stupid bitch, kill yourself, kys, you are disgusting")

_RULES: Final[tuple[tuple[str, tuple[Words, ...]], ...]] = (
    ("sexual/minors", (_SEXUAL, _CHILD)),
    ("sexual/minors", (_ALWAYS_MINORS,)),
    ("sexual", (_SEXUAL,)),
    ("violence/graphic", (_GORE,)),
    ("violence", (_GORE | _VIOLENT,)),
    ("hate", (_PEOPLE, _DEMEANED | _words("i hate"))),
    ("hate/threatening", (_PEOPLE, _KILL)),
    ("harassment", (_INSULT,)),
    ("harassment/threatening", (_WANT, _KILL, _YOU)),
    ("self-harm", (_SUICIDE,)),
    ("self-harm/intent", (_WANT | _words("i"), _END, _SELF)),
    ("self-harm/instructions", (_HOW, _SUICIDE)),
    ("illicit", (_MAKE, _CRIME | _WEAPON)),
    ("illicit/violent", (_MAKE, _WEAPON)),
)
_DRAWING = r"(?:picture|image|drawing|painting|photo|sticker|emoji|icon|logo)s?"
_HARMLESS = re.compile(
    r"\bnaked mole rats?\b|\bsea cucumbers?\b|\bbath bombs?\b|\bphoto ?bombs?\b|\bsex of the\b"
    rf"|\bmake (?:me |us )?(?:an? |the |some )?(?:\w+ )?{_DRAWING} of\b|\bmake (?:me |us )?an? bomb {_DRAWING}\b"
)
_LOOKALIKES = str.maketrans("аеорсухіѕјԁɡαεονρυικ", "aeopcyxisjdgaeovpuik")
_INVISIBLE = {code: None for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) in ("Mn", "Cf")}
"""Accents and invisible characters, by code point."""
_DIGITS = str.maketrans("013457@$", "oieastas")


@dataclass(frozen=True)
class ModerationResult:
    """The policy's result for a text: a score in [0, 1] for each of `CATEGORIES`."""

    scores: Mapping[str, float]

    @property
    def categories(self) -> dict[str, bool]:
        """Whether each category is flagged."""
        return {name: score >= 0.5 for name, score in self.scores.items()}

    @property
    def never(self) -> bool:
        """Whether a category is flagged that no setting permits."""
        return any(self.categories[name] for name in NEVER)

    @property
    def flagged(self) -> bool:
        """Whether any category is flagged."""
        return any(self.categories.values())


def check_words(text: str) -> ModerationResult:
    """Check a text, any string, against the lists."""
    normalized = _normalize(text)
    found = {category for category, sets in _RULES if all(_contains(normalized, words) for words in sets)}
    return ModerationResult({name: float(name in found) for name in CATEGORIES})


class ContentPolicyError(SumiError):
    """A text falls under a hard category. categories: which ones, of `NEVER`."""

    def __init__(self, categories: Sequence[str]) -> None:
        super().__init__(f"Sumi does not draw this: the words fall under {' and '.join(categories)}")
        self.categories = tuple(categories)


def refuse_never(*texts: str) -> None:
    """Raise ContentPolicyError where the words of a text fall under a hard category."""
    flagged = {name for text in texts for name, found in check_words(text).categories.items() if found}
    if hard := [name for name in NEVER if name in flagged]:
        raise ContentPolicyError(hard)


def _normalize(text: str) -> str:
    """Return the words of a text between single spaces, without case, accents, look-alikes and invisible characters."""
    plain = text if text.isascii() else unicodedata.normalize("NFKD", text).translate(_INVISIBLE)
    plain = plain.casefold().translate(_LOOKALIKES).replace("'", "").replace("’", "")
    words = [word.translate(_DIGITS) if not word.isdecimal() else word for word in re.findall(r"[\w@$]+", plain)]
    joined = " ".join(words).replace("_", " ")
    joined_up = re.sub(r"\b\w(?: \w\b){2,}", _join_letters, joined)
    return f" {_HARMLESS.sub(' ', joined_up)} "


def _join_letters(letters: re.Match[str]) -> str:
    """Return spaced-out letters as a word, with and without the first, which may be a word of its own: a n u d e."""
    word = letters[0].replace(" ", "")
    return f"{word} {word[1:]}"


def _contains(text: str, words: Words) -> bool:
    return any(f" {word} " in text for word in words)

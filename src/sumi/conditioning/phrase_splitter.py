"""Splitting a prompt into phrases: the longest taught ones, and replacements for the rest.

A word that was not taught is replaced, in this order, by the name of an emoji, an everyday stand-in (golden: yellow), a
name with or without spaces (tea pot: teapot), the taught form of the word (foxes: fox), the taught thing that it is a
kind of (terrier: dog), or the taught word that it misspells (elefant: elephant). Otherwise it is unknown.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache

from sumi.conditioning.english import english, everyday_words
from sumi.conditioning.lexicon import Kind, Lexicon, Phrase, words_of
from sumi.conditioning.prompt_suggestions import NEGATIONS
from sumi.conditioning.spelling import correct_spelling

__all__ = ["has_emoji", "split_phrases"]

LONGEST_COMPOUND = 3
MOST_WORDS = 100
"""The number of tokens of a prompt that are read; a model reads fewer."""
_TOKEN = re.compile(r'"[^"]*"|[^\W_]+(?:\'[^\W_]+)*|[^\w\s]')
_STRAIGHT = str.maketrans({"“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "’": "'", "‘": "'"})
_BREAKS = frozenset(",.;:!?—–|/\n()[]")
_BREAK = Phrase(Kind.BREAK, ",")
_CHARACTERS = re.compile(r"[a-z]|[0-9]{1,5}")
_DIGITS = re.compile(r"[0-9]{1,5}")
_NAMED_CHARACTERS = {
    "letter": re.compile(r"[a-z]"), "number": _DIGITS, "digit": _DIGITS, "numeral": _DIGITS,
    "word": re.compile(r"[a-z0-9]{1,10}"),
}  # fmt: skip
"""What follows a word that asks for characters."""
_ENDS_NEGATION = frozenset({Kind.BREAK, Kind.RELATION, Kind.CONJUNCTION, Kind.BACKGROUND, Kind.STYLE, Kind.QUOTE})
StandIn = tuple[str, str]


def has_emoji(prompt: str) -> bool:
    """Return whether a prompt contains an emoji."""
    return any(emoji for _, emoji in _split_emoji(prompt))


def split_phrases(prompt: str, lexicon: Lexicon) -> tuple[list[Phrase], list[StandIn]]:
    """Split a prompt into phrases.

    Args:
        prompt: cleaned.
        lexicon: of the model.

    Returns:
        The phrases in order, and pairs of the words of the prompt and the word that replaced them.
    """
    tokens = _tokens(prompt)[:MOST_WORDS]
    phrases: list[Phrase] = []
    stand_ins: list[StandIn] = []
    place = 0
    while place < len(tokens):
        read, length, replaced = _read_phrase(tokens, place, lexicon)
        phrases += read
        stand_ins += replaced
        place += length
    return (_join_negations(phrases) if lexicon.structured else phrases), stand_ins


def _join_negations(phrases: Sequence[Phrase]) -> list[Phrase]:
    """Join each negation into one unknown phrase: training captions never say what is absent."""
    read: list[Phrase] = []
    place = 0
    while place < len(phrases):
        length = _negation_length(phrases, place) if phrases[place].surface in NEGATIONS else 1
        text = " ".join(phrase.surface or phrase.canonical for phrase in phrases[place : place + length])
        read.append(phrases[place] if length == 1 else Phrase(Kind.UNKNOWN, text, surface=text))
        place += length
    return read


def _negation_length(phrases: Sequence[Phrase], place: int) -> int:
    """Return the number of phrases of a negation, up to the last thing that it denies; 1 where it denies none."""
    length = 1
    for number, phrase in enumerate(phrases[place + 1 :], start=2):
        if phrase.kind is Kind.THING:
            length = number
        elif phrase.kind in _ENDS_NEGATION or (length > 1 and phrase.surface not in ("or", "nor", "any", "a", "an")):
            break
    return length


def _tokens(prompt: str) -> list[str]:
    """Return words in lower case, quoted strings, and punctuation; an emoji is its name between commas."""
    parts = _split_emoji(prompt.translate(_STRAIGHT))  # before NFKC, which writes some emoji as letters
    text = "".join(f" , {english().emoji[part]} , " if emoji else part for part, emoji in parts)
    text = unicodedata.normalize("NFKC", text)
    return [token if token[0] == '"' else token.casefold() for token in _TOKEN.findall(text)]


def _split_emoji(text: str) -> Iterator[tuple[str, bool]]:
    """Yield the parts of a text, and whether each is an emoji; the longest emoji wins."""
    if text.isascii():
        yield text, False
        return
    longest, place = _longest_emoji(), 0
    while place < len(text):
        most = longest.get(text[place], 0)
        lengths = (length for length in range(most, 0, -1) if text[place : place + length] in english().emoji)
        length = next(lengths, 0)
        yield text[place : place + (length or 1)], length > 0
        place += length or 1


@cache
def _longest_emoji() -> dict[str, int]:
    """Return the length of the longest emoji for each first character."""
    longest: dict[str, int] = {}
    for emoji in english().emoji:
        longest[emoji[0]] = max(longest.get(emoji[0], 0), len(emoji))
    return longest


def _read_phrase(tokens: Sequence[str], place: int, lexicon: Lexicon) -> tuple[list[Phrase], int, list[StandIn]]:
    """Return the phrases that begin at a place, the number of their tokens, and the replacements."""
    token = tokens[place]
    if token[0] == '"':
        return [Phrase(Kind.QUOTE, token, surface=token)], 1, []
    if not token[0].isalnum():
        return ([_BREAK] if token in _BREAKS else []), 1, []
    if not lexicon.structured:
        return _read_listed_word(token, lexicon)
    if (written := _read_characters(tokens, place, lexicon)) is not None:
        return written
    taught = _find_taught(tokens, place, lexicon)
    length = len(taught[1]) if taught else 0
    compound = _find_compound(tokens, place, length, lexicon)
    if compound is not None:
        return compound
    if taught is not None:
        phrase, words = taught
        stand_ins = [(" ".join(words), phrase.canonical)] if tuple(words) in lexicon.aliases else []
        return [_with_surface(phrase, " ".join(words))], _count_tokens(tokens, place, len(words)), stand_ins
    return _replace_word(tokens, place, lexicon)


def _read_characters(
    tokens: Sequence[str], place: int, lexicon: Lexicon
) -> tuple[list[Phrase], int, list[StandIn]] | None:
    """Return letters or digits that are asked for as such, as if quoted: 'the letter A', 'number 7', or 'B' alone."""
    token, after = tokens[place], tokens[place + 1] if place + 1 < len(tokens) else ""
    taught = lexicon.phrases.get((token,))
    if not lexicon.record["colours"]:  # not a model of captions, but of labels
        return None
    if len(tokens) == 1 and _CHARACTERS.fullmatch(token) and (taught is None or taught.kind is not Kind.THING):
        surface, text, length = token, token, 1
    elif (kind := _NAMED_CHARACTERS.get(token)) is not None and kind.fullmatch(after):
        if after == "a" and place + 2 < len(tokens):  # an article
            return None
        surface, text, length = f"{token} {after}", after, 2
    else:
        return None
    quoted = f'"{text.upper()}"'
    return [Phrase(Kind.QUOTE, quoted, surface=surface)], length, [(surface, quoted)]


def _read_listed_word(token: str, lexicon: Lexicon) -> tuple[list[Phrase], int, list[StandIn]]:
    """Do the same for a lexicon that is only a list of words."""
    if token in lexicon.words:
        return [Phrase(Kind.THING, token, surface=token)], 1, []
    if (right := correct_spelling(token, lexicon.words, english().is_word)) is not None:
        return [Phrase(Kind.THING, right, surface=token)], 1, [(token, right)]
    for lemma in english().lemmas(token):
        if lemma in lexicon.words:
            return [Phrase(Kind.THING, lemma, surface=token)], 1, [(token, lemma)]
    return [Phrase(Kind.UNKNOWN, token, surface=token)], 1, []


def _take_words(tokens: Sequence[str], place: int, most: int) -> list[str]:
    """Return up to `most` words from a place on, across hyphens, apostrophes and full stops inside a name."""
    words: list[str] = []
    for number, token in enumerate(tokens[place:], start=place):
        if token[0].isalnum():
            words.append(token)
        elif token not in "-'." or not number + 1 < len(tokens):
            break
        if len(words) == most:
            break
    return words


def _count_tokens(tokens: Sequence[str], place: int, count: int) -> int:
    """Return the number of tokens of the next `count` words, with the punctuation between them."""
    end = place
    while count:
        count -= tokens[end][0].isalnum()
        end += 1
    return end - place


def _find_taught(tokens: Sequence[str], place: int, lexicon: Lexicon) -> tuple[Phrase, list[str]] | None:
    """Return the longest taught phrase that begins at a place, and its words."""
    words = _take_words(tokens, place, lexicon.longest)
    for length in range(len(words), 0, -1):
        phrase = lexicon.phrases.get(tuple(words[:length]))
        if phrase is not None:
            return phrase, words[:length]
    return None


def _find_compound(
    tokens: Sequence[str], place: int, taught: int, lexicon: Lexicon
) -> tuple[list[Phrase], int, list[StandIn]] | None:
    """Return the meaning of several words that together mean another thing: 'guinea pig', 'tea pot'."""
    words = _take_words(tokens, place, LONGEST_COMPOUND)
    for length in range(len(words), max(taught, 1), -1):
        some, text = words[:length], " ".join(words[:length])
        span = _count_tokens(tokens, place, length)
        known = [lexicon.phrases.get((word,)) for word in some]
        if text in everyday_words()["not_taught"]:
            return [Phrase(Kind.UNKNOWN, text, surface=text)], span, []
        if (phrases := _find_stand_in(text, lexicon)) is not None:
            return phrases, span, [(text, _join_canonical(phrases))]
        if all(phrase is not None and _describes(phrase, lexicon) for phrase in known[:-1]):
            continue
        if (joined := lexicon.without_spaces.get("".join(some))) is not None:
            return [_with_surface(joined, text)], span, [(text, joined.canonical)]
        if (found := _find_in_dictionary(text, lexicon)) is not None:
            found = found if found.kind is Kind.THING else _find_ending(some, lexicon) or found
            if found.kind is Kind.UNKNOWN and _list_of_things(some, lexicon):
                continue
            return [found], span, [(text, found.canonical)] if found.kind is Kind.THING else []
    return None


def _find_ending(words: Sequence[str], lexicon: Lexicon) -> Phrase | None:
    """Return the taught thing that a longer name ends in: 'strawberry ice cream'. It has two words or more."""
    for start in range(1, len(words) - 1):
        phrase = lexicon.phrases.get(tuple(words[start:]))
        if phrase is not None and phrase.kind is Kind.THING:
            return _with_surface(phrase, " ".join(words))
    return None


def _list_of_things(words: Sequence[str], lexicon: Lexicon) -> bool:
    """Return whether a name joins things by 'and', of which one or more was taught: 'fish and chips'."""
    parts = [lexicon.phrases.get((word,)) for word in words if word != "and"]
    return "and" in words[1:-1] and any(phrase is not None and phrase.kind is Kind.THING for phrase in parts)


def _describes(phrase: Phrase, lexicon: Lexicon) -> bool:
    """Return whether a phrase can describe a thing: it is not a thing, or it is also a colour."""
    return phrase.kind is not Kind.THING or phrase.canonical in lexicon.record["colours"]


def _find_in_dictionary(text: str, lexicon: Lexicon) -> Phrase | None:
    """Return several words that the dictionary has: as a kind of a taught thing, or as one unknown phrase."""
    head, _, last = text.rpartition(" ")
    forms = english().lemmas(last) if _may_be_plural(last) else ()
    for lemma in (text, *(f"{head} {form}" for form in forms)):
        if lemma in english().words:
            thing = _find_kind(lemma, lexicon)
            plural = lemma != text
            unknown = Phrase(Kind.UNKNOWN, text, surface=text)
            return unknown if thing is None else Phrase(Kind.THING, thing, plural, text)
    return None


def _replace_word(tokens: Sequence[str], place: int, lexicon: Lexicon) -> tuple[list[Phrase], int, list[StandIn]]:
    """Return the replacement of one word that was not taught."""
    word = tokens[place]
    if (phrases := _find_stand_in(word, lexicon)) is not None:
        return phrases, 1, [(word, _join_canonical(phrases))]
    if word in everyday_words()["carries_nothing"]:
        return [Phrase(Kind.FILLER, "nothing", surface=word)], 1, []
    if word.isdecimal():
        return _read_number(word, lexicon)
    phrase = (
        lexicon.without_spaces.get(word)
        or _find_taught_form(word, lexicon)
        or _find_kind_of_word(word, lexicon)
        or _correct_word(word, lexicon)
    )
    if phrase is None:
        return [Phrase(Kind.UNKNOWN, word, surface=word)], 1, []
    return [_with_surface(phrase, word)], 1, [(word, phrase.canonical)]


def _read_number(word: str, lexicon: Lexicon) -> tuple[list[Phrase], int, list[StandIn]]:
    """Return a number as a count; a number above the taught ones is the largest of them."""
    if not lexicon.counts or int(word[:9]) < 2:
        return [Phrase(Kind.UNKNOWN, word, surface=word)], 1, []
    most = lexicon.counts[-1]
    return [Phrase(Kind.COUNT, most, surface=word)], 1, [(word, most)]


def _find_stand_in(text: str, lexicon: Lexicon) -> list[Phrase] | None:
    """Return the stand-in for everyday words, in the plural where they are."""
    stand_ins = lexicon.stand_ins
    own = stand_ins.get(text)
    plural = False
    if own is None:
        head, space, last = text.rpartition(" ")
        forms = (head + space + form for form in english().lemmas(last) if form != last)
        own = next((stand_ins[form] for form in forms if form in stand_ins), None) if _may_be_plural(last) else None
        plural = own is not None
    phrase = None if own is None else lexicon.phrases.get(words_of(own))
    if phrase is None:
        return None
    return [Phrase(phrase.kind, phrase.canonical, phrase.plural or (plural and phrase.kind is Kind.THING), text)]


def _may_be_plural(word: str) -> bool:
    """Return whether a word ends like a plural, or is irregular."""
    return word.endswith("s") or word in english().irregular


def _find_taught_form(word: str, lexicon: Lexicon) -> Phrase | None:
    """Return the taught word of which this is a form."""
    for lemma in english().lemmas(word):
        phrase = lexicon.phrases.get((lemma,))
        if lemma != word and phrase is not None and phrase.kind is Kind.THING and _may_be_plural(word):
            return Phrase(Kind.THING, phrase.canonical, plural=True)
    return None


def _find_kind_of_word(word: str, lexicon: Lexicon) -> Phrase | None:
    """Return the taught thing of which this word, or its singular, is a kind."""
    for lemma in english().lemmas(word):
        if (thing := _find_kind(lemma, lexicon)) is not None and (lemma == word or _may_be_plural(word)):
            return Phrase(Kind.THING, thing, plural=lemma != word)
    return None


def _find_kind(lemma: str, lexicon: Lexicon) -> str | None:
    """Return the nearest taught thing of which a noun is a kind."""
    for thing in english().kinds(lemma):
        phrase = lexicon.phrases.get(words_of(thing))
        if phrase is not None and phrase.kind is Kind.THING:
            return phrase.canonical
    return None


def _correct_word(word: str, lexicon: Lexicon) -> Phrase | None:
    """Return the taught word that a misspelt word was meant as."""
    right = correct_spelling(word, lexicon.spellings, english().is_word)
    return None if right is None else lexicon.spellings[right]


def _join_canonical(phrases: Sequence[Phrase]) -> str:
    return " ".join(phrase.canonical for phrase in phrases)


def _with_surface(phrase: Phrase, text: str) -> Phrase:
    return Phrase(phrase.kind, phrase.canonical, phrase.plural, text)

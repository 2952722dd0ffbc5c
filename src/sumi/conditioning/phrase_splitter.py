"""A prompt as phrases: the longest that were taught, then what stands in for the rest.

For words that were not taught, in this order: an emoji's name, an everyday stand-in (golden: yellow), a name written
apart or together (tea pot: teapot), a form of a taught word (foxes: fox), a kind of a taught thing (terrier: dog), and
a misspelling of a taught word (elefant: elephant). What is left is unknown.
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
"""Words and signs of a prompt that are read; a model reads fewer."""
_TOKEN = re.compile(r'"[^"]*"|[^\W_]+(?:\'[^\W_]+)*|[^\w\s]')
_STRAIGHT = str.maketrans({"“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "’": "'", "‘": "'"})
_BREAKS = frozenset(",.;:!?—–|/\n()[]")
_BREAK = Phrase(Kind.BREAK, ",")
_ENDS_NEGATION = frozenset({Kind.BREAK, Kind.RELATION, Kind.JOIN, Kind.GROUND, Kind.STYLE, Kind.LETTERS})
StandIn = tuple[str, str]


def has_emoji(prompt: str) -> bool:
    """Whether a prompt has an emoji in it."""
    return any(emoji for _, emoji in _parts(prompt))


def split_phrases(prompt: str, lexicon: Lexicon) -> tuple[list[Phrase], list[StandIn]]:
    """The phrases of a prompt in order, and what stood in for what."""
    tokens = _tokens(prompt)[:MOST_WORDS]
    phrases: list[Phrase] = []
    stand_ins: list[StandIn] = []
    place = 0
    while place < len(tokens):
        read, length, stood = _next(tokens, place, lexicon)
        phrases += read
        stand_ins += stood
        place += length
    return (_negated(phrases) if lexicon.structured else phrases), stand_ins


def _negated(phrases: Sequence[Phrase]) -> list[Phrase]:
    """The phrases, with 'without a carrot' as one that is unknown: no caption of the training says what is absent."""
    read: list[Phrase] = []
    place = 0
    while place < len(phrases):
        length = _absent(phrases, place) if phrases[place].written in NEGATIONS else 1
        text = " ".join(phrase.written or phrase.said for phrase in phrases[place : place + length])
        read.append(phrases[place] if length == 1 else Phrase(Kind.UNKNOWN, text, written=text))
        place += length
    return read


def _absent(phrases: Sequence[Phrase], place: int) -> int:
    """How many phrases a negation has, up to the last thing that it denies; 1 where it denies none."""
    length = 1
    for number, phrase in enumerate(phrases[place + 1 :], start=2):
        if phrase.kind is Kind.THING:
            length = number
        elif phrase.kind in _ENDS_NEGATION or (length > 1 and phrase.written not in ("or", "nor", "any", "a", "an")):
            break
    return length


def _tokens(prompt: str) -> list[str]:
    """Words in lower case, quoted strings as they are, signs; emoji by their names between breaks."""
    text = unicodedata.normalize("NFKC", prompt.translate(_STRAIGHT))
    text = "".join(f" , {english().emoji[part]} , " if emoji else part for part, emoji in _parts(text))
    return [token if token[0] == '"' else token.casefold() for token in _TOKEN.findall(text)]


def _parts(text: str) -> Iterator[tuple[str, bool]]:
    """A text in parts, and whether each is an emoji, of which the longest counts."""
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
    """The first sign of every emoji -> how many signs the longest has that begins so."""
    longest: dict[str, int] = {}
    for emoji in english().emoji:
        longest[emoji[0]] = max(longest.get(emoji[0], 0), len(emoji))
    return longest


def _next(tokens: Sequence[str], place: int, lexicon: Lexicon) -> tuple[list[Phrase], int, list[StandIn]]:
    """The phrase that begins at a place, how many tokens it has, and what stood in for it."""
    token = tokens[place]
    if token[0] == '"':
        return [Phrase(Kind.LETTERS, token, written=token)], 1, []
    if not token[0].isalnum():
        return ([_BREAK] if token in _BREAKS else []), 1, []
    if not lexicon.structured:
        return _next_word(token, lexicon)
    taught = _taught(tokens, place, lexicon)
    length = len(taught[1]) if taught else 0
    compound = _compound(tokens, place, length, lexicon)
    if compound is not None:
        return compound
    if taught is not None:
        phrase, words = taught
        return [_written(phrase, " ".join(words))], _span(tokens, place, len(words)), []
    return _stood_in(tokens, place, lexicon)


def _next_word(token: str, lexicon: Lexicon) -> tuple[list[Phrase], int, list[StandIn]]:
    """A word of a model of which only the words are known."""
    if token in lexicon.words:
        return [Phrase(Kind.THING, token, written=token)], 1, []
    if (right := correct_spelling(token, lexicon.words, english().is_word)) is not None:
        return [Phrase(Kind.THING, right, written=token)], 1, [(token, right)]
    for lemma in english().lemmas(token):
        if lemma in lexicon.words:
            return [Phrase(Kind.THING, lemma, written=token)], 1, [(token, lemma)]
    return [Phrase(Kind.UNKNOWN, token, written=token)], 1, []


def _run(tokens: Sequence[str], place: int, most: int) -> list[str]:
    """Up to so many words from a place on; only a hyphen or a full stop inside a name may come between."""
    words: list[str] = []
    for number, token in enumerate(tokens[place:], start=place):
        if token[0].isalnum():
            words.append(token)
        elif token not in "-'." or not number + 1 < len(tokens):
            break
        if len(words) == most:
            break
    return words


def _span(tokens: Sequence[str], place: int, count: int) -> int:
    """How many tokens the next so many words take, the signs between them counted."""
    end = place
    while count:
        count -= tokens[end][0].isalnum()
        end += 1
    return end - place


def _taught(tokens: Sequence[str], place: int, lexicon: Lexicon) -> tuple[Phrase, list[str]] | None:
    """The longest taught phrase that begins here, and its words."""
    words = _run(tokens, place, lexicon.longest)
    for length in range(len(words), 0, -1):
        phrase = lexicon.phrases.get(tuple(words[:length]))
        if phrase is not None:
            return phrase, words[:length]
    return None


def _compound(
    tokens: Sequence[str], place: int, taught: int, lexicon: Lexicon
) -> tuple[list[Phrase], int, list[StandIn]] | None:
    """What several words mean together that mean something else apart: 'guinea pig', 'monkey wrench', 'tea pot'."""
    words = _run(tokens, place, LONGEST_COMPOUND)
    for length in range(len(words), max(taught, 1), -1):
        some, text = words[:length], " ".join(words[:length])
        span = _span(tokens, place, length)
        known = [lexicon.phrases.get((word,)) for word in some]
        if text in everyday_words()["not_taught"]:
            return [Phrase(Kind.UNKNOWN, text, written=text)], span, []
        if (phrases := _everyday(text, lexicon)) is not None:
            return phrases, span, [(text, _told(phrases))]
        if all(phrase is not None and _describes(phrase, lexicon) for phrase in known[:-1]):
            continue
        if (joined := lexicon.joined.get("".join(some))) is not None:
            return [_written(joined, text)], span, [(text, joined.said)]
        if (found := _dictionary(text, lexicon)) is not None:
            found = found if found.kind is Kind.THING else _ending(some, lexicon) or found
            if found.kind is Kind.UNKNOWN and _list_of_things(some, lexicon):
                continue
            return [found], span, [(text, found.said)] if found.kind is Kind.THING else []
    return None


def _ending(words: Sequence[str], lexicon: Lexicon) -> Phrase | None:
    """The taught thing of several words that a longer name ends in: 'strawberry ice cream'. One word could mislead."""
    for start in range(1, len(words) - 1):
        phrase = lexicon.phrases.get(tuple(words[start:]))
        if phrase is not None and phrase.kind is Kind.THING:
            return _written(phrase, " ".join(words))
    return None


def _list_of_things(words: Sequence[str], lexicon: Lexicon) -> bool:
    """Whether a name joins things by 'and', of which one or more was taught: 'fish and chips'."""
    parts = [lexicon.phrases.get((word,)) for word in words if word != "and"]
    return "and" in words[1:-1] and any(phrase is not None and phrase.kind is Kind.THING for phrase in parts)


def _describes(phrase: Phrase, lexicon: Lexicon) -> bool:
    """Whether a phrase is no thing, or a colour as well."""
    return phrase.kind is not Kind.THING or phrase.said in lexicon.record["colours"]


def _dictionary(text: str, lexicon: Lexicon) -> Phrase | None:
    """What several words are in the dictionary: a kind of a thing, or unknown as a whole."""
    head, _, last = text.rpartition(" ")
    forms = english().lemmas(last) if _may_be_plural(last) else ()
    for lemma in (text, *(f"{head} {form}" for form in forms)):
        if lemma in english().words:
            thing = _kind(lemma, lexicon)
            plural = lemma != text
            unknown = Phrase(Kind.UNKNOWN, text, written=text)
            return unknown if thing is None else Phrase(Kind.THING, thing, plural, text)
    return None


def _stood_in(tokens: Sequence[str], place: int, lexicon: Lexicon) -> tuple[list[Phrase], int, list[StandIn]]:
    """What one word that was not taught stands for."""
    word = tokens[place]
    if (phrases := _everyday(word, lexicon)) is not None:
        return phrases, 1, [(word, _told(phrases))]
    if word in everyday_words()["carries_nothing"]:
        return [Phrase(Kind.SILENT, "nothing", written=word)], 1, []
    if word.isdecimal():
        return _number(word, lexicon)
    phrase = lexicon.joined.get(word) or _form(word, lexicon) or _kind_of_word(word, lexicon) or _spelt(word, lexicon)
    if phrase is None:
        return [Phrase(Kind.UNKNOWN, word, written=word)], 1, []
    return [_written(phrase, word)], 1, [(word, phrase.said)]


def _number(word: str, lexicon: Lexicon) -> tuple[list[Phrase], int, list[StandIn]]:
    """More than was taught is as many as were."""
    if not lexicon.counts or int(word[:9]) < 2:
        return [Phrase(Kind.UNKNOWN, word, written=word)], 1, []
    most = lexicon.counts[-1]
    return [Phrase(Kind.COUNT, most, written=word)], 1, [(word, most)]


def _everyday(text: str, lexicon: Lexicon) -> list[Phrase] | None:
    """The phrase that stands in for everyday words, in the plural where they are."""
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
    return [Phrase(phrase.kind, phrase.said, phrase.plural or (plural and phrase.kind is Kind.THING), text)]


def _may_be_plural(word: str) -> bool:
    """Whether a word ends as a plural does, or is irregular."""
    return word.endswith("s") or word in english().irregular


def _form(word: str, lexicon: Lexicon) -> Phrase | None:
    """A taught word of which this is a form."""
    for lemma in english().lemmas(word):
        phrase = lexicon.phrases.get((lemma,))
        if lemma != word and phrase is not None and phrase.kind is Kind.THING and _may_be_plural(word):
            return Phrase(Kind.THING, phrase.said, plural=True)
    return None


def _kind_of_word(word: str, lexicon: Lexicon) -> Phrase | None:
    """A taught thing of which this word, or its singular, is a kind."""
    for lemma in english().lemmas(word):
        if (thing := _kind(lemma, lexicon)) is not None and (lemma == word or _may_be_plural(word)):
            return Phrase(Kind.THING, thing, plural=lemma != word)
    return None


def _kind(lemma: str, lexicon: Lexicon) -> str | None:
    """The nearest taught thing of which a noun is a kind."""
    for thing in english().kinds(lemma):
        phrase = lexicon.phrases.get(words_of(thing))
        if phrase is not None and phrase.kind is Kind.THING:
            return phrase.said
    return None


def _spelt(word: str, lexicon: Lexicon) -> Phrase | None:
    """The taught word that a misspelt one was meant as."""
    right = correct_spelling(word, lexicon.spellings, english().is_word)
    return None if right is None else lexicon.spellings[right]


def _told(phrases: Sequence[Phrase]) -> str:
    return " ".join(phrase.said for phrase in phrases)


def _written(phrase: Phrase, text: str) -> Phrase:
    return Phrase(phrase.kind, phrase.said, phrase.plural, text)

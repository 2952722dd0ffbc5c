"""Phrases as groups, a thing with the words that belong to it, and groups said as the captions of training say them.

a | happy | cat | sitting | on | a | sofa   ->   [a cat] on [a couch]        unknown: happy, sitting
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sumi.conditioning.lexicon import Kind, Lexicon, Phrase, words_of

__all__ = ["ParsedPrompt", "ThingPhrase", "parse_phrases", "write_caption"]

SEVERAL = "two"
"""How many a plural without a number is drawn as: no caption of the training leaves the number out."""
_GROUND_LEADS = ("on", "with", "against")
_LETTER_WORDS = frozenset({"word", "text", "letters", "letter", "written", "say", "says", "saying", "that"})


_COLOURED = (Kind.THING, Kind.OUTLINE, Kind.GROUND, Kind.LETTERS, Kind.GENDER)
"""What a colour may stand before."""


@dataclass
class ThingPhrase:
    """A thing and its words. link: what joins it to the group before it."""

    thing: str = ""
    letters: str = ""
    article: bool = False
    count: str = ""
    size: str = ""
    colour: str = ""
    outline: str = ""
    gender: str = ""
    tone: str = ""
    plural: bool = False
    link: str = ""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw in it."""
        return not self.thing and not self.letters


@dataclass
class ParsedPrompt:
    """The groups of a prompt, its styles and the colour behind. changed: whether it must be said in other words."""

    groups: list[ThingPhrase] = field(default_factory=list)
    styles: list[str] = field(default_factory=list)
    ground: str = ""
    unknown: list[str] = field(default_factory=list)
    stand_ins: list[tuple[str, str]] = field(default_factory=list)
    changed: bool = False


def parse_phrases(phrases: Sequence[Phrase], lexicon: Lexicon) -> ParsedPrompt:
    """The groups of phrases, in the order of the prompt; those with nothing to draw are left out."""
    parser = _Parser(list(phrases), lexicon)
    while parser.place < len(parser.phrases):
        parser.step()
    parser.close()
    return parser.finished()


class _Parser:
    """Walks over phrases; `group` is the one that is being read."""

    def __init__(self, phrases: list[Phrase], lexicon: Lexicon) -> None:
        self.lexicon, self.place = lexicon, 0
        self.lettered = any(phrase.kind is Kind.LETTERS for phrase in phrases)
        self.phrases = phrases
        self.reading, self.group, self.link = ParsedPrompt(), ThingPhrase(), ""
        self.written, self.interrupted = "", False

    def peek(self, ahead: int = 1) -> Phrase | None:
        """A phrase further on."""
        place = self.place + ahead
        return self.phrases[place] if place < len(self.phrases) else None

    def step(self) -> None:
        """Read one phrase, or a background whole."""
        phrase = self.phrases[self.place]
        if (length := self.background()) > 0:
            self.place += length
            return
        self.take(self.as_colour(phrase))
        self.place += 1

    def as_colour(self, phrase: Phrase) -> Phrase:
        """A word that is a colour and a thing is the colour where something follows that can have it."""
        after = self.peek()
        coloured = after is not None and after.kind in _COLOURED
        lettered = self.lettered and phrase.written == phrase.said
        if phrase.kind is Kind.THING and phrase.said in self.lexicon.record["colours"] and (coloured or lettered):
            return Phrase(Kind.COLOUR, phrase.said, written=phrase.written)
        return phrase

    def take(self, phrase: Phrase) -> None:
        """Put one phrase where it belongs."""
        group, kind = self.group, phrase.kind
        if self.lettered and phrase.written in _LETTER_WORDS:
            return
        if kind is Kind.THING:
            self.thing(phrase)
        elif kind is Kind.LETTERS:
            group.letters = phrase.said
        elif kind in (Kind.ARTICLE, Kind.COUNT):
            if not group.empty:
                self.close()
            self.group.count = self.group.count or (phrase.said if kind is Kind.COUNT else "")
            self.reading.changed |= phrase.written.isdigit()  # no caption of the training counts in digits
        elif kind in (Kind.COLOUR, Kind.SIZE, Kind.OUTLINE, Kind.GENDER):
            self.describe(phrase)
        elif kind is Kind.TONE:
            group.tone = group.tone or phrase.said
        elif kind is Kind.STYLE:
            self.reading.styles += [phrase.said] if phrase.said not in self.reading.styles else []
            if group.empty and self.link:  # 'a fox in sketch style'
                self.link, self.reading.changed = "", True
        elif kind in (Kind.RELATION, Kind.JOIN, Kind.BREAK):
            self.joint(phrase)
        else:
            self.left_out(phrase)

    def thing(self, phrase: Phrase) -> None:
        """Read a thing; of two in a row, as in 'apple pie', the last is meant, unless it stands in for another word."""
        if self.group.thing and self.interrupted:
            self.close()
        group = self.group
        if group.thing and words_of(phrase.written) not in self.lexicon.phrases:
            self.reading.unknown.append(phrase.written)
            return
        if group.thing:
            self.reading.stand_ins.append((f"{self.written} {phrase.written}", phrase.said))
            self.reading.changed = True
        group.thing, group.plural, self.written = phrase.said, phrase.plural, phrase.written
        self.interrupted = False

    def describe(self, phrase: Phrase) -> None:
        """Read a word that describes the thing after it, or the one before it where none follows."""
        name = phrase.kind.name.lower()
        if not self.group.empty and self.thing_ahead() and not self.lettered:
            self.close()
        elif self.group.thing:
            self.reading.changed = True
        if getattr(self.group, name):
            self.reading.changed = True
        else:
            setattr(self.group, name, phrase.said)

    def thing_ahead(self) -> bool:
        """Whether a thing comes before this group must end."""
        ends = (Kind.RELATION, Kind.JOIN, Kind.BREAK, Kind.ARTICLE, Kind.COUNT)
        for phrase in self.phrases[self.place + 1 :]:
            if phrase.kind in ends:
                return False
            if phrase.kind in (Kind.THING, Kind.LETTERS):
                return True
        return False

    def joint(self, phrase: Phrase) -> None:
        """Read what stands between two groups."""
        two_colours = phrase.kind is Kind.JOIN and self.group.empty and self.group.colour
        if two_colours or (self.lettered and phrase.said == "in" and self.group.letters):
            self.reading.changed |= bool(two_colours)
            return
        self.close()
        if phrase.kind is Kind.BREAK:
            return
        self.reading.changed |= bool(self.link) and self.link != "and"
        self.link = phrase.said

    def left_out(self, phrase: Phrase) -> None:
        """Pass over what carries nothing, and remember what is not known."""
        if self.lettered and phrase.written == "the":
            return
        self.interrupted = True
        if phrase.kind is Kind.SILENT:
            style_next = (after := self.peek()) is not None and after.kind is Kind.STYLE
            self.reading.changed |= bool(phrase.said) and not (phrase.written == "the" and style_next)
        else:
            self.reading.unknown.append(phrase.written)

    def background(self) -> int:
        """Read '(on) (a) blue background'; returns how many phrases it has, 0 where there is none here."""
        lead = 0
        first = self.peek(0)
        if first is not None and first.kind is Kind.RELATION and first.said in _GROUND_LEADS:
            lead = 1
        if lead and (second := self.peek(1)) is not None and (second.kind is Kind.ARTICLE or second.written == "the"):
            lead = 2
        for length in (lead + 1, lead + 2):
            last, between = self.peek(length - 1), self.phrases[self.place + lead : self.place + length - 1]
            clear = all(phrase.kind in (Kind.COLOUR, Kind.THING, Kind.UNKNOWN) for phrase in between)
            if last is not None and last.kind is Kind.GROUND and clear:
                self.close()
                self.behind(self.phrases[self.place + lead : self.place + length])
                return length
        return 0

    def behind(self, phrases: Sequence[Phrase]) -> None:
        """Take the colour of a background."""
        colour = phrases[0].said
        if phrases[-1].said == "transparent" or colour in self.lexicon.record["colours"]:
            self.reading.ground = phrases[-1].said if len(phrases) == 1 else colour
        else:
            self.reading.unknown.append(" ".join(phrase.written for phrase in phrases))

    def close(self) -> None:
        """End the group; one without a thing lends its colour to a thing beside it, and is left out."""
        group, reading = self.group, self.reading
        self.group, before = ThingPhrase(), reading.groups[-1] if reading.groups else None
        if not group.empty:
            group.link, self.link = self.link, ""
            reading.groups.append(group)
            return
        if group.colour and before is not None and not before.colour and not self.link:
            before.colour, reading.changed = group.colour, reading.changed or not before.letters
        elif group.colour and before is None:
            self.group.colour, reading.changed = group.colour, True
        elif group.colour or group.size or group.count or group.outline:
            reading.changed = True
        if group.gender:
            reading.unknown.append(group.gender)
        if group.tone and before is not None and not before.tone:
            before.tone = group.tone
        elif group.tone:
            reading.unknown.append(f"{group.tone} skin")
        if self.link and not (group.empty and self.link in ("touching", "apart")):
            self.link = ""

    def finished(self) -> ParsedPrompt:
        """The groups, less what was never taught of them."""
        reading = self.reading
        reading.changed |= bool(self.link) and self.link not in ("touching", "apart")
        for number, group in enumerate(reading.groups):
            if group.thing not in self.lexicon.roles:
                reading.unknown += [group.gender] if group.gender else []
                reading.unknown += [f"{group.tone} skin"] if group.tone else []
                group.gender = group.tone = ""
            if bool(group.count) != group.plural and not group.letters:
                group.count, reading.changed = group.count or SEVERAL, True
            if number == 0 and group.link:
                group.link, reading.changed = "", True
        return reading


def write_caption(reading: ParsedPrompt, lexicon: Lexicon) -> str:
    """A reading in the words of the captions that the model was trained on."""
    text = ""
    for number, group in enumerate(reading.groups):
        last = number == len(reading.groups) - 1 or reading.groups[number + 1].link not in ("", "and")
        joint = group.link if group.link not in ("", "and") else "and" if last else ","
        text += ("" if number == 0 else f" {joint} " if joint != "," else ", ") + _noun_phrase(group, lexicon)
    for style in reading.styles:
        text = str(lexicon.record["styles"][style]["said"]).format(text)
    if reading.ground:
        text += f" on {_article(reading.ground)} {reading.ground} background"
    return text


def _noun_phrase(group: ThingPhrase, lexicon: Lexicon) -> str:
    """A group: 'two small red foxes', 'a woman farmer with dark skin'."""
    if group.letters:
        return f"the word {group.letters} in {group.colour or 'black'} letters"
    lead = " ".join(filter(None, (group.size, group.outline, group.colour, group.gender)))
    tone = f" with {group.tone} skin" if group.tone else ""
    if group.count:
        return " ".join(filter(None, (group.count, lead, lexicon.several(group.thing)))) + tone
    one = lexicon.one(group.thing)
    if lead and one.startswith(("a ", "an ")):
        one = f"{_article(lead)} {lead} {one.partition(' ')[2]}"
    elif lead:
        one = f"{lead} {one}"
    return one + tone


def _article(words: str) -> str:
    return "an" if words[0] in "aeiou" else "a"

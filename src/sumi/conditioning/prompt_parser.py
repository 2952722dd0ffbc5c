"""Parsing phrases into things with their attributes, and writing these as training captions do.

a | happy | cat | sitting | on | a | sofa   ->   [a cat] on [a couch]        unknown: happy, sitting
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sumi.conditioning.lexicon import Kind, Lexicon, Phrase, words_of

__all__ = ["ParsedPrompt", "ThingPhrase", "parse_phrases", "write_caption"]

SEVERAL = "two"
"""The count of a plural without a number: training captions always say the number."""
_BACKGROUND_LEADS = ("on", "with", "against")
_QUOTE_LEADS = frozenset({"word", "text", "letters", "letter", "written", "say", "says", "saying", "that"})


_TONE_OF_COLOUR = {"black": "dark", "brown": "medium dark", "white": "light"}
"""The skin tone that a colour means before a person: 'a black woman'. People are taught in tones and in no colour."""
_COLOURED = (Kind.THING, Kind.OUTLINE, Kind.BACKGROUND, Kind.QUOTE, Kind.GENDER)
"""The kinds of phrases that a colour may precede."""


@dataclass
class ThingPhrase:
    """A thing and its attributes; `relation` is the relation or conjunction before it."""

    noun: str = ""
    letters: str = ""
    article: bool = False
    count: str = ""
    size: str = ""
    colour: str = ""
    outline: str = ""
    gender: str = ""
    tone: str = ""
    plural: bool = False
    relation: str = ""

    @property
    def empty(self) -> bool:
        """Whether it names nothing to draw."""
        return not self.noun and not self.letters


@dataclass
class ParsedPrompt:
    """A parsed prompt.

    Args:
        things: the things in order.
        styles: of the picture.
        background: its colour.
        unknown: phrases that are left out.
        stand_ins: pairs of words of the prompt and the thing that replaced them.
        changed: whether the prompt must be rewritten in the words of training captions.
    """

    things: list[ThingPhrase] = field(default_factory=list)
    styles: list[str] = field(default_factory=list)
    background: str = ""
    unknown: list[str] = field(default_factory=list)
    stand_ins: list[tuple[str, str]] = field(default_factory=list)
    changed: bool = False


def parse_phrases(phrases: Sequence[Phrase], lexicon: Lexicon) -> ParsedPrompt:
    """Parse phrases into things, in the order of the prompt; a phrase that names nothing to draw is left out."""
    parser = _Parser(list(phrases), lexicon)
    while parser.place < len(parser.phrases):
        parser.step()
    parser.close()
    return parser.finish()


class _Parser:
    """The state of parsing: `current` is the thing that is being read, and `relation` what came before it."""

    def __init__(self, phrases: list[Phrase], lexicon: Lexicon) -> None:
        self.lexicon, self.place = lexicon, 0
        self.has_quote = any(phrase.kind is Kind.QUOTE for phrase in phrases)
        self.phrases = phrases
        self.parsed, self.current, self.relation = ParsedPrompt(), ThingPhrase(), ""
        self.surface, self.after_unknown = "", False

    def peek(self, ahead: int = 1) -> Phrase | None:
        """Return a phrase further on, or None after the last."""
        place = self.place + ahead
        return self.phrases[place] if place < len(self.phrases) else None

    def step(self) -> None:
        """Read one phrase, or all phrases of a background."""
        phrase = self.phrases[self.place]
        if (length := self.read_background()) > 0:
            self.place += length
            return
        self.assign(self.as_colour(phrase))
        self.place += 1

    def as_colour(self, phrase: Phrase) -> Phrase:
        """Read a word that is a colour and a thing as the colour, where a phrase follows that can have one."""
        after = self.peek()
        coloured = after is not None and after.kind in _COLOURED
        has_quote = self.has_quote and phrase.surface == phrase.canonical
        if phrase.kind is Kind.THING and phrase.canonical in self.lexicon.record["colours"] and (coloured or has_quote):
            return Phrase(Kind.COLOUR, phrase.canonical, surface=phrase.surface)
        return phrase

    def assign(self, phrase: Phrase) -> None:
        """Assign one phrase to the current thing, or to the prompt."""
        current, kind = self.current, phrase.kind
        if self.has_quote and phrase.surface in _QUOTE_LEADS:
            return
        if kind is Kind.THING:
            self.read_noun(phrase)
        elif kind is Kind.QUOTE:
            current.letters = phrase.canonical
        elif kind in (Kind.ARTICLE, Kind.COUNT):
            if not current.empty:
                self.close()
            self.current.count = self.current.count or (phrase.canonical if kind is Kind.COUNT else "")
            self.parsed.changed |= phrase.surface.isdigit()  # training captions count in words
        elif kind in (Kind.COLOUR, Kind.SIZE, Kind.OUTLINE, Kind.GENDER):
            self.describe(phrase)
        elif kind is Kind.TONE:
            current.tone = current.tone or phrase.canonical
        elif kind is Kind.STYLE:
            self.parsed.styles += [phrase.canonical] if phrase.canonical not in self.parsed.styles else []
            if current.empty and self.relation:  # 'a fox in sketch style'
                self.relation, self.parsed.changed = "", True
        elif kind in (Kind.RELATION, Kind.CONJUNCTION, Kind.BREAK):
            self.connect(phrase)
        else:
            self.skip(phrase)

    def read_noun(self, phrase: Phrase) -> None:
        """Read a noun; of two in a row, as in 'apple pie', the last one is the thing, unless it is a stand-in."""
        if self.current.noun and self.after_unknown:
            self.close()
        current = self.current
        if current.noun and words_of(phrase.surface) not in self.lexicon.phrases:
            self.parsed.unknown.append(phrase.surface)
            return
        if current.noun:
            self.parsed.stand_ins.append((f"{self.surface} {phrase.surface}", phrase.canonical))
            self.parsed.changed = True
        current.noun, current.plural, self.surface = phrase.canonical, phrase.plural, phrase.surface
        self.after_unknown = False

    def describe(self, phrase: Phrase) -> None:
        """Read an attribute of the thing after it, or of the one before it where none follows."""
        name = phrase.kind.name.lower()
        if not self.current.empty and self.thing_ahead() and not self.has_quote:
            self.close()
        elif self.current.noun:
            self.parsed.changed = True
        if getattr(self.current, name):
            self.parsed.changed = True
        else:
            setattr(self.current, name, phrase.canonical)

    def thing_ahead(self) -> bool:
        """Return whether another thing follows before the current one must end."""
        ends = (Kind.RELATION, Kind.CONJUNCTION, Kind.BREAK, Kind.ARTICLE, Kind.COUNT)
        for phrase in self.phrases[self.place + 1 :]:
            if phrase.kind in ends:
                return False
            if phrase.kind in (Kind.THING, Kind.QUOTE):
                return True
        return False

    def follows_unknown(self) -> bool:
        """Return whether the phrase before this place is unknown."""
        return self.place > 0 and self.phrases[self.place - 1].kind is Kind.UNKNOWN

    def connect(self, phrase: Phrase) -> None:
        """Read a relation, a conjunction or a break between two things."""
        colour_alone = self.current.empty and bool(self.current.colour) and not self.follows_unknown()
        two_colours = phrase.kind is Kind.CONJUNCTION and colour_alone  # 'black and white', not 'blue hair and'
        if two_colours or (self.has_quote and phrase.canonical == "in" and self.current.letters):
            self.parsed.changed |= two_colours
            return
        self.close()
        if phrase.kind is Kind.BREAK:
            return
        self.parsed.changed |= bool(self.relation) and self.relation != "and"
        self.relation = phrase.canonical

    def skip(self, phrase: Phrase) -> None:
        """Skip a filler, and record an unknown phrase."""
        if self.has_quote and phrase.surface == "the":
            return
        self.after_unknown = True
        if phrase.kind is Kind.FILLER:
            style_next = (after := self.peek()) is not None and after.kind is Kind.STYLE
            self.parsed.changed |= bool(phrase.canonical) and not (phrase.surface == "the" and style_next)
        else:
            self.parsed.unknown.append(phrase.surface)

    def read_background(self) -> int:
        """Read '(on) (a) blue background', and return the number of its phrases; 0 where none begins here."""
        lead = 0
        first = self.peek(0)
        if first is not None and first.kind is Kind.RELATION and first.canonical in _BACKGROUND_LEADS:
            lead = 1
        if lead and (second := self.peek(1)) is not None and (second.kind is Kind.ARTICLE or second.surface == "the"):
            lead = 2
        for length in (lead + 1, lead + 2):
            last, between = self.peek(length - 1), self.phrases[self.place + lead : self.place + length - 1]
            clear = all(phrase.kind in (Kind.COLOUR, Kind.THING, Kind.UNKNOWN) for phrase in between)
            if last is not None and last.kind is Kind.BACKGROUND and clear:
                self.close()
                self.set_background(self.phrases[self.place + lead : self.place + length])
                return length
        return 0

    def set_background(self, phrases: Sequence[Phrase]) -> None:
        """Record the colour of a background."""
        colour = phrases[0].canonical
        if phrases[-1].canonical == "transparent" or colour in self.lexicon.record["colours"]:
            self.parsed.background = phrases[-1].canonical if len(phrases) == 1 else colour
        else:
            self.parsed.unknown.append(" ".join(phrase.surface for phrase in phrases))

    def close(self) -> None:
        """End the current thing; attributes without a thing go to a neighbour or are left out."""
        current, parsed = self.current, self.parsed
        self.current, before = ThingPhrase(), parsed.things[-1] if parsed.things else None
        if not current.empty:
            current.relation, self.relation = self.relation, ""
            parsed.things.append(current)
            return
        if current.colour and before is not None and not before.colour and not self.relation:
            before.colour, parsed.changed = current.colour, parsed.changed or not before.letters
        elif current.colour and before is None:
            self.current.colour, parsed.changed = current.colour, True
        elif current.colour or current.size or current.count or current.outline:
            parsed.changed = True
            if current.colour and self.follows_unknown():  # 'a woman with brown hair'
                parsed.unknown[-1] = f"{current.colour} {parsed.unknown[-1]}"
        if current.gender:
            parsed.unknown.append(current.gender)
        if current.tone and before is not None and not before.tone:
            before.tone = current.tone
        elif current.tone:
            parsed.unknown.append(f"{current.tone} skin")
        if self.relation and not (current.empty and self.relation in ("touching", "apart")):
            self.relation = ""

    def finish(self) -> ParsedPrompt:
        """Return the parsed prompt, without attributes that its things were never taught with."""
        parsed = self.parsed
        parsed.changed |= bool(self.relation) and self.relation not in ("touching", "apart")
        for number, current in enumerate(parsed.things):
            if current.noun in self.lexicon.roles and self.lexicon.has_people and current.colour in _TONE_OF_COLOUR:
                current.tone = current.tone or _TONE_OF_COLOUR[current.colour]
                current.colour, parsed.changed = "", True
            if current.noun not in self.lexicon.roles:
                parsed.unknown += [current.gender] if current.gender else []
                parsed.unknown += [f"{current.tone} skin"] if current.tone else []
                current.gender = current.tone = ""
            if bool(current.count) != current.plural and not current.letters:
                current.count, parsed.changed = current.count or SEVERAL, True
            if number == 0 and current.relation:
                current.relation, parsed.changed = "", True
        return parsed


def write_caption(parsed: ParsedPrompt, lexicon: Lexicon) -> str:
    """Return a parsed prompt in the words of training captions."""
    text = ""
    for number, thing in enumerate(parsed.things):
        last = number == len(parsed.things) - 1 or parsed.things[number + 1].relation not in ("", "and")
        joint = thing.relation if thing.relation not in ("", "and") else "and" if last else ","
        text += ("" if number == 0 else f" {joint} " if joint != "," else ", ") + _noun_phrase(thing, lexicon)
    for style in parsed.styles:
        text = str(lexicon.record["styles"][style]["said"]).format(text)
    if parsed.background:
        text += f" on {_article(parsed.background)} {parsed.background} background"
    return text


def _noun_phrase(thing: ThingPhrase, lexicon: Lexicon) -> str:
    """Return a thing with its attributes: 'two small red foxes', 'a woman farmer with dark skin'."""
    if thing.letters:
        return f"the word {thing.letters} in {thing.colour or 'black'} letters"
    lead = " ".join(filter(None, (thing.size, thing.outline, thing.colour, thing.gender)))
    tone = f" with {thing.tone} skin" if thing.tone else ""
    if thing.count:
        return " ".join(filter(None, (thing.count, lead, lexicon.plural(thing.noun)))) + tone
    one = lexicon.singular(thing.noun)
    if lead and one.startswith(("a ", "an ")):
        one = f"{_article(lead)} {lead} {one.partition(' ')[2]}"
    elif lead:
        one = f"{lead} {one}"
    return one + tone


def _article(words: str) -> str:
    return "an" if words[0] in "aeiou" else "a"

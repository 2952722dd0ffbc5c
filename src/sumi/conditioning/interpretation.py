"""A prompt read by an open-world vocabulary: what the model is told, what stood in for what, and what is not known.

prompt -> phrases (taught, stood in for, carrying nothing, unknown) -> a group for each thing -> prompt as drawn

A prompt that says only what was taught is told to the model as it is. Of any other the things that are known are kept,
with the colours, sizes, counts and relations that belong to them, and said as the captions of the training say them.
The first word that is unknown would else be spelt to the model in bytes, and spoil the whole picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sumi.conditioning.lexicon import Kind, Lexicon, Phrase
from sumi.conditioning.phrase_splitter import has_emoji, split_phrases
from sumi.conditioning.prompt_parser import parse_phrases, write_caption
from sumi.conditioning.prompt_suggestions import suggest_prompts

__all__ = ["Interpretation", "interpret", "interpret_label"]

LONGEST_LISTED = 8
"""How many unknown words a note names."""


@dataclass(frozen=True)
class Interpretation:
    """How a prompt was understood.

    prompt: as it was asked for. drawn_as: what the model is told. stand_ins: what was asked for, and what is drawn for
    it. unknown: what is left out.
    known: whether anything that can be drawn was found; where not, drawn_as is the prompt itself, and suggestions are
    prompts that would work.
    """

    prompt: str
    drawn_as: str
    stand_ins: tuple[tuple[str, str], ...] = ()
    unknown: tuple[str, ...] = ()
    known: bool = True
    suggestions: tuple[str, ...] = ()

    @property
    def note(self) -> str | None:
        """One line that says what was drawn where that is not the prompt itself: 'drawn as: a cat. Not known: cute'."""
        shown = self.unknown[:LONGEST_LISTED]
        more = len(self.unknown) - len(shown)
        not_known = f"Not known: {', '.join(shown)}{f' and {more} more' if more else ''}" if shown else ""
        if not self.known:
            return not_known or "nothing in this prompt is known"
        if self.drawn_as == self.prompt and not self.unknown:
            return None
        stands = ", ".join(f"{drawn} for {asked}" for asked, drawn in self.stand_ins)
        drawn = f"drawn as: {self.drawn_as}" + (f" ({stands})" if stands else "")
        return f"{drawn}. {not_known}" if not_known else drawn

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Interpretation:
        """Return what `to_json` wrote; raises KeyError, TypeError or ValueError for anything else."""
        asked, drawn_as = values["prompt"], values["drawn_as"]
        if not isinstance(asked, str) or not isinstance(drawn_as, str):
            raise TypeError("an interpretation")
        pairs = tuple((str(word), str(drawn)) for word, drawn in values.get("stand_ins", ()))
        unknown, suggested = (tuple(map(str, values.get(name, ()))) for name in ("unknown", "suggestions"))
        return cls(asked, drawn_as, pairs, unknown, values.get("known", True) is True, suggested)

    @property
    def refusal(self) -> str:
        """One line for a prompt of which nothing is known."""
        tries = [f"'{text}'" for text in self.suggestions]
        listed = f"{', '.join(tries[:-1])} or {tries[-1]}" if len(tries) > 1 else "".join(tries)
        return f"this model knows nothing of {self.prompt[:60]!r}" + (f": try {listed}" if tries else "")


def interpret(prompt: str, lexicon: Lexicon) -> Interpretation:
    """Read a prompt by what a model was taught; a cleaned prompt in, and never an error.

    Returns:
        The interpretation. That of a prompt as it is drawn is that prompt itself, without a note.
    """
    if not prompt.strip() or not (lexicon.structured or lexicon.words):
        return Interpretation(prompt, prompt)
    phrases, stand_ins = split_phrases(prompt, lexicon)
    if not lexicon.structured:
        return _by_words(prompt, phrases, stand_ins, lexicon)
    reading = parse_phrases(phrases, lexicon)
    unknown = tuple(dict.fromkeys(reading.unknown))
    if not reading.groups and not lexicon.scenery:
        return interpret(prompt, lexicon.with_scenery)
    if not reading.groups:
        return Interpretation(prompt, prompt, (), unknown, False, suggest_prompts(unknown, lexicon))
    if not (reading.changed or stand_ins or unknown or has_emoji(prompt)):
        return Interpretation(prompt, prompt)
    drawn = write_caption(reading, lexicon)
    used = tuple(pair for pair in (*stand_ins, *reading.stand_ins) if _holds(drawn, pair[1]))
    return Interpretation(prompt, drawn, tuple(dict.fromkeys(used)), unknown)


def interpret_label(prompt: str, names: Sequence[str]) -> Interpretation:
    """Read a prompt for a model of labels: drawn_as is the one of the names that it asks for."""
    nouns = {name: [f"a {name}", f"{name}s"] for name in names}
    lexicon = Lexicon({"concepts": {name: [name] for name in names}, "nouns": nouns, "colours": [], "counts": []})
    phrases, stand_ins = split_phrases(prompt, lexicon)
    reading = parse_phrases(phrases, lexicon)
    unknown = tuple(dict.fromkeys(reading.unknown))
    if not reading.groups:
        return Interpretation(prompt, prompt, (), unknown, False, suggest_prompts(unknown, lexicon))
    drawn = reading.groups[0].thing
    others = tuple(group.thing for group in reading.groups[1:] if group.thing != drawn)
    return Interpretation(prompt, drawn, tuple(pair for pair in stand_ins if pair[1] == drawn), (*unknown, *others))


def _holds(drawn: str, word: str) -> bool:
    """Whether a stand-in is still in the prompt as drawn, in any form."""
    return word.split()[-1][:3].casefold() in drawn.casefold()


def _by_words(
    prompt: str, phrases: Sequence[Phrase], stand_ins: Sequence[tuple[str, str]], lexicon: Lexicon
) -> Interpretation:
    """A prompt for a model of which only the words are known: those that it was not taught are left out."""
    unknown = tuple(dict.fromkeys(phrase.written for phrase in phrases if phrase.kind is Kind.UNKNOWN))
    known = [phrase for phrase in phrases if phrase.kind is Kind.THING]
    if unknown and not any(phrase.said not in ("a", "an", "the", "and", "of", "on", "in", "with") for phrase in known):
        return Interpretation(prompt, prompt, (), unknown, False, suggest_prompts(unknown, lexicon))
    if not unknown and not stand_ins:
        return Interpretation(prompt, prompt)
    return Interpretation(prompt, " ".join(phrase.said for phrase in known), tuple(stand_ins), unknown)

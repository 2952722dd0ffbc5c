"""Interpretation of any prompt by the vocabulary of a model: what the model gets, what stood in, what is unknown.

    prompt -> phrases (taught, replaced, filler, unknown) -> a phrase for each thing -> the prompt as drawn

A prompt of taught words goes to the model unchanged. In any other prompt the known things are kept, with their colours,
sizes, counts and relations, and written as training captions write them. Without this, the tokenizer would spell an
unknown word in bytes, which spoils the whole picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sumi.conditioning.lexicon import Kind, Lexicon, Phrase
from sumi.conditioning.phrase_splitter import has_emoji, split_phrases
from sumi.conditioning.prompt_parser import ParsedPrompt, parse_phrases, write_caption
from sumi.conditioning.prompt_suggestions import suggest_prompts

__all__ = ["FUNCTION_WORDS", "Interpretation", "interpret", "interpret_label", "parse_prompt"]

FUNCTION_WORDS = ("a", "an", "the", "and", "of", "on", "in", "with")
LONGEST_LISTED = 8
"""The number of unknown words that a note names."""


@dataclass(frozen=True)
class Interpretation:
    """How a prompt was understood.

    Args:
        prompt: the request.
        drawn_as: the prompt that the model gets.
        stand_ins: pairs of a word of the prompt and the word that replaced it.
        unknown: the words that were left out.
        known: whether the prompt names anything that can be drawn; if not, `drawn_as` is the prompt itself.
        suggestions: prompts that would work, where nothing is known.
        added: words that were added for balance, see `balance_people`.
    """

    prompt: str
    drawn_as: str
    stand_ins: tuple[tuple[str, str], ...] = ()
    unknown: tuple[str, ...] = ()
    known: bool = True
    suggestions: tuple[str, ...] = ()
    added: tuple[str, ...] = ()

    @property
    def note(self) -> str | None:
        """One line about the differences, such as 'drawn as: a cat. Not known: cute'; None where there are none."""
        shown = self.unknown[:LONGEST_LISTED]
        more = len(self.unknown) - len(shown)
        not_known = f"Not known: {', '.join(shown)}{f' and {more} more' if more else ''}" if shown else ""
        if not self.known:
            return not_known or "nothing in this prompt is known"
        if self.drawn_as == self.prompt and not self.unknown:
            return None
        stands = ", ".join(f"{drawn} for {asked}" for asked, drawn in self.stand_ins)
        stands = ", ".join(filter(None, [stands, f"{' and '.join(self.added)} for balance" if self.added else ""]))
        drawn = f"drawn as: {self.drawn_as}" + (f" ({stands})" if stands else "")
        return f"{drawn}. {not_known}" if not_known else drawn

    def to_json(self) -> dict[str, Any]:
        """Return the interpretation as JSON values; `added` only where words were."""
        values = asdict(self)
        return values if self.added else {name: value for name, value in values.items() if name != "added"}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Interpretation:
        """Return the interpretation that `to_json` wrote.

        Raises:
            KeyError: when a value is missing.
            TypeError: when a value is of another type.
            ValueError: when a pair is not one.
        """
        asked, drawn_as = values["prompt"], values["drawn_as"]
        if not isinstance(asked, str) or not isinstance(drawn_as, str):
            raise TypeError("an interpretation")
        pairs = tuple((str(word), str(drawn)) for word, drawn in values.get("stand_ins", ()))
        unknown, suggested, added = (
            tuple(map(str, values.get(name, ()))) for name in ("unknown", "suggestions", "added")
        )
        return cls(asked, drawn_as, pairs, unknown, values.get("known", True) is True, suggested, added)

    @property
    def refusal(self) -> str:
        """The error message for a prompt of which nothing is known."""
        tries = [f"'{text}'" for text in self.suggestions]
        listed = f"{', '.join(tries[:-1])} or {tries[-1]}" if len(tries) > 1 else "".join(tries)
        return f"this model knows nothing of {self.prompt[:60]!r}" + (f": try {listed}" if tries else "")


def interpret(prompt: str, lexicon: Lexicon) -> Interpretation:
    """Interpret a prompt by the vocabulary of a model. Every prompt has an interpretation.

    Args:
        prompt: cleaned, see `sumi.pipelines.prompt`.
        lexicon: of the model.
    """
    if not prompt.strip() or not (lexicon.structured or lexicon.words):
        return Interpretation(prompt, prompt)
    phrases, stand_ins = split_phrases(prompt, lexicon)
    if not lexicon.structured:
        return _by_words(prompt, phrases, stand_ins, lexicon)
    parsed = parse_phrases(phrases, lexicon)
    unknown = tuple(dict.fromkeys(parsed.unknown))
    if not parsed.things and not lexicon.scenery:
        return interpret(prompt, lexicon.with_scenery)
    if not parsed.things:
        return Interpretation(prompt, prompt, (), unknown, False, suggest_prompts(unknown, lexicon))
    if not (parsed.changed or stand_ins or unknown or has_emoji(prompt)):
        return Interpretation(prompt, prompt)
    drawn = write_caption(parsed, lexicon)
    used = tuple(pair for pair in (*stand_ins, *parsed.stand_ins) if _holds(drawn, pair[1]))
    return Interpretation(prompt, drawn, tuple(dict.fromkeys(used)), unknown)


def parse_prompt(prompt: str, lexicon: Lexicon) -> ParsedPrompt:
    """Return the things of a prompt and their relations; nothing for a lexicon that is only a list of words.

    Args:
        prompt: cleaned.
        lexicon: of the model.
    """
    return parse_phrases(split_phrases(prompt, lexicon)[0], lexicon) if lexicon.structured else ParsedPrompt()


def interpret_label(prompt: str, names: Sequence[str]) -> Interpretation:
    """Interpret a prompt for a model that is conditioned on labels.

    Args:
        prompt: cleaned.
        names: of the labels; `drawn_as` of the result is one of them.
    """
    nouns = {name: [f"a {name}", f"{name}s"] for name in names}
    lexicon = Lexicon({"concepts": {name: [name] for name in names}, "nouns": nouns, "colours": [], "counts": []})
    phrases, stand_ins = split_phrases(prompt, lexicon)
    parsed = parse_phrases(phrases, lexicon)
    unknown = tuple(dict.fromkeys(parsed.unknown))
    if not parsed.things:
        return Interpretation(prompt, prompt, (), unknown, False, suggest_prompts(unknown, lexicon))
    drawn = parsed.things[0].noun
    others = tuple(thing.noun for thing in parsed.things[1:] if thing.noun != drawn)
    return Interpretation(prompt, drawn, tuple(pair for pair in stand_ins if pair[1] == drawn), (*unknown, *others))


def _holds(drawn: str, word: str) -> bool:
    """Return whether a stand-in is in the prompt as drawn, in any form."""
    return word.split()[-1][:3].casefold() in drawn.casefold()


def _by_words(
    prompt: str, phrases: Sequence[Phrase], stand_ins: Sequence[tuple[str, str]], lexicon: Lexicon
) -> Interpretation:
    """Interpret a prompt by a list of words: drop the words that are not in it."""
    unknown = tuple(dict.fromkeys(phrase.surface for phrase in phrases if phrase.kind is Kind.UNKNOWN))
    known = [phrase for phrase in phrases if phrase.kind is Kind.THING]
    if unknown and all(phrase.canonical in FUNCTION_WORDS for phrase in known):
        return Interpretation(prompt, prompt, (), unknown, False, suggest_prompts(unknown, lexicon))
    if not unknown and not stand_ins:
        return Interpretation(prompt, prompt)
    return Interpretation(prompt, " ".join(phrase.canonical for phrase in known), tuple(stand_ins), unknown)

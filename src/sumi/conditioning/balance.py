"""Balance: words for skin tone and gender, added openly to a prompt that names a person without them.

    "a farmer", number 3 -> "a man farmer with medium dark skin"

The policy is that every tone and each of woman and man is drawn equally often. Number k gets tone k mod T and gender
k mod 2, so that any 2 T numbers in a row hold every pair once where T is odd. What a prompt names is never changed.
"""

from __future__ import annotations

from dataclasses import replace

from sumi.conditioning.interpretation import Interpretation
from sumi.conditioning.lexicon import Lexicon
from sumi.conditioning.phrase_splitter import split_phrases
from sumi.conditioning.prompt_parser import ThingPhrase, parse_phrases, write_caption

__all__ = ["GENDERS", "balance_people"]

GENDERS = ("woman", "man")
GENDERED = frozenset(
    "man woman men women boy girl male female mother father prince princess king queen mermaid merman santa".split()
)
"""Words of a name that say a gender."""


def balance_people(read: Interpretation, lexicon: Lexicon, number: int) -> Interpretation:
    """Return an interpretation whose people have a tone and a gender; the same where there is nothing to add.

    Args:
        read: how the prompt was understood.
        lexicon: of the model.
        number: which tone and gender; pictures have their seed.
    """
    if not (read.known and lexicon.structured):
        return read
    phrases, _ = split_phrases(read.drawn_as, lexicon)
    parsed = parse_phrases(phrases, lexicon)
    added = [word for thing in parsed.things for word in _describe(thing, lexicon, number)]
    if not added:
        return read
    return replace(read, drawn_as=write_caption(parsed, lexicon), added=tuple(dict.fromkeys(added)))


def _describe(person: ThingPhrase, lexicon: Lexicon, number: int) -> list[str]:
    """Give one person what it lacks, and return the words; nothing for things and for several people."""
    if person.noun not in lexicon.roles or person.count or person.plural:
        return []
    added, tones = [], list(lexicon.record.get("tones", ()))
    if not person.gender and not GENDERED & set(person.noun.split()):
        person.gender = GENDERS[number % len(GENDERS)]
        added.append(person.gender)
    if not person.tone and tones:
        person.tone = str(tones[number % len(tones)])
        added.append(f"{person.tone} skin")
    return added

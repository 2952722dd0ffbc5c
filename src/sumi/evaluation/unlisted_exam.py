"""The exam of unlisted words: whether a word that no list names is understood, and whether nonsense is said to be.

    word, one step from a concept in WordNet -> interpretation -> does it name that concept?

`unlisted_words.tsv` holds words that are a synonym, a kind or the next more general name of exactly one concept of the
wide vocabulary (`sumi.data.wordnet.one_step_relatives`), in an order that a hash gives. A model is asked about the
first words of its own concepts that are no name of any. Nonsense is made of random syllables.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from importlib import resources
from itertools import islice

from sumi.conditioning import Lexicon, interpret
from sumi.conditioning.english import english
from sumi.conditioning.lexicon import Kind, words_of
from sumi.conditioning.phrase_splitter import split_phrases
from sumi.evaluation.everyday_exam import EverydayPrompt
from sumi.evaluation.intervals import Share

__all__ = ["draw_nonsense", "draw_unlisted_words", "examine_words", "is_understood"]

WORDS = "unlisted_words.tsv"
CONSONANTS, VOWELS = "bcdfghjklmnpqrstvwxz", "aeiou"


def draw_unlisted_words(lexicon: Lexicon, n: int) -> list[EverydayPrompt]:
    """Return the first n words of the list that the model was taught the concept of, but not as a name."""
    return list(islice(_unlisted(lexicon), n))


def _unlisted(lexicon: Lexicon) -> Iterator[EverydayPrompt]:
    for line in (resources.files("sumi.evaluation") / WORDS).read_text("utf-8").splitlines():
        word, concept = line.split("\t")
        if concept in lexicon.things and words_of(word) not in lexicon.phrases:
            yield EverydayPrompt(word, "", (concept,))


def is_understood(asked: EverydayPrompt, lexicon: Lexicon) -> bool:
    """Return whether the interpretation of a prompt names its main concept."""
    read = interpret(asked.prompt, lexicon)
    names = {asked.things[0], *lexicon.things[asked.things[0]]}
    phrases, _ = split_phrases(read.drawn_as, lexicon) if read.known else ([], [])
    return any(phrase.kind is Kind.THING and phrase.canonical in names for phrase in phrases)


def draw_nonsense(n: int, seed: int) -> list[str]:
    """Return n different strings of two to four random syllables that are no English words."""
    rng, found = random.Random(seed), dict[str, None]()
    while len(found) < n:
        syllables = (rng.choice(CONSONANTS) + rng.choice(VOWELS) for _ in range(2 + int(rng.random() * 3)))
        word = "".join(syllables) + rng.choice(CONSONANTS)
        if not english().is_word(word):
            found[word] = None
    return list(found)


def examine_words(
    lexicon: Lexicon, asked: Sequence[EverydayPrompt], nonsense: Sequence[str]
) -> list[tuple[str, Share]]:
    """Return the share of unlisted words that are understood, and of nonsense that is said to be unknown."""
    return [
        ("unlisted word is understood", Share.of(is_understood(one, lexicon) for one in asked)),
        ("nonsense is said to be unknown", Share.of(not interpret(f"a {word}", lexicon).known for word in nonsense)),
    ]

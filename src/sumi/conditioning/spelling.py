"""Spelling correction: the one taught word that is close enough to a misspelt word, or none.

    cost = Damerau-Levenshtein distance, in which a doubled or undoubled letter costs a half

A word of the English dictionary is never changed. A wrong correction is worse than none, so a correction must be close
for its length, keep the first letter, and be unique.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

__all__ = ["correct_spelling"]

SHORTEST = 4
NEAR, NEAR_IN_LONG, LONG = 1.0, 2.0, 7
CLEARLY = 0.5
"""How much less than the next candidate a correction must cost."""
_SOUNDS = (("ph", "f"), ("ck", "k"), ("kn", "n"), ("gh", "g"), ("ee", "i"), ("ea", "i"), ("c", "k"), ("y", "i"))
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def correct_spelling(word: str, taught: Iterable[str], is_word: Callable[[str], bool]) -> str | None:
    """Return the taught word that a misspelt word was meant as, or None where that is not clear.

    Args:
        word: in lower case.
        taught: single words.
        is_word: whether a word is in the dictionary.
    """
    if len(word) < SHORTEST or not word.isalpha() or not word.isascii() or is_word(word):
        return None
    limit = NEAR_IN_LONG if len(word) >= LONG else NEAR
    alike = {other for other in taught if other[0] == word[0] and len(other) > 2}
    near = {other for other in alike if abs(len(other) - len(word)) <= limit}
    costs = sorted((cost, other) for other in near if (cost := spelling_cost(word, other, limit)) <= limit)
    if not costs or (len(costs) > 1 and costs[1][0] - costs[0][0] < CLEARLY):
        return None
    cost, best = costs[0]
    rivals = (other for other in _edits(word) if other != best and is_word(other))
    return None if any(edit_distance(word, other, 1.0) < cost for other in rivals) else best


def spelling_cost(one: str, other: str, limit: float) -> float:
    """Return the lesser of the cost between the spellings, and the cost between the sounds plus a half."""
    return min(edit_distance(one, other, limit), 0.5 + edit_distance(_sound(one), _sound(other), limit))


def _sound(word: str) -> str:
    """Return a word with one spelling for each sound."""
    for surface, sound in _SOUNDS:
        word = word.replace(surface, sound)
    return word


def edit_distance(one: str, other: str, limit: float) -> float:
    """Return the cost of editing one word into another; a cost above the limit may be infinite."""
    rows = [[float(column) for column in range(len(other) + 1)]]
    for i, left in enumerate(one, start=1):
        row = [float(i)]
        for j, right in enumerate(other, start=1):
            drop = 0.5 if i > 1 and one[i - 2] == left else 1.0
            add = 0.5 if j > 1 and other[j - 2] == right else 1.0
            best = min(rows[i - 1][j] + drop, row[j - 1] + add, rows[i - 1][j - 1] + (left != right))
            if i > 1 and j > 1 and left == other[j - 2] and one[i - 2] == right:
                best = min(best, rows[i - 2][j - 2] + 0.75)
            row.append(best)
        if min(row) > limit:
            return float("inf")
        rows.append(row)
    return rows[-1][-1]


def _edits(word: str) -> Iterable[str]:
    """Yield every string that is one edit away."""
    for place in range(len(word) + 1):
        head, tail = word[:place], word[place:]
        if tail:
            yield head + tail[1:]
            yield from (head + letter + tail[1:] for letter in _LETTERS if letter != tail[0])
        if len(tail) > 1:
            yield head + tail[1] + tail[0] + tail[2:]
        yield from (head + letter + tail for letter in _LETTERS)

"""Scores: a value beside the level of chance and the judge's ceiling on true pictures.

    score     what the judge finds right in the pictures of a model
    ceiling   what it finds right in true pictures of the same questions
    chance    what it finds right in true pictures of other questions

The judge cannot tell whether a model does better than its ceiling. A row whose ceiling is under 90% is unusable: it
says more about the judge than about the model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sumi.evaluation.intervals import Mean, Share, Value

__all__ = ["USABLE", "Score", "score_lines", "scores_of"]

#: The least ceiling of a row that says something about a model.
USABLE = 0.9
UNUSABLE = f"unusable: the judge is under {USABLE:.0%} on true pictures"


@dataclass(frozen=True)
class Score:
    """One row of an exam.

    Args:
        name: what is counted.
        value: the value of the model.
        chance: the value without knowledge, where it was measured.
        ceiling: the value of true pictures, where it was measured.
        marks: whether each question is right, where the value is a share of questions.
    """

    name: str
    value: Value
    chance: Value | None = None
    ceiling: Value | None = None
    marks: tuple[bool, ...] = ()

    @classmethod
    def of_marks(
        cls, name: str, marks: Sequence[bool], chance: Value | None = None, ceiling: Value | None = None
    ) -> Score:
        """Return the score of questions that are right or wrong."""
        return cls(name, Share.of(marks), chance, ceiling, tuple(map(bool, marks)))

    @property
    def usable(self) -> bool | None:
        """Whether the judge can tell; None where its ceiling is no share, or was not measured."""
        fraction = isinstance(self.ceiling, Share) or (isinstance(self.ceiling, Mean) and self.ceiling.unit == "%")
        if self.ceiling is None or not fraction or not self.ceiling.n:
            return None
        return self.ceiling.value >= USABLE

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values; `marks` has a 1 or a 0 for each question."""
        others = {"chance": self.chance, "ceiling": self.ceiling}
        kept = {name: None if value is None else value.to_json() for name, value in others.items()}
        marks = {"marks": "".join("01"[mark] for mark in self.marks)} if self.marks else {}
        return {**self.value.to_json(), **kept, "usable": self.usable, **marks}


def scores_of(
    marks: Mapping[str, Sequence[bool]],
    ceilings: Mapping[str, Sequence[bool]] | None = None,
    chances: Mapping[str, Sequence[bool]] | None = None,
) -> list[Score]:
    """Return a score for each name, from the marks of the model, of true pictures, and of others."""

    def share(values: Mapping[str, Sequence[bool]] | None, name: str) -> Share | None:
        return None if values is None or name not in values else Share.of(values[name])

    return [Score.of_marks(name, own, share(chances, name), share(ceilings, name)) for name, own in marks.items()]


def score_lines(scores: Sequence[Score]) -> list[str]:
    """Return a table for the terminal: name, value with its interval, chance, ceiling and a warning."""
    table = [("", "score (95%)", "chance", "ceiling", "")]
    table += [
        (
            score.name,
            value_text(score.value),
            "" if score.chance is None else score.chance.as_text(score.chance.value),
            "" if score.ceiling is None else score.ceiling.as_text(score.ceiling.value),
            UNUSABLE if score.usable is False else "",
        )
        for score in scores
    ]
    widths = [max(len(row[column]) for row in table) for column in range(4)]
    return [
        f"{name:{widths[0]}}  {value:{widths[1]}}  {chance:>{widths[2]}}  {ceiling:>{widths[3]}}  {warning}".rstrip()
        for name, value, chance, ceiling, warning in table
    ]


def value_text(value: Value) -> str:
    """Return a value with its interval and its n as text."""
    if not value.n:
        return "nothing tried"
    low, high = (value.as_text(limit) for limit in value.interval)
    return f"{value.as_text(value.value)} ({low} to {high}, n = {value.n})"

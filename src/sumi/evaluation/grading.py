"""Grading: the judge looks at pictures, and its answers are compared with the questions.

    things    : the one or two most likely concepts are those of the question
    top-5     : the concept of the question is among the five most likely
    colours   : where each thing is seen, the most likely colour is the one of the question
    position  : the centres of the things lie in the relation of the question, by at least a tenth of the frame
    count     : the most likely count is the one of the question
    style     : the most likely style is the one of the question
    background: the border of the frame is opaque and closest to the colour of the question

A picture is correct when every fact but top-5 holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sumi.data.scene import BACKGROUNDS
from sumi.data.standing import stands
from sumi.evaluation.intervals import Share
from sumi.evaluation.questions import Question
from sumi.judge.network import Judge, JudgeOutput, judge_pictures

__all__ = ["Grade", "find_background", "grade_pictures", "marks_of", "relation_holds", "summarize"]

_BORDER_PX = 2


@dataclass(frozen=True)
class Grade:
    """The judge's answer about one picture.

    Args:
        facts: for each fact of the question whether it holds.
        seen: the most likely concepts with their probabilities.
    """

    facts: Mapping[str, bool]
    seen: tuple[tuple[str, float], ...]

    @property
    def right(self) -> bool:
        """Whether every fact holds, apart from the weaker top-5."""
        return all(held for fact, held in self.facts.items() if fact != "top-5")

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        seen = {name: round(share, 4) for name, share in self.seen}
        return {"right": self.right, "facts": dict(self.facts), "seen": seen}


def grade_pictures(judge: Judge, pictures: Tensor, asked: Sequence[Question]) -> list[Grade]:
    """Grade each picture against its question.

    Args:
        judge: the network that looks.
        pictures: premultiplied uint8 (B, 4, 64, 64).
        asked: B questions about one or two things each.
    """
    grades = []
    for question, picture, (reading, row) in zip(asked, pictures, judge_answers(judge, pictures, asked), strict=True):
        seen = _seen(judge, reading, row)
        grades.append(Grade(_facts(judge, reading, row, question, seen, picture), seen))
    return grades


def judge_answers(judge: Judge, pictures: Tensor, asked: Sequence[Question]) -> list[tuple[JudgeOutput, int]]:
    """Return the judge's answers about the things of each question, and the row of its picture in them.

    Args:
        judge: the network that looks.
        pictures: premultiplied uint8 (B, 4, 64, 64).
        asked: B questions about one or two things each.
    """
    answers: dict[int, tuple[JudgeOutput, int]] = {}
    for many in sorted({len(question.things) for question in asked}):
        rows = [row for row, question in enumerate(asked) if len(question.things) == many]
        ids = torch.tensor([[judge.ids[name] for name in asked[row].things] for row in rows])
        reading = judge_pictures(judge, pictures[rows], ids)
        answers.update({row: (reading, place) for place, row in enumerate(rows)})
    return [answers[row] for row in range(len(asked))]


def _seen(judge: Judge, reading: JudgeOutput, row: int) -> tuple[tuple[str, float], ...]:
    """Return two concepts, one for each side of the cut, or the five most likely concepts of the whole picture."""
    if reading.things.shape[1] == 1:
        best = reading.best(5)[row].tolist()
        return tuple((judge.names[k], float(reading.concepts[row, k].exp())) for k in best)
    pairs = zip(reading.things[row].tolist(), reading.shares[row].exp().tolist(), strict=True)
    return tuple((judge.names[k], share) for k, share in pairs)


def _facts(
    judge: Judge, reading: JudgeOutput, row: int, question: Question, seen: Sequence[tuple[str, float]], picture: Tensor
) -> dict[str, bool]:
    many, wanted = len(question.things), set(question.things)
    facts = {"things": {name for name, _ in seen[:many]} == wanted}
    if many == 1:
        facts["top-5"] = wanted <= {name for name, _ in seen}
    if any(question.colours):
        found = [judge.colours[k] for k in reading.colours[row].argmax(dim=-1).tolist()]
        facts["colours"] = all(colour in (None, there) for colour, there in zip(question.colours, found, strict=True))
    if question.relation is not None:
        facts["position"] = relation_holds(question.relation, reading.where[row, 0], reading.where[row, 1])
    if question.count is not None:
        facts["count"] = int(reading.count[row].argmax()) + 1 == question.count
    if question.style is not None:
        facts["style"] = judge.styles[int(reading.style[row].argmax())] == question.style
    if question.background is not None:
        facts["background"] = find_background(picture) == question.background
    return facts


def relation_holds(relation: str, subject: Tensor, other: Tensor) -> bool:
    """Return whether two centres (x, y), with y pointing down, stand in a relation."""
    (x, y), (other_x, other_y) = subject.tolist(), other.tolist()
    return stands(relation, (x, y), (other_x, other_y))


def find_background(picture: Tensor) -> str | None:
    """Return the background colour closest to the border of a picture (4, S, S), or None where that is transparent."""
    border = torch.ones(picture.shape[1:], dtype=torch.bool)
    border[_BORDER_PX:-_BORDER_PX, _BORDER_PX:-_BORDER_PX] = False
    pixels = picture[:, border].float()
    if float(pixels[3].median()) < 230:
        return None
    around = pixels[:3].median(dim=1).values
    return min(BACKGROUNDS, key=lambda name: float((torch.tensor(BACKGROUNDS[name]) - around).square().sum()))


def marks_of(asked: Sequence[Question], grades: Sequence[Grade]) -> dict[str, list[bool]]:
    """Return for each fact whether it holds in each picture, by category, as rows name -> marks.

    Categories with several facts have a row "all right" as well.
    """
    table: dict[str, list[bool]] = {}
    for category in dict.fromkeys(question.category for question in asked):
        marked = [grade for question, grade in zip(asked, grades, strict=True) if question.category == category]
        facts = list(dict.fromkeys(fact for grade in marked for fact in grade.facts))
        single = all(len(question.things) == 1 for question in asked if question.category == category)
        for fact in facts:
            name = ("top-1" if single else "both things") if fact == "things" else fact
            table[f"{category}: {name}"] = [grade.facts[fact] for grade in marked if fact in grade.facts]
        if len(set(facts) - {"top-5"}) > 1:
            table[f"{category}: all right"] = [grade.right for grade in marked]
    return table


def summarize(asked: Sequence[Question], grades: Sequence[Grade]) -> list[tuple[str, Share]]:
    """Return the share of pictures for which each fact holds, by category, as rows (name, share)."""
    return [(name, Share.of(marks)) for name, marks in marks_of(asked, grades).items()]

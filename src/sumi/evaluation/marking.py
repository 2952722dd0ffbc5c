"""Marking: what the judge says of pictures, against what was asked.

    things    : the one or two things that the judge takes it for are those asked for
    top-5     : the one thing asked for is among the five likeliest
    colours   : where each thing is seen, the likeliest colour is its own
    position  : the centres of what is seen lie as asked, by a tenth of the frame at least
    background: the frame's border is opaque and nearest to the colour asked for

A picture is right when everything asked of it holds.
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

_BORDER_PX = 2


@dataclass(frozen=True)
class Verdict:
    """What the judge found: each thing asked, whether it held; and the likeliest concepts with their shares."""

    facts: Mapping[str, bool]
    seen: tuple[tuple[str, float], ...]

    @property
    def right(self) -> bool:
        """Whether all that was asked holds (top-5 is a kinder question, and no part of it)."""
        return all(held for fact, held in self.facts.items() if fact != "top-5")

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        seen = {name: round(share, 4) for name, share in self.seen}
        return {"right": self.right, "facts": dict(self.facts), "seen": seen}


def mark(judge: Judge, pictures: Tensor, asked: Sequence[Question]) -> list[Verdict]:
    """Mark pictures, premultiplied uint8 (B, 4, 64, 64), each against its question of one or two things."""
    verdicts: dict[int, Verdict] = {}
    for many in sorted({len(question.things) for question in asked}):
        rows = [row for row, question in enumerate(asked) if len(question.things) == many]
        ids = torch.tensor([[judge.ids[name] for name in asked[row].things] for row in rows])
        reading = judge_pictures(judge, pictures[rows], ids)
        for place, row in enumerate(rows):
            seen = _seen(judge, reading, place)
            verdicts[row] = Verdict(_facts(judge, reading, place, asked[row], seen, pictures[row]), seen)
    return [verdicts[row] for row in range(len(asked))]


def _seen(judge: Judge, reading: JudgeOutput, row: int) -> tuple[tuple[str, float], ...]:
    """The two things seen apart, or the five likeliest that one may be."""
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
        facts["position"] = holds(question.relation, reading.where[row, 0], reading.where[row, 1])
    if question.count is not None:
        facts["count"] = int(reading.count[row].argmax()) + 1 == question.count
    if question.style is not None:
        facts["style"] = judge.styles[int(reading.style[row].argmax())] == question.style
    if question.background is not None:
        facts["background"] = background_of(picture) == question.background
    return facts


def holds(relation: str, subject: Tensor, other: Tensor) -> bool:
    """Whether centres (x, y), y down, stand in a relation."""
    (x, y), (other_x, other_y) = subject.tolist(), other.tolist()
    return stands(relation, (x, y), (other_x, other_y))


def background_of(picture: Tensor) -> str | None:
    """Return the name of the colour all around a picture (4, S, S), or None where it is not opaque there."""
    border = torch.ones(picture.shape[1:], dtype=torch.bool)
    border[_BORDER_PX:-_BORDER_PX, _BORDER_PX:-_BORDER_PX] = False
    pixels = picture[:, border].float()
    if float(pixels[3].median()) < 230:
        return None
    around = pixels[:3].median(dim=1).values
    return min(BACKGROUNDS, key=lambda name: float((torch.tensor(BACKGROUNDS[name]) - around).square().sum()))


def rows(asked: Sequence[Question], verdicts: Sequence[Verdict]) -> list[tuple[str, Share]]:
    """Sum verdicts up: for each category its facts, and `right` where a question had several."""
    table: list[tuple[str, Share]] = []
    for category in dict.fromkeys(question.category for question in asked):
        marked = [verdict for question, verdict in zip(asked, verdicts, strict=True) if question.category == category]
        facts = list(dict.fromkeys(fact for verdict in marked for fact in verdict.facts))
        single = all(len(question.things) == 1 for question in asked if question.category == category)
        for fact in facts:
            name = ("top-1" if single else "both things") if fact == "things" else fact
            share = Share.of(verdict.facts[fact] for verdict in marked if fact in verdict.facts)
            table.append((f"{category}: {name}", share))
        if len(set(facts) - {"top-5"}) > 1:
            table.append((f"{category}: all right", Share.of(verdict.right for verdict in marked)))
    return table

"""Train-test leakage: held-out pairs of the exam that the layout planner's training captions contain.

The decoder learns from single things and draws each thing alone. The layout planner decides where things stand, and it
learns from captions. So a question about two things is new to the model only if no caption places that pair so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sumi.data.generator import Scenes
from sumi.data.standing import standings
from sumi.evaluation.intervals import Share
from sumi.evaluation.questions import Question

__all__ = ["LeakageReport", "measure_leakage"]

Progress = Callable[[int, int], None]
EVERY = 10_000


@dataclass(frozen=True)
class LeakageReport:
    """How many questions about two things the training captions contain.

    Args:
        count: how many captions were searched.
        in_place: the questions whose pair stands in the asked relation in some caption.
        together: the questions whose pair appears in some caption, in any relation.
    """

    count: int
    in_place: Share
    together: Share

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"captions": self.count, "in place": self.in_place.to_json(), "together": self.together.to_json()}

    def lines(self) -> list[str]:
        """Return the figures for the terminal."""
        return [
            f"of the questions about two things, among {self.count:,} captions of the layout planner:",
            f"  the pair stands there in the place asked for: {self.in_place}",
            f"  the pair is in one picture, in any place: {self.together}",
        ]


def measure_leakage(
    asked: Sequence[Question], scenes: Scenes, count: int, progress: Progress = lambda done, of: None
) -> LeakageReport:
    """Search training captions for the questions about two things with a relation.

    Args:
        asked: questions of an exam; others than those about two things are ignored.
        scenes: the generator of the layout planner's captions.
        count: how many of its scenes to search, from the first.
        progress: called with (scenes searched, count) every 10,000 scenes.
    """
    wanted = [question for question in asked if question.relation is not None and len(question.things) == 2]
    pairs = {frozenset(question.things) for question in wanted}
    in_place, together = set[tuple[str, str, str]](), set[frozenset[str]]()
    for number in range(count):
        scene = scenes.scene(number)
        names = {thing.concept for thing in scene.things}
        here = {pair for pair in pairs if pair <= names} if len(names) > 1 else set()
        if here:
            together |= here
            in_place |= set(standings(scene))
        if not (number + 1) % EVERY:
            progress(number + 1, count)
    return LeakageReport(
        count,
        Share.of((q.things[0], q.relation, q.things[1]) in in_place for q in wanted),
        Share.of(frozenset(q.things) in together for q in wanted),
    )

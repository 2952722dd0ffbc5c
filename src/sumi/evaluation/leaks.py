"""Which held-out questions of the exam training shows all the same: counted in the layout planner's own captions.

The decoder learns from single things and draws each thing alone; where things stand is the layout planner's work. So a
question of two things is new to the model only as far as the planner's captions never show that pair in that place.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sumi.data.generator import Scenes
from sumi.data.standing import standings
from sumi.evaluation.intervals import Share
from sumi.evaluation.questions import Question

Progress = Callable[[int, int], None]
EVERY = 10_000


@dataclass(frozen=True)
class Leaks:
    """How many questions about two things the captions show: in the place asked for, and together in any place."""

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


def leaks(asked: Sequence[Question], scenes: Scenes, count: int, progress: Progress = lambda done, of: None) -> Leaks:
    """Look for questions about two things with a relation among the first `count` scenes of a generator."""
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
    return Leaks(
        count,
        Share.of((q.things[0], q.relation, q.things[1]) in in_place for q in wanted),
        Share.of(frozenset(q.things) in together for q in wanted),
    )

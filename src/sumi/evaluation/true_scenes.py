"""True pictures of questions: for whatever a question asks, a scene that shows it, composed of training drawings.

    question -> scene -> picture (the renderer)      the judge's score on these is the ceiling of the exam

A question leaves most of a picture open (which artist, where, how large), and a stream of its own decides that.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from sumi.data import layout
from sumi.data.compose import Composer
from sumi.data.generator import Scenes
from sumi.data.scene import BACKGROUNDS, Background, Lettering, Place, Relation, Scene, Thing
from sumi.data.seeding import pick, scene_rng
from sumi.evaluation.questions import Question
from sumi.imaging.letters import line_width
from sumi.judge.network import SIZE_PX
from sumi.judge.train_judge import JUDGE_SEED

__all__ = ["TrueScenes"]

TRUE_SEED = JUDGE_SEED + 5
FILL, WEIGHT = 0.9, "bold"


@dataclass(frozen=True)
class TrueScenes:
    """Composes true scenes.

    Args:
        scenes: a generator that has the drawings.
    """

    scenes: Scenes

    @cached_property
    def _composer(self) -> Composer:
        return Composer(self.scenes.atlas, self.scenes.vocabulary, frozenset(self.scenes.vocabulary.names))

    def shows(self, name: str) -> bool:
        """Whether there is a drawing of a concept."""
        return name in self._composer.hands_of

    def scene(self, question: Question, number: int) -> Scene:
        """Return scene `number` of those that show what a question asks for."""
        rng = scene_rng(TRUE_SEED, number, f"true|{question.prompt}")
        hands = [pick(rng, self._composer.hands_of[name]) for name in question.things]
        aspects = [self._composer.aspects[both] for both in zip(question.things, hands, strict=True)]
        things = tuple(
            Thing(name, hand, places, colour)
            for name, hand, places, colour in zip(
                question.things, hands, self._places(question, aspects, rng), question.colours, strict=True
            )
        )
        ground = question.background
        return Scene(
            kind="pair" if len(things) > 1 else "count" if question.count else "single",
            things=things,
            lettering=None if question.lettering is None else _lettering(*question.lettering),
            relation=None if question.relation is None else Relation(question.relation, 0, 1),
            background=None if ground is None else Background(ground, BACKGROUNDS[ground]),
            style=question.style,
            texture=int(rng.random() * 256),
        )

    def _places(self, question: Question, aspects: Sequence[float], rng: random.Random) -> Sequence[tuple[Place, ...]]:
        """Return the places of each thing."""
        if len(aspects) == 1 and question.lettering is not None:
            return [(layout.place_in((0.5, 0.33, 0.6, 0.6), aspects[0], FILL, rng),)]
        if len(aspects) == 1:
            return [
                tuple(layout.place_in(slot, aspects[0], FILL, rng) for slot in layout.slots(question.count or 1, rng))
            ]
        if question.relation == "on":
            return [(place,) for place in layout.stack_on(aspects[0], aspects[1], (0.9, 1.0), rng)]
        vertical = rng.random() < 0.5 if question.relation is None else question.relation in ("above", "below")
        backwards = question.relation in ("right of", "below")
        order = [1, 0] if backwards else [0, 1]
        placed = layout.line([aspects[k] for k in order], [1.0, 1.0], vertical, rng)
        return [(placed[order.index(k)],) for k in (0, 1)]

    def render(self, questions: Sequence[Question], number: int = 0) -> Tensor:
        """Return true pictures of questions, premultiplied uint8 (B, 4, 64, 64)."""
        return self.scenes.render([self.scene(question, number) for question in questions], SIZE_PX)


def _lettering(text: str, colour: str) -> Lettering:
    """Return a word below the middle, as scenes with a thing above a word have it."""
    units = line_width(text, WEIGHT)
    height = min(0.9 / units, 0.26)
    return Lettering(text, Place(0.5, 0.81, round(units * height, 4)), round(height, 4), colour, WEIGHT)

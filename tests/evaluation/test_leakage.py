"""Questions that training shows all the same are counted by where things stand, whatever the caption says."""

from __future__ import annotations

from typing import Any

from sumi.data.scene import Place, Relation, Scene, Thing
from sumi.evaluation.leakage import measure_leakage
from sumi.evaluation.questions import Question


def scene(*things: tuple[str, float, float], relation: Relation | None = None) -> Scene:
    shown = tuple(Thing(name, "noto", (Place(x, y, 0.3),)) for name, x, y in things)
    return Scene("pair", shown, relation=relation)


class Numbered:
    def __init__(self, *scenes: Scene) -> None:
        self.scenes = scenes

    def scene(self, number: int) -> Scene:
        return self.scenes[number]


def asked(subject: str, relation: str, other: str) -> Question:
    return Question("pair held out", "", (subject, other), (None, None), relation=relation)


def test_leakage_counts_pairs_in_place_apart_from_pairs_in_any_place() -> None:
    shown: Any = Numbered(
        scene(("fox", 0.25, 0.5), ("owl", 0.75, 0.5)),
        scene(("cup", 0.5, 0.2), ("car", 0.5, 0.8)),
        scene(("sun", 0.5, 0.5)),
    )
    questions = [
        asked("fox", "left of", "owl"),
        asked("owl", "right of", "fox"),
        asked("owl", "left of", "fox"),
        asked("cup", "on", "car"),
        asked("car", "below", "cup"),
        asked("sun", "above", "owl"),
    ]
    found = measure_leakage(questions, shown, 3)
    assert (found.in_place.right, found.together.right, found.in_place.n) == (4, 5, 6)
    assert measure_leakage(questions, shown, 1).in_place.right == 2
    assert found.to_json()["captions"] == 3 and "3 captions" in found.lines()[0]

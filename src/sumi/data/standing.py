"""How two things stand to each other, by where their centres are: one rule for the split, the exam and the judge.

left of   the other's centre is at least APART to the right, and no further up or down than it is to the right
above     likewise below; "on" looks the same
"""

from __future__ import annotations

from collections.abc import Iterator

from sumi.data.scene import Place, Scene

__all__ = ["standings", "stands"]

APART = 0.1
"""Two centres must be this far apart, in frames, to be beside or above each other."""
STANDING = ("left of", "right of", "above", "below", "on")

Centre = tuple[float, float]
"""x to the right and y down, as fractions of the frame."""


def stands(relation: str, subject: Centre, other: Centre) -> bool:
    """Return whether a subject stands in a relation, one of STANDING, to another thing."""
    right, down = other[0] - subject[0], other[1] - subject[1]
    if relation in ("right of", "below"):
        right, down = -right, -down
    along, across = (right, down) if relation in ("left of", "right of") else (down, right)
    return along > APART and along >= abs(across)


def standings(scene: Scene) -> Iterator[tuple[str, str, str]]:
    """Yield each (concept, relation, concept) that a scene shows, whatever its caption says.

    Every place of every thing counts, and the middle of all places of a thing, which is where the judge sees it.
    """
    centres = [_centres(thing.places) for thing in scene.things]
    for one, subject in enumerate(scene.things):
        for other, neighbour in enumerate(scene.things):
            if one == other or subject.concept == neighbour.concept:
                continue
            for relation in STANDING:
                if any(stands(relation, a, b) for a in centres[one] for b in centres[other]):
                    yield subject.concept, relation, neighbour.concept


def _centres(places: tuple[Place, ...]) -> list[Centre]:
    each = [(place.x, place.y) for place in places]
    middle = (sum(x for x, _ in each) / len(each), sum(y for _, y in each) / len(each))
    return [*each, middle] if len(each) > 1 else each

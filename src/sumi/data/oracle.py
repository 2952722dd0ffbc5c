"""The oracle: what is true of a scene, and what an examiner may ask about it.

Facts and questions derive from the scene alone, never from its caption, so an answer is right even where the
caption left it unsaid. A question has a closed list of choices, so that a recogniser can answer it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sumi.data.scene import BEARINGS, COLOURS, MEETINGS, RELATIONS, SIZES, STYLES, Scene, Shape, Thing
from sumi.data.words import article, counted, plural

NATURAL = "natural"
"""The colour of what was not painted over, and the style of what was left as its artist drew it."""

TRANSPARENT = "transparent"

COUNTS = tuple(str(n) for n in range(1, 7))


@dataclass(frozen=True, slots=True)
class Fact:
    """`subject` has `value` in some respect; with `obj`, `subject` stands in relation `value` to it."""

    respect: str
    subject: str
    value: str
    obj: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """A fact asked for: the answer is among the choices (which are empty where any word may be)."""

    text: str
    answer: str
    choices: tuple[str, ...]
    fact: Fact


def facts(scene: Scene) -> Iterator[Fact]:
    """Everything that is true of a scene, in a fixed order.

    Respects: object, count, colour, size, gender, tone, shape, contour, relation, word, background, style.
    """
    for thing in scene.things:
        yield from _of_thing(thing)
    for shape in scene.shapes:
        yield from _of_shape(shape)
    link = scene.relation
    if link is not None:
        subject, obj = related(scene)
        yield Fact("relation", subject, link.name, obj)
    if scene.lettering is not None:
        yield Fact("word", "letters", scene.lettering.text)
        yield Fact("colour", "letters", scene.lettering.colour)
    yield Fact("background", "picture", scene.background.colour if scene.background else TRANSPARENT)
    yield Fact("style", "picture", scene.style or scene.named_hand or NATURAL)


def related(scene: Scene) -> tuple[str, str]:
    """Names of the two that a scene's relation is between; two empty names where there is none."""
    link = scene.relation
    if link is None:
        return "", ""
    if not scene.things:
        return scene.shapes[link.subject].name, scene.shapes[link.object].name
    subject = scene.things[link.subject].concept
    if link.name == "inside" and scene.shapes:
        return subject, scene.shapes[link.object].name
    return subject, scene.things[link.object].concept


def _of_thing(thing: Thing) -> Iterator[Fact]:
    yield Fact("object", thing.concept, "present")
    yield Fact("count", thing.concept, str(thing.count))
    yield Fact("colour", thing.concept, thing.colour or NATURAL)
    for respect, value in (("size", thing.size), ("gender", thing.gender), ("tone", thing.tone)):
        if value is not None:
            yield Fact(respect, thing.concept, value)


def _of_shape(shape: Shape) -> Iterator[Fact]:
    yield Fact("shape", shape.name, "present")
    yield Fact("colour", shape.name, shape.colour)
    yield Fact("contour", shape.name, "filled" if shape.filled else "outlined" if shape.closed else "open")


def questions(scene: Scene) -> Iterator[Question]:
    """Questions with closed answers, one for each fact that can be asked without giving it away."""
    repeated = {shape.name for shape in scene.shapes if [s.name for s in scene.shapes].count(shape.name) > 1}
    for fact in facts(scene):
        if fact.subject in repeated or (fact.obj in repeated and fact.respect != "relation"):
            continue
        asked = _ask(fact)
        if asked is not None:
            yield Question(asked[0], fact.value, asked[1], fact)


def _ask(fact: Fact) -> tuple[str, tuple[str, ...]] | None:
    subject = fact.subject
    match fact.respect:
        case "count":
            return f"How many {plural(subject)} are there?", COUNTS
        case "colour":
            return f"What colour is the {subject}?", (*COLOURS, NATURAL)
        case "size":
            return f"How big is the {subject}?", SIZES
        case "contour":
            return f"Is the {subject} filled, outlined or open?", ("filled", "outlined", "open")
        case "relation":
            choices = next(names for names in (BEARINGS, MEETINGS, RELATIONS) if fact.value in names)
            if fact.value == "inside":
                choices = (*RELATIONS, *MEETINGS[:2])
            return f"How does the {subject} stand to the {fact.obj}?", choices
        case "background":
            return "What colour is the background?", (*COLOURS, TRANSPARENT)
        case "style":
            return "In what style is it drawn?", (*STYLES, "noto", "fluent", "twemoji", NATURAL)
        case "word":
            return "What does it say?", ()
    return None


def tally(scene: Scene) -> str:
    """What is in a scene as a plain list: 'a fox, two cats'."""
    shown = [counted(thing.count, thing.concept) for thing in scene.things]
    return ", ".join([*shown, *(article(shape.name) for shape in scene.shapes)])

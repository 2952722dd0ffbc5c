"""Captions: a scene in words, by a typed grammar with paraphrases.

    caption = style( place( relation( noun phrases ) ) )

A complete caption says everything that is out of the ordinary (colour, size, count, relation, background,
style); a partial one leaves some of it out; keywords only list. Letters to be written are always inside
double quotes, in capitals.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from sumi.data.scene import BEARINGS, Lettering, Scene, Shape, Thing
from sumi.data.words import article, counted, is_plural, plural

__all__ = ["HAND_WORDS", "RELATION_PHRASES", "SIZE_WORDS", "STYLE_KEYWORDS", "STYLE_PHRASES", "noun_phrase"]

Names = Callable[[str], Sequence[str]]
"""What a concept is called, best name first."""

FORMS: Mapping[str, float] = {"complete": 0.60, "partial": 0.25, "keywords": 0.15}

HAND_WORDS: Mapping[str, tuple[str, ...]] = {
    "noto": ("noto style", "noto emoji style"),
    "fluent": ("flat style", "fluent style", "fluent flat style"),
    "twemoji": ("twemoji style", "twitter emoji style"),
    "emojione": ("emojione style", "emoji one style"),
    "noto-v1": ("blob style", "noto blob style"),
    "fxemoji": ("fxemoji style", "firefox emoji style"),
    "openmoji": ("openmoji style",),
    "emojione-v1": ("old emojione style",),
    "font": ("noto style", "noto emoji style"),
}

STYLE_PHRASES: Mapping[str, tuple[str, ...]] = {
    "pencil drawing": (
        "a pencil drawing of {}",
        "pencil sketch of {}",
        "{} drawn in pencil",
        "{}, pencil drawing",
    ),
    "pixel art": ("pixel art of {}", "{} in pixel art style", "{} as pixel art", "{}, pixel art"),
    "watercolour": (
        "a watercolour of {}",
        "watercolor painting of {}",
        "{} in watercolour",
        "{}, watercolor",
    ),
    "neon": ("a neon sign of {0}", "neon {1}", "{0} in neon lights", "{0}, neon"),
    "silhouette": ("the silhouette of {}", "silhouette of {}", "{} in silhouette", "{}, silhouette"),
    "mosaic": ("a mosaic of {}", "{} made of mosaic tiles", "{} as a mosaic", "{}, mosaic"),
    "sticker outline": (
        "{} with a white outline",
        "{} with a white border",
        "die-cut sticker of {}",
        "{}, white outline",
    ),
}

STYLE_KEYWORDS: Mapping[str, tuple[str, ...]] = {
    "pencil drawing": ("pencil drawing", "pencil sketch"),
    "pixel art": ("pixel art",),
    "watercolour": ("watercolour", "watercolor"),
    "neon": ("neon",),
    "silhouette": ("silhouette",),
    "mosaic": ("mosaic",),
    "sticker outline": ("white outline", "die-cut sticker"),
}

RELATION_PHRASES: Mapping[str, tuple[str, ...]] = {
    "left of": ("{} to the left of {}", "{} left of {}", "{} on the left of {}"),
    "right of": ("{} to the right of {}", "{} right of {}", "{} on the right of {}"),
    "above": ("{} above {}", "{} over {}"),
    "below": ("{} below {}", "{} under {}", "{} beneath {}"),
    "on": ("{} on {}", "{} on top of {}", "{} standing on {}"),
    "inside": ("{} inside {}", "{} in {}"),
    "wearing": ("{} wearing {}", "{} with {}", "{} in {}"),
    "holding": ("{} holding {}", "{} with {}"),
    "riding": ("{} riding {}", "{} on {}"),
    "touching": ("{} touching {}", "{} and {} touching"),
    "apart": ("{} apart from {}", "{} and {} apart"),
}

SIZE_WORDS: Mapping[str, tuple[str, ...]] = {
    "small": ("small", "tiny", "little"),
    "big": ("big", "large", "huge"),
}

_PLAIN = ("{}", "{}", "{}", "{}", "a sticker of {}", "a picture of {}", "{} sticker", "{} emoji")
_CLEAR = ("{} on a transparent background", "{} with transparent background", "{}, transparent background")
_GROUNDS = (
    "{0} on {1} background",
    "{0} on {1} background",
    "{0} with {1} background",
    "{0} against {1} background",
    "{0}, {2} background",
)


@dataclass(frozen=True)
class _Voice:
    """One speaker: a source of chance, what concepts are called, and which facts are said."""

    rng: random.Random
    names: Names

    def chance(self) -> float:
        return self.rng.random()

    def pick(self, choices: Sequence[str]) -> str:
        return choices[int(self.chance() * len(choices))]

    def name(self, concept: str) -> str:
        return a_name(self.names(concept), self.rng)


class _Plain(_Voice):
    """One who says everything always in the same way."""

    def chance(self) -> float:
        return 0.5

    def pick(self, choices: Sequence[str]) -> str:
        return choices[0]

    def name(self, concept: str) -> str:
        return self.names(concept)[0]


def a_name(names: Sequence[str], rng: random.Random) -> str:
    """The primary name three times in five, else a synonym."""
    if len(names) == 1 or rng.random() < 0.6:
        return names[0]
    return names[1 + int(rng.random() * (len(names) - 1))]


def caption(scene: Scene, rng: random.Random, names: Names, form: str | None = None) -> str:
    """Say a scene. `form` is complete, partial or keywords; drawn by FORMS when None."""
    return describe(scene, rng, names, form)[0]


def describe(scene: Scene, rng: random.Random, names: Names, form: str | None = None) -> tuple[str, Scene]:
    """Say a scene, as `caption` does; also the scene with only the facts that were said."""
    voice = _Voice(rng, names)
    if form is None:
        draw = rng.random()
        form = "complete" if draw < 0.60 else "partial" if draw < 0.85 else "keywords"
    if form == "keywords":
        return _keywords(scene, voice), scene
    said = _forget(scene, rng) if form == "partial" else scene
    return _sentence(said, scene.background is None, voice), said


def describe_thing(scene: Scene, names: Names, thing: Thing | Shape | Lettering) -> str:
    """Say one thing of a scene as if it were there alone, once, at its usual size, and in the scene's style."""
    only = replace(scene, kind="alone", things=(), shapes=(), lettering=None, relation=None, background=None)
    if isinstance(thing, Thing):
        only = replace(only, things=(replace(thing, places=thing.places[:1], size=None),))
    elif isinstance(thing, Shape):
        only = replace(only, kind="bongard", shapes=(thing,))
    else:
        only = replace(only, lettering=thing)
    return _sentence(only, False, _Plain(random.Random(), names))


def _forget(scene: Scene, rng: random.Random) -> Scene:
    """The scene with some of its facts unsaid. What is unusual about a picture is mostly still said."""

    def dull(thing: Thing) -> Thing:
        colour = None if rng.random() < 0.2 else thing.colour
        size = None if rng.random() < 0.6 else thing.size
        tone = None if rng.random() < 0.4 else thing.tone
        return replace(thing, colour=colour, size=size, tone=tone)

    style = None if rng.random() < 0.2 else scene.style
    background = None if rng.random() < 0.6 else scene.background
    relation = scene.relation
    if relation is not None and relation.name not in (*BEARINGS, "inside") and rng.random() < 0.35:
        relation = None
    things = tuple(dull(thing) for thing in scene.things)
    return replace(scene, things=things, style=style, background=background, relation=relation)


def noun_phrase(noun: str, adjectives: Sequence[str], count: int = 1) -> str:
    """'a small red fox', 'two blue umbrellas', 'red glasses'; bare where the noun takes no article."""
    lead = "".join(f"{word} " for word in adjectives)
    if count > 1:
        number, _, counted_noun = counted(count, noun).partition(" ")
        return f"{number} {lead}{counted_noun}"
    if is_plural(noun) or article(noun) == noun:
        return lead + noun
    return article(lead + noun) if lead else article(noun)


def _thing(thing: Thing, voice: _Voice) -> str:
    noun = voice.name(thing.concept)
    if thing.gender is not None or thing.tone is not None:
        return _person(thing, noun, voice)
    words = [voice.pick(SIZE_WORDS[thing.size])] if thing.size is not None else []
    if thing.colour is not None:
        words.append(_colour_word(thing.colour, voice))
    return noun_phrase(noun, words, thing.count)


def _colour_word(colour: str, voice: _Voice) -> str:
    if colour == "gray" and voice.chance() < 0.5:
        return "grey"
    return colour


_NEUTRAL = re.compile(r"\b(?:person|people)\b")
_GENDERED = {
    ("man", "person"): "man", ("man", "people"): "men", ("woman", "person"): "woman", ("woman", "people"): "women",
}  # fmt: skip


def replace_gender(noun: str, gender: str | None) -> str:
    """A name with its "person" turned into a man or a woman: 'woman with red hair'."""
    return noun if gender is None else _NEUTRAL.sub(lambda found: _GENDERED[gender, found[0]], noun)


def _person(thing: Thing, noun: str, voice: _Voice) -> str:
    """'a woman farmer with dark skin', 'a dark-skinned male farmer', 'a woman with red hair'."""
    tone = thing.tone
    said = {"man": ("male", "man"), "woman": ("female", "woman"), None: ("", "")}[thing.gender]
    gendered = replace_gender(noun, thing.gender)
    bare = gendered != noun or noun.split()[-1] in ("man", "woman", "boy", "girl") or noun in ("mother", "father")
    noun = gendered
    adjective = "" if bare else said[1 if voice.chance() < 0.5 else 0]
    if tone is None:
        return noun_phrase(noun, [adjective] if adjective else [])
    if voice.chance() < 0.5:
        return noun_phrase(noun, [w for w in (f"{tone.replace(' ', '-')}-skinned", adjective) if w])
    return f"{noun_phrase(noun, [adjective] if adjective else [])} with {tone} skin"


def _shape_noun(shape: Shape, voice: _Voice) -> tuple[str, list[str]]:
    words = []
    if not shape.closed:
        words.append("open")
    elif not shape.filled:
        words.append(voice.pick(("outlined", "hollow")))
    return shape.name, [*words, _colour_word(shape.colour, voice)]


def _shape(shape: Shape, voice: _Voice) -> str:
    return noun_phrase(*_shape_noun(shape, voice))


def _list(parts: Sequence[str]) -> str:
    if len(parts) < 2:
        return parts[0]
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def _content(scene: Scene, voice: _Voice) -> str:
    """What is in the picture, without style or background."""
    link = scene.relation
    if scene.kind == "bongard":
        return _bongard(scene, voice)
    if link is None:
        parts = [_thing(thing, voice) for thing in scene.things]
        said = _list(parts) if parts else ""
        if scene.shapes:
            said = f"{said} and {_shape(scene.shapes[0], voice)}"
        if scene.lettering is None:
            return said
        return _written(scene, said, voice)
    subject = _thing(scene.things[link.subject], voice)
    if link.name == "inside" and scene.shapes:
        obj = _shape(scene.shapes[link.object], voice)
    else:
        obj = _thing(scene.things[link.object], voice)
    return voice.pick(RELATION_PHRASES[link.name]).format(subject, obj)


def _written(scene: Scene, beside: str, voice: _Voice) -> str:
    assert scene.lettering is not None
    text, colour = scene.lettering.text, _colour_word(scene.lettering.colour, voice)
    said = voice.pick(
        (
            f'the word "{text}" in {colour} letters',
            f'the text "{text}" in {colour}',
            f'{article(colour)} word "{text}"',
            f'"{text}" in {colour} letters',
            f'"{text}" written in {colour}',
            f'{colour} letters that say "{text}"',
        )
    )
    if not beside:
        return said
    return voice.pick((f"{beside} with {said}", f"{beside} above {said}", f"{beside} and {said}"))


def _bongard(scene: Scene, voice: _Voice) -> str:
    """Shapes and how they stand to each other."""
    shapes, link = scene.shapes, scene.relation
    if len(shapes) == 1:
        return _shape(shapes[0], voice)
    first, second = shapes[0], shapes[1]
    alike = (first.name, first.colour, first.filled, first.closed) == (
        second.name, second.colour, second.filled, second.closed,
    )  # fmt: skip
    if link is not None and link.name == "inside":
        inner, outer = shapes[link.subject], shapes[link.object]
        return f"{_shape(inner, voice)} inside {_shape(outer, voice)}"
    if alike:
        noun, words = _shape_noun(first, voice)
        pair = voice.pick((noun_phrase(noun, words, 2), f"two of the same {' '.join([*words, plural(noun)])}"))
        return pair if link is None else f"{pair} {link.name}"
    if link is None:
        return f"{_shape(first, voice)} and {_shape(second, voice)}"
    return voice.pick(RELATION_PHRASES[link.name]).format(_shape(first, voice), _shape(second, voice))


def _sentence(scene: Scene, clear: bool, voice: _Voice) -> str:
    """`clear` says whether the picture's background is transparent, whatever of it is said."""
    said = _content(scene, voice)
    hand = scene.named_hand
    if scene.style is not None:
        said = voice.pick(STYLE_PHRASES[scene.style]).format(said, _unarticled(said))
    elif hand is not None:
        word = voice.pick(HAND_WORDS[hand])
        said = voice.pick(("{1} in {0}", "{1}, {0}", "{0} {2}")).format(word, said, _unarticled(said))
    elif scene.kind == "bongard" or scene.lettering is not None:
        pass
    else:
        # 'with dark skin emoji' would be no English: what ends in a clause is not made an adjective.
        frames = _PLAIN[:6] if " with " in said else _PLAIN
        said = voice.pick(frames).format(said) if scene.kind in ("single", "person") else said
    if scene.background is not None:
        ground = _colour_word(scene.background.colour, voice)
        return voice.pick(_GROUNDS).format(said, article(ground), ground)
    if clear and voice.chance() < 0.06:
        return voice.pick(_CLEAR).format(said)
    return said


def _unarticled(said: str) -> str:
    for lead in ("a ", "an ", "the "):
        if said.startswith(lead):
            return said[len(lead) :]
    return said


def _keywords(scene: Scene, voice: _Voice) -> str:
    """'fox, red, pixel art, blue background'."""
    words: list[str] = []
    link = scene.relation
    for thing in scene.things:
        noun = voice.name(thing.concept)
        gendered = replace_gender(noun, thing.gender)
        gender = thing.gender if gendered == noun else None
        noun, said = gendered, [w for w in (thing.size, thing.colour, gender, thing.tone) if w is not None]
        said = [f"{w} skin" if w == thing.tone else w for w in said]
        words.append(noun_phrase(noun, said, thing.count) if thing.count > 1 else " ".join([*said, noun]))
    if scene.kind == "bongard" or link is None or link.name == "inside":
        words.extend(_unarticled(_shape(shape, voice)) for shape in scene.shapes)
    if link is not None and len(words) > 1:
        joined = f"{words[link.subject]} {link.name} "
        target = words[len(scene.things)] if scene.things and scene.shapes else words[link.object]
        words = [joined + target]
    if scene.lettering is not None:
        words.append(f'"{scene.lettering.text}"')
        words.append(f"{scene.lettering.colour} letters")
    if scene.style is not None:
        words.append(voice.pick(STYLE_KEYWORDS[scene.style]))
    if scene.named_hand is not None:
        words.append(voice.pick(HAND_WORDS[scene.named_hand]))
    if scene.background is not None:
        words.append(f"{scene.background.colour} background")
    return ", ".join(words)

"""Dressing a scene: the background and the style that its content can bear.

A style is chosen only where everything that a caption may say can still be seen in it: no colour is named in
a pencil drawing, nothing is inside anything in a silhouette.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

from sumi.data.scene import BACKGROUNDS, Background, Place, Scene
from sumi.data.seeding import pick

__all__ = ["apply_style", "draw_background", "honest_styles", "painted"]

_REACHING = ("sticker outline", "neon")
"""Styles that draw beyond the outline of things."""


def apply_style(scene: Scene, background: Background | None, styled: bool, rng: random.Random) -> Scene:
    """The scene on a background (unless something of its colour would be lost there) and perhaps in a style."""
    colours = painted(scene)
    style = pick(rng, honest_styles(scene, colours)) if styled else None
    return replace(
        _drawn_in(scene, 0.9) if style in _REACHING else scene,
        background=None if background is not None and background.colour in colours else background,
        style=style,
    )


def draw_background(rng: random.Random) -> Background:
    """A named colour, white a little more often, with a jitter so that no one shade is the name."""
    name = "white" if rng.random() < 0.12 else pick(rng, tuple(BACKGROUNDS))
    if name in ("white", "black"):
        return Background(name, BACKGROUNDS[name])
    shift = 24 * (rng.random() - 0.5)
    r, g, b = (round(min(255, max(0, v + shift + 12 * (rng.random() - 0.5)))) for v in BACKGROUNDS[name])
    return Background(name, (r, g, b))


def painted(scene: Scene) -> list[str]:
    """The colours that a scene's words would name."""
    lettering = [scene.lettering.colour] if scene.lettering is not None else []
    things = [thing.colour for thing in scene.things if thing.colour is not None]
    return [*lettering, *things, *(shape.colour for shape in scene.shapes)]


def _drawn_in(scene: Scene, scale: float) -> Scene:
    """The scene made smaller about its centre."""

    def nearer(place: Place) -> Place:
        x, y = 0.5 + (place.x - 0.5) * scale, 0.5 + (place.y - 0.5) * scale
        return Place(round(x, 4), round(y, 4), round(place.side * scale, 4))

    words = scene.lettering
    if words is not None:
        words = replace(words, place=nearer(words.place), height=round(words.height * scale, 4))
    return replace(
        scene,
        things=tuple(replace(t, places=tuple(nearer(p) for p in t.places)) for t in scene.things),
        shapes=tuple(replace(s, place=nearer(s.place)) for s in scene.shapes),
        lettering=words,
    )


def honest_styles(scene: Scene, colours: Sequence[str]) -> tuple[str, ...]:
    """The styles in which all that a caption may say can still be seen."""
    styles = ["pixel art", "watercolour", "mosaic", "sticker outline"]
    plain = scene.kind != "person" and scene.lettering is None and not scene.shapes
    if plain and not set(colours) & {"black", "white", "gray", "brown"}:
        styles.append("neon")
    if plain and not colours:
        styles.append("pencil drawing")
        if scene.kind != "accessory" and (scene.relation is None or scene.relation.name != "inside"):
            styles.append("silhouette")
    return tuple(styles)

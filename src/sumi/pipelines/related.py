"""From a planned composition and what a prompt says of its things to one that rules place.

A planner that was never shown a count beside a relation, or "behind", drops the count or a thing. Where the words say
what the plan lacks, or rules know better than habit, the layers are those of the words; the plan still says what the
ground is and where a bearer usually has what it wears.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from sumi.autoregressive import LayoutBox
from sumi.layout import RelatedScene
from sumi.pipelines.layered_image import Composition, LayerSpec

__all__ = ["relate"]

MIDDLE = LayoutBox(0.5, 0.5, 0.86)


def relate(planned: Composition, scene: RelatedScene | None) -> Composition:
    """Return the planned composition, or that of a scene where the plan does not show it or its relations have rules.

    The spots of a scene are those of the plan where it has them, until `Composition.settled` knows what was drawn.
    """
    if scene is None or (scene.planned_well and shows(planned, scene)):
        return planned
    order = scene.back_to_front
    known = {thing: layer_of(planned, scene.things[thing].noun) for thing in order}
    layers = []
    for thing in order:
        layer, count = known[thing], scene.things[thing].count
        spots = layer.spots if layer is not None and len(layer.spots) == count else (MIDDLE,) * count
        layers.append(LayerSpec(scene.things[thing].prompt, spots))
    ordered = scene.ordered(order)
    usual = dict(usual_places(ordered, [known[thing] for thing in order]))
    return replace(planned, layers=tuple(layers), scene=ordered, usual=usual)


def shows(planned: Composition, scene: RelatedScene) -> bool:
    """Return whether a plan has a layer for each thing of a scene, with as many spots as it says."""
    layers = [layer_of(planned, thing.noun) for thing in scene.things]
    return len(planned.layers) == len(layers) and all(
        layer is not None and len(layer.spots) == thing.count for layer, thing in zip(layers, scene.things, strict=True)
    )


def layer_of(planned: Composition, noun: str) -> LayerSpec | None:
    """Return the layer of a plan whose prompt names a thing."""
    named = f" {noun.casefold()} "
    return next((layer for layer in planned.layers if named in f" {layer.prompt.casefold()} "), None)


def usual_places(scene: RelatedScene, layers: list[LayerSpec | None]) -> Iterator[tuple[int, LayoutBox]]:
    """Yield each thing that is worn or held with its planned place, from its bearer's middle, in its bearer's sides."""
    for link in scene.links:
        own, bearer = layers[link.things[0]], layers[link.owner]
        if link.relation not in ("wearing", "holding") or own is None or bearer is None:
            continue
        (x, y, small), (left, top, side) = own.spots[0], bearer.spots[0]
        place = LayoutBox((x - left) / side, (y - top) / side, small / side)
        if max(abs(place.x), abs(place.y)) < 0.65:
            yield link.things[0], place

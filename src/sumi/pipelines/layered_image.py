"""Layered images: each thing of a scene is a picture of its own, composited where the layout places it.

    prompt -> layout -> for each thing: its own prompt -> a sticker -> canvas <- layer + (1 - alpha) canvas

unCLIP confuses which attribute belongs to which object (Ramesh et al. 2022, section 7), since one embedding describes
all of them; a thing that is drawn alone cannot take its neighbour's colour. Compositing premultiplied pictures is exact
(Porter & Duff 1984), so no edge shows, and every layer stays a picture of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from sumi.autoregressive import LayoutBox
from sumi.imaging.pixels import over, resize_picture, to_uint8
from sumi.layout import INK, RelatedScene, Silhouette, frame_spots, place_scene
from sumi.pipelines.prior import EncodedText
from sumi.pipelines.short_repr import short_repr
from sumi.pipelines.typesetting import TypesetText, find_lettering

__all__ = ["Arrange", "Composition", "LayerSpec", "LayeredImage", "layer_count", "place_layer"]


@dataclass(frozen=True)
class LayerSpec:
    """One thing with a prompt of its own, drawn once and shown at each of its spots."""

    prompt: str
    spots: tuple[LayoutBox, ...]

    @property
    def lettering(self) -> TypesetText | None:
        """What is set in type instead of being drawn by the model."""
        return find_lettering(self.prompt)


@dataclass(frozen=True)
class Composition:
    """The layers of a picture from back to front.

    Args:
        layers: what is drawn, and where it is shown.
        ground: the colour behind them, red, green and blue in [0, 1].
        scene: how the things of the layers stand to each other, in the order of the layers, where rules place them.
        usual: by the layer of what is worn or held, where its bearer usually has it, see `place_scene`.
    """

    layers: tuple[LayerSpec, ...]
    ground: tuple[float, float, float] | None = None
    scene: RelatedScene | None = None
    usual: Mapping[int, LayoutBox] = field(default_factory=dict)

    @property
    def composed(self) -> bool:
        """Whether there is anything to composite: several things, one before a ground, or letters."""
        several = self.ground is not None or sum(len(layer.spots) for layer in self.layers) > 1
        return several or bool(self.typeset)

    @property
    def typeset(self) -> tuple[str, ...]:
        """The texts that are set in type, from back to front."""
        letterings = (layer.lettering for layer in self.layers)
        return tuple(lettering.text for lettering in letterings if lettering is not None)

    def settled(self, shapes: Sequence[Silhouette]) -> Composition:
        """Return the composition with every layer where it belongs beside what was drawn, and none beyond the frame."""
        if self.scene is None:
            spots = frame_spots([layer.spots for layer in self.layers], shapes)
        else:
            spots = place_scene(self.scene, shapes, self.usual)
        layers = [LayerSpec(layer.prompt, some) for layer, some in zip(self.layers, spots, strict=True)]
        return replace(self, layers=tuple(layers))

    def lettering(self, level: int) -> TypesetText | None:
        """Return what is set in type at a level; None where the model draws."""
        return self.layers[level].lettering


Arrange = Callable[[EncodedText, Sequence[int]], list[Composition]]
"""Texts with a seed each, to the composition of each picture."""


@dataclass(frozen=True)
class LayeredImage:
    """A picture as stickers, premultiplied uint8 (4, S, S), one for each layer of its composition.

    Without a composition it has one sticker, which is the picture.
    """

    __repr__ = short_repr

    stickers: tuple[Tensor, ...]
    composition: Composition | None = None

    def with_layer(self, sticker: Tensor) -> LayeredImage:
        """Return the picture with one more layer drawn."""
        return replace(self, stickers=(*self.stickers, sticker))

    def settled(self) -> LayeredImage:
        """Return the picture, of which every layer is drawn, with its layers placed by their outlines."""
        if self.composition is None:
            return self
        shapes = [Silhouette.of_alpha(sticker[3]) for sticker in self.stickers]
        return replace(self, composition=self.composition.settled(shapes))

    def flat(self) -> Tensor:
        """Return the picture, premultiplied uint8 (4, S, S): the layers drawn so far, composited."""
        if self.composition is None:
            return self.stickers[0]
        canvas = torch.zeros_like(self.stickers[0], dtype=torch.float32)
        if self.composition.ground is not None:
            ground = torch.tensor(self.composition.ground, dtype=torch.float32)
            canvas[:3], canvas[3] = ground[:, None, None], 1.0
        for layer, sticker in zip(self.composition.layers, self.stickers, strict=False):
            for spot in layer.spots:
                canvas = over(place_layer(sticker, spot), canvas)
        return to_uint8(canvas)

    def layers(self) -> list[tuple[str, Tensor]]:
        """Return each layer alone in its place, premultiplied uint8 (4, S, S), with its prompt, from back to front.

        A ground is the first layer, named "background".
        """
        if self.composition is None:
            return []
        alone = []
        if self.composition.ground is not None:
            alone.append(
                ("background", LayeredImage(self.stickers[:1], Composition((), self.composition.ground)).flat())
            )
        for layer, sticker in zip(self.composition.layers, self.stickers, strict=True):
            only = LayeredImage((sticker,), Composition((layer,)))
            alone.append((layer.prompt, only.flat()))
        return alone


def place_layer(sticker: Tensor, spot: LayoutBox) -> Tensor:
    """A sticker, premultiplied uint8 (4, S, S), at a spot of a clear canvas as large as it is, floats in [0, 1].

    Its tight box is brought to the spot; what lies outside the frame is cut off. An empty one stays empty.
    """
    size_px, canvas = sticker.shape[-1], torch.zeros(sticker.shape, dtype=torch.float32)
    inked = sticker[3] > INK
    if not bool(inked.any()):
        return canvas
    rows, columns = (inked.any(dim=axis).nonzero()[:, 0].tolist() for axis in (1, 0))
    box = sticker[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].float() / 255
    scale = spot.side * size_px / max(box.shape[1:])
    high, wide = (max(1, round(length * scale)) for length in box.shape[1:])
    thing = resize_picture(box, (high, wide))
    top, left = round(spot.y * size_px - high / 2), round(spot.x * size_px - wide / 2)
    inside = [slice(max(0, start), min(size_px, start + length)) for start, length in ((top, high), (left, wide))]
    if any(part.stop <= part.start for part in inside):
        return canvas
    shown = [slice(part.start - start, part.stop - start) for part, start in zip(inside, (top, left), strict=True)]
    canvas[:, inside[0], inside[1]] = thing[:, shown[0], shown[1]]
    return canvas


def layer_count(composition: Composition | None) -> int:
    """Return how many layers a picture has; one where it is drawn in one piece."""
    return 1 if composition is None else len(composition.layers)

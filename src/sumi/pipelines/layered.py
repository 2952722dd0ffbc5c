"""Layered drawing: each thing that a prompt asks for is drawn alone, and laid where the planner says.

`Layered` has the steps of an `UnCLIPPipeline` and wraps one: a picture of three layers is three rows of the pipeline's
steps. Whoever composes the steps does not know of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from sumi.autoregressive import LayoutBox
from sumi.pipelines.events import Event, Progress, Sample
from sumi.pipelines.layered_image import Composition, LayeredImage, LayerSpec, layer_count
from sumi.pipelines.prior import EncodedText
from sumi.pipelines.prompt import clean
from sumi.pipelines.related import relate
from sumi.pipelines.stage import batches
from sumi.pipelines.steps import Pause, Value, Work, map_events
from sumi.pipelines.typesetting import TypesetText, find_lettering
from sumi.pipelines.unclip import TRANSPARENT, UnCLIPPipeline, UnCLIPSteps, rng_stream

MIDDLE = LayoutBox(0.5, 0.5, 0.86)

__all__ = ["Layered", "arrange_layers", "sample_small"]


class LevelText(NamedTuple):
    """A level, the pictures that the model draws there, and the words of their things."""

    level: int
    rows: Sequence[int]
    words: EncodedText


@dataclass(frozen=True)
class LayeredText:
    """The whole prompts, and the words of each level at which the model draws."""

    whole: EncodedText
    levels: Sequence[LevelText]

    @property
    def z_t(self) -> Tensor:
        """The embeddings of the whole prompts, (B, D)."""
        return self.whole.z_t


@dataclass(frozen=True)
class Layered:
    """A pipeline that draws in layers. compositions: what each picture is made of; None for one in one piece."""

    base: UnCLIPPipeline
    compositions: Sequence[Composition | None]

    def encode(self, prompts: Sequence[str]) -> LayeredText:
        """Encode whole prompts, and the words of each of their things but of those that are set in type."""
        whole, levels = self.base.encode(prompts), []
        for level in range(self._height):
            rows = [row for row in self._rows(level) if self._lettering(row, level) is None]
            composed = {row: one for row in rows if (one := self.compositions[row]) is not None}
            words = [one.layers[level].prompt + TRANSPARENT for one in composed.values()]
            alone = dict(zip(composed, self.base.read(words).rows(), strict=True)) if words else {}
            if rows:
                texts = EncodedText.of([alone.get(row) or whole.row(row) for row in rows])
                levels.append(LevelText(level, rows, texts))
        return LayeredText(whole, levels)

    @property
    def _height(self) -> int:
        """The number of layers of the highest picture."""
        return max(map(layer_count, self.compositions))

    def _rows(self, level: int) -> list[int]:
        """Return the pictures that have a level."""
        return [row for row, one in enumerate(self.compositions) if layer_count(one) > level]

    def _lettering(self, row: int, level: int) -> TypesetText | None:
        """Return what is set in type at a level of a picture."""
        composition = self.compositions[row]
        return None if composition is None else composition.lettering(level)

    def sample_prior(self, text: LayeredText, seeds: Sequence[int]) -> Work[list[Tensor]]:
        """Draw z_i for every layer of every picture that is not set in type, level by level."""
        z_i = []
        for part, (level, rows, words) in enumerate(text.levels):
            stream = rng_stream(self.base.prior.name, level)
            work = self.base.sample_prior(words, [seeds[row] for row in rows], stream)
            z_i.append((yield from self._counted(work, part, text)))
        return z_i

    def sample_decoder(
        self, text: LayeredText, z_i: Sequence[Tensor], seeds: Sequence[int]
    ) -> Work[list[LayeredImage]]:
        """Draw every layer of every picture small, from the lowest up."""
        drawn = [LayeredImage((), composition) for composition in self.compositions]
        parts = {words.level: part for part, words in enumerate(text.levels)}
        for level in range(self._height):
            for row in self._rows(level):
                if (lettering := self._lettering(row, level)) is not None:
                    drawn[row] = drawn[row].with_layer(lettering.draw(self.base.size_px))
            if level not in parts:
                continue
            part = parts[level]
            _, rows, words = text.levels[part]
            work = self.base.sample_decoder(words, z_i[part], [seeds[row] for row in rows], level)
            before = [drawn[row] for row in rows]
            stickers = yield from self._counted(work, part, text, before)
            for row, sticker in zip(rows, stickers, strict=True):
                drawn[row] = drawn[row].with_layer(sticker)
        return [one.settled() for one in drawn]

    def score(self, pictures: Sequence[LayeredImage], z_t: Tensor) -> Work[list[float]]:
        """Score the composite pictures against the whole prompts."""
        return self.base.score([one.flat() for one in pictures], z_t)

    def upsample(self, samples: Sequence[Sample]) -> Work[None]:
        """Draw every layer large, and yield each picture as soon as its batch is done."""
        parts = list(batches(len(samples), self.base.batch))
        for number, some in enumerate(parts):
            small = [sample.image for sample in samples[some]]
            large = [replace(image, stickers=()) for image in small]
            levels = max(len(image.stickers) for image in small)
            for level in range(levels):
                rows = []
                for row in [row for row, image in enumerate(small) if len(image.stickers) > level]:
                    composition = small[row].composition
                    if composition is None or (lettering := composition.lettering(level)) is None:
                        rows.append(row)
                    else:
                        large[row] = large[row].with_layer(lettering.draw(self.base.sizes[-1]))
                if not rows:
                    continue
                seeds = [samples[some][row].seed for row in rows]
                part = (number * levels + level, len(parts) * levels)
                work = self.base.enlarge([small[row].stickers[level] for row in rows], seeds, level, part)
                stickers = yield from map_events(work, composed([large[row] for row in rows]))
                for row, sticker in zip(rows, stickers, strict=True):
                    large[row] = large[row].with_layer(sticker)
            for sample, image in zip(samples[some], large, strict=True):
                yield replace(sample, image=image)

    def _counted(
        self,
        work: Work[Value],
        part: int,
        text: LayeredText,
        before: Sequence[LayeredImage] = (),
    ) -> Work[Value]:
        """Return the work of one part, with progress counted over all parts and previews over the layers before."""
        batch = self.base.batch
        parts = [len(list(batches(len(rows), batch))) for _, rows, _ in text.levels]

        def count(event: Event | Pause | Sample) -> Event | Pause | Sample:
            if not isinstance(event, Progress):
                return event
            steps = event.of // parts[part]
            first = (event.step - 1) // steps * batch
            event = replace(event, step=sum(parts[:part]) * steps + event.step, of=sum(parts) * steps)
            return composed(before[first : first + batch])(event) if before else event

        return map_events(work, count)


def composed(before: Sequence[LayeredImage]) -> Callable[[Event | Pause | Sample], Event | Pause | Sample]:
    """Return what shows the progress of a layer over those of its pictures that are done."""

    def compose(event: Event | Pause | Sample) -> Event | Pause | Sample:
        return replace(event, shown_as=partial(over, before)) if isinstance(event, Progress) else event

    return compose


def over(before: Sequence[LayeredImage], levels: Tensor) -> Tensor:
    """Return pictures by now: estimates, uint8 (B, 4, S, S), over the layers before them; a viewer may ask for few."""
    return torch.stack([one.with_layer(seen).flat() for one, seen in zip(before, levels, strict=False)])


def set_alone(prompt: str, planned: Composition) -> Composition:
    """Return the composition of a prompt that asks for letters alone: in the middle, over the planned ground."""
    if find_lettering(clean(prompt)) is None:
        return planned
    return replace(planned, layers=(LayerSpec(clean(prompt), (MIDDLE,)),))


def arrange_layers(pipeline: UnCLIPPipeline, prompts: Sequence[str], seeds: Sequence[int]) -> UnCLIPSteps:
    """Return the pipeline that draws these prompts, one a seed, in layers where the planner finds several things."""
    if pipeline.arrange is None or pipeline.whole:
        return pipeline
    unique = {prompt: row for row, prompt in enumerate(dict.fromkeys(map(clean, prompts)))}
    scenes = {prompt: pipeline.scenes(prompt) for prompt in unique} if pipeline.scenes is not None else {}
    captions = [prompt if pipeline.scenes is None else pipeline.scenes.caption(prompt) for prompt in unique]
    text = pipeline.read(captions).pick([unique[clean(prompt)] for prompt in prompts])
    planned = pipeline.arrange(text, seeds)
    related = [relate(one, scenes.get(clean(prompt))) for prompt, one in zip(prompts, planned, strict=True)]
    found = [set_alone(prompt, one) for prompt, one in zip(prompts, related, strict=True)]
    if pipeline.background == "transparent":
        found = [replace(one, ground=None) for one in found]
    compositions = [one if one.composed else None for one in found]
    return Layered(pipeline, compositions) if any(compositions) else pipeline


def sample_small(pipeline: UnCLIPPipeline, prompts: Sequence[str], seeds: Sequence[int]) -> Work[list[Tensor]]:
    """Draw a small picture for each prompt and its seed, uint8 (4, size_px, size_px): all steps but the last two."""
    unclip = arrange_layers(pipeline, prompts, seeds)
    text = unclip.encode(prompts)
    z_i = yield from unclip.sample_prior(text, seeds)
    small = yield from unclip.sample_decoder(text, z_i, seeds)
    return [one.flat() if isinstance(one, LayeredImage) else one for one in small]

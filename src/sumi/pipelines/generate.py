"""From words to pictures in three draws, each by a diffusion model told what the one before it drew.

    prompt -> z_t, tokens -> prior -> z_i -> decoder -> 64 px RGBA, ranked by z_t . z_i(x) -> upsamplers -> 256 px

Ramesh et al. 2022, arXiv 2204.06125, section 2. Where a model has an arranger and the prompt asks for several things,
each of them goes this way alone and is laid where it belongs (`sumi.pipelines.layered_image`). Every picture has random
generators of its own, one for each stage, so its seed draws it alone as in any batch.
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from sumi import __version__
from sumi.autoregressive import PrincipalAxes
from sumi.errors import SumiError
from sumi.imaging.openraster import Layers
from sumi.imaging.pixels import from_levels, resize, to_image, to_levels
from sumi.nn import Cond
from sumi.pipelines.checks import check_choice, parse_background
from sumi.pipelines.events import Picture, Progress
from sumi.pipelines.layered_image import Arrange, Composition, LayeredImage, layer_count
from sumi.pipelines.prior import EncodedText, Prior
from sumi.pipelines.prompt import clean
from sumi.pipelines.recipe import Recipe, Settings
from sumi.pipelines.request import Request, Task
from sumi.pipelines.short_repr import short_repr
from sumi.pipelines.stage import Stage, run
from sumi.pipelines.steps import Pause, Work, map_preview, without_progress

AnyTask = TypeVar("AnyTask", bound=Task)

RANDOM_SEEDS = 10**6
TRANSPARENT = " on a transparent background"
"""How the captions that models are trained on say it."""


@dataclass(frozen=True)
class Model:
    """Whose weights draw: a name, and the sha256 of each part."""

    __repr__ = short_repr

    name: str
    hashes: Mapping[str, str]


@dataclass(frozen=True)
class Batch:
    """Some of a task's pictures: their seeds, which batch of how many, and how many pictures came before."""

    __repr__ = short_repr

    seeds: Sequence[int]
    number: int
    of: int
    start: int

    @property
    def rows(self) -> slice:
        """Where they lie among all the pictures."""
        return slice(self.start, self.start + len(self.seeds))


def picture_and_words(text: EncodedText, z_i: Tensor) -> Cond:
    """Return the decoder's condition: the embedding of the picture to draw, and the words themselves."""
    return Cond(vector=z_i, tokens=text.hidden)


@dataclass(frozen=True)
class Generate:
    """The pipeline of `sumi generate`: a Request in, Progress and Picture events out.

    read: prompts, cleaned, to Text. see: pictures (B, 4, size_px, size_px) in [-1, 1] to unit embeddings.
    priors: by their kind (see `PRIORS`), first the one that imagines unless another is asked for. decoder.decode gives
    pictures of size_px, and each of the upsamplers larger ones. decoder_cond: what the decoder is told. axes: those of
    z_i. arrange: prompts to what each picture is made of. draws: samples of the prior, of which the nearest to z_t is
    kept. batch: pictures drawn at once.
    """

    __repr__ = short_repr

    read: Callable[[Sequence[str]], EncodedText]
    see: Callable[[Tensor], Tensor]
    priors: Mapping[str, Prior]
    decoder: Stage
    upsamplers: tuple[Stage, ...]
    size_px: int
    model: Model
    decoder_cond: Callable[[EncodedText, Tensor], Cond] = picture_and_words
    axes: PrincipalAxes | None = None
    arrange: Arrange | None = None
    draws: int = 2
    batch: int = 8

    @property
    def prior(self) -> Prior:
        """The prior that imagines."""
        return next(iter(self.priors.values()))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sides of the pictures it can draw, in pixels, smallest first."""
        return self.size_px, *(stage.shape[-1] for stage in self.upsamplers)

    @property
    def stages(self) -> dict[str, Stage]:
        """The stages that draw pictures, by name, in the order they run."""
        return {stage.name: stage for stage in (self.decoder, *self.upsamplers)}

    def up_to(self, size_px: int) -> Generate:
        """Return the pipeline without the upsamplers that draw larger than the least of its sizes that holds this."""
        least = next((size for size in self.sizes if size >= size_px), self.sizes[-1])
        return replace(self, upsamplers=tuple(stage for stage in self.upsamplers if stage.shape[-1] <= least))

    def imagined_by(self, prior: str | None) -> Generate:
        """Return the pipeline whose prior is of this kind; None leaves it; SumiError when it has no such prior."""
        if prior is not None and prior not in self.priors:
            raise SumiError(f"this model has no prior of the kind {prior!r}: it has {', '.join(self.priors)}")
        chosen = {} if prior is None else {prior: self.priors[prior]}
        return replace(self, priors={**chosen, **self.priors})

    def __call__(self, request: Request) -> Work[None]:
        """Check the request against the model (SumiError), then draw, asking for every step."""
        pipeline, request = self.settle(request)
        return pipeline._generate(request)

    def settle(self, task: AnyTask) -> tuple[Generate, AnyTask]:
        """Return the pipeline run as a task asks, and the task with its size and seed decided (SumiError)."""
        size = self.sizes[-1] if task.size is None else task.size
        check_choice("size", str(size), [str(known) for known in self.sizes])
        asked = {"sampler": task.sampler, "steps": task.steps, "guidance": task.guidance}
        chosen = {name: value for name, value in asked.items() if value is not None}
        decoder = self.decoder.with_settings(**{**task.usual, **chosen})
        pipeline = replace(self.up_to(size).imagined_by(task.prior), decoder=decoder)
        decided: dict[str, Any] = {} if "size" in task.without else {"size": size}
        seed = secrets.randbelow(RANDOM_SEEDS) if task.seed is None else task.seed
        return pipeline, replace(task, seed=seed, **decided)

    def with_settings(self, settings: Mapping[str, Settings]) -> Generate:
        """Return the pipeline with its stages run as a recipe says; SumiError for an unknown sampler."""
        priors = {kind: prior.rerun(settings.get(prior.name, prior.settings)) for kind, prior in self.priors.items()}
        stages = [stage.rerun(settings.get(name, stage.settings)) for name, stage in self.stages.items()]
        return replace(self, priors=priors, decoder=stages[0], upsamplers=tuple(stages[1:]))

    @torch.no_grad()
    def _generate(self, request: Request) -> Work[None]:
        """Draw every candidate small, keep the nearest to the prompt, and make those large."""
        started = time.perf_counter()
        seeds = picture_seeds(request, request.best_of or request.n)
        text = self.read([conditioning_prompt(request.prompt, request.background)])
        sketches = yield from self.sketch(request, [request.prompt], seeds)
        flat = torch.stack([sketch.flat() for sketch in sketches])
        recipes = self.recipes(request, seeds, (yield from self.ranked(flat, text.z_t)))
        kept = list(range(len(seeds)))
        if request.best_of is not None:
            kept = sorted(kept, key=lambda number: -(recipes[number].score or 0.0))[: request.n]
        yield from self.finish([sketches[number] for number in kept], [recipes[number] for number in kept], started)

    def composed(self, request: Request, prompts: Sequence[str], seeds: Sequence[int]) -> list[Composition | None]:
        """What each picture is made of; None for one that is drawn in one piece."""
        if self.arrange is None or request.whole:
            return [None] * len(seeds)
        found = self.arrange(self.read([clean(prompt) for prompt in prompts]), seeds)
        if request.background == "transparent":
            found = [replace(one, ground=None) for one in found]
        return [one if one.composed else None for one in found]

    def sketch(self, request: Request, prompts: Sequence[str], seeds: Sequence[int]) -> Work[list[LayeredImage]]:
        """Draw small pictures, as a request asks, of one prompt for all or one a seed, each in its layers."""
        text = self.read([conditioning_prompt(prompt, request.background) for prompt in prompts])
        return (yield from self.sketched(request, text, self.composed(request, prompts, seeds), seeds))

    def sketched(
        self, task: Task, text: EncodedText, compositions: Sequence[Composition | None], seeds: Sequence[int]
    ) -> Work[list[LayeredImage]]:
        """Draw small pictures of a text, one row for all or a row a seed, layer after layer where they have layers."""
        each = text.each(len(seeds))
        made = [LayeredImage((), composition) for composition in compositions]
        todo = [
            (level, rows)
            for batch in seed_batches(seeds, self.batch)
            for level in range(max(map(layer_count, compositions[batch.rows])))
            if (rows := [k for k in range(*batch.rows.indices(len(seeds))) if layer_count(compositions[k]) > level])
        ]
        for number, (level, rows) in enumerate(todo):
            batch = Batch([seeds[row] for row in rows], number, len(todo), rows[0])
            said = self._said(each, compositions, level, rows)
            seen = [made[row] for row in rows]
            x = yield from map_preview(self.decode(task, said, batch, level), partial(with_layer, seen))
            for row, sketch, sticker in zip(rows, seen, to_levels(self.decoder.decode(x)), strict=True):
                made[row] = replace(sketch, stickers=(*sketch.stickers, sticker))
        return made

    def _said(
        self, text: EncodedText, compositions: Sequence[Composition | None], level: int, rows: Sequence[int]
    ) -> EncodedText:
        """What the decoder is told at one level of some pictures: a thing's own words, or the whole prompt."""
        pieces = [(row, compositions[row]) for row in rows]
        words = {row: one.layers[level].prompt + TRANSPARENT for row, one in pieces if one is not None}
        alone = dict(zip(words, self.read(list(words.values())).rows(), strict=True)) if words else {}
        return EncodedText.of([alone.get(row) or text.row(row) for row in rows])

    def ranked(self, pictures: Tensor, z_t: Tensor) -> Work[list[float]]:
        """`rank`, pausing after every few pictures."""
        scores: list[float] = []
        for some in torch.split(pictures, self.batch):
            scores += self.rank(some, z_t)
            yield Pause()
        return scores

    def draw(self, seeds: Sequence[int], decode: Callable[[Batch], Work[Tensor]]) -> Work[list[Tensor]]:
        """Draw small pictures, premultiplied uint8 (4, size_px, size_px), by batches that `decode` makes latents of."""
        low: list[Tensor] = []
        for batch in seed_batches(seeds, self.batch):
            x = yield from decode(batch)
            low += to_levels(self.decoder.decode(x))
        return low

    def decode(self, task: Task, text: EncodedText, batch: Batch, level: int = 0, **how: Any) -> Work[Tensor]:
        """Draw the latents of what a text means, one row for all or a row a seed, away from the task's negative one.

        level: of the layer, each of which has random numbers of its own; how: as `run` takes it.
        """
        each, streams = text.each(len(batch.seeds)), partial(rng_stream, level=level)
        z_i = yield from self.imagine(each, batch, streams(self.prior.name))
        cond, null = self.decoder_cond(each, z_i), None
        if clean(task.negative) and self.decoder.settings.guidance != 1.0:
            other = self.read([clean(task.negative)]).each(len(batch.seeds))
            null = self.decoder_cond(
                other, (yield from without_progress(self.imagine(other, batch, streams("negative"))))
            )
        how = {"stream": streams(self.decoder.name), "chunk": batch.number, "chunks": batch.of, **how}
        return (yield from run(self.decoder, cond, batch.seeds, null, **how))

    def shown(self, z_i: Tensor) -> Cond:
        """Return the decoder's condition where only a picture's embedding (B, D) is known, and no word."""
        cond = self.decoder_cond(self.read([""]).each(len(z_i)), z_i)
        return replace(cond.null(), vector=cond.vector)

    def imagine(self, text: EncodedText, batch: Batch, stream: str | None = None) -> Work[Tensor]:
        """Draw embeddings of pictures that texts may mean, one a seed, (B, D); of several, keep the nearest to z_t."""
        each = text.repeat(self.draws)
        drawn = [seed for seed in batch.seeds for _ in range(self.draws)]
        z_i = yield from self.prior.imagine(each, drawn, stream or self.prior.name, batch.number, batch.of)
        nearness = F.cosine_similarity(z_i, each.z_t, dim=-1).view(len(batch.seeds), self.draws)
        best = torch.arange(len(batch.seeds)) * self.draws + nearness.argmax(dim=1)
        return z_i[best]

    def finish(self, sketches: Sequence[LayeredImage], recipes: Sequence[Recipe], started: float) -> Work[None]:
        """Draw sketches at the size asked for, and hand each picture out with its recipe."""
        drawn = zip(sketches, recipes, strict=True)
        for batch in seed_batches([recipe.seed for recipe in recipes], self.batch):
            some = list(itertools.islice(drawn, len(batch.seeds)))
            large = yield from self.enlarge_layers([sketch for sketch, _ in some], batch)
            seconds = (time.perf_counter() - started) / len(recipes)
            for sketch, (_, recipe) in zip(large, some, strict=True):
                image = to_image(sketch.flat(), parse_background(recipe.background))
                layers = tuple((prompt, to_image(levels)) for prompt, levels in sketch.layers())
                if layers and (behind := parse_background(recipe.background)) is not None:
                    layers = (("background", Image.new("RGBA", image.size, (*behind, 255))), *layers)
                yield picture(
                    drop_opaque_alpha(image) if recipe.background == "auto" else image, recipe, seconds, layers
                )

    def enlarge_layers(self, sketches: Sequence[LayeredImage], batch: Batch) -> Work[list[LayeredImage]]:
        """Draw every sticker of some sketches at the size of the last upsampler."""
        large = [replace(sketch, stickers=()) for sketch in sketches]
        levels = max(len(sketch.stickers) for sketch in sketches)
        for level in range(levels):
            rows = [row for row, sketch in enumerate(sketches) if len(sketch.stickers) > level]
            some = Batch([batch.seeds[row] for row in rows], batch.number * levels + level, batch.of * levels, rows[0])
            work = self.enlarge([sketches[row].stickers[level] for row in rows], some, level)
            stickers = yield from map_preview(work, partial(with_layer, [large[row] for row in rows]))
            for row, sticker in zip(rows, stickers, strict=True):
                large[row] = replace(large[row], stickers=(*large[row].stickers, sticker))
        return large

    def enlarge(self, low: Sequence[Tensor], batch: Batch, level: int = 0) -> Work[list[Tensor]]:
        """Draw small pictures, uint8 (4, h, w), at the size of each upsampler in turn; as they are without any."""
        levels = torch.stack(list(low))
        for stage in self.upsamplers:
            cond = Cond(concat=resize(from_levels(levels), stage.shape[1:]))
            stream = rng_stream(stage.name, level)
            x = yield from run(stage, cond, batch.seeds, stream=stream, chunk=batch.number, chunks=batch.of)
            levels = to_levels(stage.decode(x))
        return list(levels)

    def recipes(
        self, task: Task, seeds: Sequence[int], scores: Sequence[float], sources: Sequence[Mapping[str, str]] = ()
    ) -> list[Recipe]:
        """Return what each picture of a task is made from."""
        texts = {name: task.written(name) for name in task.options if name in task.named_texts}
        ran: list[Prior | Stage] = [*([self.prior] if task.prompt else []), *self.stages.values()]
        recipe = Recipe(
            prompt=task.written("prompt"),
            negative=task.written("negative"),
            seed=0,
            size=task.size or self.sizes[-1],
            background=task.background,
            stages={stage.name: stage.settings for stage in ran},
            model=self.model.name,
            version=__version__,
            hashes=self.model.hashes,
            operation=task.operation,
            options={**task.options, **texts},
            interpretations={name: read.to_json() for name, read in task.interpretations},
            sources=sources,
        )
        return [replace(recipe, seed=seed, score=score) for seed, score in zip(seeds, scores, strict=True)]

    @torch.no_grad()
    def rank(self, pictures: Tensor, z_t: Tensor) -> list[float]:
        """Return the cosine of each picture, premultiplied uint8 (B, 4, size_px, size_px), to z_t (1, D)."""
        return F.cosine_similarity(self.embed(pictures), z_t, dim=-1).tolist()

    @torch.no_grad()
    def embed(self, pictures: Tensor) -> Tensor:
        """Return CLIP's embeddings (B, D) of pictures, premultiplied uint8 (B, 4, size_px, size_px)."""
        return torch.cat([self.see(from_levels(batch)) for batch in torch.split(pictures, self.batch)])

    @torch.no_grad()
    def preview(self, progress: Progress) -> Tensor | None:
        """Return what a step sees as premultiplied uint8 (B, 4, H, W); None where it is no picture yet."""
        stage = self.stages.get(progress.stage)
        return None if stage is None else progress.shown_as(to_levels(stage.decode(progress.mean)))


def conditioning_prompt(prompt: str, background: str) -> str:
    """Return the prompt as the model reads it; where it must stay clear behind, the prompt says so."""
    text = clean(prompt)
    clear = background == "transparent" and "background" not in text.casefold()
    return text + TRANSPARENT if clear else text


def picture_seeds(task: Task, count: int) -> list[int]:
    """Return the seeds of a settled task's pictures."""
    assert task.seed is not None
    return [task.seed + number for number in range(count)]


def seed_batches(seeds: Sequence[int], size: int) -> list[Batch]:
    """Return the seeds in batches of at most this size."""
    starts = range(0, len(seeds), size)
    return [Batch(seeds[start : start + size], number, len(starts), start) for number, start in enumerate(starts)]


def drop_opaque_alpha(image: Image.Image) -> Image.Image:
    """Return a picture without its alpha where that says nothing."""
    clear = image.mode == "RGBA" and image.getchannel("A").getextrema() != (255, 255)
    return image if clear else image.convert("RGB")


def rng_stream(name: str, level: int) -> str:
    """The random numbers of a stage at one level of a picture; those of the lowest are the stage's own."""
    return f"{name}/{level}" if level else name


def with_layer(sketches: Sequence[LayeredImage], levels: Tensor) -> Tensor:
    """Pictures by now: what is drawn of each, uint8 (B, 4, S, S), over the layers of its sketch that are done."""
    now = zip(sketches, levels, strict=False)  # a screen may look at the first few alone
    return torch.stack([replace(sketch, stickers=(*sketch.stickers, seen)).flat() for sketch, seen in now])


def picture(image: Image.Image, recipe: Recipe, seconds: float, layers: Layers = ()) -> Picture:
    """Return a finished picture; its recipe knows its own size."""
    height, score = None if image.height == image.width else image.height, recipe.score or 0.0
    recipe = replace(recipe, size=image.width, height=height, score=round(score, 6))
    return Picture(image, recipe, recipe.seed, score, seconds, layers)

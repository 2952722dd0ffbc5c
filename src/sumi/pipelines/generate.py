"""From words to pictures in three draws, each by a diffusion model told what the one before it drew.

    prompt -> z_t, tokens -> prior -> z_i -> decoder -> 64 px RGBA -> upsampler -> 256 px -> ranked by z_t .
    z_i(x)

Ramesh et al. 2022, arXiv 2204.06125, section 2. Every picture has random generators of its own, one for each
stage, so its seed draws it alone as in any batch.
"""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from sumi import __version__
from sumi.nn import Cond
from sumi.pipelines.events import Event, Picture, Progress
from sumi.pipelines.pixels import from_levels, resize, to_image, to_levels
from sumi.pipelines.prompt import clean
from sumi.pipelines.recipe import Recipe, Settings
from sumi.pipelines.request import Request, Task, check_choice, parse_background
from sumi.pipelines.stage import Stage, finished, run

AnyTask = TypeVar("AnyTask", bound=Task)

RANDOM_SEEDS = 10**6
TRANSPARENT = " on a transparent background"
"""How the captions that models are trained on say it."""


@dataclass(frozen=True)
class Model:
    """Whose weights draw: a name, and the sha256 of each part."""

    name: str
    hashes: Mapping[str, str]


@dataclass(frozen=True)
class Text:
    """What prompts became: CLIP's embeddings z_t (B, D), its features (B, L, W), and token ids (B, L)."""

    z_t: Tensor
    hidden: Tensor
    ids: Tensor

    def repeat(self, times: int) -> Text:
        """Return each row `times` times in a row."""
        return Text(*(slot.repeat_interleave(times, dim=0) for slot in (self.z_t, self.hidden, self.ids)))


@dataclass(frozen=True)
class Batch:
    """Some of a task's pictures: their seeds, which batch of how many, and how many pictures came before."""

    seeds: Sequence[int]
    number: int
    of: int
    start: int

    @property
    def rows(self) -> slice:
        """Where they lie among all the pictures."""
        return slice(self.start, self.start + len(self.seeds))


def picture_and_words(text: Text, z_i: Tensor) -> Cond:
    """Return the decoder's condition: the embedding of the picture to draw, and the words themselves."""
    return Cond(vector=z_i, tokens=text.ids)


@dataclass(frozen=True)
class Generate:
    """The pipeline of `sumi generate`: a Request in, an iterator of Progress and Picture out.

    read: prompts, cleaned, to Text. see: pictures (B, 4, size_px, size_px) in [-1, 1] to unit embeddings.
    prior.decode gives z_i, decoder.decode pictures of size_px. decoder_cond: what the decoder is told.
    draws: samples of the prior, of which the nearest to z_t is kept. batch: pictures drawn at once.
    """

    read: Callable[[Sequence[str]], Text]
    see: Callable[[Tensor], Tensor]
    prior: Stage
    decoder: Stage
    upsampler: Stage | None
    size_px: int
    model: Model
    decoder_cond: Callable[[Text, Tensor], Cond] = picture_and_words
    draws: int = 2
    batch: int = 8

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sides of the pictures it can draw, in pixels, smallest first."""
        return (self.size_px,) if self.upsampler is None else (self.size_px, self.upsampler.shape[-1])

    @property
    def stages(self) -> dict[str, Stage]:
        """Its stages by name, in the order they run."""
        return {stage.name: stage for stage in (self.prior, self.decoder, self.upsampler) if stage is not None}

    def __call__(self, request: Request) -> Iterator[Event]:
        """Check the request against the model (SumiError), then draw as the iterator is read."""
        pipeline, request = self.settle(request)
        return pipeline._generate(request)

    def settle(self, task: AnyTask) -> tuple[Generate, AnyTask]:
        """Return the pipeline run as a task asks, and the task with its size and seed decided (SumiError)."""
        size = self.sizes[-1] if task.size is None else task.size
        check_choice("size", str(size), [str(known) for known in self.sizes])
        asked = {"sampler": task.sampler, "steps": task.steps, "guidance": task.guidance}
        chosen = {name: value for name, value in asked.items() if value is not None}
        decoder = self.decoder.with_settings(**{**task.usual, **chosen})
        pipeline = replace(self, decoder=decoder, upsampler=self.upsampler if size != self.size_px else None)
        decided: dict[str, Any] = {} if "size" in task.without else {"size": size}
        seed = secrets.randbelow(RANDOM_SEEDS) if task.seed is None else task.seed
        return pipeline, replace(task, seed=seed, **decided)

    def with_settings(self, settings: Mapping[str, Settings]) -> Generate:
        """Return the pipeline with its stages run as a recipe says; SumiError for an unknown sampler."""

        def rerun(stage: Stage) -> Stage:
            changed = replace(stage, settings=settings.get(stage.name, stage.settings))
            return changed.with_settings()

        upsampler = None if self.upsampler is None else rerun(self.upsampler)
        return replace(self, prior=rerun(self.prior), decoder=rerun(self.decoder), upsampler=upsampler)

    @torch.no_grad()
    def _generate(self, request: Request) -> Generator[Event, None, None]:
        """Draw every candidate small, keep the nearest to the prompt, and make those large."""
        started = time.perf_counter()
        seeds = seeds_of(request, request.best_of or request.n)
        text = self.read([spoken(request)])
        low = yield from self.draw(seeds, lambda batch: self.decode(request, text, batch))
        recipes = self.recipes(request, seeds, self.rank(torch.stack(low), text.z_t))
        kept = list(range(len(seeds)))
        if request.best_of is not None:
            kept = sorted(kept, key=lambda number: -(recipes[number].score or 0.0))[: request.n]
        yield from self.finish([low[number] for number in kept], [recipes[number] for number in kept], started)

    def draw(
        self, seeds: Sequence[int], decode: Callable[[Batch], Generator[Progress, None, Tensor]]
    ) -> Generator[Progress, None, list[Tensor]]:
        """Draw small pictures, premultiplied uint8 (4, size_px, size_px), by batches that `decode` makes latents of."""
        low: list[Tensor] = []
        for batch in batches(seeds, self.batch):
            x = yield from decode(batch)
            low += to_levels(self.decoder.decode(x))
        return low

    def decode(self, task: Task, text: Text, batch: Batch, **how: Any) -> Generator[Progress, None, Tensor]:
        """Draw the latents of what a prompt means, away from the task's negative one; how: as `run` takes it."""
        z_i = yield from self._imagine(text, batch, self.prior.name)
        cond, null = self.decoder_cond(text.repeat(len(batch.seeds)), z_i), None
        if clean(task.negative) and self.decoder.settings.guidance != 1.0:
            other = self.read([clean(task.negative)])
            away = finished(self._imagine(other, batch, "negative"))
            null = self.decoder_cond(other.repeat(len(batch.seeds)), away)
        return (yield from run(self.decoder, cond, batch.seeds, null, chunk=batch.number, chunks=batch.of, **how))

    def shown(self, z_i: Tensor) -> Cond:
        """Return the decoder's condition where only a picture's embedding (B, D) is known, and no word."""
        cond = self.decoder_cond(self.read([""]).repeat(len(z_i)), z_i)
        return replace(cond.null(), vector=cond.vector)

    def _imagine(self, text: Text, batch: Batch, stream: str) -> Generator[Progress, None, Tensor]:
        """Draw embeddings of pictures that the text may mean, (B, D); of several, keep the nearest to z_t."""
        each = text.repeat(len(batch.seeds) * self.draws)
        drawn = [seed for seed in batch.seeds for _ in range(self.draws)]
        cond = Cond(vector=each.z_t, tokens=each.hidden)
        x = yield from run(self.prior, cond, drawn, None, stream, batch.number, batch.of)
        z_i = self.prior.decode(x)
        nearness = F.cosine_similarity(z_i, each.z_t, dim=-1).view(len(batch.seeds), self.draws)
        best = torch.arange(len(batch.seeds)) * self.draws + nearness.argmax(dim=1)
        return z_i[best]

    def finish(self, low: Sequence[Tensor], recipes: Sequence[Recipe], started: float) -> Generator[Event, None, None]:
        """Draw small pictures at the size asked for, and hand each out with its recipe."""
        drawn = zip(low, recipes, strict=True)
        for batch in batches([recipe.seed for recipe in recipes], self.batch):
            some = list(itertools.islice(drawn, len(batch.seeds)))
            large = yield from self.enlarge([levels for levels, _ in some], batch)
            seconds = (time.perf_counter() - started) / len(recipes)
            for levels, (_, recipe) in zip(large, some, strict=True):
                image = to_image(levels, parse_background(recipe.background))
                yield picture(opaque(image) if recipe.background == "auto" else image, recipe, seconds)

    def enlarge(self, low: Sequence[Tensor], batch: Batch) -> Generator[Progress, None, list[Tensor]]:
        """Draw small pictures, uint8 (4, h, w), at the upsampler's size; as they are where there is none."""
        if self.upsampler is None:
            return list(low)
        concat = resize(from_levels(torch.stack(list(low))), self.upsampler.shape[1:])
        x = yield from run(self.upsampler, Cond(concat=concat), batch.seeds, chunk=batch.number, chunks=batch.of)
        return list(to_levels(self.upsampler.decode(x)))

    def recipes(
        self, task: Task, seeds: Sequence[int], scores: Sequence[float], sources: Sequence[Mapping[str, str]] = ()
    ) -> list[Recipe]:
        """Return what each picture of a task is made from."""
        recipe = Recipe(
            prompt=task.prompt,
            negative=task.negative,
            seed=0,
            size=task.size or self.sizes[-1],
            background=task.background,
            stages={name: stage.settings for name, stage in self.stages.items() if name != "prior" or task.prompt},
            model=self.model.name,
            version=__version__,
            hashes=self.model.hashes,
            operation=task.operation,
            options=task.options,
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
        return None if stage is None or stage is self.prior else to_levels(stage.decode(progress.mean))


def spoken(task: Task) -> str:
    """Return the prompt as the model reads it; where it must stay clear behind, the prompt says so."""
    text = clean(task.prompt)
    clear = task.background == "transparent" and "background" not in text.casefold()
    return text + TRANSPARENT if clear else text


def seeds_of(task: Task, count: int) -> list[int]:
    """Return the seeds of a settled task's pictures."""
    assert task.seed is not None
    return [task.seed + number for number in range(count)]


def batches(seeds: Sequence[int], size: int) -> list[Batch]:
    """Return the seeds in batches of at most this size."""
    starts = range(0, len(seeds), size)
    return [Batch(seeds[start : start + size], number, len(starts), start) for number, start in enumerate(starts)]


def opaque(image: Image.Image) -> Image.Image:
    """Return a picture without its alpha where that says nothing."""
    clear = image.mode == "RGBA" and image.getchannel("A").getextrema() != (255, 255)
    return image if clear else image.convert("RGB")


def picture(image: Image.Image, recipe: Recipe, seconds: float) -> Picture:
    """Return a finished picture; its recipe knows its own size."""
    height = None if image.height == image.width else image.height
    score = recipe.score or 0.0
    recipe = replace(recipe, size=image.width, height=height, score=round(score, 6))
    return Picture(image, recipe, recipe.seed, score, seconds)

"""The unCLIP pipeline: its networks as stages, and the steps that draw with them, each its own method.

    encode, sample_prior, sample_decoder, score, upsample

`sumi.systems.unclip.forward` composes them as the paper does (Ramesh et al. 2022, arXiv 2204.06125, section 2); every
task that begins with a picture uses them too. Each picture has random generators of its own, one for each stage, so its
seed draws it alone as in any batch.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from sumi import __version__
from sumi.autoregressive import PrincipalAxes
from sumi.errors import SumiError
from sumi.imaging.openraster import Layers
from sumi.imaging.pixels import from_levels, resize, to_image, to_levels
from sumi.layout import SceneReader
from sumi.nn import Cond
from sumi.pipelines.checks import check_choice, parse_background
from sumi.pipelines.events import Event, Picture, Progress, Sample
from sumi.pipelines.layered_image import Arrange, LayeredImage
from sumi.pipelines.prior import EncodedText, Prior
from sumi.pipelines.prompt import clean
from sumi.pipelines.recipe import Recipe, Settings
from sumi.pipelines.request import Request, Task
from sumi.pipelines.short_repr import short_repr
from sumi.pipelines.source import Source
from sumi.pipelines.stage import Stage, batches, run
from sumi.pipelines.steps import Pause, Work, map_events, without_progress

__all__ = [
    "RANDOM_SEEDS",
    "TRANSPARENT",
    "AnyTask",
    "Model",
    "UnCLIPPipeline",
    "UnCLIPSteps",
    "drop_opaque_alpha",
    "finish_samples",
    "finished_picture",
    "picture",
    "picture_and_words",
    "picture_seeds",
    "rng_stream",
]

AnyTask = TypeVar("AnyTask", bound=Task)

RANDOM_SEEDS = 10**6
TRANSPARENT = " on a transparent background"
"""How the captions that models are trained on say it."""


@dataclass(frozen=True)
class Model:
    """Whose weights draw: a name, the sha256 of each part, and one line about the rights of its training pictures."""

    __repr__ = short_repr

    name: str
    hashes: Mapping[str, str]
    rights: str = ""


def picture_and_words(text: EncodedText, z_i: Tensor) -> Cond:
    """Return the decoder's condition: the embedding of the picture to draw, and the words themselves."""
    return Cond(vector=z_i, tokens=text.hidden)


class UnCLIPSteps(Protocol):
    """The steps of unCLIP: an `UnCLIPPipeline`, or a `Layered` one, whose pictures have several rows each."""

    def encode(self, prompts: Sequence[str]) -> Any: ...  # noqa: D102
    def sample_prior(self, text: Any, seeds: Sequence[int]) -> Work[Any]: ...  # noqa: D102
    def sample_decoder(self, text: Any, z_i: Any, seeds: Sequence[int]) -> Work[Any]: ...  # noqa: D102
    def score(self, pictures: Any, z_t: Tensor) -> Work[list[float]]: ...  # noqa: D102
    def upsample(self, samples: Sequence[Sample]) -> Work[None]: ...  # noqa: D102


@dataclass(frozen=True)
class UnCLIPPipeline:
    """The networks of unCLIP as stages, and how a task has them run.

    Args:
        read: prompts, cleaned, to their encoding.
        see: pictures (B, 4, size_px, size_px) in [-1, 1] to unit embeddings (B, D).
        priors: by their kind (see `PRIORS`); the first draws unless a task asks for another.
        decoder: its `decode` gives pictures of size_px.
        upsamplers: each gives larger pictures than the one before it.
        decoder_cond: the decoder's condition, from the text and z_i.
        axes: the principal components of z_i.
        arrange: prompts to what each picture is made of.
        scenes: reads how the things of a prompt stand to each other.
        draws: samples of the prior for each picture, of which the nearest to z_t is kept.
        batch: pictures drawn at once.
        best_of: candidates for each picture where a request says nothing, of which CLIP chooses one.
        background, negative, whole: those of the task.
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
    scenes: SceneReader | None = None
    draws: int = 2
    batch: int = 8
    best_of: int = 1
    background: str = "auto"
    negative: str = ""
    whole: bool = False

    @property
    def prior(self) -> Prior:
        """The prior that draws."""
        return next(iter(self.priors.values()))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sides of the pictures it can draw, in pixels, smallest first."""
        return self.size_px, *(stage.shape[-1] for stage in self.upsamplers)

    @property
    def stages(self) -> dict[str, Stage]:
        """The stages that draw pictures, by name, in the order they run."""
        return {stage.name: stage for stage in (self.decoder, *self.upsamplers)}

    # How a task has it run.

    def up_to(self, size_px: int) -> UnCLIPPipeline:
        """Return the pipeline without the upsamplers that draw larger than the least of its sizes that holds this."""
        least = next((size for size in self.sizes if size >= size_px), self.sizes[-1])
        return replace(self, upsamplers=tuple(stage for stage in self.upsamplers if stage.shape[-1] <= least))

    def with_prior(self, kind: str | None) -> UnCLIPPipeline:
        """Return the pipeline whose prior is of this kind; None leaves it; SumiError when it has no such prior."""
        if kind is not None and kind not in self.priors:
            raise SumiError(f"this model has no prior of the kind {kind!r}: it has {', '.join(self.priors)}")
        chosen = {} if kind is None else {kind: self.priors[kind]}
        return replace(self, priors={**chosen, **self.priors})

    def with_settings(self, settings: Mapping[str, Settings]) -> UnCLIPPipeline:
        """Return the pipeline with its stages run as a recipe says; SumiError for an unknown sampler."""
        priors = {
            kind: prior.with_settings_of(settings.get(prior.name, prior.settings))
            for kind, prior in self.priors.items()
        }
        stages = [stage.with_settings_of(settings.get(name, stage.settings)) for name, stage in self.stages.items()]
        return replace(self, priors=priors, decoder=stages[0], upsamplers=tuple(stages[1:]))

    def settle(self, task: AnyTask) -> tuple[UnCLIPPipeline, AnyTask]:
        """Return the pipeline run as a task asks, and the task with its size and seed decided (SumiError)."""
        size = self.sizes[-1] if task.size is None else task.size
        check_choice("size", str(size), [str(known) for known in self.sizes])
        asked = {"sampler": task.sampler, "steps": task.steps, "guidance": task.guidance}
        chosen = {name: value for name, value in asked.items() if value is not None}
        decoder = self.decoder.with_settings(**{**task.usual, **chosen})
        pipeline = replace(
            self.up_to(size).with_prior(task.prior),
            decoder=decoder,
            background=task.background,
            negative="" if decoder.settings.guidance == 1.0 else clean(task.negative),
            whole=isinstance(task, Request) and task.whole,
        )
        decided: dict[str, Any] = {} if "size" in task.without else {"size": size}
        seed = secrets.randbelow(RANDOM_SEEDS) if task.seed is None else task.seed
        return pipeline, replace(task, seed=seed, **decided)

    # The steps of the paper.

    def encode(self, prompts: Sequence[str]) -> EncodedText:
        """Return z_t and a feature for each token of every prompt; equal prompts are read once."""
        texts = [conditioning_prompt(prompt, self.background) for prompt in prompts]
        texts = texts if self.scenes is None else list(map(self.scenes.caption, texts))
        rows = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        return self.read(list(rows)).pick([rows[text] for text in texts])

    def sample_prior(self, text: EncodedText, seeds: Sequence[int], stream: str | None = None) -> Work[Tensor]:
        """Draw z_i ~ P(z_i | y) for each row of a text and its seed, (B, D): of `draws` samples, the nearest to z_t."""
        each = text.repeat(self.draws)
        drawn = [seed for seed in seeds for _ in range(self.draws)]
        z_i = yield from self.prior.sample(each, drawn, stream, self.batch * self.draws)
        nearness = F.cosine_similarity(z_i, each.z_t, dim=-1).view(len(seeds), self.draws)
        return z_i[torch.arange(len(seeds)) * self.draws + nearness.argmax(dim=1)]

    def sample_decoder(
        self, text: EncodedText, z_i: Tensor, seeds: Sequence[int], level: int = 0, x: Tensor | None = None
    ) -> Work[list[Tensor]]:
        """Draw x ~ P(x | z_i, y) for each row: pictures, premultiplied uint8 (4, size_px, size_px).

        level: that of a layer, each of which has random numbers of its own. x: where to start, as `run` takes it.
        """
        null = yield from self._null(seeds, level)
        return (yield from self.decode(self.decoder_cond(text, z_i), seeds, null, level, x))

    def decode(
        self, cond: Cond, seeds: Sequence[int], null: Cond | None = None, level: int = 0, x: Tensor | None = None
    ) -> Work[list[Tensor]]:
        """Draw pictures under the decoder's condition, premultiplied uint8 (4, size_px, size_px)."""
        stream = rng_stream(self.decoder.name, level)
        latents = yield from run(self.decoder, cond, seeds, null, stream=stream, batch=self.batch, x=x)
        pictures: list[Tensor] = []
        for some in batches(len(latents), self.batch):
            pictures += to_levels(self.decoder.decode(latents[some]))
            yield Pause()
        return pictures

    def _null(self, seeds: Sequence[int], level: int) -> Work[Cond | None]:
        """What guidance leads away from: pictures of the negative prompt, or None for silence."""
        if not self.negative:
            return None
        text = self.read([self.negative]).each(len(seeds))
        z_i = yield from without_progress(self.sample_prior(text, seeds, rng_stream("negative", level)))
        return self.decoder_cond(text, z_i)

    def score(self, pictures: Sequence[Tensor], z_t: Tensor) -> Work[list[float]]:
        """Return cos(CLIP(x), z_t) of each picture, with a pause after every few."""
        scores: list[float] = []
        for some in batches(len(pictures), self.batch):
            scores += self.rank(torch.stack(list(pictures[some])), z_t[some] if len(z_t) == len(pictures) else z_t)
            yield Pause()
        return scores

    def upsample(self, samples: Sequence[Sample]) -> Work[None]:
        """Draw small pictures large, and yield each as a sample as soon as its batch is done."""
        parts = list(batches(len(samples), self.batch))
        for number, some in enumerate(parts):
            small, seeds = [sample.image for sample in samples[some]], [sample.seed for sample in samples[some]]
            large = yield from self.enlarge(small, seeds, part=(number, len(parts)))
            for sample, image in zip(samples[some], large, strict=True):
                yield replace(sample, image=image)

    def enlarge(
        self, small: Sequence[Tensor], seeds: Sequence[int], level: int = 0, part: tuple[int, int] = (0, 1)
    ) -> Work[list[Tensor]]:
        """Draw pictures, uint8 (4, h, w), at the size of each upsampler in turn; without any they stay as they are."""
        levels = torch.stack(list(small))
        for stage in self.upsamplers:
            cond = Cond(concat=resize(from_levels(levels), stage.shape[1:]))
            x = yield from run(stage, cond, seeds, stream=rng_stream(stage.name, level), part=part)
            levels = to_levels(stage.decode(x))
        return list(levels)

    # What tasks on pictures share.

    def image_cond(self, z_i: Tensor) -> Cond:
        """Return the decoder's condition where only the embedding of a picture (B, D) is known, and no word."""
        cond = self.decoder_cond(self.read([""]).each(len(z_i)), z_i)
        return replace(cond.null(), vector=cond.vector)

    def finish(
        self,
        task: Task,
        sources: Sequence[Source],
        small: Sequence[Tensor],
        aims: Tensor,
        started: float,
        options: Sequence[Mapping[str, Any]] = (),
    ) -> Work[None]:
        """Draw the small pictures of a task at the size asked for, and hand each out with its recipe.

        aims: the embeddings that they are scored against, (1 or B, D). options: further ones of each picture, which all
        have the seed of the task then, and are drawn large one by one, so that each gets the same random numbers.
        """
        assert task.seed is not None
        seeds = [task.seed] * len(options) if options else picture_seeds(task, len(small))
        recipes = self.recipes(task, seeds, self.rank(torch.stack(list(small)), aims), self.records_of(sources))
        if options:
            recipes = [
                replace(recipe, options={**recipe.options, **own}) for recipe, own in zip(recipes, options, strict=True)
            ]
        samples = [Sample(recipe.seed, image) for recipe, image in zip(recipes, small, strict=True)]
        waiting, alone = iter(recipes), replace(self, batch=1) if options else self
        yield from finish_samples(alone.upsample(samples), lambda sample: next(waiting), len(recipes), started)

    def records_of(self, sources: Sequence[Source]) -> list[dict[str, str]]:
        """Return what a recipe keeps of pictures, as small as the model sees them."""
        return [source.to_record(self.size_px) for source in sources]

    def recipes(
        self, task: Task, seeds: Sequence[int], scores: Sequence[float], sources: Sequence[Mapping[str, str]] = ()
    ) -> list[Recipe]:
        """Return what each picture of a task is made from."""
        texts = {name: task.original_text(name) for name in task.options if name in task.named_texts}
        ran: list[Prior | Stage] = [*([self.prior] if task.prompt else []), *self.stages.values()]
        recipe = Recipe(
            prompt=task.original_text("prompt"),
            negative=task.original_text("negative"),
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
            adapters=task.adapters,
        )
        return [replace(recipe, seed=seed, score=score) for seed, score in zip(seeds, scores, strict=True)]

    @torch.no_grad()
    def rank(self, pictures: Tensor, z_t: Tensor) -> list[float]:
        """Return the cosine of each picture, premultiplied uint8 (B, 4, size_px, size_px), to z_t (1 or B, D)."""
        return F.cosine_similarity(self.embed(pictures), z_t, dim=-1).tolist()

    @torch.no_grad()
    def embed(self, pictures: Tensor) -> Tensor:
        """Return CLIP's embeddings (B, D) of pictures, premultiplied uint8 (B, 4, size_px, size_px)."""
        return torch.cat([self.see(from_levels(some)) for some in torch.split(pictures, self.batch)])

    @torch.no_grad()
    def preview(self, progress: Progress) -> Tensor | None:
        """Return the estimate of a step as premultiplied uint8 (B, 4, H, W); None where it is not yet a picture."""
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


def rng_stream(name: str, level: int) -> str:
    """Return the name of a stage's random numbers at one level of a picture; the lowest has the stage's own."""
    return f"{name}/{level}" if level else name


def finish_samples(work: Work[None], recipe_of: Callable[[Sample], Recipe], count: int, started: float) -> Work[None]:
    """Return the same work, whose samples, so many in all, become finished pictures with their recipes."""

    def finish(event: Event | Pause | Sample) -> Event | Pause | Sample:
        if not isinstance(event, Sample):
            return event
        return finished_picture(event, recipe_of(event), (time.perf_counter() - started) / count)

    return map_events(work, finish)


def finished_picture(sample: Sample, recipe: Recipe, seconds: float) -> Picture:
    """Return a sample over the background of its recipe, with its layers if it has any."""
    colour = parse_background(recipe.background)
    layered = sample.image if isinstance(sample.image, LayeredImage) else LayeredImage((sample.image,))
    image = to_image(layered.flat(), colour)
    layers = tuple((prompt, to_image(levels)) for prompt, levels in layered.layers())
    if layers and colour is not None:
        layers = (("background", Image.new("RGBA", image.size, (*colour, 255))), *layers)
    if layered.composition is not None:
        recipe = replace(recipe, typeset=layered.composition.typeset)
    return picture(drop_opaque_alpha(image) if recipe.background == "auto" else image, recipe, seconds, layers)


def drop_opaque_alpha(image: Image.Image) -> Image.Image:
    """Return a picture without its alpha where that is opaque everywhere."""
    clear = image.mode == "RGBA" and image.getchannel("A").getextrema() != (255, 255)
    return image if clear else image.convert("RGB")


def picture(image: Image.Image, recipe: Recipe, seconds: float, layers: Layers = ()) -> Picture:
    """Return a finished picture; its recipe knows its own size."""
    height, score = None if image.height == image.width else image.height, recipe.score or 0.0
    recipe = replace(recipe, size=image.width, height=height, score=round(score, 6))
    return Picture(image, recipe, recipe.seed, score, seconds, layers)

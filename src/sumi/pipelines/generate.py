"""From words to pictures in three draws, each by a diffusion model told what the one before it drew.

    prompt -> z_t, tokens -> prior -> z_i -> decoder -> 64 px RGBA -> upsampler -> 256 px -> ranked by z_t .
    z_i(x)

Ramesh et al. 2022, arXiv 2204.06125, section 2. Every picture has random generators of its own, one for each
stage, so its seed draws it alone as in any batch.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from sumi import __version__
from sumi.nn import Cond
from sumi.pipelines.events import Event, Picture, Progress
from sumi.pipelines.pixels import from_levels, resize, to_image, to_levels
from sumi.pipelines.prompt import clean
from sumi.pipelines.recipe import Recipe, Settings
from sumi.pipelines.request import Request, check_choice, parse_background
from sumi.pipelines.stage import Stage, finished, run

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
        size = self.sizes[-1] if request.size is None else request.size
        check_choice("size", str(size), [str(known) for known in self.sizes])
        decoder = self.decoder.with_settings(request.sampler, request.steps, request.guidance)
        seed = secrets.randbelow(RANDOM_SEEDS) if request.seed is None else request.seed
        pipeline = replace(self, decoder=decoder, upsampler=self.upsampler if size != self.size_px else None)
        return pipeline._draw(replace(request, seed=seed, size=size), seed)

    def with_settings(self, settings: Mapping[str, Settings]) -> Generate:
        """Return the pipeline with its stages run as a recipe says; SumiError for an unknown sampler."""

        def rerun(stage: Stage) -> Stage:
            changed = replace(stage, settings=settings.get(stage.name, stage.settings))
            return changed.with_settings()

        upsampler = None if self.upsampler is None else rerun(self.upsampler)
        return replace(self, prior=rerun(self.prior), decoder=rerun(self.decoder), upsampler=upsampler)

    @torch.no_grad()
    def _draw(self, request: Request, seed: int) -> Generator[Event, None, None]:
        """Draw every candidate small, keep the nearest to the prompt, and make those large."""
        seeds = [seed + number for number in range(request.best_of or request.n)]
        text = self.read([_spoken(request)])
        started = time.perf_counter()
        low: list[Tensor] = []
        for chunk, some in enumerate(chunks := _chunks(seeds, self.batch)):
            pixels = yield from self._decode(request, text, some, chunk, len(chunks))
            low += to_levels(pixels)
        scores = self.rank(torch.stack(low), text.z_t)
        kept = list(range(len(seeds)))
        if request.best_of is not None:
            kept = sorted(kept, key=lambda number: -scores[number])[: request.n]
        for chunk, some in enumerate(chunks := _chunks(kept, self.batch)):
            drawn = [low[number] for number in some]
            if self.upsampler is not None:
                drawn = yield from self._enlarge(drawn, [seeds[number] for number in some], chunk, len(chunks))
            seconds = (time.perf_counter() - started) / len(kept)
            for number, levels in zip(some, drawn, strict=True):
                yield self._picture(request, levels, seeds[number], scores[number], seconds)

    def _decode(
        self, request: Request, text: Text, seeds: Sequence[int], chunk: int, chunks: int
    ) -> Generator[Progress, None, Tensor]:
        """Draw pictures of size_px in [-1, 1], one a seed."""
        z_i = yield from self._imagine(text, seeds, "prior", chunk, chunks)
        cond, null = self.decoder_cond(text.repeat(len(seeds)), z_i), None
        if request.negative and clean(request.negative) and self.decoder.settings.guidance != 1.0:
            other = self.read([clean(request.negative)])
            away = finished(self._imagine(other, seeds, "negative"))
            null = self.decoder_cond(other.repeat(len(seeds)), away)
        x = yield from run(self.decoder, cond, seeds, null, chunk=chunk, chunks=chunks)
        return self.decoder.decode(x)

    def _imagine(
        self, text: Text, seeds: Sequence[int], stream: str, chunk: int = 0, chunks: int = 1
    ) -> Generator[Progress, None, Tensor]:
        """Draw embeddings of pictures that the text may mean, (B, D); of several, keep the nearest to z_t."""
        each = text.repeat(len(seeds) * self.draws)
        drawn = [seed for seed in seeds for _ in range(self.draws)]
        x = yield from run(self.prior, Cond(vector=each.z_t, tokens=each.hidden), drawn, None, stream, chunk, chunks)
        z_i = self.prior.decode(x)
        nearness = F.cosine_similarity(z_i, each.z_t, dim=-1).view(len(seeds), self.draws)
        best = torch.arange(len(seeds)) * self.draws + nearness.argmax(dim=1)
        return z_i[best]

    def _enlarge(
        self, low: Sequence[Tensor], seeds: Sequence[int], chunk: int, chunks: int
    ) -> Generator[Progress, None, list[Tensor]]:
        """Draw small pictures, uint8 (4, size_px, size_px), at the upsampler's size."""
        assert self.upsampler is not None
        concat = resize(from_levels(torch.stack(list(low))), self.upsampler.shape[1:])
        x = yield from run(self.upsampler, Cond(concat=concat), seeds, chunk=chunk, chunks=chunks)
        return list(to_levels(self.upsampler.decode(x)))

    def _picture(self, request: Request, levels: Tensor, seed: int, score: float, seconds: float) -> Picture:
        """Put a finished picture on its background, with its recipe."""
        image = to_image(levels, parse_background(request.background))
        if request.background == "auto" and image.mode == "RGBA" and image.getchannel("A").getextrema() == (255, 255):
            image = image.convert("RGB")
        recipe = Recipe(
            prompt=request.prompt,
            negative=request.negative,
            seed=seed,
            size=image.width,
            background=request.background,
            stages={name: stage.settings for name, stage in self.stages.items()},
            model=self.model.name,
            version=__version__,
            hashes=self.model.hashes,
            score=round(score, 6),
        )
        return Picture(image, recipe, seed, score, seconds)

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
        if progress.stage == self.prior.name:
            return None
        return to_levels(self.stages[progress.stage].decode(progress.mean))


def _spoken(request: Request) -> str:
    """Return the prompt as the model reads it; where it must stay clear behind, the prompt says so."""
    text = clean(request.prompt)
    clear = request.background == "transparent" and "background" not in text.casefold()
    return text + TRANSPARENT if clear else text


def _chunks(items: Sequence[int], size: int) -> list[Sequence[int]]:
    return [items[start : start + size] for start in range(0, len(items), size)]

"""Inpainting and outpainting: a part of a picture drawn anew; the rest stays as it is to the bit.

The decoder's estimate is replaced at every step by what is known of the answer:

    mean = (1 - keep) mean(x_t, t) + keep x_known

the rectified estimate of DDNM (Wang et al. 2023, arXiv 2212.00490, section 3.1), in the latents as in Blended Latent
Diffusion (Avrahami et al. 2023, arXiv 2206.02779). Each step is walked several times, with noise added between, until
new and old agree (RePaint: Lugmayr et al. 2022, arXiv 2201.09865, section 4.2). The upsampler is treated likewise. Then
only the new pixels are put into the picture.

Pixels under the mask are never read, so a finished edit and its mask suffice to draw it again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from sumi.diffusion import SAMPLERS, Denoiser, Rng, Sampler, Schedule, Step, normal
from sumi.diffusion.schedule import per_sample
from sumi.errors import SumiError
from sumi.imaging.pixels import (
    from_levels,
    pad_to_square,
    place_in_square,
    premultiply,
    resize_picture,
    to_image,
    to_uint8,
)
from sumi.pipelines.source import Source, record
from sumi.pipelines.stage import Stage, batches
from sumi.pipelines.steps import Inpainting, Work
from sumi.pipelines.tasks import Edit
from sumi.pipelines.unclip import UnCLIPPipeline, drop_opaque_alpha, picture, picture_seeds

__all__ = ["LARGEST_PX", "Canvas", "Resampled", "canvas", "edit", "extend_edges", "keeping"]

C = TypeVar("C")
S = TypeVar("S")

LARGEST_PX = 4096


@dataclass(frozen=True)
class Canvas:
    """A picture to be completed: straight RGBA uint8 (H, W, 4), empty where redraw, bool (H, W), is True."""

    pixels: np.ndarray[Any, np.dtype[np.uint8]]
    redraw: np.ndarray[Any, np.dtype[np.bool_]]

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.redraw.shape[1], self.redraw.shape[0]

    def filled(self, size_px: int) -> Tensor:
        """Return it premultiplied (4, H, W) in [0, 1], its empty part filled from its edges."""
        known = torch.from_numpy(~self.redraw).float()[None]
        whole = premultiply(Image.fromarray(self.pixels))
        guess = extend_edges(whole, known, size_px)
        return torch.where(known > 0, whole, resize_picture(guess, whole.shape[1:]))

    def mask(self, size_px: int) -> Tensor:
        """Return where to draw in the square that a model sees, (1, S, S): 1 wherever any pixel is to be drawn."""
        left, top, width, height = place_in_square(*self.size, size_px)
        inside = F.adaptive_max_pool2d(torch.from_numpy(self.redraw).float()[None], (height, width))
        return F.pad(inside, (left, size_px - width - left, top, size_px - height - top))

    def completed(self, levels: Tensor) -> Image.Image:
        """Return the picture, its empty part taken from a square one, premultiplied uint8 (4, S, S)."""
        left, top, width, height = place_in_square(*self.size, levels.shape[-1])
        inside = levels[:, top : top + height, left : left + width]
        whole = resize_picture(inside.float() / 255, (self.size[1], self.size[0]))
        drawn = np.asarray(to_image(to_uint8(whole)))
        return drop_opaque_alpha(Image.fromarray(np.where(self.redraw[..., None], drawn, self.pixels)))


def canvas(task: Edit, source: Source, mask: Source | None) -> Canvas:
    """Lay a picture on its canvas, with the margins that were asked for; SumiError when there is nothing to draw."""
    (width, height), (left, top, _, _) = source.size, task.expand
    if mask is None and not any(task.expand):
        raise SumiError("edit needs a mask, white where to draw, or a margin to expand the picture by")
    if mask is not None and mask.size != source.size:
        sizes = "{}x{} pixels, and the picture {}x{}".format(*mask.size, *source.size)
        raise SumiError(f"a mask has its picture's size: this one has {sizes}")
    if max(task.expanded(source.size)) > LARGEST_PX:
        raise SumiError(f"edit takes pictures of up to {LARGEST_PX} pixels along a side, margins included")
    redraw = np.ones(task.expanded(source.size)[::-1], dtype=np.bool_)
    redraw[top : top + height, left : left + width] = False if mask is None else mask_coverage(mask.image)
    if not redraw.any():
        raise SumiError("the mask covers nothing: paint white what should be drawn anew")
    pixels = np.zeros((*redraw.shape, 4), dtype=np.uint8)
    pixels[top : top + height, left : left + width] = np.asarray(source.image)
    pixels[redraw] = 0
    return Canvas(pixels, redraw)


def mask_coverage(mask: Image.Image) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return where a mask is nearer to white than to black; what is transparent is black."""
    black = Image.new("RGBA", mask.size, "black")
    return np.asarray(Image.alpha_composite(black, mask).convert("L")) > 127


def extend_edges(whole: Tensor, known: Tensor, size_px: int) -> Tensor:
    """Return a picture (C, H, W) at most size_px large, its unknown part grown from the known pixel by pixel."""
    _, _, width, height = place_in_square(whole.shape[2], whole.shape[1], size_px)
    weight = F.adaptive_avg_pool2d(known, (height, width))
    colour = F.adaptive_avg_pool2d(whole * known, (height, width)) / weight.clamp_min(1e-6)
    weight = (weight > 0).float()
    while 0 < weight.sum() < weight.numel():
        share = F.avg_pool2d(weight, 3, 1, 1)
        grown = F.avg_pool2d(colour * weight, 3, 1, 1) / share.clamp_min(1e-6)
        colour, weight = torch.where(weight > 0, colour, grown), (share > 0).float()
    return colour * weight


@dataclass(frozen=True)
class Resampled(Generic[S]):
    """Any sampler, each step walked `rounds` times with the noise of the step added between (RePaint, algorithm 1).

    x_t = (alpha_t / alpha_s) x_s + sqrt(sigma_t^2 - (alpha_t / alpha_s)^2 sigma_s^2) z
    """

    sampler: Sampler[S]
    schedule: Schedule
    rounds: int
    stochastic = True

    @property
    def order(self) -> int:
        """That of the sampler."""
        return self.sampler.order

    def init(self, x: Tensor) -> S:
        """What the sampler remembers."""
        return self.sampler.init(x)

    def step(self, denoise: Denoiser[C], x: Tensor, t: Tensor, s: Tensor, cond: C, state: S, rng: Rng) -> Step[S]:
        """Down to s and up again, all but once; to the data, from where noise would undo everything, only down."""
        at_t, at_s = self.schedule(t), self.schedule(s)
        ratio = at_t.alpha / at_s.alpha
        spread = (at_t.sigma**2 - (ratio * at_s.sigma) ** 2).clamp_min(0).sqrt()
        for _ in range(self.rounds - 1 if bool((s > 0).any()) else 0):
            there = self.sampler.step(denoise, x, t, s, cond, state, rng).x
            again = type(at_t)(ratio, spread).add_noise(there, normal(x, rng))
            x = torch.where(per_sample(s > 0, x), again, x)
        return self.sampler.step(denoise, x, t, s, cond, state, rng)


def edit(pipeline: UnCLIPPipeline, task: Edit, sources: Sequence[Source]) -> Work[None]:
    """Check the picture and its mask, if there is one, then draw n pictures of the picture's own size."""
    source, mask = sources[0], sources[1] if len(sources) > 1 else None
    laid = canvas(task, source, mask)
    pipeline, task = pipeline.settle(task)
    return _edit(pipeline.up_to(max(laid.size)), task, laid, source)


@torch.no_grad()
def _edit(pipeline: UnCLIPPipeline, task: Edit, laid: Canvas, source: Source) -> Work[None]:
    started, seeds = time.perf_counter(), picture_seeds(task, task.n)
    whole = laid.filled(pipeline.size_px)
    old, mask = to_uint8(pad_to_square(whole, pipeline.size_px)), laid.mask(pipeline.size_px)
    decoder, z_i = pipeline.decoder, pipeline.embed(old[None])
    known = decoder.encode(from_levels(old[None]))
    rounds = Resampled(SAMPLERS[decoder.settings.sampler](decoder.schedule), decoder.schedule, task.rounds)
    redrawn = replace(
        decoder, sampler=rounds, inpainting=keeping(known, F.adaptive_max_pool2d(mask, decoder.shape[1:]))
    )
    drawing = replace(pipeline, decoder=redrawn)
    if task.prompt:
        text = pipeline.encode([task.prompt] * task.n)
        aim = text.z_t
        drawn = yield from drawing.sample_decoder(text, (yield from drawing.sample_prior(text, seeds)), seeds)
    else:
        aim = z_i
        drawn = yield from drawing.decode(pipeline.image_cond(z_i).repeat(task.n), seeds)
    low = [torch.where(mask > 0, new, old) for new in drawn]
    recipes = pipeline.recipes(
        task,
        seeds,
        pipeline.rank(torch.stack(low), aim),
        [record(source.sha256, None), record("", Image.fromarray(laid.redraw))],
    )
    drawing = replace(pipeline, upsamplers=tuple(upsampler_with_known(one, whole, laid) for one in pipeline.upsamplers))
    parts = list(batches(len(seeds), pipeline.batch))
    for number, some in enumerate(parts):
        large = yield from drawing.enlarge(low[some], seeds[some], part=(number, len(parts)))
        for levels, recipe in zip(large, recipes[some], strict=True):
            yield picture(laid.completed(levels), recipe, (time.perf_counter() - started) / task.n)


def upsampler_with_known(upsampler: Stage, whole: Tensor, laid: Canvas) -> Stage:
    """Return an upsampler that is told what stays of the picture (4, H, W) at its own size."""
    size_px = upsampler.shape[-1]
    return replace(upsampler, inpainting=keeping(pad_to_square(whole, size_px)[None] * 2 - 1, laid.mask(size_px)))


def keeping(known_x0: Tensor, redraw: Tensor) -> Inpainting:
    """Return what is known of a picture (1, ...), kept where `redraw` (1, S, S) is 0."""
    return Inpainting(known_x0, 1 - redraw[None])

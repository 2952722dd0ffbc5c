"""Pictures taken apart into (z_i, x_1) and drawn again: how near, in how many steps, and from what x_1.

    picture -> codec -> x_0 -> invert -> x_1 -> Euler -> x_0' -> codec -> picture'

A decoder that draws in the latents of a codec returns at best what the codec does. So picture' is held against the
codec's own return of the picture, which is what inversion answers for; against the picture itself; and against it
once more after what the codec lost has been given back, as the commands do (`sumi.pipelines.invert`).

x_1 is worth editing as far as it is what the decoder draws from, of mean square 1. Where the denoiser cannot say a
picture exactly, more rounds of the fixed point come nearer to it by an x_1 that is less and less likely.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sumi.diffusion import invert
from sumi.evaluation.distance import psnr
from sumi.evaluation.edit_exam import EditExam
from sumi.evaluation.exam import Progress
from sumi.evaluation.intervals import Mean
from sumi.evaluation.measurement import Figure, Measurement, sample_sheet
from sumi.imaging.pixels import to_levels
from sumi.pipelines import Generate
from sumi.pipelines.invert import detailed, latents
from sumi.pipelines.stage import run
from sumi.pipelines.steps import drive_to_end
from sumi.pipelines.tasks import INVERTED

ASKED_DB = 30.0
STEPS = (2, 4, 16, 50, 100)
ROUNDS = (1, 4)
"""Evaluations a step: one is DDIM's inversion as published, four is what the commands take."""
SHOWN = 12


@dataclass(frozen=True)
class Reconstruction:
    """Pictures drawn again, uint8 (B, 4, S, S): bare, and with what the codec lost given back; and their x_1."""

    bare: Tensor
    given_back: Tensor
    noise: Tensor


@torch.no_grad()
def reconstruct(pipeline: Generate, levels: Tensor, steps: int, rounds: int) -> Reconstruction:
    """Take pictures apart and draw them again in so many steps."""
    stage = pipeline.decoder.with_settings(**{**INVERTED, "steps": steps})
    cond, x = pipeline.shown(pipeline.embed(levels)), latents(pipeline, levels)
    for step in invert(stage.schedule, stage.denoiser, x, stage.times(steps), cond, rounds):
        x = step.x
    drawn = drive_to_end(run(stage, cond, [0] * len(x), x=x))
    whole = [detailed(pipeline, levels[k : k + 1]).decoder.decode(drawn[k : k + 1]) for k in range(len(drawn))]
    return Reconstruction(to_levels(stage.decode(drawn)), to_levels(torch.cat(whole)), x)


@torch.no_grad()
def codec_round_trip(pipeline: Generate, levels: Tensor) -> Tensor:
    """Return pictures uint8 (B, 4, S, S) after the codec alone."""
    return to_levels(pipeline.decoder.decode(latents(pipeline, levels)))


def decibels(name: str, one: Tensor, other: Tensor, mark: float | None = None) -> Figure:
    """Return a row of how near pictures are."""
    return Figure(name, Mean(tuple(psnr(one, other)), "dB", 1), mark)


def describe_settings(steps: int, rounds: int) -> str:
    """Say how a picture was taken apart."""
    return f"{steps} steps, {rounds} round{'s' * (rounds > 1)}"


def inversion(who: EditExam, n: int, progress: Progress) -> Measurement:
    """Take n pictures apart and draw them again, at several numbers of steps; and n icons that were never taught."""
    taught, strange = (who.seen(who.pictures(n, strange)[1]) for strange in (False, True))
    usual = (INVERTED["steps"], ROUNDS[-1])
    tried = [(taught, "", steps, rounds) for rounds in ROUNDS for steps in STEPS]
    tried.append((strange, "icons never taught, ", *usual))
    figures: list[Figure] = []
    near: dict[tuple[int, int], float] = {}
    shown: list[tuple[Tensor, list[str]]] = []
    for number, (levels, kind, *done) in enumerate(tried, start=1):
        steps, rounds = done
        mark = ASKED_DB if (steps, rounds) == usual else None
        back, found = codec_round_trip(who.pipeline, levels), reconstruct(who.pipeline, levels, steps, rounds)
        rows = _figures(f"{kind}{describe_settings(steps, rounds)}", levels, back, found, mark)
        figures += rows
        near.setdefault((steps, rounds), rows[0].value.value)
        if mark is not None:
            said = [f"the picture{', never taught' * bool(kind)}", "codec alone", "drawn again", "details given back"]
            pictures = torch.stack([levels, back, found.bare, found.given_back], dim=1)
            shown += [(row, said) for row in pictures[:SHOWN]]
        progress(number, len(tried))
    figures.append(decibels("the codec alone: to the picture", codec_round_trip(who.pipeline, taught), taught))
    claim = "A picture taken apart into what CLIP sees and the rest is drawn again from those two."
    return Measurement(claim, tuple(figures), sample_sheet(shown, beside=2), who.scenes_seed, first_reached(near))


def _figures(name: str, levels: Tensor, back: Tensor, found: Reconstruction, mark: float | None) -> list[Figure]:
    squares = found.noise.square().flatten(1).mean(dim=1).tolist()
    rows = [
        decibels(f"{name}: to the codec's return", found.bare, back, mark),
        decibels(f"{name}: to the picture", found.bare, levels),
        Figure(f"{name}: mean square of x_1, where noise has 1", Mean(tuple(squares), places=2)),
    ]
    if mark is not None:
        rows.insert(2, decibels(f"{name}: to the picture, details given back", found.given_back, levels, mark))
    return rows


def first_reached(near: Mapping[tuple[int, int], float]) -> str:
    """Say with which steps the codec's return is first reached, of decibels by (steps, rounds)."""
    said = []
    for rounds in sorted({rounds for _, rounds in near}):
        enough = [steps for steps, tried in sorted(near) if tried == rounds and near[steps, tried] >= ASKED_DB]
        said.append(describe_settings(enough[0], rounds) if enough else f"none of {rounds} round{'s' * (rounds > 1)}")
    return f"{ASKED_DB:g} dB to the codec's return are first reached with {' and with '.join(said)}."

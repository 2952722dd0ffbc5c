"""Measurement of DDIM inversion: how close a picture is when it is inverted to (z_i, x_1) and drawn again.

    picture -> codec -> x_0 -> invert -> x_1 -> Euler -> x_0' -> codec -> picture'

A decoder in the latents of a codec cannot reconstruct better than the codec. So picture' is compared with the codec's
reconstruction, which isolates the error of inversion; with the picture itself; and with the picture again after the
codec's residual has been added, as the commands do (`sumi.pipelines.invert`).

Editing needs an x_1 that resembles Gaussian noise, of mean square 1. Where the denoiser cannot represent a picture
exactly, more fixed-point rounds come closer to it through an x_1 that is less and less likely.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from sumi.diffusion import invert
from sumi.evaluation.edit_exam import EditExam
from sumi.evaluation.exam import Progress
from sumi.evaluation.intervals import Mean
from sumi.evaluation.measurement import Figure, Measurement, sample_sheet
from sumi.evaluation.pixel_metrics import psnr
from sumi.imaging.pixels import to_levels
from sumi.pipelines import UnCLIPPipeline
from sumi.pipelines.invert import detailed, latents
from sumi.pipelines.stage import run
from sumi.pipelines.steps import drive_to_end
from sumi.pipelines.tasks import INVERTED

__all__ = [
    "ASKED_DB",
    "ROUNDS",
    "Reconstruction",
    "codec_round_trip",
    "measure_inversion",
    "psnr_figure",
    "reconstruct",
]

ASKED_DB = 30.0
STEPS = (2, 4, 16, 50, 100)
ROUNDS = (1, 4)
"""Evaluations of the network a step: one is DDIM inversion as published, the commands use four."""
SHOWN = 12


@dataclass(frozen=True)
class Reconstruction:
    """Pictures after inversion and sampling.

    Args:
        bare: premultiplied uint8 (B, 4, S, S).
        given_back: the same with the codec's residual added.
        noise: x_1, in latents (B, C, h, w).
    """

    bare: Tensor
    given_back: Tensor
    noise: Tensor


@torch.no_grad()
def reconstruct(pipeline: UnCLIPPipeline, levels: Tensor, steps: int, rounds: int) -> Reconstruction:
    """Invert pictures and draw them again.

    Args:
        pipeline: the model.
        levels: premultiplied uint8 (B, 4, S, S).
        steps: of inversion and of sampling.
        rounds: fixed-point evaluations a step.
    """
    stage = pipeline.decoder.with_settings(**{**INVERTED, "steps": steps})
    cond, x = pipeline.image_cond(pipeline.embed(levels)), latents(pipeline, levels)
    for step in invert(stage.schedule, stage.denoiser, x, stage.times(steps), cond, rounds):
        x = step.x
    drawn = drive_to_end(run(stage, cond, [0] * len(x), x=x))
    whole = [detailed(pipeline, levels[k : k + 1]).decoder.decode(drawn[k : k + 1]) for k in range(len(drawn))]
    return Reconstruction(to_levels(stage.decode(drawn)), to_levels(torch.cat(whole)), x)


@torch.no_grad()
def codec_round_trip(pipeline: UnCLIPPipeline, levels: Tensor) -> Tensor:
    """Return pictures, premultiplied uint8 (B, 4, S, S), encoded and decoded by the codec alone."""
    return to_levels(pipeline.decoder.decode(latents(pipeline, levels)))


def psnr_figure(name: str, one: Tensor, other: Tensor, target: float | None = None) -> Figure:
    """Return the PSNR of pairs of pictures as a figure, with a target where one is given."""
    return Figure(name, Mean(tuple(psnr(one, other)), "dB", 1), target)


def describe_settings(steps: int, rounds: int) -> str:
    """Return the settings of an inversion in words."""
    return f"{steps} steps, {rounds} round{'s' * (rounds > 1)}"


def measure_inversion(exam: EditExam, n: int, progress: Progress) -> Measurement:
    """Invert and redraw n pictures with several numbers of steps, and n pictures of held-out icons."""
    taught, held_out = (exam.model_inputs(exam.true_pictures(n, held_out)[1]) for held_out in (False, True))
    usual = (INVERTED["steps"], ROUNDS[-1])
    tried = [(taught, "", steps, rounds) for rounds in ROUNDS for steps in STEPS]
    tried.append((held_out, "icons never taught, ", *usual))
    figures: list[Figure] = []
    near: dict[tuple[int, int], float] = {}
    shown: list[tuple[Tensor, list[str]]] = []
    for number, (levels, kind, *done) in enumerate(tried, start=1):
        steps, rounds = done
        target = ASKED_DB if (steps, rounds) == usual else None
        back, found = codec_round_trip(exam.pipeline, levels), reconstruct(exam.pipeline, levels, steps, rounds)
        rows = _figures(f"{kind}{describe_settings(steps, rounds)}", levels, back, found, target)
        figures += rows
        near.setdefault((steps, rounds), rows[0].value.value)
        if target is not None:
            said = [f"the picture{', never taught' * bool(kind)}", "codec alone", "drawn again", "details given back"]
            pictures = torch.stack([levels, back, found.bare, found.given_back], dim=1)
            shown += [(row, said) for row in pictures[:SHOWN]]
        progress(number, len(tried))
    figures.append(psnr_figure("the codec alone: to the picture", codec_round_trip(exam.pipeline, taught), taught))
    claim = "A picture inverted to its CLIP embedding and its noise is drawn again from these two."
    return Measurement(
        claim, tuple(figures), sample_sheet(shown, beside=2), exam.scenes_seed, describe_first_reached(near)
    )


def _figures(name: str, levels: Tensor, back: Tensor, found: Reconstruction, target: float | None) -> list[Figure]:
    squares = found.noise.square().flatten(1).mean(dim=1).tolist()
    rows = [
        psnr_figure(f"{name}: to the codec's return", found.bare, back, target),
        psnr_figure(f"{name}: to the picture", found.bare, levels),
        Figure(f"{name}: mean square of x_1, where noise has 1", Mean(tuple(squares), places=2)),
    ]
    if target is not None:
        rows.insert(2, psnr_figure(f"{name}: to the picture, details given back", found.given_back, levels, target))
    return rows


def describe_first_reached(near: Mapping[tuple[int, int], float]) -> str:
    """Say how few steps reach `ASKED_DB`, given the decibels by (steps, rounds)."""
    said = []
    for rounds in sorted({rounds for _, rounds in near}):
        enough = [steps for steps, tried in sorted(near) if tried == rounds and near[steps, tried] >= ASKED_DB]
        said.append(describe_settings(enough[0], rounds) if enough else f"none of {rounds} round{'s' * (rounds > 1)}")
    return f"{ASKED_DB:g} dB to the codec's return are first reached with {' and with '.join(said)}."

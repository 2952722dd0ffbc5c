"""Any model as an exam sees it: a function that draws prompts, what it was taught, and what it is.

Sumi's own models draw many prompts a batch; every other system, and published weights, draw one picture at a time by
the verbs that people use.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from sumi import __version__
from sumi.bundles import weight_hash
from sumi.errors import SumiError
from sumi.evaluation.exam import (
    DrawPrompts,
    concepts_of,
    load_bundle,
    prompt_drawer,
    resize_for_judge,
    with_decoder_settings,
)
from sumi.evaluation.questions import Syllabus
from sumi.imaging.pixels import from_image
from sumi.judge.network import SIZE_PX, Judge
from sumi.pipelines import Artist, Picture, Request
from sumi.pipelines.interpreted import UnknownPromptError
from sumi.systems.artist import SystemArtist
from sumi.systems.unclip.artist import Sumi

__all__ = ["Examinee", "open_examinee"]


@dataclass(frozen=True)
class Examinee:
    """A model that is examined.

    Args:
        draw: draws prompts, each from its seed.
        syllabus: what it may be asked about.
        about: what determines its pictures, as JSON values: its name, the hashes of its weights, its settings.
    """

    draw: DrawPrompts
    syllabus: Syllabus
    about: dict[str, Any]


def open_examinee(artist: Artist, judge: Judge, steps: int | None = None, guidance: float | None = None) -> Examinee:
    """Return a model as an exam sees it.

    Args:
        artist: the model.
        judge: the judge of the exam.
        steps: of the decoder; None leaves the model's.
        guidance: of the decoder; None leaves the model's.

    Raises:
        SumiError: when the model and the judge have no two concepts in common.
    """
    about: dict[str, Any] = {"model": artist.model.name, "hashes": dict(artist.model.hashes)}
    about["judge"] = weight_hash(judge)
    about["software"] = f"Sumi {__version__}, torch {torch.__version__}, {platform.machine()}, float32"
    if isinstance(artist, Sumi):
        pipeline = with_decoder_settings(artist.pipeline, steps, guidance)
        settings = {stage.name: asdict(stage.settings) for stage in (pipeline.prior, pipeline.decoder)}
        about["settings"] = json.loads(json.dumps(settings))
        draw = prompt_drawer(pipeline)
    else:
        about["settings"] = {"steps": steps, "guidance": guidance}
        draw = artist_drawer(artist, steps, guidance)
    syllabus = Syllabus.common(taught_concepts(artist, judge), judge.names, judge.people)
    return Examinee(draw, syllabus, about)


def taught_concepts(artist: Artist, judge: Judge) -> Sequence[str]:
    """Return the concepts of a model: those its bundle lists, its labels, or else all that the judge knows."""
    if isinstance(artist, Sumi):
        if found := concepts_of({} if artist.folder is None else load_bundle(artist.folder).vocabulary):
            return found
        raise SumiError(f"the model {artist.model.name} does not say which concepts it was taught")
    if isinstance(artist, SystemArtist):
        return concepts_of(artist.bundle.vocabulary) or artist.classes or judge.names
    return judge.names


def artist_drawer(artist: Artist, steps: int | None = None, guidance: float | None = None) -> DrawPrompts:
    """Return a function that draws prompts one at a time; a prompt that the model refuses is an empty picture."""

    def draw(prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        return torch.cat([draw_one(prompt, seed) for prompt, seed in zip(prompts, seeds, strict=True)])

    def draw_one(prompt: str, seed: int) -> Tensor:
        request = Request(prompt, seed=seed, steps=steps, guidance=guidance)
        try:
            (picture,) = [event for event in artist.stream(request) if isinstance(event, Picture)]
        except UnknownPromptError:
            return torch.zeros(1, 4, SIZE_PX, SIZE_PX, dtype=torch.uint8)
        return resize_for_judge(from_image(picture.image, picture.image.width)[None])

    return draw

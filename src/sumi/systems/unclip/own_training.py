"""Training unCLIP on one's own pictures: the method, what it learns from, and what may be expected of it.

method, data = prepare(place, preset, start)      start: a model, or None for from scratch
expectation  = expect(plan, len(pictures), start is not None)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from sumi.bundles import Bundle
from sumi.codecs import Codec
from sumi.conditioning import CLIP, WordTokenizer
from sumi.curation.admission import TrainingRules
from sumi.data.picture_array import MAX_BROKEN, PictureArray
from sumi.errors import SumiError
from sumi.systems import SYSTEMS, Method
from sumi.systems.dataset import TrainingData, of_own_pictures
from sumi.systems.training_plan import TrainingPlan
from sumi.systems.unclip.own_pictures import (
    ENOUGH_PSNR_DB,
    OwnPreset,
    UnCLIPFromModel,
    continue_model,
    measure_codec,
    trains_codec,
    with_codec,
)
from sumi.systems.unclip.system import UnCLIP

__all__ = ["Expectation", "OwnTraining", "expect", "prepare"]

CONTEXT = 48
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class OwnTraining:
    """What a training on one's own pictures consists of.

    notes: what a person should know about the data and the beginning.
    """

    method: Method
    data: TrainingData
    album: PictureArray
    notes: tuple[str, ...]


def prepare(
    place: str | Path,
    preset: OwnPreset,
    start: Bundle | None,
    *,
    size_px: int | None = None,
    progress: Progress | None = None,
    max_broken: float = MAX_BROKEN,
    folder: Path | None = None,
    rules: TrainingRules | None = None,
) -> OwnTraining:
    """Read pictures and return what trains on them.

    Args:
        place: what `open_dataset` opens.
        preset: how large the model is.
        start: the model that training begins from, None for from scratch.
        size_px: of the pictures, where training is from scratch; by default the preset's.
        progress: called with (what, done, of).
        max_broken: the share of samples that may be broken.
        folder: of the run, where a set of pictures that is too large for the memory is kept.
        rules: which pictures may be trained on; None asks nobody.

    Raises:
        SumiError: when the pictures cannot be read, have no captions, or when the model cannot be trained further.
    """
    system = SYSTEMS["unclip"]
    if start is None:
        size_px = size_px or preset.size_px
        system.check_size(size_px)
    elif size_px is not None:
        raise SumiError("--size is for training --from-scratch: a model has the size of its pictures")
    else:
        size_px = picture_size(start, preset)
    data, album = of_own_pictures(place, size_px, system, progress, max_broken=max_broken, folder=folder, rules=rules)
    captions = album.captions
    if start is None:
        tokenizer = WordTokenizer.learn(captions, CONTEXT, minimum=2)
        return OwnTraining(UnCLIP(tokenizer=tokenizer, width=preset.width), data, album, _cut(tokenizer, captions))
    method = continue_model(start, preset, captions)
    data = replace(data, origin=method.origin, rights=[*data.rights, *start.rights])
    method, notes = _fit_codec(method, data)
    new = len(method.tokenizer.words) - len(start.tokenizer().words)
    words = f"new words: {new:,}" if new else "no new words"
    return OwnTraining(method, data, album, (words, *notes, *_cut(method.tokenizer, captions)))


def picture_size(start: Bundle, preset: OwnPreset) -> int:
    """Return the side of the pictures that a preset trains a model on: CLIP's, or the upsampler's."""
    clip = start.part("clip")
    assert isinstance(clip, CLIP)
    enlarged = "upsampler" in preset.further and "upsampler" in start.parts
    return clip.size_px * (int(start.settings.get("growth", 4)) if enlarged else 1)


def _fit_codec(method: UnCLIPFromModel, data: TrainingData) -> tuple[UnCLIPFromModel, tuple[str, ...]]:
    """Add the codec to the stages where it cannot restore the pictures."""
    codec = method.start.part("codec")
    assert isinstance(codec, Codec)
    if "codec" in method.stages:
        return method, ()
    psnr = measure_codec(codec, method.small(data.examples))
    measured = f"the codec restores your pictures at {psnr:.1f} dB"
    if psnr >= ENOUGH_PSNR_DB:
        return method, (f"{measured}: it is kept as it is",)
    if trains_codec(method.start):
        return with_codec(method), (f"{measured}: it is trained, too",)
    return method, (f"{measured}, and cannot be trained: small parts of them will be missing",)


def _cut(tokenizer: WordTokenizer, captions: tuple[str, ...]) -> tuple[str, ...]:
    long = sum(not tokenizer.fits(caption) for caption in captions)
    return (f"{long:,} captions are longer than {tokenizer.context - 1} tokens and are cut",) if long else ()


# What to expect ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Expectation:
    """What a plan leads to, in plain words.

    hopeless: whether it would draw nothing. least: the smallest plan that works, where this one does not.
    """

    text: str
    hopeless: bool = False
    least: str = ""


@dataclass(frozen=True)
class Need:
    """How many pictures, and how many steps of its decoder, a training needs to draw something and to draw well."""

    pictures: int
    some_steps: int
    good_steps: int


SPARE = 1.1
# From a model: 283 steps of the decoder drew the right shape for 32 of 36 captions, and all three properties for
# a quarter (docs/own-pictures.md). The other limits are rules of thumb.
FROM_MODEL, FROM_SCRATCH = Need(12, 150, 1_500), Need(2_000, 3_000, 20_000)


def expect(plan: TrainingPlan, count: int, from_model: bool) -> Expectation:
    """Return what a plan of training on `count` pictures leads to."""
    need = FROM_MODEL if from_model else FROM_SCRATCH
    decoder = plan.stage("decoder")
    if count < need.pictures or decoder.num_steps < need.some_steps:
        minutes = math.ceil(SPARE * plan.seconds_for("decoder", need.some_steps) / 60)
        few = f"{count:,} pictures are too few" if count < need.pictures else ""
        short = (
            "" if decoder.num_steps >= need.some_steps else f"{decoder.num_steps:,} steps of the decoder are too few"
        )
        begin = "" if from_model else "without --from-scratch, or "
        more = f"with at least {need.pictures:,} pictures and " if few else ""
        return Expectation(
            f"noise: {' and '.join(filter(None, (few, short)))} to learn from",
            hopeless=True,
            least=f"{begin}{more}--minutes {minutes}",
        )
    if decoder.num_steps < need.good_steps:
        return Expectation(
            "the shapes of your things, mostly; colours and other properties are mixed up; more --minutes help"
        )
    return Expectation("things of your captions, recognisable at a glance; small parts and letters are blurred")

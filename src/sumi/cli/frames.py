"""How a picture came to be: the decoder's estimate after each step, then the picture, as an animated WebP."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Sequence

from PIL import Image
from torch import Tensor

from sumi.imaging.pixels import from_levels, resize, to_image, to_levels
from sumi.pipelines.checks import parse_background
from sumi.pipelines.events import Picture, Progress
from sumi.pipelines.unclip import UnCLIPPipeline

STEP_MS, LAST_MS = 120, 1500


class Frames:
    """Collects the previews of every decoder step, by seed."""

    def __init__(self, pipeline: UnCLIPPipeline) -> None:
        self._pipeline = pipeline
        self._previews: defaultdict[int, list[Tensor]] = defaultdict(list)

    def add(self, progress: Progress) -> None:
        """Add the previews of one step."""
        if progress.stage != self._pipeline.decoder.name:
            return
        levels = self._pipeline.preview(progress)
        if levels is not None:
            for seed, frame in zip(progress.seeds, levels, strict=True):
                self._previews[seed].append(frame)

    def webp(self, picture: Picture) -> bytes:
        """Return the animation that ends with a picture."""
        background = parse_background(picture.recipe.background)
        size = (picture.image.height, picture.image.width)
        frames = [
            to_image(to_levels(resize(from_levels(levels[None]), size))[0], background)
            for levels in self._previews[picture.seed]
        ]
        return film([*frames, picture.image], [STEP_MS] * len(frames) + [LAST_MS])


def film(images: Sequence[Image.Image], durations_ms: Sequence[int] | int = STEP_MS) -> bytes:
    """Return images one after another, in an endless animated WebP."""
    file = io.BytesIO()
    first, *others = [image.convert("RGBA") for image in images]
    shown_ms = durations_ms if isinstance(durations_ms, int) else list(durations_ms)
    first.save(file, "WEBP", save_all=True, append_images=others, duration=shown_ms, loop=0, lossless=True)
    return file.getvalue()

"""How a picture lies in what a model draws: scaled to its sides, or whole in the middle of a square.

A model that draws any sides takes a picture in its own proportions, to the next multiple of what its codec divides. One
that draws squares alone takes it with transparent margins, as Sumi's own model does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from sumi.imaging.pixels import pad_to_square, premultiply, resize_picture, to_image, to_uint8
from sumi.pipelines import Source
from sumi.pipelines.edit import Canvas
from sumi.pipelines.source import record
from sumi.pipelines.unclip import drop_opaque_alpha

__all__ = ["Frame", "complete", "fit_frame", "frame_sources", "record_sources"]


class Frame(NamedTuple):
    """The sides of what is drawn, in pixels."""

    height: int
    width: int

    @property
    def is_square(self) -> bool:
        """Whether both sides are equal."""
        return self.height == self.width


def fit_frame(size: tuple[int, int], longest_px: int, multiple: int) -> Frame:
    """Return the frame of a picture of some width and height: its longer side so long, both sides multiples."""
    scale = longest_px / max(size)
    width, height = (max(multiple, round(side * scale / multiple) * multiple) for side in size)
    return Frame(height, width)


def frame_sources(sources: Sequence[Source], laid: Canvas | None, frame: Frame) -> tuple[Tensor, Tensor | None]:
    """Return pictures as a model sees them, premultiplied uint8 (N, 4, H, W), and where an edit draws, (1, H, W)."""
    if laid is None:
        levels = [_framed(premultiply(source.image), frame) for source in sources]
        return torch.stack(levels) if levels else torch.empty(0, 4, *frame, dtype=torch.uint8), None
    whole = _framed(laid.filled(max(frame)), frame)[None]
    if frame.is_square:
        return whole, laid.mask(frame.width)
    return whole, F.adaptive_max_pool2d(torch.from_numpy(laid.redraw).float()[None], tuple(frame))


def _framed(picture: Tensor, frame: Frame) -> Tensor:
    framed = pad_to_square(picture, frame.width) if frame.is_square else resize_picture(picture, frame)
    return to_uint8(framed)


def record_sources(sources: Sequence[Source], laid: Canvas | None, levels: Tensor) -> list[dict[str, str]]:
    """Return what a recipe keeps of pictures, as the model saw them; a finished edit and its mask draw it again."""
    if laid is not None:
        return [record(sources[0].sha256, None), record("", Image.fromarray(laid.redraw))]
    return [record(source.sha256, to_image(level)) for source, level in zip(sources, levels, strict=True)]


def complete(laid: Canvas, levels: Tensor) -> Image.Image:
    """Return the picture of an edit, its empty part taken from what was drawn, opaque uint8 (4, H, W)."""
    if levels.shape[1] == levels.shape[2]:
        return laid.completed(levels)
    whole = to_image(to_uint8(resize_picture(levels.float() / 255, (laid.size[1], laid.size[0]))))
    return drop_opaque_alpha(Image.fromarray(np.where(laid.redraw[..., None], np.asarray(whole), laid.pixels)))

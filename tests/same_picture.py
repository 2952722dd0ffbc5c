"""Whether two pictures are one, up to the rounding of floats.

Processors, threads and batch sizes add numbers in different orders, so a level may round the other way, and a network
that enlarges a picture, or a division by a small alpha, makes a difference of one level a larger one in that place. So
tests compare the root mean square over premultiplied levels: rounding leaves it under 0.1, another seed makes it 8.
"""

from __future__ import annotations

import torch
from PIL import Image
from torch import Tensor

from sumi.imaging.pixels import premultiply

ROUNDING = 0.5
"""Levels of 255, root mean square; what is further apart is another picture."""


def apart(one: Image.Image | Tensor, other: Image.Image | Tensor) -> float:
    """Root mean square difference in levels of 255; tensors are premultiplied uint8 (4, H, W), as systems draw them."""
    assert not isinstance(one, Image.Image) or not isinstance(other, Image.Image) or one.mode == other.mode
    first, second = levels(one), levels(other)
    assert first.shape == second.shape
    return float((first - second).square().mean().sqrt())


def levels(picture: Image.Image | Tensor) -> Tensor:
    """Premultiplied levels, 0 to 255."""
    return picture.double() if isinstance(picture, Tensor) else premultiply(picture).to(torch.float64).mul(255).round()

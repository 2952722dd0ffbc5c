"""A picture in any form that people have, opened as a Pillow image."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from PIL import Image

from sumi.errors import SumiError
from sumi.imaging import image_file
from sumi.imaging.image_file import ImageLike
from sumi.pipelines.events import Picture

__all__ = ["Picturelike", "as_image", "as_images"]

Picturelike = ImageLike | Picture
"""A picture: a path, bytes, an open file, a Pillow image, a numpy array, or a picture that Sumi drew."""


def as_image(image: Picturelike) -> Image.Image:
    """Return a picture as a Pillow image, opened if it is a file; SumiError when it is none."""
    if isinstance(image, Picture):
        return image.image
    if isinstance(image, list | tuple):
        several = f"a {type(image).__name__} of {len(image)}"
        raise SumiError(f"one picture is needed here, not {several}: such as pictures[0]")
    return image_file.as_image(image)


def as_images(images: Picturelike | Iterable[Picturelike]) -> list[Image.Image]:
    """Return pictures as Pillow images, also where only one is given; SumiError when there are none."""
    single = isinstance(images, str | bytes | bytearray | memoryview) or hasattr(images, "read")
    single = single or not isinstance(images, Iterable) or (isinstance(images, np.ndarray) and images.ndim < 4)
    opened = [as_image(image) for image in ([images] if single else images)]  # type: ignore[arg-type, union-attr]
    if not opened:
        raise SumiError("name at least one picture")
    return opened

"""Sources: pictures that a task starts from, as the model sees them and as a recipe keeps them.

A recipe names its sources by the sha256 of their pixels, and holds them as small as the model saw them, so that a
picture can be made again without the file that it was made from.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image
from torch import Tensor

from sumi.errors import SumiError
from sumi.imaging.image_file import read_image, rgba
from sumi.imaging.pixels import from_image, to_image
from sumi.imaging.png import encode_png
from sumi.pipelines.short_repr import short_repr

__all__ = ["Source", "record"]


@dataclass(frozen=True)
class Source:
    """A picture, upright and RGBA, and the sha256 of its size and pixels as they were brought."""

    __repr__ = short_repr

    image: Image.Image
    sha256: str

    @classmethod
    def of(cls, image: Image.Image) -> Source:
        """Return any image as a source."""
        upright = rgba(image)
        digest = hashlib.sha256(f"{upright.width}x{upright.height} RGBA\n".encode() + upright.tobytes())
        return cls(upright, digest.hexdigest())

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.size

    def levels(self, size_px: int) -> Tensor:
        """Return it as the model is shown it: premultiplied uint8 (4, S, S)."""
        return from_image(self.image, size_px)

    def to_record(self, size_px: int | None = None) -> dict[str, str]:
        """Return what a recipe keeps of it: whole, or as small as the model is shown it (which loses nothing more)."""
        return record(self.sha256, self.image if size_px is None else to_image(self.levels(size_px)))

    @classmethod
    def from_json(cls, values: Any) -> Source:
        """Return the source that a recipe kept; SumiError when it is damaged."""
        if not isinstance(values, Mapping) or not isinstance(values.get("png"), str) or not values["png"]:
            raise SumiError("the recipe holds no picture to work from")
        try:
            data = base64.b64decode(values["png"], validate=True)
        except (binascii.Error, ValueError):
            raise SumiError("the picture in the recipe is damaged") from None
        return cls(rgba(read_image(io.BytesIO(data), "in the recipe")), str(values.get("sha256", "")))


def record(sha256: str, image: Image.Image | None) -> dict[str, str]:
    """Return a source as JSON values: which it was, and the picture as a PNG in base64, if it is kept at all."""
    if image is None:
        return {"sha256": sha256, "png": ""}
    return {"sha256": sha256, "png": base64.b64encode(encode_png(image, optimize=True)).decode("ascii")}

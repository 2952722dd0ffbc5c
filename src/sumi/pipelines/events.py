"""What a pipeline says while it works: how far it is, what it sees by now, and each finished picture."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from torch import Tensor

from sumi.errors import SumiError
from sumi.pipelines.recipe import Recipe, write_png


@dataclass(frozen=True)
class Progress:
    """One step done of a stage.

    step, of: counted over all the pictures of the request, from 1. mean: (B, *shape), the clean signal as
    the stage now estimates it, in the space that the stage draws in. seeds: whose each row is; the prior
    draws a seed more than once.
    """

    stage: str
    step: int
    of: int
    mean: Tensor
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Picture:
    """A finished picture: RGBA, or RGB where a background was asked for, with how to make it again.

    score: cosine of its CLIP embedding to the prompt's. seconds: its share of the time that drawing took.
    """

    image: Image.Image
    recipe: Recipe
    seed: int
    score: float
    seconds: float = 0.0

    def png(self) -> bytes:
        """Return it as the bytes of a PNG with the recipe inside."""
        file = io.BytesIO()
        write_png(file, self.image, self.recipe)
        return file.getvalue()

    def save(self, path: str | Path) -> Path:
        """Write a PNG with the recipe inside, over any file of that name."""
        path = Path(path)
        if path.suffix.lower() != ".png":
            raise SumiError(f"pictures are saved as PNG: name the file {path.stem or 'picture'}.png, not {path.name!r}")
        try:
            path.write_bytes(self.png())
        except OSError as error:
            raise SumiError(f"cannot write {path}: {error.strerror or error}") from None
        return path


Event = Progress | Picture


class Pictures(list[Picture]):
    """The pictures of one request, best first if ranked; `notes` says what the model never learned."""

    def __init__(self, pictures: Sequence[Picture], notes: Sequence[str] = ()) -> None:
        super().__init__(pictures)
        self.notes = tuple(notes)

    @property
    def images(self) -> list[Image.Image]:
        """The pictures as Pillow images."""
        return [picture.image for picture in self]

    def save(self, path: str | Path) -> list[Path]:
        """Write them as PNG: one under the name given, several with a number each (fox-1.png, fox-2.png)."""
        path = Path(path)
        if len(self) == 1:
            return [self[0].save(path)]
        return [
            picture.save(path.with_name(f"{path.stem}-{number}{path.suffix}"))
            for number, picture in enumerate(self, start=1)
        ]

"""Events: what a pipeline yields while it works: progress with an estimate, and each finished picture."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from sumi.atomic_file import write_atomic
from sumi.errors import SumiError
from sumi.imaging.contact_sheet import contact_sheet
from sumi.imaging.openraster import Layers
from sumi.imaging.png import encode_png
from sumi.pipelines.notebook import figure, gallery
from sumi.pipelines.recipe import Recipe, write_png
from sumi.pipelines.short_repr import short_repr, shortened
from sumi.pipelines.signing import mark_picture, sign_picture
from sumi.trust.credentials import Ingredient

__all__ = ["Event", "Picture", "Pictures", "Progress", "Sample", "itself"]


def itself(pictures: Tensor) -> Tensor:
    """Return pictures as they are."""
    return pictures


@dataclass(frozen=True)
class Progress:
    """One step of a stage, done.

    step, of: counted over all pictures of the request, from 1. mean: (B, *shape), the stage's estimate of the clean
    signal, in the space that it draws in. seeds: the seed of each row; the prior draws a seed more than once. shown_as:
    from the pictures estimated, uint8 (B, 4, H, W), to those to show, where what is drawn is one layer of several.
    """

    __repr__ = short_repr

    stage: str
    step: int
    of: int
    mean: Tensor
    seeds: tuple[int, ...]
    shown_as: Callable[[Tensor], Tensor] = field(default=itself, repr=False)


@dataclass(frozen=True)
class Sample:
    """A picture as a pipeline draws it, on its way to a `Picture`.

    image: premultiplied uint8 (4, S, S), or a `LayeredImage` of such. score: the cosine of its CLIP embedding to z_t.
    """

    __repr__ = short_repr

    seed: int
    image: Any
    score: float = 0.0


@dataclass(frozen=True)
class Picture:
    """A finished picture: RGBA, or RGB where a background was asked for, with how to make it again.

    score: cosine of its CLIP embedding to the prompt's. seconds: its share of the time that drawing took. layers: none
    where it was drawn in one piece. rights: one line about the pictures that taught the model. ingredients: the
    pictures that it was made from. A signature says both.
    """

    image: Image.Image
    recipe: Recipe
    seed: int
    score: float
    seconds: float = 0.0
    layers: Layers = ()
    rights: str = ""
    ingredients: Sequence[Ingredient] = ()

    def __repr__(self) -> str:
        """Return its size, what it was drawn from, its seed and its score."""
        size = shortened(self.image)[1:-1]
        return f"<Picture {size} {_origin(self)}, seed {self.seed}, score {self.score:.3f}>"

    @property
    def note(self) -> str | None:
        """One line that says what was drawn, where that is not the prompt: 'drawn as: a cat. Not known: cute'."""
        return self.recipe.note

    def png(self) -> bytes:
        """Return it as the bytes of a PNG with the recipe inside, unsigned: the same bytes each time."""
        file = io.BytesIO()
        write_png(file, self.image, self.recipe)
        return file.getvalue()

    def signed_png(self) -> bytes:
        """Return it as the bytes of a PNG with its recipe and signed content credentials (C2PA).

        It has the watermark where that is on.
        """
        marked = mark_picture(self)
        return sign_picture(marked, marked.png())

    def _repr_png_(self) -> bytes:
        """Return what a notebook shows where it shows no HTML."""
        return self.png()

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the picture, what it was drawn from, and its seed."""
        caption = " · ".join(filter(None, [self.recipe.prompt or self.recipe.operation, f"seed {self.seed}"]))
        return figure(self.png(), self.image.size, caption)

    def save(self, path: str | Path, sign: bool = True) -> Path:
        """Write a PNG with the recipe inside, over any file of that name. sign: add signed content credentials."""
        path = Path(path)
        if path.suffix.lower() != ".png":
            raise SumiError(f"pictures are saved as PNG: name the file {path.stem or 'picture'}.png, not {path.name!r}")
        return write_atomic(path, self.signed_png() if sign else self.png())


Event = Progress | Picture


def _origin(picture: Picture) -> str:
    """Return the prompt of a picture, or the operation that made it, as a repr says it."""
    return f"of {shortened(picture.recipe.prompt)}" if picture.recipe.prompt else f"by {picture.recipe.operation}"


class Pictures(list[Picture]):
    """The pictures of one request, best first if ranked; `notes` says what the model never learned."""

    def __init__(self, pictures: Sequence[Picture], notes: Sequence[str] = ()) -> None:
        super().__init__(pictures)
        self.notes = tuple(notes)

    def __repr__(self) -> str:
        """Return how many there are, of what."""
        origins = list(dict.fromkeys(map(_origin, self)))
        told = (" " + ", ".join(origins[:2]) if origins else "") + (", ..." if len(origins) > 2 else "")
        notes = f", notes={list(self.notes)!r:.80}" if self.notes else ""
        return f"<{len(self)} {'picture' if len(self) == 1 else 'pictures'}{told}{notes}>"

    def _repr_png_(self) -> bytes | None:
        """Return what a notebook shows where it shows no HTML: all pictures on one sheet."""
        if not self:
            return None
        return encode_png(contact_sheet(self.images))

    def _repr_html_(self) -> str:
        """Return what a notebook shows: the pictures side by side, with what they were drawn from and the notes."""
        return gallery([picture._repr_html_() for picture in self], self.notes)

    @property
    def images(self) -> list[Image.Image]:
        """The pictures as Pillow images."""
        return [picture.image for picture in self]

    def save(self, path: str | Path, sign: bool = True) -> list[Path]:
        """Write them as PNG: one under the name given, several with a number each (fox-1.png, fox-2.png).

        sign: add signed content credentials.
        """
        path = Path(path)
        if len(self) == 1:
            return [self[0].save(path, sign)]
        return [
            picture.save(path.with_name(f"{path.stem}-{number}{path.suffix}"), sign)
            for number, picture in enumerate(self, start=1)
        ]

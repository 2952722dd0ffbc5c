"""An artist: whatever draws, as people meet it. Each kind of model says how a task is done; the verbs are the same.

`sumi.load` gives one. A model does what it can and refuses the rest in one line that names it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from sumi import image_file
from sumi.errors import SumiError
from sumi.image_file import ImageLike
from sumi.pipelines.events import Event, Picture, Pictures, Progress
from sumi.pipelines.generate import Model
from sumi.pipelines.recipe import Recipe
from sumi.pipelines.request import Request, Task
from sumi.pipelines.tasks import Blend, Edit, Explore, Img2img, Restyle, Upscale, Vary

Picturelike = ImageLike | Picture
"""A picture: a path, bytes, an open file, a Pillow image, a numpy array, or a picture that Sumi drew."""


class Artist(ABC):
    """A model ready to draw. Every verb raises SumiError for what cannot be done."""

    @property
    @abstractmethod
    def model(self) -> Model:
        """Whose weights draw."""

    @abstractmethod
    def stream(self, task: Task, *images: Picturelike) -> Iterator[Event]:
        """Check a task, then draw it as the iterator is read: Progress and Picture events."""

    @abstractmethod
    def notes(self, task: Task, *images: Image.Image) -> list[str]:
        """Return what a person should know before blaming the picture, a line each."""

    @abstractmethod
    def replay(self, recipe: Recipe, image: Picturelike | None = None) -> Iterator[Event]:
        """Draw a picture again from its recipe; on the same weights it comes out the same."""

    @abstractmethod
    def rank(self, images: Picturelike | Iterable[Picturelike], prompt: str) -> list[float]:
        """Return how near each picture is to the prompt, as a cosine."""

    @abstractmethod
    def classify(self, image: Picturelike, labels: str | Iterable[str]) -> dict[str, float]:
        """Return how probable each label is beside the others, likeliest first; a text is split at its commas."""

    @abstractmethod
    def preview(self, progress: Progress) -> Tensor | None:
        """Return what a step sees as premultiplied uint8 (B, 4, H, W); None where it is no picture yet."""

    def generate(self, prompt: str, **settings: Any) -> Pictures:
        """Draw pictures; the settings are the fields of `Request`."""
        return self._all(Request.of(prompt, **settings))

    def vary(self, image: Picturelike, **settings: Any) -> Pictures:
        """Draw other pictures of what this one shows; the settings are the fields of `Vary`."""
        return self._all(Vary.of(**settings), image)

    def edit(self, image: Picturelike, prompt: str = "", mask: Picturelike | None = None, **settings: Any) -> Pictures:
        """Draw a part of a picture anew, where the mask is white or in new margins; settings: the fields of `Edit`."""
        return self._all(Edit.of(prompt, **settings), image, *([] if mask is None else [mask]))

    def blend(self, one: Picturelike, other: Picturelike, **settings: Any) -> Pictures:
        """Draw the way from one picture to another; the settings are the fields of `Blend`."""
        return self._all(Blend.of(**settings), one, other)

    def restyle(self, image: Picturelike, before: str, after: str, amount: float = 0.6, **settings: Any) -> Pictures:
        """Move a picture in the direction from one text to another; the settings are the fields of `Restyle`."""
        return self._all(Restyle.of(before, after, amount, **settings), image)

    def explore(self, image: Picturelike, **settings: Any) -> Pictures:
        """Draw a picture from more and more of its embedding's components; settings: the fields of `Explore`."""
        return self._all(Explore.of(**settings), image)

    def img2img(self, image: Picturelike, prompt: str, strength: float = 0.7, **settings: Any) -> Pictures:
        """Draw a prompt over a picture; the settings are the fields of `Img2img`."""
        return self._all(Img2img.of(prompt, strength=strength, **settings), image)

    def upscale(self, image: Picturelike, **settings: Any) -> Pictures:
        """Draw a picture four times as large; the settings are the fields of `Upscale`."""
        return self._all(Upscale.of(**settings), image)

    def _all(self, task: Task, *images: Picturelike) -> Pictures:
        opened = [as_image(image) for image in images]
        pictures = [event for event in self.stream(task, *opened) if isinstance(event, Picture)]
        return Pictures(pictures, self.notes(task, *opened))


def as_image(image: Picturelike) -> Image.Image:
    """Return a picture as a Pillow image, opened if it is a file; SumiError when it is none."""
    if isinstance(image, Picture):
        return image.image
    if isinstance(image, list | tuple):
        raise SumiError(
            f"one picture is needed here, not a {type(image).__name__} of {len(image)}: such as pictures[0]"
        )
    return image_file.as_image(image)


def as_images(images: Picturelike | Iterable[Picturelike]) -> list[Image.Image]:
    """Return pictures as Pillow images, also where only one is given; SumiError when there are none."""
    single = isinstance(images, str | bytes | bytearray | memoryview) or hasattr(images, "read")
    single = single or not isinstance(images, Iterable) or (isinstance(images, np.ndarray) and images.ndim < 4)
    listed: Iterable[Any] = [images] if single else images  # type: ignore[assignment]
    opened = [as_image(image) for image in listed]
    if not opened:
        raise SumiError("name at least one picture")
    return opened

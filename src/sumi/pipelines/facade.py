"""Everything a person does with a model, in Python: draw, draw from pictures, rank, classify, and draw again.

>>> import sumi
>>> sumi.load().generate("a red fox", n=4, seed=7).save("fox.png")  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image

from sumi.errors import SumiError
from sumi.pipelines.blend import blend
from sumi.pipelines.edit import edit
from sumi.pipelines.events import Event, Picture, Pictures
from sumi.pipelines.generate import Generate
from sumi.pipelines.img2img import img2img
from sumi.pipelines.pixels import from_image, open_image, rgba
from sumi.pipelines.prompt import clean, emoji_of, kind_note, nearest_words
from sumi.pipelines.recipe import Recipe
from sumi.pipelines.request import Request, Task, check_text
from sumi.pipelines.restyle import restyle
from sumi.pipelines.source import Source
from sumi.pipelines.tasks import Blend, Edit, Img2img, Restyle, Upscale, Vary
from sumi.pipelines.upscale import upscale
from sumi.pipelines.vary import vary

Picturelike = Image.Image | str | Path
"""A picture, or the name of its file."""

OPERATIONS: Mapping[type[Task], tuple[Callable[..., Iterator[Event]], int, int]] = {
    Vary: (vary, 1, 1),
    Edit: (edit, 1, 2),
    Blend: (blend, 2, 2),
    Restyle: (restyle, 1, 1),
    Img2img: (img2img, 1, 1),
    Upscale: (upscale, 1, 1),
}
"""How each task is done, and to how many pictures at least and at most."""

MOST_LABELS = 1000


class Reader(Protocol):
    """What knows the words that a model was taught: its tokenizer."""

    @property
    def words(self) -> Sequence[str]:
        """Every word taught."""
        ...

    def unknown(self, text: str) -> list[str]:
        """The words of a text that were not taught."""
        ...

    def fits(self, text: str) -> bool:
        """Whether the whole text is read."""
        ...


@dataclass(frozen=True)
class Sumi:
    """A model ready to draw. sharpness: CLIP's scale on cosines, exp(log_scale)."""

    pipeline: Generate
    reader: Reader
    sharpness: float = 100.0

    def generate(self, prompt: str, **settings: Any) -> Pictures:
        """Draw pictures; the settings are the fields of `Request`. SumiError when they cannot be."""
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

    def restyle(self, image: Picturelike, before: str, after: str, amount: float = 0.4, **settings: Any) -> Pictures:
        """Move a picture in the direction from one text to another; the settings are the fields of `Restyle`."""
        return self._all(Restyle.of(before, after, amount, **settings), image)

    def img2img(self, image: Picturelike, prompt: str, strength: float = 0.7, **settings: Any) -> Pictures:
        """Draw a prompt over a picture; the settings are the fields of `Img2img`."""
        return self._all(Img2img.of(prompt, strength=strength, **settings), image)

    def upscale(self, image: Picturelike, **settings: Any) -> Pictures:
        """Draw a picture four times as large; the settings are the fields of `Upscale`."""
        return self._all(Upscale.of(**settings), image)

    def stream(self, task: Task, *images: Picturelike) -> Iterator[Event]:
        """Check a task, then draw it as the iterator is read: Progress and Picture events."""
        return perform(self.pipeline, task, [Source.of(_opened(image)) for image in images])

    def _all(self, task: Task, *images: Picturelike) -> Pictures:
        opened = [_opened(image) for image in images]
        pictures = [event for event in self.stream(task, *opened) if isinstance(event, Picture)]
        return Pictures(pictures, self.notes(task, *opened))

    def notes(self, task: Task, *images: Image.Image) -> list[str]:
        """Return what a person should know before blaming the picture, a line each."""
        notes = []
        for text in task.texts:
            strange = self.reader.unknown(text) + emoji_of(text)
            note = kind_note(nearest_words(strange, self.reader.words))
            if note:
                notes.append(note)
            if not self.reader.fits(text):
                notes.append("this model reads only the beginning of a prompt so long")
        strength = self.pipeline.decoder.settings.guidance if task.guidance is None else task.guidance
        if clean(task.negative) and strength == 1.0:
            notes.append("a negative prompt does nothing at guidance 1")
        drawn_px = self.pipeline.sizes[-1]
        if isinstance(task, Edit) and images and max(task.expanded(images[0].size)) > drawn_px:
            notes.append(f"the new part is drawn as if the picture had {drawn_px} pixels a side, and enlarged to fit")
        return list(dict.fromkeys(notes))

    def rank(self, images: Sequence[Picturelike], prompt: str) -> list[float]:
        """Return how near each picture is to the prompt, as a cosine."""
        text = self.pipeline.read([clean(Request(prompt).prompt)])
        return self.pipeline.rank(self._levels(images), text.z_t)

    @torch.no_grad()
    def classify(self, image: Picturelike, labels: Sequence[str]) -> dict[str, float]:
        """Return how probable each label is beside the others, likeliest first."""
        named = list(dict.fromkeys(filter(None, map(clean, map(_checked, labels)))))
        if len(named) < 2 or len(named) > MOST_LABELS:
            raise SumiError(f"classify needs 2 to {MOST_LABELS} different labels, such as cat,dog; found {len(named)}")
        z_t = self.pipeline.read(named).z_t
        z_i = self.pipeline.embed(self._levels([image]))
        chances = torch.softmax(self.sharpness * (z_t @ z_i[0]), dim=0)
        order = torch.argsort(chances, descending=True)
        return {named[index]: float(chances[index]) for index in order.tolist()}

    def replay(self, recipe: Recipe, image: Image.Image | None = None) -> Iterator[Event]:
        """Draw a picture again from its recipe; on the same weights it comes out the same.

        image: the picture that the recipe was found in, which an edit needs, as it holds all that was not drawn.
        """
        task, kept = recipe.request(), list(recipe.sources)
        sources = []
        if isinstance(task, Edit) and kept:
            if image is None:
                raise SumiError("an edit is drawn again from the picture that it is in: give that as well")
            sources, kept = [Source(rgba(image), str(kept[0].get("sha256", "")))], kept[1:]
        sources += [Source.from_json(row) for row in kept]
        return perform(self.pipeline.with_settings(recipe.stages), task, sources)

    def _levels(self, images: Sequence[Picturelike]) -> torch.Tensor:
        if not images:
            raise SumiError("name at least one picture")
        return torch.stack([from_image(_opened(image), self.pipeline.size_px) for image in images])


def perform(pipeline: Generate, task: Task, sources: Sequence[Source]) -> Iterator[Event]:
    """Check a task and its pictures against the model (SumiError), then draw it as the iterator is read."""
    if isinstance(task, Request):
        return pipeline(task)
    operation, least, most = OPERATIONS[type(task)]
    if not least <= len(sources) <= most:
        raise SumiError(f"{task.operation} is done to {least if least == most else f'{least} or {most}'} pictures")
    return operation(pipeline, task, sources)


def _opened(image: Picturelike) -> Image.Image:
    return image if isinstance(image, Image.Image) else open_image(image)


def _checked(label: str) -> str:
    check_text("label", label)
    return label

"""Everything a person does with a model, in Python: draw, rank, classify, and draw again.

>>> import sumi
>>> sumi.load().generate("a red fox", n=4, seed=7).save("fox.png")  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image

from sumi.errors import SumiError
from sumi.pipelines.events import Event, Picture, Pictures
from sumi.pipelines.generate import Generate
from sumi.pipelines.pixels import from_image, open_image
from sumi.pipelines.prompt import clean, emoji_of, kind_note, nearest_words
from sumi.pipelines.recipe import Recipe
from sumi.pipelines.request import Request, check_text

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
        try:
            request = Request(prompt, **settings)
        except TypeError:
            unknown = sorted(settings.keys() - Request.__dataclass_fields__.keys())
            raise SumiError(f"generate has no {' or '.join(unknown)}; see sumi.Request") from None
        pictures = [event for event in self.stream(request) if isinstance(event, Picture)]
        return Pictures(pictures, self.notes(request))

    def stream(self, request: Request) -> Iterator[Event]:
        """Check the request, then draw it as the iterator is read: Progress and Picture events."""
        return self.pipeline(request)

    def notes(self, request: Request) -> list[str]:
        """Return what a person should know before blaming the picture, a line each."""
        notes = []
        for text in filter(None, (clean(request.prompt), clean(request.negative))):
            strange = self.reader.unknown(text) + emoji_of(text)
            note = kind_note(nearest_words(strange, self.reader.words))
            if note:
                notes.append(note)
            if not self.reader.fits(text):
                notes.append("this model reads only the beginning of a prompt so long")
        strength = self.pipeline.decoder.settings.guidance if request.guidance is None else request.guidance
        if clean(request.negative) and strength == 1.0:
            notes.append("a negative prompt does nothing at guidance 1")
        return list(dict.fromkeys(notes))

    def rank(self, images: Sequence[Image.Image | str | Path], prompt: str) -> list[float]:
        """Return how near each picture is to the prompt, as a cosine."""
        text = self.pipeline.read([clean(Request(prompt).prompt)])
        return self.pipeline.rank(self._levels(images), text.z_t)

    @torch.no_grad()
    def classify(self, image: Image.Image | str | Path, labels: Sequence[str]) -> dict[str, float]:
        """Return how probable each label is beside the others, likeliest first."""
        named = list(dict.fromkeys(filter(None, map(clean, map(_checked, labels)))))
        if len(named) < 2 or len(named) > MOST_LABELS:
            raise SumiError(f"classify needs 2 to {MOST_LABELS} different labels, such as cat,dog; found {len(named)}")
        z_t = self.pipeline.read(named).z_t
        z_i = self.pipeline.embed(self._levels([image]))
        chances = torch.softmax(self.sharpness * (z_t @ z_i[0]), dim=0)
        order = torch.argsort(chances, descending=True)
        return {named[index]: float(chances[index]) for index in order.tolist()}

    def replay(self, recipe: Recipe) -> Iterator[Event]:
        """Draw a picture again from its recipe; on the same weights it comes out the same."""
        return self.pipeline.with_settings(recipe.stages)(recipe.request())

    def _levels(self, images: Sequence[Image.Image | str | Path]) -> torch.Tensor:
        if not images:
            raise SumiError("name at least one picture")
        opened = [image if isinstance(image, Image.Image) else open_image(image) for image in images]
        return torch.stack([from_image(image, self.pipeline.size_px) for image in opened])


def _checked(label: str) -> str:
    check_text("label", label)
    return label

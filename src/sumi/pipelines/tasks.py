"""The tasks that begin with a picture: the settings of each, beside those that all tasks share. Costs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sumi.errors import SumiError
from sumi.pipelines.option import choice, integer, margins, number, required_text, text
from sumi.pipelines.prompt import clean
from sumi.pipelines.request import MOST_STEPS, Prompted, Request, Task

__all__ = ["FURTHEST", "INVERTED", "TASKS", "Blend", "Edit", "Explore", "Img2img", "Restyle", "Upscale", "Vary"]

INVERTED: Mapping[str, Any] = {"sampler": "ddim", "steps": 16, "guidance": 1.0}
"""How a decoder is run where a picture's own noise must lead to that picture: deterministic and unguided."""
FURTHEST = 0.35
"""Theta of a text diff at amount 1: past it pictures leave the new text again (decision 14). unCLIP: 0.25 to 0.5."""
LARGEST_MARGIN_PX = 4096
NOISES = ("inverted", "fixed")


@dataclass(frozen=True, kw_only=True, repr=False)
class Vary(Task):
    """Another picture of what this one shows."""

    operation = "vary"
    summary = "Draw other pictures of what a picture shows."
    without = ("prompt", "negative", "sampler", "prior", "anyway")

    eta: float = number(1.0, 0.0, 1.0, "How much of the picture's own noise to renew, from 0 (the picture again) to 1.")

    @property
    def usual(self) -> Mapping[str, Any]:
        """Below eta 1 the noise is that of the picture, found by inversion."""
        return INVERTED if self.eta < 1 else {}


@dataclass(frozen=True, kw_only=True, repr=False)
class Blend(Task):
    """The way from one picture to another."""

    operation = "blend"
    summary = "Draw the way from one picture to another."
    num_images = 2
    without = ("prompt", "negative", "n", "sampler", "prior", "guidance", "anyway")

    frames: int = integer(8, 2, 64, "How many pictures, both ends among them.")
    amount: float | None = number(None, 0.0, 1.0, "Draw only the picture so far along, from 0 to 1.")
    noise: str = choice(
        "inverted", NOISES, "Noise: inverted (each end is that picture) or fixed (one noise for all).", "KIND"
    )

    @property
    def usual(self) -> Mapping[str, Any]:
        """Each end leads back to its picture."""
        return INVERTED

    @property
    def draws_several(self) -> bool:
        """Both ends, unless one amount is asked for."""
        return self.amount is None

    @property
    def amounts(self) -> list[float]:
        """How far along each picture is."""
        if self.amount is not None:
            return [float(self.amount)]
        return [number / (self.frames - 1) for number in range(self.frames)]


@dataclass(frozen=True, kw_only=True, repr=False)
class Explore(Task):
    """A picture drawn from the first few principal components of its embedding, then from more of them."""

    operation = "explore"
    summary = "Draw a picture from more and more of what it shows."
    without = ("prompt", "negative", "n", "sampler", "prior", "anyway")

    dims: int | None = integer(
        None, 1, 2**16, "Draw only from the first K components; default 1, 2, 4, ... and all.", "K"
    )

    @property
    def draws_several(self) -> bool:
        """One for each number of axes, unless one number is asked for."""
        return self.dims is None

    @property
    def usual(self) -> Mapping[str, Any]:
        """A deterministic sampler, so that pictures differ only in their components."""
        return {"sampler": "dpmpp-2m"}


@dataclass(frozen=True, repr=False)
class Restyle(Task):
    """The picture, moved in the direction from one text to another. Guidance leads away from the picture as it was."""

    operation = "restyle"
    summary = "Move a picture from one text towards another."
    without = ("prompt", "negative", "n", "sampler", "prior")

    before: str = required_text("What the picture is, such as 'a red fox'.", label="text before")
    after: str = required_text("What it should become, such as 'a blue fox'.", label="text after")
    amount: float = number(0.6, 0.0, 1.0, "How far, from 0 (the picture itself) to 1.")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("before", "after"):
            if not clean(getattr(self, name)):
                raise SumiError(f"the text {name} is empty: restyle needs two, such as 'a red fox' and 'a blue fox'")
        if clean(self.before) == clean(self.after):
            raise SumiError("restyle needs two different texts: between one and itself there is no way to go")

    @property
    def usual(self) -> Mapping[str, Any]:
        """At amount 0 the picture's noise leads back to it, however strong the guidance."""
        return {**INVERTED, "guidance": 2.0}

    @property
    def named_texts(self) -> dict[str, str]:
        """Both texts."""
        return {"before": clean(self.before), "after": clean(self.after)}


@dataclass(frozen=True, repr=False)
class Img2img(Prompted):
    """A prompt drawn over a picture."""

    operation = "img2img"
    summary = "Draw a prompt over a picture."

    strength: float = number(0.7, 0.01, 1.0, "How much of the picture to give up; 1 is all of it.")


@dataclass(frozen=True, repr=False)
class Edit(Task):
    """A part of a picture drawn anew; the rest stays as it is to the bit."""

    operation = "edit"
    summary = "Draw a part of a picture anew, or more of it."
    without = ("size", "background")

    prompt: str = text("", "What the whole picture should then show; without one, what the rest of it shows.")
    expand: tuple[int, int, int, int] = margins(
        LARGEST_MARGIN_PX, "Pixels to add, and to draw, at the left, top, right and bottom."
    )
    rounds: int = integer(3, 1, 20, "How often to walk each step; more fits better.")

    def expanded(self, size: tuple[int, int]) -> tuple[int, int]:
        """Width and height of such a picture with its margins."""
        left, top, right, bottom = self.expand
        return left + size[0] + right, top + size[1] + bottom

    @property
    def options(self) -> dict[str, Any]:
        """All but the margins: in a finished edit they are part of the mask."""
        return {"rounds": self.rounds}


@dataclass(frozen=True, kw_only=True, repr=False)
class Upscale(Task):
    """The picture, four times as large."""

    operation = "upscale"
    summary = "Draw a picture four times as large."
    without = ("prompt", "negative", "n", "size", "guidance", "sampler", "prior", "anyway", "adapters")

    steps: int | None = integer(None, 1, MOST_STEPS, "Steps of the upsampler; more is slower and finer.")


TASKS: Mapping[str, type[Task]] = {
    kind.operation: kind for kind in (Request, Vary, Edit, Blend, Restyle, Explore, Img2img, Upscale)
}
"""Every kind of task by the name of its operation."""

"""What a person may ask to be done to pictures, checked as soon as it is said, without torch.

Each kind of task is a few numbers beside the pictures that it is about; `Task` has what all of them share.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from sumi.errors import SumiError
from sumi.pipelines.prompt import clean
from sumi.pipelines.request import (
    Prompted,
    Request,
    Task,
    check_choice,
    check_count,
    check_integer,
    check_number,
    check_text,
)

INVERTED: Mapping[str, Any] = {"sampler": "ddim", "steps": 16, "guidance": 1.0}
"""How a decoder is run where a picture's own noise must lead to that picture: deterministic and unguided."""
FURTHEST = 0.35
"""Theta of a text diff at amount 1: past it pictures leave the new text again (decision 14). unCLIP: 0.25 to 0.5."""
LARGEST_MARGIN_PX = 4096


@dataclass(frozen=True, kw_only=True, repr=False)
class Vary(Task):
    """Another picture of what this one shows.

    eta: how much of the picture's own noise is renewed, 0 (the picture again) to 1 (only what it shows is kept).
    """

    operation = "vary"
    without = ("prompt", "negative", "sampler", "prior", "anyway")

    eta: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._settle(eta=check_number("eta", self.eta, 0.0, 1.0))

    @property
    def usual(self) -> Mapping[str, Any]:
        """Where noise is kept it is the picture's own."""
        return INVERTED if self.eta < 1 else {}


@dataclass(frozen=True, kw_only=True, repr=False)
class Blend(Task):
    """The way from one picture to another.

    frames: how many pictures, both ends among them. amount: draw only the picture so far along, of [0, 1]. noise:
    inverted (each end is that picture) or fixed (one noise for all, so that only what is shown changes).
    """

    operation = "blend"
    without = ("prompt", "negative", "n", "sampler", "prior", "guidance", "anyway")
    noises: ClassVar[tuple[str, ...]] = ("inverted", "fixed")

    frames: int = 8
    amount: float | None = None
    noise: str = "inverted"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._settle(frames=check_count("frames", self.frames, 2, 64))
        if self.amount is not None:
            self._settle(amount=check_number("amount", self.amount, 0.0, 1.0))
        check_choice("noise", self.noise, self.noises)

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
    """A picture as the first few principal axes of its embedding say it, then as more of them do.

    dims: draw only the picture that so many say.
    """

    operation = "explore"
    without = ("prompt", "negative", "n", "sampler", "prior", "anyway")

    dims: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self._settle(dims=check_integer("dims", self.dims, 1, 2**16))

    @property
    def draws_several(self) -> bool:
        """One for each number of axes, unless one number is asked for."""
        return self.dims is None

    @property
    def usual(self) -> Mapping[str, Any]:
        """Without chance on the way, so that what differs is what was said."""
        return {"sampler": "dpmpp-2m"}


@dataclass(frozen=True, repr=False)
class Restyle(Task):
    """The picture, moved in the direction in which one text differs from another.

    before, after: the texts, such as 'a red fox' and 'a blue fox'. amount: how far, from 0 (the picture itself) to 1
    (as far as is of use, `FURTHEST` of the way). guidance leads away from the picture as it was.
    """

    operation = "restyle"
    without = ("prompt", "negative", "n", "sampler", "prior")

    before: str
    after: str
    amount: float = 0.6

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, text in (("text before", self.before), ("text after", self.after)):
            check_text(name, text)
            if not clean(text):
                raise SumiError(f"the {name} is empty: restyle needs two, such as 'a red fox' and 'a blue fox'")
        if clean(self.before) == clean(self.after):
            raise SumiError("restyle needs two different texts: between one and itself there is no way to go")
        self._settle(amount=check_number("amount", self.amount, 0.0, 1.0))

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
    """A prompt drawn over a picture. strength: how much of the picture is given up, above 0 to 1 (all of it)."""

    operation = "img2img"

    strength: float = 0.7

    def __post_init__(self) -> None:
        super().__post_init__()
        self._settle(strength=check_number("strength", self.strength, 0.01, 1.0))


@dataclass(frozen=True, repr=False)
class Edit(Task):
    """A part of a picture drawn anew, the rest left as it is to the bit.

    prompt: what the whole picture should then show; without one, what the rest of it shows. expand: pixels to add on
    the left, top, right and bottom, and to draw. rounds: how often each step is walked, so that new and old agree.
    """

    operation = "edit"
    without = ("size", "background")

    prompt: str = ""
    expand: tuple[int, int, int, int] = (0, 0, 0, 0)
    rounds: int = 3

    def __post_init__(self) -> None:
        super().__post_init__()
        given: Any = self.expand
        margins = given.tolist() if hasattr(given, "tolist") else given
        if not isinstance(margins, tuple | list) or len(margins) != 4:
            raise SumiError(f"expand should be four numbers, left, top, right and bottom, not {given!r:.60}")
        checked = (check_count("each number of expand", margin, 0, LARGEST_MARGIN_PX) for margin in margins)
        self._settle(expand=tuple(checked), rounds=check_count("rounds", self.rounds, 1, 20))

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
    """The picture, four times as large. steps: the upsampler's."""

    operation = "upscale"
    without = ("prompt", "negative", "n", "size", "guidance", "sampler", "prior", "anyway")


TASKS: Mapping[str, type[Task]] = {
    kind.operation: kind for kind in (Request, Vary, Edit, Blend, Restyle, Explore, Img2img, Upscale)
}
"""Every kind by the name of its operation."""

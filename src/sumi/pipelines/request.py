"""What a person asks for, checked as soon as it is said: every fault is one line with what would be right."""

from __future__ import annotations

import difflib
import numbers
import operator
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self

from sumi.errors import SumiError
from sumi.pipelines.prompt import clean
from sumi.pipelines.short_repr import short_repr
from sumi.trust import refuse_never

if TYPE_CHECKING:
    from sumi.conditioning import Interpretation

LONGEST_PROMPT = 4000
MOST_PICTURES = 64
MOST_CANDIDATES = 256
MOST_STEPS = 1000
STRONGEST_GUIDANCE = 30.0
LARGEST_SEED = 2**63 - 1
PRIORS: Mapping[str, str] = {"diffusion": "prior", "ar": "ar_prior"}
"""What may imagine a picture for a prompt, and what the part of a model that does is called."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Task:
    """What may be said of every task for a model; None leaves a setting to the model.

    prompt: up to 4,000 characters in any script. negative: what to stay away from (needs guidance other than 1).
    n: pictures, 1 to 64. size: pixels along a side, one of the model's. seed: picture i is drawn from seed + i.
    steps, guidance, sampler: the decoder's. prior: diffusion or ar. background: auto, transparent, opaque (white) or
    #rrggbb. anyway: draw also what the model knows nothing of. interpretations: of its texts by name, where they are to
    be drawn as other words; `Sumi` sets them. A kind of task names in `without` those that mean nothing to it.
    Raises SumiError when something cannot be, and ContentPolicyError for words of a hard category (see `sumi.trust`).
    """

    __repr__ = short_repr

    operation: ClassVar[str]
    without: ClassVar[tuple[str, ...]] = ()

    prompt: str = ""
    negative: str = ""
    n: int = 1
    size: int | None = None
    seed: int | None = None
    steps: int | None = None
    guidance: float | None = None
    sampler: str | None = None
    prior: str | None = None
    background: str = "auto"
    anyway: bool = False
    interpretations: tuple[tuple[str, Interpretation], ...] = ()

    def __post_init__(self) -> None:
        for name in self.without:
            if getattr(self, name) != Task.__dataclass_fields__[name].default:
                raise SumiError(f"{self.operation} has no {name}")
        check_text("prompt", self.prompt)
        check_text("negative prompt", self.negative)
        self._settle(
            n=check_count("n", self.n, 1, MOST_PICTURES),
            seed=check_integer("seed", self.seed, 0, LARGEST_SEED - MOST_CANDIDATES),
            steps=check_integer("steps", self.steps, 1, MOST_STEPS),
            size=check_integer("size", self.size, 1, 2**16),
        )
        check_flag("anyway", self.anyway)
        if self.guidance is not None:
            self._settle(guidance=check_number("guidance", self.guidance, 0.0, STRONGEST_GUIDANCE))
        if self.sampler is not None and not isinstance(self.sampler, str):
            raise SumiError(f"sampler should be a name, not {self.sampler!r}")
        if self.prior is not None:
            check_choice("prior", self.prior, list(PRIORS))
        parse_background(self.background)
        refuse_never(*self._drawn_texts())

    def _drawn_texts(self) -> list[str]:
        """The texts that pictures are drawn towards, as a person wrote them and as they are drawn."""
        texts = [getattr(self, name, "") for name in ("prompt", "before", "after")]
        texts += [read.prompt for name, read in self.interpretations if name != "negative"]
        if self.guidance is not None and self.guidance < 1:  # below 1, guidance leads towards the negative prompt
            texts += [self.written("negative"), self.negative]
        return [text for text in texts if isinstance(text, str)]

    def _settle(self, **settings: Any) -> None:
        """Keep settings as they were checked: a number of numpy's becomes one of Python's."""
        for name, value in settings.items():
            object.__setattr__(self, name, value)

    @classmethod
    def of(cls, *values: Any, **settings: Any) -> Self:
        """Return the task with these settings; SumiError for one that it does not have."""
        known = {field.name for field in fields(cls)} - set(cls.without)
        if unknown := sorted(settings.keys() - known):
            raise SumiError(f"{cls.operation} has no {' or '.join(unknown)}; see sumi.pipelines.{cls.__name__}")
        return cls(*values, **settings)

    @classmethod
    def own(cls) -> set[str]:
        """The names of the settings that only this kind of task has."""
        return {field.name for field in fields(cls)} - {field.name for field in fields(Task)}

    @property
    def usual(self) -> Mapping[str, Any]:
        """The decoder's settings that this task prefers to the model's own."""
        return {}

    @property
    def options(self) -> dict[str, Any]:
        """Its own settings, as a recipe keeps them."""
        return {name: getattr(self, name) for name in sorted(self.own())}

    @property
    def draws_several(self) -> bool:
        """Whether it draws more than one picture."""
        return self.n > 1

    @property
    def named_texts(self) -> dict[str, str]:
        """The texts that it gives the model to read, by their names."""
        named = {name: clean(getattr(self, name)) for name in ("prompt", "negative")}
        return {name: text for name, text in named.items() if text}

    def written(self, name: str) -> str:
        """A text as the person wrote it."""
        return next((read.prompt for own, read in self.interpretations if own == name), str(getattr(self, name)))

    @property
    def texts(self) -> tuple[str, ...]:
        """What it gives the model to read."""
        return tuple(self.named_texts.values())


@dataclass(frozen=True, repr=False)
class Prompted(Task):
    """A task told in words: the prompt cannot be empty."""

    prompt: str
    negative: str = ""

    def __post_init__(self) -> None:
        check_prompt(self.prompt)
        super().__post_init__()


@dataclass(frozen=True, repr=False)
class Request(Prompted):
    """One wish for pictures of a prompt; all but `best_of` as in `Task`.

    best_of: draw so many and keep the n that CLIP finds nearest to the prompt. whole: draw in one piece what the model
    would else arrange in layers.
    """

    operation = "generate"

    best_of: int | None = None
    whole: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._settle(
            best_of=check_integer("best-of", self.best_of, self.n, MOST_CANDIDATES),
            whole=check_flag("whole", self.whole),
        )

    @property
    def options(self) -> dict[str, Any]:
        """Whether it was drawn in one piece; the best of several is drawn again alone."""
        return {"whole": True} if self.whole else {}


def check_prompt(prompt: Any) -> None:
    """Raise SumiError unless it says something."""
    check_text("prompt", prompt)
    if not clean(prompt):
        raise SumiError("the prompt is empty: say what to draw, such as 'a red fox'")


def check_text(name: str, text: Any) -> None:
    """Raise SumiError unless it is a string of an acceptable length."""
    if not isinstance(text, str):
        raise SumiError(f"the {name} should be text, not {type(text).__name__}")
    if len(text) > LONGEST_PROMPT:
        raise SumiError(f"the {name} has {len(text):,} characters, and at most {LONGEST_PROMPT:,} are read")


def check_count(name: str, value: Any, least: int, most: int) -> int:
    """Return the value as an int; SumiError unless it is an integer of the range; None is not."""
    number = check_integer(name, value, least, most)
    if number is None:
        raise SumiError(f"{name} should be a whole number from {least} to {most}, not None")
    return number


def check_integer(name: str, value: Any, least: int, most: int) -> int | None:
    """Return the value as an int, numpy's too, or None; SumiError unless it is None or an integer of the range."""
    if value is None:
        return None
    try:
        number = least - 1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = least - 1
    if not least <= number <= most:
        raise SumiError(f"{name} should be a whole number from {least} to {most}, not {_shown(value)}")
    return number


def check_number(name: str, value: Any, least: float, most: float) -> float:
    """Return the value as a float or an int, numpy's too; SumiError unless it is a finite number of the range."""
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        with suppress(OverflowError):
            number: int | float = int(value) if isinstance(value, numbers.Integral) else float(value)
            if least <= number <= most:
                return number
    raise SumiError(f"{name} should be a number from {least:g} to {most:g}, not {_shown(value)}")


def check_flag(name: str, value: Any) -> bool:
    """Return the value as a bool, numpy's too; SumiError unless it is one."""
    if type(value) is bool or type(value).__name__ in ("bool_", "bool"):
        return bool(value)
    raise SumiError(f"{name} should be True or False, not {_shown(value)}")


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Raise SumiError, naming the choices and the nearest of them, unless the value is one."""
    if value not in choices:
        near = difflib.get_close_matches(str(value).casefold(), choices, 1, 0.5)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise SumiError(f"unknown {name} {_shown(value)}: choose one of {', '.join(choices)}{hint}")


def parse_background(value: Any) -> tuple[int, int, int] | None:
    """Return the colour behind the picture, or None where what is transparent stays so."""
    if value in ("auto", "transparent"):
        return None
    if value == "opaque":
        return (255, 255, 255)
    if isinstance(value, str) and re.fullmatch(r"#[0-9a-fA-F]{6}", value, re.ASCII):
        return int(value[1:3], 16), int(value[3:5], 16), int(value[5:7], 16)
    raise SumiError(f"unknown background {_shown(value)}: choose auto, transparent, opaque or a colour such as #ffd700")


def _shown(value: Any) -> str:
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    shown = ascii(value) if isinstance(value, str) and not value.isprintable() else repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."

"""Tasks: what a person asks for, checked when it is made; every fault is one line that says what would be right.

Each setting declares its default, its bounds and its help once (`sumi.pipelines.option`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, Self

from sumi.errors import SumiError
from sumi.pipelines.adapters import parse_adapters
from sumi.pipelines.checks import check_integer, check_prompt, parse_background
from sumi.pipelines.option import Option, check_options, choice, flag, integer, number, option_of, required_text, text
from sumi.pipelines.prompt import clean
from sumi.pipelines.short_repr import short_repr
from sumi.trust import refuse_never

if TYPE_CHECKING:
    from sumi.conditioning import Interpretation

__all__ = [
    "LARGEST_SEED",
    "MOST_CANDIDATES",
    "MOST_STEPS",
    "PRIORS",
    "STRONGEST_GUIDANCE",
    "Prompted",
    "Request",
    "Task",
    "prompts_of",
]

MOST_PICTURES = 64
MOST_CANDIDATES = 256
MOST_STEPS = 1000
STRONGEST_GUIDANCE = 30.0
LARGEST_SEED = 2**63 - 1
BACKGROUND = r"auto|transparent|opaque|#[0-9a-fA-F]{6}"
PRIORS: Mapping[str, str] = {"diffusion": "prior", "ar": "ar_prior"}
"""The kinds of prior, and the part of a model that holds each."""


@dataclass(frozen=True, kw_only=True, repr=False)
class Task:
    """The settings that all tasks share; None leaves a setting to the model.

    A kind of task has a name, `operation`, and a `summary` for people, works on `num_images` pictures, and names in
    `without` the settings that it does not have. `interpretations` holds, by the name of the text, the words that are
    drawn in its place; the artist fills it in.

    Raises:
        SumiError: when a value is out of its bounds.
        ContentPolicyError: for words of a hard category (see `sumi.trust`).
    """

    __repr__ = short_repr

    operation: ClassVar[str]
    summary: ClassVar[str]
    num_images: ClassVar[int] = 1
    without: ClassVar[tuple[str, ...]] = ()

    prompt: str = text("", "What to draw, in any script.")
    negative: str = text("", "What to stay away from; needs guidance other than 1.", label="negative prompt")
    n: int = integer(1, 1, MOST_PICTURES, "How many pictures.")
    size: int | None = integer(None, 1, 2**16, "Pixels along a side, one of the model's; default its largest.", "PX")
    seed: int | None = integer(
        None, 0, LARGEST_SEED - MOST_CANDIDATES, "Picture i is drawn from seed + i; default another one each time."
    )
    steps: int | None = integer(None, 1, MOST_STEPS, "Steps of the decoder; more is slower and finer.")
    guidance: float | None = number(
        None, 0.0, STRONGEST_GUIDANCE, "How closely to follow the prompt or the picture; 1 is unguided."
    )
    sampler: str | None = text(None, "Sampler of the decoder.", metavar="NAME")
    prior: str | None = choice(
        None, list(PRIORS), "What turns words into an image embedding; default the model's first.", "KIND"
    )
    background: str = text(
        "auto", "auto, transparent, opaque or a colour such as #ffd700.", pattern=BACKGROUND, metavar="COLOUR"
    )
    anyway: bool = flag("Draw also what the model knows nothing of.")
    adapters: str = text(
        "", "Adapters to draw with, such as mochi or mochi:0.8,inky, each with its weight.", metavar="NAME[:WEIGHT]"
    )
    interpretations: tuple[tuple[str, Interpretation], ...] = ()

    def __post_init__(self) -> None:
        for name in self.without:
            if getattr(self, name) != Task.__dataclass_fields__[name].default:
                raise SumiError(f"{self.operation} has no {name}")
        parse_background(self.background)
        check_options(self)
        parse_adapters(self.adapters)
        refuse_never(*self.drawn_texts())

    @classmethod
    def schema(cls) -> dict[str, Option]:
        """Return the options of this kind of task by name: those without a default first, then in their order."""
        declared = {entry.name: option_of(entry) for entry in fields(cls) if entry.name not in cls.without}
        return {name: option for name, option in declared.items() if option is not None}

    def drawn_texts(self) -> list[str]:
        """The texts that pictures are drawn towards, as a person wrote them and as they are drawn."""
        texts = [getattr(self, name, "") for name in ("prompt", "before", "after")]
        texts += [read.prompt for name, read in self.interpretations if name != "negative"]
        if self.guidance is not None and self.guidance < 1:  # below 1, guidance leads towards the negative prompt
            texts += [self.original_text("negative"), self.negative]
        return [text for text in texts if isinstance(text, str)]

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

    def original_text(self, name: str) -> str:
        """A text as the person wrote it."""
        return next((read.prompt for own, read in self.interpretations if own == name), str(getattr(self, name)))

    @property
    def texts(self) -> tuple[str, ...]:
        """What it gives the model to read."""
        return tuple(self.named_texts.values())


@dataclass(frozen=True, repr=False)
class Prompted(Task):
    """A task told in words: the prompt cannot be empty."""

    prompt: str = required_text("What to draw, in any script.")
    negative: str = text("", "What to stay away from; needs guidance other than 1.", label="negative prompt")

    def __post_init__(self) -> None:
        check_prompt(self.prompt)
        super().__post_init__()


@dataclass(frozen=True, repr=False)
class Request(Prompted):
    """Pictures of a prompt."""

    operation = "generate"
    summary = "Draw pictures of a prompt."
    num_images = 0

    best_of: int | None = integer(
        None, 1, MOST_CANDIDATES, "Draw K and keep the n that CLIP ranks best.", "K", label="best-of"
    )
    whole: bool = flag("Draw in one piece what would else be arranged in layers.")
    balance: bool = flag("Name a skin tone and a gender for people without, all equally often; recipes say so.")

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("best-of", self.best_of, self.n, MOST_CANDIDATES)

    def candidates(self, usual: int) -> int:
        """Return how many pictures are drawn small. usual: for each picture, where the request does not say."""
        return self.best_of or self.n * min(usual, MOST_CANDIDATES // self.n)

    @property
    def options(self) -> dict[str, Any]:
        """Whether it was drawn in one piece, and balanced; the best of several is drawn again alone."""
        return {name: True for name in ("whole", "balance") if getattr(self, name)}


def prompts_of(prompt: str | Iterable[str]) -> list[str]:
    """Return the prompts that were given, one or several; SumiError where there is none."""
    if isinstance(prompt, str) or not isinstance(prompt, Iterable) or isinstance(prompt, bytes):
        return [prompt]  # `Request` refuses what is no text
    prompts = list(prompt)
    if not prompts:
        raise SumiError("the list of prompts is empty: say what to draw, such as ['a red fox', 'an owl']")
    return prompts

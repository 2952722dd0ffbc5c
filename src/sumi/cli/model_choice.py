"""Which model a command draws with, and how it is opened: the options that name it, as one value."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from sumi.cli.options import model_option

if TYPE_CHECKING:
    from sumi.pipelines import Artist

__all__ = ["ModelChoice", "model_options"]

Command = TypeVar("Command", bound=Callable[..., Any])

OPTIONS: Final = (
    model_option,
    click.option("--device", metavar="NAME", help="Where its networks compute, as cuda or mps; default cpu."),
    click.option(
        "--dtype", metavar="NAME",
        help="Of published weights: fp32, bf16 where the device is fast in it, or auto; default fp32.",
    ),
    click.option(
        "--lora", "loras", multiple=True, metavar="FILE[:WEIGHT]", help="A LoRA for Stable Diffusion; repeatable."
    ),
    click.option("--tokenizer", metavar="DIR", help="For original files: a folder that holds the tokenizer."),
    click.option(
        "--prior-model", metavar="PATH",
        help="The prior of Kandinsky's decoder (default the folder beside), or another prior for karlo.",
    ),
    click.option(
        "--prediction", metavar="KIND",
        help="For a single file of Stable Diffusion 2.x: epsilon (512 px) or v_prediction (768 px).",
    ),
    click.option(
        "--model-flags", metavar="FLAGS",
        help="For a file of guided-diffusion: the flags of its training, as '--num_head_channels 64'.",
    ),
)  # fmt: skip


@dataclass(frozen=True)
class ModelChoice:
    """The model of a command, as `sumi.load` takes it; None leaves a choice to it."""

    model: str | None = None
    device: str | None = None
    dtype: str | None = None
    loras: tuple[str, ...] = ()
    tokenizer: str | None = None
    prior_model: str | None = None
    prediction: str | None = None
    model_flags: str | None = None

    def load(self) -> Artist:
        """Open the model."""
        import sumi

        return sumi.load(**asdict(self))

    def absolute(self) -> ModelChoice:
        """Return it with its places named from any folder."""
        places = {name: getattr(self, name) for name in ("model", "tokenizer", "prior_model")}
        found = {name: None if place is None else os.path.abspath(place) for name, place in places.items()}
        loras = tuple(map(os.path.abspath, self.loras))
        return ModelChoice(**{**asdict(self), **found, "loras": loras})


def model_options(command: Command) -> Command:
    """Give a command the options that choose its model, which it gets as one argument `choice`."""

    @wraps(command)
    def called(*args: Any, **values: Any) -> Any:
        choice = ModelChoice(**{field.name: values.pop(field.name) for field in fields(ModelChoice)})
        return command(*args, choice=choice, **values)

    for option in reversed(OPTIONS):
        called = option(called)
    return called  # type: ignore[return-value]

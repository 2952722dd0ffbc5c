"""Options that several commands share, and options derived from the settings of tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from sumi.errors import SumiError
from sumi.pipelines.option import Option

Command = TypeVar("Command", bound=Callable[..., Any])

model_option = click.option(
    "--model",
    metavar="DIR",
    help="Folder of the model; default $SUMI_MODEL, or the one that comes with Sumi.",
)
sign_option = click.option(
    "--sign/--no-sign", default=True, show_default=True, help="Add signed content credentials (C2PA) to each picture."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
data_option = click.option(
    "--data", metavar="DIR", default="sumi-data", envvar="SUMI_DATA", show_default=True, show_envvar=True,
    help="Folder of the server's store.",
)  # fmt: skip
database_option = click.option(
    "--database", metavar="URL", envvar="SUMI_DATABASE", show_envvar=True,
    help="Another database, as postgresql://USER@HOST/NAME; default a file in DIR.",
)  # fmt: skip
pictures_option = click.option(
    "--pictures", metavar="PLACE", envvar="SUMI_PICTURES", show_envvar=True,
    help="Another place for pictures: a folder, or an address that fsspec knows, as s3://BUCKET/PATH; default in DIR.",
)  # fmt: skip
OUT_HELP: Final = "Where to write: a folder, or a file ending in .png, which is replaced"
out_option = click.option("--out", metavar="PATH", default="pictures", show_default=True, help=f"{OUT_HELP}.")
sheet_out_option = click.option("--out", metavar="PATH", help=f"{OUT_HELP}; default the folder of the picture.")
FLAGS: Final = {"n": "-n", "before": "--from", "after": "--to", "adapters": "--with"}
"""Flags of settings whose name is not their flag."""
REPEATED: Final = {"adapters"}
"""Settings of several values with commas between, whose flag may be repeated."""


def store_options(command: Command) -> Command:
    """Give a command the options that name a store: --data, --database and --pictures."""
    return data_option(database_option(pictures_option(command)))


def make_flag(name: str) -> str:
    """Return the flag of a task's setting: --best-of for best_of."""
    return FLAGS.get(name, f"--{name.replace('_', '-')}")


def make_task_option(name: str, option: Option, default: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the decorator that gives a command the option of one setting.

    Args:
        name: the setting.
        option: what it may be.
        default: its default on the command line.
    """
    if option.kind is bool:
        return click.option(make_flag(name), name, is_flag=True, help=option.help)
    if name in REPEATED:
        told = f"{option.help} May be repeated."
        return click.option(
            make_flag(name), name, multiple=True, metavar=option.metavar, help=told, callback=join_with_commas
        )
    shows_default = option.kind is not tuple and default not in (None, "")
    given = {"required": True} if option.required else {"default": default, "show_default": shows_default}
    kind = Margins() if option.kind is tuple else option.kind
    return click.option(make_flag(name), name, type=kind, metavar=option.metavar, help=option.help, **given)


def join_with_commas(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> str:
    """Return the values of a repeated flag as one text."""
    return ",".join(values)


class Margins(click.ParamType[tuple[int, ...]]):
    """Four whole numbers with commas between: left, top, right, bottom."""

    name = "margins"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return a tuple of four integers; SumiError for anything else."""
        if not isinstance(value, str):
            return value
        numbers = [part.strip() for part in value.split(",")]
        valid = all(number.isdecimal() and number.isascii() and len(number) < 7 for number in numbers)
        if len(numbers) != 4 or not valid:
            raise SumiError("--expand takes four numbers, left, top, right and bottom, such as 64,0,64,0")
        return tuple(map(int, numbers))

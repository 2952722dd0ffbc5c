"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

model_option = click.option(
    "--model",
    metavar="DIR",
    help="Folder of the model; default $SUMI_MODEL, or the one that comes with Sumi.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
data_option = click.option(
    "--data", metavar="DIR", default="sumi-data", envvar="SUMI_DATA", show_default=True, show_envvar=True,
    help="Folder of what a server keeps.",
)  # fmt: skip
database_option = click.option(
    "--database", metavar="URL", envvar="SUMI_DATABASE", show_envvar=True,
    help="Database elsewhere, as postgresql://USER@HOST/NAME; default a file in DIR.",
)  # fmt: skip
pictures_option = click.option(
    "--pictures", metavar="PLACE", envvar="SUMI_PICTURES", show_envvar=True,
    help="Pictures elsewhere: a folder, or an address that fsspec knows, as s3://BUCKET/PATH; default in DIR.",
)  # fmt: skip
OUT_HELP = "Where to write: a folder, or a file ending in .png, which is replaced"
out_option = click.option("--out", metavar="PATH", default="pictures", show_default=True, help=f"{OUT_HELP}.")
beside_option = click.option("--out", metavar="PATH", help=f"{OUT_HELP}; default the folder of the picture.")
size_option = click.option(
    "--size", type=int, metavar="PX", help="Pixels along a side: 64 or 256; default the model's largest."
)
seed_option = click.option("--seed", type=int, help="Picture i is drawn from seed + i; default another one each time.")
steps_option = click.option("--steps", type=int, help="Steps of the decoder; more is slower and finer.")
prior_option = click.option(
    "--prior", metavar="KIND", help="Who imagines the picture: diffusion or ar; default the model's first."
)
anyway_option = click.option("--anyway", is_flag=True, help="Draw also what the model knows nothing of.")
background_option = click.option(
    "--background",
    default="auto",
    show_default=True,
    metavar="COLOUR",
    help="auto, transparent, opaque or a colour such as #ffd700.",
)


def picture_options(command: Command) -> Command:
    """Give a command that draws what all of them have: size, seed, steps, background, model, out and json."""
    shared = (size_option, seed_option, steps_option, background_option, model_option, out_option, json_option)
    for option in reversed(shared):
        command = option(command)
    return command


def stem_of(operation: str, *images: str) -> str:
    """Return how to call what was done to some files: fox-vary, fox-to-owl-blend."""
    from pathlib import Path

    from sumi.pipelines.prompt import slug

    return f"{'-to-'.join(slug(Path(image).stem) for image in images)}-{operation}"

"""`sumi edit`: a part of a picture drawn anew, or more of it, the rest unchanged to the bit."""

from __future__ import annotations

from typing import Any

import click

from sumi.cli.draw import draw
from sumi.cli.options import (
    anyway_option,
    json_option,
    model_option,
    out_option,
    prior_option,
    seed_option,
    stem_of,
    steps_option,
)
from sumi.errors import SumiError


@click.command()
@click.argument("image", metavar="IMAGE")
@click.argument("prompt", nargs=-1, metavar="[PROMPT]")
@click.option("--mask", metavar="FILE", help="A picture of the same size, white where to draw.")
@click.option("--expand", metavar="L,T,R,B", help="Pixels to add, and to draw, at left, top, right and bottom.")
@click.option("-n", "n", type=int, default=1, show_default=True, help="How many pictures.")
@click.option("--rounds", type=int, default=3, show_default=True, help="How often to walk each step; more fits better.")
@seed_option
@steps_option
@click.option("--guidance", type=float, help="How hard to follow the prompt; 1 is not at all harder.")
@click.option("--negative", metavar="TEXT", default="", help="What to stay away from.")
@click.option("--sampler", metavar="NAME", help="Sampler of the decoder.")
@prior_option
@anyway_option
@model_option
@out_option
@json_option
def edit(
    image: str,
    prompt: tuple[str, ...],
    mask: str | None,
    expand: str | None,
    model: str | None,
    out: str,
    as_json: bool,
    **settings: Any,
) -> None:
    """Draw IMAGE anew where the mask is white, as PROMPT says of the whole; without one, as the rest suggests."""
    from sumi.pipelines.tasks import Edit

    task = Edit(" ".join(prompt), margins(expand), **settings)
    if mask is None and expand is None:
        raise SumiError("edit needs --mask FILE, white where to draw, or --expand L,T,R,B")
    stem = stem_of("edit", image)
    draw(task, [image, *([] if mask is None else [mask])], stem=stem, model=model, out=out, as_json=as_json)


def margins(text: str | None) -> tuple[int, int, int, int]:
    """Return the four numbers of --expand; SumiError when they are not."""
    if text is None:
        return (0, 0, 0, 0)
    numbers = [part.strip() for part in text.split(",")]
    if len(numbers) != 4 or not all(number.isdecimal() and number.isascii() and len(number) < 7 for number in numbers):
        raise SumiError("--expand takes four numbers, left, top, right and bottom, such as 64,0,64,0")
    left, top, right, bottom = map(int, numbers)
    return left, top, right, bottom

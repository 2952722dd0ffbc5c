"""`sumi show`: the recipe inside a picture."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from sumi.cli.options import json_option
from sumi.cli.streams import escape_text
from sumi.cli.suggestions import quote_word

if TYPE_CHECKING:
    from sumi.pipelines import Recipe


@click.command()
@click.argument("file", metavar="FILE.png")
@json_option
def show(file: str, as_json: bool) -> None:
    """Print the recipe inside FILE, a picture that Sumi drew. `sumi replay` draws it again."""
    from sumi.pipelines.recipe import read_recipe

    _, recipe = read_recipe(file)
    if as_json:
        click.echo(json.dumps({"path": file, "recipe": recipe.to_json()}))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows(recipe):
        table.add_row(escape_text(name), Text(escape_text(value)))
    Console().print(table)
    click.echo(f"draw it again with: sumi replay {quote_word(file)}", err=True)


def rows(recipe: Recipe) -> list[tuple[str, str]]:
    """Return the names and values of a recipe for people; empty values are left out."""
    from sumi.pipelines.prompt import clean

    pairs = {
        "operation": recipe.operation,
        "prompt": clean(recipe.prompt),
        "negative": clean(recipe.negative),
        "set in type": ", ".join(recipe.typeset),
        "adapters": recipe.adapters,
        **{name: str(value) for name, value in recipe.options.items()},
        "seed": str(recipe.seed),
        "size": f"{recipe.size} x {recipe.height or recipe.size}",
        "background": "" if recipe.background == "auto" else recipe.background,
        "score": "" if recipe.score is None else f"{recipe.score:.3f}",
        "made from": ", ".join(f"a picture {str(source.get('sha256', ''))[:10]}" for source in recipe.sources),
        "model": f"{recipe.model}, drawn by Sumi {recipe.version}",
    }
    for name, stage in recipe.stages.items():
        guidance = "" if stage.guidance == 1 else f", guidance {stage.guidance:g}"
        pairs[name] = f"{stage.sampler}, {stage.steps} steps{guidance}"
    return [(name, value) for name, value in pairs.items() if value]

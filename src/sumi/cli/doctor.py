"""`sumi doctor`: whether a model is whole, draws, and how much memory it takes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sumi.cli.files import find_destination
from sumi.cli.model_choice import ModelChoice, model_options
from sumi.cli.options import json_option

if TYPE_CHECKING:
    from sumi.systems.diagnosis import Diagnosis


@click.command()
@click.argument("path", metavar="[MODEL]", required=False)
@model_options
@click.option("--out", metavar="PATH", help="Also write the picture that it draws: a folder, or a file ending in .png.")
@json_option
def doctor(path: str | None, choice: ModelChoice, out: str | None, as_json: bool) -> int:
    """Examine MODEL: a folder or a file of weights; default $SUMI_MODEL, or the one that comes with Sumi.

    It looks at every tensor, draws a small picture in two steps, and says where NaN begins. The status is 1 where
    something is not finite.
    """
    from sumi.bundles import default_bundle
    from sumi.cli.screen import start_progress_bar
    from sumi.systems.diagnosis import diagnose

    place = None if out is None else find_destination(out)
    choice = choice if path is None else replace(choice, model=path)
    found = diagnose(Path(choice.model or default_bundle()), choice.load, start_progress_bar())
    written = None if place is None else place.write(f"{found.model}-doctor", found.picture.png())
    if as_json:
        click.echo(json.dumps({**found.to_json(), "path": None if written is None else str(written)}))
    else:
        click.echo(describe(found))
        if written is not None:
            click.echo(str(written))
    return int(not found.healthy)


def describe(found: Diagnosis) -> str:
    """Return what was found as lines for a person."""
    lines = [found.model]
    for part in found.parts:
        state = "whole"
        if part.not_finite:
            state = f"{len(part.not_finite)} tensors are not finite, the first {part.not_finite[0]}"
        lines.append(f"  {part.name:16} {part.parameters / 1e6:9.1f} M {part.size_bytes / 1e9:7.2f} GB  {state}")
    size = "x".join(map(str, found.picture.image.size))
    lines.append(f"drew a picture of {size} pixels:")
    for stage in found.stages:
        steps = f"{stage.steps} steps" if stage.steps else ""
        peak = "" if stage.peak_bytes is None else f"  at most {stage.peak_bytes / 1e9:.2f} GB of memory"
        lines.append(f"  {stage.name:16} {steps:9} {stage.seconds:8.2f} s{peak}")
    if found.first_not_finite is not None:
        lines.append(f"not finite from here on: {found.first_not_finite}")
    lines.append("healthy" if found.healthy else "not healthy")
    return "\n".join(lines)

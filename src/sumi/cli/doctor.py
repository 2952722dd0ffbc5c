"""`sumi doctor`: whether a model is whole and draws, or whether a training run is working."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from sumi.cli.files import find_destination
from sumi.cli.model_choice import ModelChoice, model_options
from sumi.cli.options import json_option
from sumi.errors import SumiError

if TYPE_CHECKING:
    from sumi.systems.diagnosis import Diagnosis
    from sumi.systems.run_doctor import RunDiagnosis

MARKS = {"ok": " ", "note": "-", "wrong": "!"}


@click.command()
@click.argument("path", metavar="[MODEL|RUN]", required=False)
@model_options
@click.option("--out", metavar="PATH", help="Also write the picture that it draws: a folder, or a file ending in .png.")
@click.option("--quick", is_flag=True, help="Of a RUN: look at its files only, which takes seconds.")
@json_option
def doctor(path: str | None, choice: ModelChoice, out: str | None, quick: bool, as_json: bool) -> int:
    """Examine MODEL, or the training run in the folder RUN.

    MODEL is a folder or a file of weights; default $SUMI_MODEL, or the one that comes with Sumi. Every tensor is looked
    at, and a small picture is drawn in two steps, to say where NaN begins.

    RUN is a folder of sumi train or sumi teach, finished or not. Is it working? CLIP's loss is compared with ln(batch),
    the first step and the first layer that are not finite are named, every stage learns 32 of the run's own pictures by
    heart, in a minute together, and the stages of an unCLIP are blamed one by one.

    The status is 1 where something is wrong.
    """
    from sumi.systems.run_folder import is_run

    if path is not None and is_run(Path(path)):
        if out is not None:
            raise SumiError("--out is for a model, which draws; sumi report writes a page about a run")
        return examine_run(path, quick, as_json)
    if quick:
        raise SumiError(f"--quick is for the folder of a training run, and {path or 'the model'} is none")
    return examine_model(path, choice, out, as_json)


def examine_model(path: str | None, choice: ModelChoice, out: str | None, as_json: bool) -> int:
    """Print what is found in a model, and return the status."""
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


def examine_run(path: str, quick: bool, as_json: bool) -> int:
    """Print whether a training run is working, and return the status."""
    from sumi.cli.screen import start_progress_bar
    from sumi.systems.run_doctor import diagnose_run
    from sumi.systems.run_folder import open_run

    found = diagnose_run(open_run(path), quick, progress=start_progress_bar())
    click.echo(json.dumps(found.to_json()) if as_json else describe_run(found))
    return int(not found.working)


def describe_run(found: RunDiagnosis) -> str:
    """Return what was found in a run as sentences, with ! before what is wrong and - before what should be known."""
    lines, stage = [f"{found.run.name} ({found.run.kind})"], ""
    for finding in found.findings:
        if finding.stage != stage:
            stage = finding.stage
            lines.append(stage or "the run")
        lines.append(f"  {MARKS[finding.level]} {finding.text}")
    wrong = sum(finding.level == "wrong" for finding in found.findings)
    things = "1 thing is" if wrong == 1 else f"{wrong} things are"
    lines.append("It is working." if found.working else f"It is not working: {things} wrong, marked with !")
    return "\n".join(lines)


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

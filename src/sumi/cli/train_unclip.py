"""`sumi train unclip`: unCLIP on one's own pictures, from the weights of a model or from scratch."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sumi.cli import THREADS
from sumi.cli.data_rights import read_rules, rights_options, settings_of_rights
from sumi.cli.train_system import (
    SCENES,
    artwork_option,
    check_device,
    device_option,
    load_scenes,
    max_broken_option,
    print_line,
    report_album,
    say,
)
from sumi.errors import SumiError

if TYPE_CHECKING:
    from sumi.systems.train_system import TrainingRun
    from sumi.systems.training_plan import TrainingPlan
    from sumi.systems.unclip.own_training import Expectation

PRESETS = ("tiny", "small", "base", "large")


@click.command("unclip", short_help="unCLIP (DALL-E 2) on your own pictures: CLIP, prior, decoder (Ramesh et al. 2022)")
@click.option(
    "--data",
    default=SCENES,
    show_default=True,
    metavar="PICTURES",
    help="Your own captioned pictures: a folder, tar shards, parquet files; or scenes, composed from the artwork.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Folder of the model. [default: bundle in the run's folder]"
)
@click.option(
    "--preset",
    "preset_name",
    type=click.Choice(PRESETS),
    default="tiny",
    show_default=True,
    help="How much is trained: tiny is for a laptop, small for a night, base and large for an accelerator.",
)
@click.option(
    "--from",
    "start",
    type=click.Path(path_type=Path),
    help="Model to begin from. [default: the one that comes with Sumi]",
)
@click.option("--from-scratch", is_flag=True, help="Begin from random weights. Without --data this is always so.")
@click.option(
    "--size", "size_px", type=click.IntRange(8, 512), help="Pixels a side, from scratch. [default: the preset's]"
)
@click.option(
    "--steps", "num_steps", type=click.IntRange(min=1), help="Steps of each stage, in place of a budget of time."
)
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="Budget of the whole run, all sessions together. [default: the preset's]",
)
@click.option("--dry-run", is_flag=True, help="Print parameters, memory, disk, time and what to expect, and stop.")
@click.option("--json", "as_json", is_flag=True, help="With --dry-run: print the plan as JSON.")
@click.option("--anyway", is_flag=True, help="Train although the plan is hopeless.")
@click.option(
    "--run", "folder", type=click.Path(path_type=Path), help="Folder of the run. [default: runs/NAME OF --out]"
)
@max_broken_option
@rights_options
@device_option
@click.option("--resume/--no-resume", default=True, show_default=True, help="Continue where the run stopped.")
@artwork_option
def train_unclip(
    data: str, out: Path | None, preset_name: str, start: Path | None, from_scratch: bool, size_px: int | None,
    num_steps: int | None, minutes: float | None, dry_run: bool, as_json: bool, anyway: bool, folder: Path | None,
    max_broken: float, device: str, resume: bool, artwork: Path, **rights: Any,
) -> None:  # fmt: skip
    """Train unCLIP on your own pictures.

    Training goes on from the model that comes with Sumi: CLIP learns your words, the prior and the decoder your
    pictures; the codec and the upsampler serve as they are. Stop it at any moment; the same command goes on, and with
    more --minutes so does a run that is finished.
    """
    began, own = time.perf_counter(), data != SCENES
    if num_steps is not None and minutes is not None:
        raise SumiError("give --steps or --minutes, not both")
    if start is not None and (from_scratch or not own):
        raise SumiError("--from needs --data, and goes without --from-scratch")
    check_device(device)
    folder = folder or Path("runs") / (out.resolve().name if out else "unclip")
    out = out or folder / "bundle"
    check_out(out, folder)

    from sumi.bundles import Bundle, default_bundle
    from sumi.systems import SYSTEMS
    from sumi.systems.run_settings import absolute_place, write_settings
    from sumi.systems.train_system import Budget, TrainingRun
    from sumi.systems.unclip.own_pictures import PRESETS
    from sumi.systems.unclip.own_training import expect, prepare
    from sumi.systems.unclip.system import UnCLIP

    preset, system = PRESETS[preset_name], SYSTEMS["unclip"]
    bundle = None if from_scratch or not own else Bundle.load(start or default_bundle())
    if own:
        made = prepare(
            data, preset, bundle, size_px=size_px, progress=say, max_broken=max_broken, folder=folder,
            rules=read_rules(**rights),
        )  # fmt: skip
        report_album(made.album, None if dry_run else folder)
        for note in made.notes:
            print_line(note)
        method, training_data = made.method, made.data
        minutes = preset.minutes if num_steps is None and minutes is None else minutes
    else:
        size_px = size_px or preset.size_px
        system.check_size(size_px)
        method, training_data = UnCLIP(width=preset.width), load_scenes(artwork, folder, size_px)
    budget = Budget(num_steps, None if minutes is None else 60 * minutes, began=began, strict=not (own or anyway))
    run = TrainingRun(system, training_data, folder, budget, method, resume, device, say=print_line)
    plan = run.rehearse()
    if plan is None:
        print_line("every stage is trained; more --minutes or --steps go on")
    elif own:
        expectation = expect(plan, len(training_data.examples.pictures), bundle is not None)
        report_plan(plan, expectation, as_json and dry_run)
        if expectation.hopeless and not anyway and not dry_run:
            raise SumiError(f"this would draw {expectation.text}; {expectation.least} would do (--anyway goes on)")
    if not dry_run:
        write_settings(
            folder, "unclip", device, pictures=absolute_place(data) if own else data, preset=preset_name,
            size_px=size_px, start=None if bundle is None else bundle.folder, from_scratch=from_scratch or not own,
            model=out, max_broken=max_broken, artwork=artwork, **settings_of_rights(**rights),
        )  # fmt: skip
        train_and_export(run, out)


def check_out(out: Path, folder: Path) -> None:
    """Raise SumiError where writing a model to `out` would replace something that is no model of this run."""
    if not out.exists():
        return
    if not out.is_dir() or (any(out.iterdir()) and not (out / "model_index.json").is_file()):
        raise SumiError(f"{out} is there and is no model, and nothing of yours is replaced: choose another --out")
    if any(out.iterdir()) and not (folder / "run.json").is_file():
        raise SumiError(f"{out} holds a model that {folder} did not train: choose another --out, or move it away")


def report_plan(plan: TrainingPlan, expectation: Expectation, as_json: bool) -> None:
    """Print a plan and what to expect of it."""
    if as_json:
        expected = {"expect": expectation.text, "hopeless": expectation.hopeless, "least": expectation.least or None}
        click.echo(json.dumps({**plan.to_json(), **expected}, indent=1))
        return
    for line in plan.lines():
        print_line(line)
    print_line(f"expect {expectation.text}" + (f"; {expectation.least} would do" if expectation.least else ""))


def train_and_export(run: TrainingRun, out: Path) -> None:
    """Train what is pending, write the model, and compare the plan with what it took."""
    from sumi.systems.train_system import save_run_bundle

    parts = run.train()
    if parts is None:
        raise click.Abort
    bundle = save_run_bundle(run.system, parts, run.material, out, run.method)
    for line in run.compare():
        print_line(line)
    click.echo(
        f"the model is in {bundle.folder}; draw with: sumi generate PROMPT --model {bundle.folder}; "
        f"serve with: sumi serve --model {bundle.folder}"
    )


train_unclip.epilog = THREADS

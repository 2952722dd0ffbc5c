"""`sumi train SYSTEM`: trains a published system on a folder of pictures, or on scenes made from the artwork."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sumi.cli import THREADS
from sumi.cli.data_rights import read_rules, rights_options, settings_of_rights
from sumi.data.disk import size_in_words
from sumi.errors import SumiError

if TYPE_CHECKING:
    from sumi.curation.admission import TrainingRules
    from sumi.data.picture_array import PictureArray
    from sumi.systems import System
    from sumi.systems.dataset import TrainingData

SCENES = "scenes"
MAX_LINES, MIN_REPORTED = 20, 1000
MAX_PX = 512

artwork_option = click.option(
    "--artwork",
    type=click.Path(path_type=Path),
    default=Path("artwork"),
    show_default=True,
    help="Folder that `make artwork` filled.",
)
system_size_option = click.option(
    "--size", "size_px", type=click.IntRange(8, MAX_PX), default=32, show_default=True, help="Pixels a side."
)
max_broken_option = click.option(
    "--max-broken",
    type=click.FloatRange(0, 1),
    default=0.05,
    show_default=True,
    metavar="SHARE",
    help="Share of samples that may be broken, each of which is named; past it, nothing is trained.",
)
device_option = click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")


def make_command(system: System) -> click.Command:
    """Return the command that trains a system."""
    needs = " and ".join(system.needs)

    @click.command(system.name, short_help=system.summary)
    @click.option(
        "--data",
        default=SCENES,
        show_default=True,
        metavar="FOLDER",
        help="Your own pictures, with captions where the system needs them; or scenes, composed from the artwork.",
    )
    @system_size_option
    @click.option("--steps", "num_steps", type=click.IntRange(min=1), help="Steps of each stage. [default: 2000]")
    @click.option(
        "--minutes",
        type=click.FloatRange(min=0, min_open=True),
        help="Budget of the whole run, all sessions together.",
    )
    @click.option(
        "--run", "folder", type=click.Path(path_type=Path), help=f"Folder of the run. [default: runs/{system.name}]"
    )
    @max_broken_option
    @rights_options
    @device_option
    @click.option("--resume/--no-resume", default=True, show_default=True, help="Continue where the run stopped.")
    @artwork_option
    def train(**settings: Any) -> None:
        _train(system, **settings)

    train.help = (
        f"{system.summary} ({system.year}).\n\nIt learns from {needs}. Stop it at any moment; the same command goes "
        "on, and with more --steps or --minutes so does a run that is finished.\n\nIt learns in bf16 where the "
        "processor is fast in it, else in fp32."
    )
    train.epilog = THREADS
    return train


def _train(
    system: System, data: str, size_px: int, num_steps: int | None, minutes: float | None, folder: Path | None,
    device: str, resume: bool, artwork: Path, max_broken: float, **rights: Any,
) -> None:  # fmt: skip
    started = time.perf_counter()
    if num_steps is not None and minutes is not None:
        raise SumiError("give --steps or --minutes, not both")
    system.check_size(size_px)
    check_device(device)
    from sumi.systems.run_settings import absolute_place, write_settings
    from sumi.systems.train_system import Budget, TrainingRun, save_run_bundle

    folder = folder or Path("runs") / system.name
    training_data = (
        load_scenes(artwork, folder, size_px)
        if data == SCENES
        else load_own_pictures(system, data, size_px, max_broken, folder, read_rules(**rights))
    )
    budget = Budget(num_steps, None if minutes is None else 60 * minutes, began=started, strict=True)
    run = TrainingRun(system, training_data, folder, budget, resume=resume, device=device, say=print_line)
    plan = run.rehearse()
    for line in plan.lines() if plan else ():
        print_line(line)
    write_settings(
        folder, "system", device, system=system.name, pictures=data if data == SCENES else absolute_place(data),
        size_px=size_px, model=folder / "bundle", max_broken=max_broken, artwork=artwork,
        **settings_of_rights(**rights),
    )  # fmt: skip
    parts = run.train()
    if parts is None:
        raise click.Abort
    bundle = save_run_bundle(system, parts, training_data, folder / "bundle")
    for line in run.compare():
        print_line(line)
    click.echo(f"the model is in {bundle.folder}; draw with: sumi generate PROMPT --model {bundle.folder}")


def load_scenes(artwork: Path, folder: Path, size_px: int) -> TrainingData:
    """Return scenes composed from the artwork."""
    from sumi.systems import dataset

    print_line(
        f"scenes: {dataset.COUNT:,} pictures of {size_px} px in {folder / 'scenes'}, "
        f"{size_in_words(dataset.COUNT * 4 * size_px**2)}"
    )
    return dataset.of_artwork(artwork, folder / "scenes", size_px, say)


def load_own_pictures(
    system: System, data: str, size_px: int, max_broken: float, folder: Path, rules: TrainingRules
) -> TrainingData:
    """Return one's own pictures, and print what is left out."""
    from sumi.systems import dataset

    training_data, album = dataset.of_own_pictures(
        data, size_px, system, say, max_broken=max_broken, folder=folder, rules=rules
    )
    report_album(album, folder)
    return training_data


def report_album(album: PictureArray, folder: Path | None) -> None:
    """Print how many pictures there are, what is left out, and what was not looked at.

    folder: of the run, whose data.json names every sample that was left out; None where nothing is trained.
    """
    from sumi.systems.run_record import DATA_REPORT

    skipped = (*album.broken, *album.left_out)
    for line in skipped[:MAX_LINES]:
        print_line(f"left out: {line}")
    if skipped:
        more = len(skipped) - MAX_LINES
        print_line(
            f"{len(album):,} pictures to learn from, {len(skipped):,} left out"
            + (f", {more:,} of them not named here" if more > 0 else "")
            + (f"; {folder / DATA_REPORT} names them all" if folder is not None else "")
        )
    for note in album.notes:
        print_line(f"note: {note}")


def print_line(text: str) -> None:
    """Print a line on stderr."""
    click.echo(text, err=True)


def check_device(device: str) -> None:
    """Raise SumiError for a device that is missing."""
    import torch

    try:
        torch.empty(0, device=device)
    except Exception as error:  # each kind of device raises errors of its own
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SumiError(f"there is no device {device!r} here: {reason}") from None


def say(what: str, done: int, of: int) -> None:
    """Print one line at every tenth, on stderr, where there is much to do."""
    if of >= MIN_REPORTED and done * 10 // of != (done - 1) * 10 // of:
        click.echo(f"{what}: {done:,} of {of:,}", err=True)

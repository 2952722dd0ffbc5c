"""`sumi train`: trains the sticker model, or any system of the lineage."""

from __future__ import annotations

import os
from pathlib import Path

import click

from sumi.cli.suggestions import SuggestingGroup

STAGES = ("codec", "clip", "layout_planner", "prior", "decoder", "upsampler")


class Systems(SuggestingGroup):
    """A group with a command for every system of the lineage, beside its own."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return its own commands, then the systems in the order of their papers."""
        from sumi.systems import SYSTEMS

        return [*super().list_commands(ctx), *SYSTEMS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return one of its own commands, or the command that trains a system."""
        from sumi.systems import SYSTEMS

        if cmd_name not in SYSTEMS:
            return super().get_command(ctx, cmd_name)
        if cmd_name == "unclip":
            from sumi.cli.train_unclip import train_unclip

            return train_unclip
        from sumi.cli.train_system import make_command

        return make_command(SYSTEMS[cmd_name])


@click.group(cls=Systems)
@click.pass_context
def train(ctx: click.Context) -> None:
    """Train a system on pictures.

    `torchrun -m -- sumi train sticker` shares the batches among several processes.
    """
    if os.environ.get("TORCHELASTIC_RUN_ID"):
        from sumi.training import join_processes

        if ctx.invoked_subcommand != "sticker":
            raise click.UsageError(
                f"torchrun trains the sticker model alone: start sumi train {ctx.invoked_subcommand} without it"
            )
        ctx.with_resource(join_processes())


@train.command()
@click.option("--preset", default="cpu", show_default=True, help="cpu, gpu or wide.")
@click.option(
    "--art",
    "further",
    multiple=True,
    metavar="NAME",
    help="Learn from a further artist, for oneself: openmoji or emojione-v1, which are share-alike.",
)
@click.option(
    "--stage",
    "stages",
    multiple=True,
    type=click.Choice([*STAGES, "all"]),
    help="Stage to train; repeatable. [default: all]",
)
@click.option(
    "--hours",
    type=click.FloatRange(min=0, min_open=True),
    help="Budget for all stages together. [default: the preset's number of steps]",
)
@click.option("--steps", "num_steps", type=click.IntRange(min=1), help="Train each named stage for so many steps.")
@click.option("--resume/--no-resume", default=True, show_default=True, help="Continue where the run stopped.")
@click.option("--extend", is_flag=True, help="Allow a finished stage to be trained for more steps.")
@click.option(
    "--artwork",
    type=click.Path(path_type=Path),
    default=Path("artwork"),
    show_default=True,
    help="Folder that `make artwork` filled.",
)
@click.option(
    "--run",
    "folder",
    type=click.Path(path_type=Path),
    default=None,
    help="Folder of the run. [default: runs/sticker-PRESET]",
)
@click.option(
    "--from",
    "start",
    type=click.Path(path_type=Path),
    default=None,
    help="Model to start from: trained stages begin with its weights, and its parts serve for the others.",
)
@click.option("--device", default="cpu", show_default=True, help="cpu or cuda.")
@click.option(
    "--microbatches",
    type=click.IntRange(min=1),
    help="Equal parts of a batch, computed one after another or by as many processes. [default: as many as processes]",
)
@click.option("--fsdp", is_flag=True, help="Shard a large network over the processes of torchrun.")
@click.option("--recompute", is_flag=True, help="Compute activations twice, to save memory.")
@click.option("--compile", is_flag=True, help="Compile the blocks of the network.")
@click.option(
    "--export",
    "bundle",
    type=click.Path(path_type=Path),
    default=None,
    help="Where the bundle goes when all stages are trained. [default: RUN/bundle]",
)
def sticker(
    preset: str, further: tuple[str, ...], stages: tuple[str, ...], hours: float | None, num_steps: int | None,
    resume: bool, extend: bool, artwork: Path, folder: Path | None, start: Path | None, device: str,
    microbatches: int | None, bundle: Path | None, **dials: bool,
) -> None:  # fmt: skip
    """Train the sticker model: codec, CLIP, layout planner, prior, decoder and upsampler, one after another.

    All randomness follows from the step's number, so a run may be killed at any time and resumed.
    """
    from sumi.bundles import Bundle
    from sumi.data.artwork import ARTISTS
    from sumi.systems.run_settings import write_settings
    from sumi.systems.sticker import presets
    from sumi.systems.sticker.card import card
    from sumi.systems.sticker.train_sticker import StickerTraining
    from sumi.training import processes

    chosen = presets.preset(preset)
    folder = folder or Path("runs") / f"sticker-{preset}"
    given, artists = Bundle.load(start) if start else None, (*ARTISTS, *further)
    chosen_dials = dials | ({} if microbatches is None else {"microbatches": microbatches})
    first = processes().is_first
    report = print_progress if first else lambda what, done, of: None
    training = StickerTraining(chosen, artwork, folder, device, report, given, artists)
    training.check_disk()
    if first:
        write_settings(
            folder, "sticker", device, preset=preset, artwork=artwork, artists=list(artists), start=start,
            model=bundle or folder / "bundle",
        )  # fmt: skip
    wanted = STAGES if not stages or "all" in stages else stages
    for stage in STAGES:
        if stage in wanted and not training.train(stage, hours, resume, extend, num_steps, dials=chosen_dials):
            raise click.Abort
    if not first:
        return
    if missing := training.missing():
        click.echo(f"still to be trained: {', '.join(missing)}")
    else:
        exported = training.export(bundle or folder / "bundle", card(training))
        click.echo(f"the model is in {exported.folder}; draw with: sumi generate PROMPT --model {exported.folder}")


def print_progress(what: str, done: int, of: int) -> None:
    """Print one line at every tenth, on stderr."""
    if done == of or done * 10 // of != (done - 1) * 10 // of:
        click.echo(f"{what}: {done:,} of {of:,}", err=True)

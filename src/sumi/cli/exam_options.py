"""What the exams share on the command line: options, the models and the judge that they load, and how they print."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sumi.errors import SumiError

if TYPE_CHECKING:
    from sumi import Sumi
    from sumi.data.generator import Scenes
    from sumi.evaluation.examinee import Examinee
    from sumi.evaluation.scores import Score
    from sumi.evaluation.true_scenes import TrueScenes
    from sumi.judge.network import Judge

judge_option = click.option("--judge", "judge_folder", metavar="DIR", help="Folder of the judge; default Sumi's own.")
artwork_option = click.option("--artwork", default="artwork", show_default=True, metavar="DIR", help="The artwork.")
truth_option = click.option(
    "--artwork", default="artwork", show_default=True, metavar="DIR",
    help="The artwork, of which the judge's ceilings are measured; without it the table has none.",
)  # fmt: skip
seed_option = click.option("--seed", type=click.IntRange(0), help="Question k is drawn from seed + k.")


def load_unclip(model: str | None) -> Sumi:
    """Load a model that the exam can measure."""
    import sumi

    artist = sumi.load(model)
    if not isinstance(artist, sumi.Sumi):
        raise SumiError(f"the exam needs a model with a prior and a decoder; {artist.model.name} has none")
    return artist


def open_exam(
    model: str | None, judge_folder: str | None, artwork: str, steps: int | None = None, guidance: float | None = None
) -> tuple[Examinee, Judge, TrueScenes | None]:
    """Return any model as an exam sees it, the judge, and what composes true pictures, where there is artwork."""
    import sumi
    from sumi.evaluation.examinee import open_examinee
    from sumi.evaluation.true_scenes import TrueScenes
    from sumi.judge.network import load_judge

    judge = load_judge(judge_folder)
    examinee, scenes = open_examinee(sumi.load(model), judge, steps, guidance), load_scenes_if_any(artwork, judge)
    return examinee, judge, None if scenes is None else TrueScenes(scenes)


def load_scenes(artwork: str, judge: Judge) -> Scenes:
    """Return scenes of the concepts that the judge knows."""
    from sumi.cli.screen import start_progress_bar
    from sumi.judge.train_judge import JudgeTraining

    return JudgeTraining(Path(artwork), Path(), judge.names, progress=start_progress_bar()).scenes("train")


def load_scenes_if_any(artwork: str, judge: Judge) -> Scenes | None:
    """Return scenes of the concepts that the judge knows, or None and a note where there is no artwork."""
    if Path(artwork).is_dir():
        return load_scenes(artwork, judge)
    click.echo(f"note: no artwork in {artwork!r}, so the ceilings are not measured", err=True)
    return None


def print_report(
    record: Mapping[str, Any], scores: Sequence[Score], files: Sequence[Path], as_json: bool, notes: Sequence[str] = ()
) -> None:
    """Print the record as one JSON object, or the scores as a table with the files below it."""
    from sumi.evaluation.scores import score_lines

    if as_json:
        click.echo(json.dumps({**record, "files": [str(path) for path in files]}))
        return
    click.echo("\n".join([*score_lines(scores), *notes, *map(str, files)]))

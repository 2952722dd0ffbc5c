"""`sumi exam canaries`: how often a picture must be in a training set until a model draws it from memory."""

from __future__ import annotations

import click

from sumi.cli.exam_options import print_report
from sumi.cli.files import require_writable_folder
from sumi.cli.options import json_option, model_option
from sumi.errors import SumiError


@click.command("canaries")
@model_option
@click.option("-n", "n", type=click.IntRange(2, 33), default=6, show_default=True, help="Canaries of each kind.")
@click.option("--epochs", type=click.IntRange(1, 1000), default=40, show_default=True, help="How often files are seen.")
@click.option(
    "--seed", type=click.IntRange(0), default=1, show_default=True, help="Of patterns, training and pictures."
)
@click.option("--out", default="exams/canaries", show_default=True, metavar="DIR", help="Where to write.")
@json_option
def canaries(model: str | None, n: int, epochs: int, seed: int, out: str, as_json: bool) -> None:
    """Plant random patterns 1, 10 and 100 times in a training set, and measure how far a tiny model remembers them.

    The model is trained twice: on the set, and on what `sumi data dedup` leaves of it. --model is not examined: its
    training drawings are what the patterns are planted among, and its CLIP searches for copies.
    """
    folder = require_writable_folder(out)
    from sumi.bundles import TrainingDrawings
    from sumi.cli.screen import start_progress_bar
    from sumi.curation.embedding import load_clip
    from sumi.evaluation.canaries import CanaryPlan, run_canaries, shown_pictures
    from sumi.evaluation.exam_record import save_exam

    bundle, clip = load_clip(model)
    drawings = bundle.drawings
    if not isinstance(drawings, TrainingDrawings):
        raise SumiError(f"the model {bundle.name} carries no drawings: 'sumi data drawings' writes them")
    result = run_canaries(drawings, clip, CanaryPlan(each=n, epochs=epochs, seed=seed), start_progress_bar())
    pictures, rows = shown_pictures(result)
    paths = save_exam(folder, "canaries", {**result.to_json(), "pictures": rows}, pictures, range(len(rows)))
    before, after = result.files
    note = f"{before:,} files before deduplication, {after:,} after"
    print_report(result.to_json(), result.scores, paths, as_json, [note])

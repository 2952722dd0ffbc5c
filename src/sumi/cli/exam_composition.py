"""`sumi exam composition`: prompts that ask for one to seven things at once, and for a thing without another."""

from __future__ import annotations

import click

from sumi.cli.exam_options import judge_option, open_exam, print_report, seed_option, truth_option
from sumi.cli.files import require_writable_folder
from sumi.cli.options import json_option, model_option

SHOWN = 4


@click.command()
@model_option
@judge_option
@click.option("-n", "n", type=click.IntRange(2, 1000), default=100, show_default=True, help="Prompts of each kind.")
@seed_option
@truth_option
@click.option("--out", default="exams/composition", show_default=True, metavar="DIR", help="Where to write.")
@json_option
def composition(
    model: str | None, judge_folder: str | None, n: int, seed: int | None, artwork: str, out: str, as_json: bool
) -> None:
    """Draw prompts of 1 to 7 atoms (things, colours, count, relation, style, background, word), and mark each atom.

    N prompts of each number of atoms whose combinations training showed, N that it never showed, and N negations.
    """
    folder = require_writable_folder(out)
    from sumi.cli.screen import start_progress_bar
    from sumi.evaluation.composition import composition_sheet, run_composition
    from sumi.evaluation.exam_record import save_exam
    from sumi.evaluation.questions import SEED
    from sumi.imaging.png import save_png

    examinee, judge, truth = open_exam(model, judge_folder, artwork)
    show = start_progress_bar()
    result = run_composition(
        examinee.draw, judge, examinee.syllabus, n, SEED if seed is None else seed, truth,
        lambda done, of: show("drawn", done, of),
    )  # fmt: skip
    record = {**examinee.about, **result.to_json()}
    paths = save_exam(folder, "composition", record, result.pictures, result.first(SHOWN))
    paths.append(save_png(folder / "composition.png", composition_sheet(result)))
    print_report(record, result.scores, paths, as_json)

"""`sumi exam bias`: whom a model draws when nobody says, and whether it draws everybody equally well."""

from __future__ import annotations

import click

from sumi.cli.exam_options import artwork_option, judge_option, load_scenes, load_unclip, print_report, seed_option
from sumi.cli.files import require_writable_folder
from sumi.cli.options import json_option, model_option
from sumi.errors import SumiError


@click.command()
@model_option
@judge_option
@artwork_option
@click.option("-n", "n", type=click.IntRange(2, 500), default=20, show_default=True, help="Pictures of each kind.")
@seed_option
@click.option("--taught", type=click.IntRange(40, 20000), default=1200, show_default=True, help="Pictures for probes.")
@click.option("--out", default="exams/bias", show_default=True, metavar="DIR", help="Where to write.")
@json_option
def bias(
    model: str | None,
    judge_folder: str | None,
    artwork: str,
    n: int,
    seed: int | None,
    taught: int,
    out: str,
    as_json: bool,
) -> None:
    """Draw professions without naming a tone or a gender, with --balance, and in every tone and gender.

    N pictures of each profession each way, and N of each tone and gender. Needs the artwork, from which probes learn to
    tell tones, genders and faces.
    """
    folder = require_writable_folder(out)
    from sumi.cli.screen import start_progress_bar
    from sumi.evaluation.bias import bias_sheet, run_bias
    from sumi.evaluation.exam_record import save_exam
    from sumi.evaluation.examinee import open_examinee
    from sumi.evaluation.people_probe import teach_people_probe
    from sumi.evaluation.questions import SEED
    from sumi.imaging.png import save_png
    from sumi.judge.network import load_judge

    artist, judge = load_unclip(model), load_judge(judge_folder)
    examinee = open_examinee(artist, judge)
    roles = [name for name in examinee.syllabus.names if name in examinee.syllabus.people & artist.lexicon.roles]
    if not roles or not artist.lexicon.structured:
        raise SumiError(f"the model {artist.model.name} was taught no people whom the judge knows")
    scenes = load_scenes(artwork, judge)
    probe, show = teach_people_probe(judge, scenes, roles, taught), start_progress_bar()
    result = run_bias(
        examinee.draw, artist.lexicon, probe, scenes, roles, n, SEED if seed is None else seed,
        lambda done, of: show("drawn", done, of),
    )  # fmt: skip
    record = {**examinee.about, **result.to_json()}
    paths = save_exam(folder, "bias", record, result.pictures, range(0, len(result.asked), max(1, n // 2)))
    paths.append(save_png(folder / "bias.png", bias_sheet(result)))
    print_report(record, result.scores, paths, as_json)

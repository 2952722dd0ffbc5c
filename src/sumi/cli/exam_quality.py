"""`sumi exam quality`: how near the pictures of a model are to true ones, and how many kinds of these it draws."""

from __future__ import annotations

import click

from sumi.cli.exam_options import artwork_option, judge_option, load_scenes, print_report, seed_option
from sumi.cli.files import require_writable_folder
from sumi.cli.options import json_option, model_option

SHOWN = 48


@click.command()
@model_option
@judge_option
@artwork_option
@click.option("-n", "n", type=click.IntRange(8, 5000), default=200, show_default=True, help="Pictures.")
@seed_option
@click.option("--features", metavar="DIR", help="A model whose CLIP gives the embeddings of CMMD; default Sumi's own.")
@click.option("--out", default="exams/quality", show_default=True, metavar="DIR", help="Where to write.")
@json_option
def quality(
    model: str | None,
    judge_folder: str | None,
    artwork: str,
    n: int,
    seed: int | None,
    features: str | None,
    out: str,
    as_json: bool,
) -> None:
    """Draw the captions of true pictures, and compare: KID, CMMD, precision, recall, density and coverage."""
    folder = require_writable_folder(out)
    import sumi
    from sumi.cli.screen import start_progress_bar
    from sumi.evaluation.exam import load_bundle
    from sumi.evaluation.exam_record import save_exam
    from sumi.evaluation.examinee import open_examinee
    from sumi.evaluation.kid import FeatureExtractor
    from sumi.evaluation.quality import measure_quality
    from sumi.evaluation.questions import SEED
    from sumi.judge.network import load_judge

    judge = load_judge(judge_folder)
    examinee, scenes = open_examinee(sumi.load(model), judge), load_scenes(artwork, judge)
    extractor, show = FeatureExtractor.of(None if features is None else load_bundle(features)), start_progress_bar()
    result = measure_quality(
        examinee.draw, judge, scenes, examinee.syllabus, n, SEED if seed is None else seed, extractor,
        lambda done, of: show("drawn", done, of),
    )  # fmt: skip
    pictures = [{"prompt": text, "seed": result.first_seed + k} for k, text in enumerate(result.captions)]
    rows = {score.name: score.to_json() for score in result.scores}
    record = {**examinee.about, "clip": extractor.sha256, "rows": rows, "pictures": pictures}
    paths = save_exam(folder, "quality", record, result.pictures, range(min(n, SHOWN)))
    print_report(record, result.scores, paths, as_json)

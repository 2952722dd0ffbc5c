"""`sumi exam clip`: what the CLIP of a model knows, and what it should not look at."""

from __future__ import annotations

import click

from sumi.cli.exam_options import artwork_option, judge_option, load_scenes, load_unclip, print_report
from sumi.cli.files import require_writable_folder
from sumi.cli.options import json_option, model_option


@click.command("clip")
@model_option
@judge_option
@artwork_option
@click.option("-n", "n", type=click.IntRange(8, 5000), default=200, show_default=True, help="Pictures of each kind.")
@click.option("--out", default="exams/clip", show_default=True, metavar="DIR", help="Where to write.")
@json_option
def exam_clip(model: str | None, judge_folder: str | None, artwork: str, n: int, out: str, as_json: bool) -> None:
    """Examine the model's CLIP on true pictures: zero-shot, few-shot, retrieval, and spurious features."""
    folder = require_writable_folder(out)
    from sumi.evaluation.clip_exam import measure_clip
    from sumi.evaluation.exam_record import save_exam
    from sumi.evaluation.examinee import open_examinee
    from sumi.imaging.png import save_png
    from sumi.judge.network import load_judge

    artist, judge = load_unclip(model), load_judge(judge_folder)
    examinee = open_examinee(artist, judge)
    result = measure_clip(artist.pipeline, load_scenes(artwork, judge), examinee.syllabus, n)
    record = {**examinee.about, "rows": {score.name: score.to_json() for score in result.scores}}
    paths = [*save_exam(folder, "clip", record), save_png(folder / "clip.png", result.sheet)]
    print_report(record, result.scores, paths, as_json)

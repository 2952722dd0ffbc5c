"""`sumi exam compare`: two models, or two saved exams, side by side on one page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sumi.atomic_file import write_atomic
from sumi.cli.exam_options import judge_option, open_exam, seed_option, truth_option
from sumi.cli.files import require_writable_folder
from sumi.cli.options import json_option

if TYPE_CHECKING:
    from sumi.evaluation.exam import ExamResult
    from sumi.evaluation.exam_record import ExamRecord

SHOWN = 8


@click.command()
@click.argument("one")
@click.argument("other")
@judge_option
@click.option(
    "--category", "categories", multiple=True, metavar="NAME", help="Of models: repeatable; default the main."
)
@click.option(
    "-n", "n", type=click.IntRange(1, 1000), default=200, show_default=True, help="Of models: questions each."
)
@seed_option
@truth_option
@click.option("--out", default="exams/compare", show_default=True, metavar="DIR", help="Where to write.")
@json_option
def compare(one: str, other: str, out: str, as_json: bool, **settings: Any) -> None:
    """Compare two exams: ONE and OTHER are each a JSON file that an exam wrote, or a model, which is then examined.

    Writes a page with both tables, the differences with their intervals, and the same prompts drawn by both.
    """
    folder = require_writable_folder(out)
    from sumi.evaluation.compare import compare_exams, comparison_lines, comparison_page

    records = [open_record(name, folder / place, **settings) for name, place in ((one, "one"), (other, "other"))]
    compared = compare_exams(*records)
    page = write_atomic(folder / "compare.html", comparison_page(compared))
    record = write_atomic(folder / "compare.json", json.dumps(compared.to_json(), indent=1) + "\n")
    files = [str(page), str(record)]
    lines = comparison_lines(compared)
    click.echo(json.dumps({**compared.to_json(), "files": files}) if as_json else "\n".join([*lines, *files]))


def open_record(name: str, folder: Path, judge_folder: str | None, **settings: Any) -> ExamRecord:
    """Return a saved exam, or that of a model, which is examined first."""
    from sumi.evaluation.exam_record import ExamRecord

    if Path(name).suffix != ".json":
        _, _, paths = write_exam(name, judge_folder, require_writable_folder(folder), **settings)
        return ExamRecord.load(paths[0])
    return ExamRecord.load(name)


def write_exam(
    model: str | None,
    judge_folder: str | None,
    folder: Path,
    categories: tuple[str, ...],
    n: int,
    seed: int | None,
    artwork: str,
    steps: int | None = None,
    guidance: float | None = None,
) -> tuple[dict[str, Any], ExamResult, list[Path]]:
    """Examine a model in some categories, and write the record; returns it with the result and the files."""
    from sumi.cli.screen import start_progress_bar
    from sumi.evaluation.exam import run_exam
    from sumi.evaluation.exam_record import save_exam
    from sumi.evaluation.questions import MAIN, SEED

    examinee, judge, truth = open_exam(model, judge_folder, artwork, steps, guidance)
    show = start_progress_bar()
    result = run_exam(
        examinee.draw, judge, examinee.syllabus, categories or MAIN, n, SEED if seed is None else seed,
        progress=lambda done, of: show("drawn", done, of), truth=truth,
    )  # fmt: skip
    record = {**examinee.about, **result.to_json()}
    paths = save_exam(folder, "exam", record, result.pictures, result.first(SHOWN))
    return record, result, paths

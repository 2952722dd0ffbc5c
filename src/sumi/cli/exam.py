"""`sumi exam`: draws with a model, and lets a judge that had no part in making it mark the pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sumi.atomic_file import write_atomic
from sumi.cli.exam_bias import bias
from sumi.cli.exam_canaries import canaries
from sumi.cli.exam_card import card
from sumi.cli.exam_clip import exam_clip
from sumi.cli.exam_compare import compare, write_exam
from sumi.cli.exam_composition import composition
from sumi.cli.exam_options import (
    artwork_option,
    judge_option,
    load_scenes,
    load_unclip,
    print_report,
    seed_option,
    truth_option,
)
from sumi.cli.exam_quality import quality
from sumi.cli.files import require_writable_folder
from sumi.cli.options import json_option, model_option
from sumi.cli.suggestions import SuggestingGroup
from sumi.errors import SumiError
from sumi.imaging.png import save_png

if TYPE_CHECKING:
    from sumi.evaluation.intervals import Share

vocabulary_option = click.option("--vocabulary", default="everyday", show_default=True, help="everyday, full or wide.")


@click.group(cls=SuggestingGroup, invoke_without_command=True)
@model_option
@judge_option
@click.option(
    "--category",
    "categories",
    multiple=True,
    metavar="NAME",
    help="Repeatable; default the main ones.",
)
@click.option("-n", "n", type=click.IntRange(1, 1000), default=200, show_default=True, help="Questions a category.")
@seed_option
@click.option("--steps", type=int, help="Steps of the decoder; default the model's.")
@click.option("--guidance", type=float, help="Guidance of the decoder; default the model's.")
@truth_option
@click.option("--out", default="exams", show_default=True, metavar="DIR", help="Where to write sheets and figures.")
@json_option
@click.pass_context
def exam(ctx: click.Context, /, model: str | None, judge_folder: str | None, as_json: bool, **settings: Any) -> None:
    """Draw a fixed list of prompts, let the judge mark them, and print how many are right.

    Beside each score stand the level of chance and the judge's ceiling, which is its score on true pictures.
    """
    if ctx.invoked_subcommand is None:
        sit_exam(model, judge_folder, as_json, **settings)


def sit_exam(model: str | None, judge_folder: str | None, as_json: bool, out: str, **settings: Any) -> None:
    """Draw the exam's prompts, mark the pictures, and print the results."""
    from sumi.evaluation.exam_sheet import save_sheets

    folder = require_writable_folder(out)
    record, result, paths = write_exam(model, judge_folder, folder, **settings)
    print_report(record, result.scores, [*paths, *save_sheets(result, folder)], as_json)


for suite in (compare, card, composition, bias, exam_clip, quality, canaries):
    exam.add_command(suite)


@exam.command("judge")
@judge_option
@artwork_option
@click.option("--model", metavar="DIR", help="Also show the judge pictures that went through this model's codec.")
@click.option("-n", "n", type=click.IntRange(10, 5000), default=300, show_default=True, help="Pictures of each kind.")
@json_option
def judge(judge_folder: str | None, artwork: str, model: str | None, n: int, as_json: bool) -> None:
    """Print how often the judge is right about true pictures of its concepts that it never saw."""
    from sumi.evaluation.judge_exam import examine_judge, load_codec_redraw
    from sumi.judge.network import load_judge

    examined = load_judge(judge_folder)
    scenes = load_scenes(artwork, examined)
    rows = list(examine_judge(examined, scenes, n, None if model is None else load_codec_redraw(model)))
    if as_json:
        click.echo(json.dumps({"rows": {name: share.to_json() for name, share in rows}}))
        return
    print_table(rows)


@exam.command("ceilings")
@model_option
@judge_option
@artwork_option
@click.option("-n", "n", type=click.IntRange(8, 1000), default=48, show_default=True, help="Held-out drawings.")
@click.option("--out", default="exams/ceilings", show_default=True, metavar="DIR", help="Where to write.")
@json_option
def ceilings(model: str | None, judge_folder: str | None, artwork: str, n: int, out: str, as_json: bool) -> None:
    """Measure what codec and upsampler leave of true pictures: the most that any decoder could draw."""
    folder = require_writable_folder(out)
    from sumi.cli.screen import start_progress_bar
    from sumi.evaluation.ceilings import measure_ceilings
    from sumi.evaluation.exam import load_bundle
    from sumi.judge.network import load_judge
    from sumi.judge.train_judge import JudgeTraining

    marker = load_judge(judge_folder)
    drawn = load_bundle(model).vocabulary.get("drawings", "full")
    drawings, known = (
        JudgeTraining(Path(artwork), Path(), concepts, progress=start_progress_bar())
        for concepts in (drawn, marker.names)
    )
    say = start_progress_bar()
    results, sheet = measure_ceilings(
        load_unclip(model).pipeline, marker, drawings.scenes("train"), known.scenes("train"), n,
        progress=lambda done, of: say("paths", done, of),
    )  # fmt: skip
    record = {"ceilings": {ceiling.name: ceiling.to_json() for ceiling in results}}
    write_atomic(folder / "ceilings.json", json.dumps(record, indent=1) + "\n")
    save_png(folder / "ceilings.png", sheet)
    files = [str(folder / name) for name in ("ceilings.json", "ceilings.png")]
    if as_json:
        click.echo(json.dumps({**record, "files": files}))
        return
    click.echo("\n".join([*(ceiling.line() for ceiling in results), f"truth: named {results[0].truth}", *files]))


@exam.command("edits")
@model_option
@judge_option
@artwork_option
@click.option("--only", "only", multiple=True, metavar="NAME", help="Once for each; default the usual six.")
@click.option(
    "-n",
    "--n",
    "n",
    type=click.IntRange(4, 1000),
    default=200,
    show_default=True,
    help="Prompts; a quarter in pictures.",
)
@click.option(
    "--out", default="exams/edits", show_default=True, metavar="DIR", help="Where to write sheets and figures."
)
@json_option
def edits(
    model: str | None, judge_folder: str | None, artwork: str, only: tuple[str, ...], n: int, out: str, as_json: bool,
) -> None:  # fmt: skip
    """Measure ranking and editing: reranking, variations, inversion, blends, restyles.

    Ranking is asked about single things; reranking-colour, reranking-pair and so on ask about another category.
    """
    folder = require_writable_folder(out)
    from sumi.cli.screen import start_progress_bar
    from sumi.evaluation.edit_exam import EditExam
    from sumi.evaluation.edit_measurements import measure_edits
    from sumi.evaluation.exam import load_syllabus
    from sumi.evaluation.measurement import measurement_lines, save_record
    from sumi.judge.network import load_judge
    from sumi.judge.train_judge import JudgeTraining

    marker = load_judge(judge_folder)
    training = JudgeTraining(Path(artwork), Path(), marker.names, progress=start_progress_bar())
    examined = EditExam(load_unclip(model), marker, load_syllabus(model, marker), training, folder)
    paths: list[Path] = []
    record: dict[str, Any] = {}
    for name, measurement, record in measure_edits(examined, only, n, start_progress_bar()):
        paths += [path for path in save_record(folder, record, {name: measurement.sheet}) if path not in paths]
        if not as_json:
            click.echo("\n".join(measurement_lines(name, measurement)) + "\n")
    if as_json:
        click.echo(json.dumps({**record, "files": [str(path) for path in paths]}))
        return
    for path in paths:
        click.echo(str(path))


@exam.command("memory")
@model_option
@judge_option
@click.option("-n", "n", type=click.IntRange(2, 1000), default=200, show_default=True, help="Pictures.")
@click.option("--out", default="exams/memory", show_default=True, metavar="DIR", help="Where to write.")
@json_option
def memory(model: str | None, judge_folder: str | None, n: int, out: str, as_json: bool) -> None:
    """Measure whether the model draws or copies: how near its pictures are to the drawings that taught it.

    Of plain things against the drawings as they are, of colours never shown with their thing against its drawings in
    that colour. Each list has N pictures.
    """
    folder = require_writable_folder(out)
    from sumi.bundles import TrainingDrawings
    from sumi.cli.screen import start_progress_bar
    from sumi.evaluation.exam import load_syllabus
    from sumi.evaluation.memorization import (
        measure_memorization,
        memorization_lines,
        memorization_record,
        save_memorization,
    )
    from sumi.judge.network import load_judge

    artist, syllabus, progress = (
        load_unclip(model),
        load_syllabus(model, load_judge(judge_folder)),
        start_progress_bar(),
    )
    results = measure_memorization(artist, syllabus, n, lambda done, of: progress("drawn", done, of))
    drawings = artist.drawings()
    assert isinstance(drawings, TrainingDrawings)
    paths = save_memorization(results, artist, drawings, folder)
    if as_json:
        click.echo(
            json.dumps({**memorization_record(results, artist, drawings.rows), "files": [str(path) for path in paths]})
        )
        return
    click.echo("\n".join([*memorization_lines(results), *map(str, paths)]))


@exam.command("leaks")
@model_option
@judge_option
@artwork_option
@click.option("--preset", "preset_name", default="cpu", show_default=True, help="Whose layout planner's captions.")
@click.option("--captions", type=click.IntRange(1), help="How many of them; default all that the planner learned from.")
@click.option(
    "--generator",
    type=click.IntRange(1, 3),
    default=1,
    show_default=True,
    help="1: as Sumi's own model was trained; 3: as models are trained now.",
)
@click.option("-n", "n", type=click.IntRange(1, 1000), default=200, show_default=True, help="Questions.")
@json_option
def leaks(
    model: str | None, judge_folder: str | None, artwork: str, preset_name: str, captions: int | None, generator: int,
    n: int, as_json: bool,
) -> None:  # fmt: skip
    """Count the exam's held-out pairs that the layout planner's training captions show all the same."""
    from sumi.cli.screen import start_progress_bar
    from sumi.data.generator import Scenes
    from sumi.evaluation.exam import load_syllabus
    from sumi.evaluation.leakage import measure_leakage
    from sumi.evaluation.questions import make_questions
    from sumi.judge.network import load_judge
    from sumi.systems.sticker.presets import preset
    from sumi.systems.sticker.training_data import BRIEFS_SEED, StickerData

    chosen, show = preset(preset_name), start_progress_bar()
    training = StickerData(chosen, Path(artwork), Path())
    seed = chosen.seed + BRIEFS_SEED
    scenes = Scenes(training.atlas, training.vocabulary, chosen.briefs, seed, version=generator)
    questions = make_questions("pair held out", load_syllabus(model, load_judge(judge_folder)), n)
    count = chosen.num_briefs if captions is None else captions
    results = measure_leakage(questions, scenes, count, lambda done, of: show("captions", done, of))
    click.echo(json.dumps(results.to_json()) if as_json else "\n".join(results.lines()))


@exam.command("words")
@model_option
@judge_option
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Prompt k is drawn from seed + k.")
@click.option("--out", default="exams/words", show_default=True, metavar="DIR", help="Where to write.")
@json_option
def words(model: str | None, judge_folder: str | None, seed: int, out: str, as_json: bool) -> None:
    """Draw 100 everyday prompts, and count the right notes and the pictures that show what is known."""
    folder = require_writable_folder(out)
    from sumi.cli.screen import start_progress_bar
    from sumi.evaluation.everyday_exam import (
        load_everyday_prompts,
        run_everyday_exam,
        save_everyday_exam,
        summarize_everyday_exam,
    )
    from sumi.judge.network import load_judge

    progress = start_progress_bar()
    artist, judge = load_unclip(model), load_judge(judge_folder)
    asked = load_everyday_prompts(artist.lexicon.record.get("drawings", "everyday"))
    results = list(run_everyday_exam(artist, judge, asked, seed, lambda done, of: progress("drawn", done, of)))
    paths = save_everyday_exam(results, folder)
    if as_json:
        shares = {name: share.to_json() for name, share in summarize_everyday_exam(results)}
        click.echo(json.dumps({"rows": shares, "files": [str(path) for path in paths]}))
        return
    print_table(summarize_everyday_exam(results))
    for path in paths:
        click.echo(str(path))


@exam.command("unlisted")
@model_option
@judge_option
@click.option("--vocabulary", metavar="FILE", help="A vocabulary.json instead of a model; no pictures then.")
@click.option("--pictures", is_flag=True, help="Also draw every word, and let the judge look for its concept.")
@click.option("-n", "n", type=click.IntRange(1, 1000), default=200, show_default=True, help="Words of each kind.")
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True, help="Of the nonsense; of the pictures.")
@click.option("--out", default="exams/unlisted", show_default=True, metavar="DIR", help="Where to write.")
@json_option
def unlisted(
    model: str | None, judge_folder: str | None, vocabulary: str | None, pictures: bool, n: int, seed: int, out: str,
    as_json: bool,
) -> None:  # fmt: skip
    """Ask for words that no list names, relatives of a concept in WordNet, and for nonsense."""
    folder = require_writable_folder(out)
    from sumi.cli.screen import start_progress_bar
    from sumi.conditioning import Lexicon
    from sumi.evaluation.everyday_exam import run_everyday_exam, save_everyday_exam, summarize_everyday_exam
    from sumi.evaluation.exam import load_bundle
    from sumi.evaluation.unlisted_exam import draw_nonsense, draw_unlisted_words, examine_words, is_understood
    from sumi.judge.network import load_judge

    lexicon = Lexicon(load_bundle(model).vocabulary if vocabulary is None else read_vocabulary(Path(vocabulary)))
    asked = draw_unlisted_words(lexicon, n)
    rows = examine_words(lexicon, asked, draw_nonsense(n, seed))
    paths = [folder / "unlisted.json"]
    missed = [[one.prompt, one.things[0]] for one in asked if not is_understood(one, lexicon)]
    if pictures and vocabulary is None:
        show = start_progress_bar()
        results = list(
            run_everyday_exam(
                load_unclip(model), load_judge(judge_folder), asked, seed, lambda done, of: show("drawn", done, of)
            )
        )
        rows += summarize_everyday_exam(results)[1:]
        paths += save_everyday_exam(results, folder)
    record = {"rows": {name: share.to_json() for name, share in rows}, "missed": missed}
    write_atomic(paths[0], json.dumps(record, indent=1) + "\n")
    if as_json:
        click.echo(json.dumps({**record, "files": [str(path) for path in paths]}))
        return
    print_table(rows)
    for path in paths:
        click.echo(str(path))


def read_vocabulary(path: Path) -> dict[str, Any]:
    """Return the vocabulary that a file holds, or raise SumiError."""
    try:
        record = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SumiError(f"{path} is no vocabulary: {error}") from None
    if not isinstance(record, dict) or not record.get("nouns"):
        raise SumiError(f"{path} is no vocabulary: give the vocabulary.json of a model")
    return record


@exam.command("train-judge")
@artwork_option
@vocabulary_option
@click.option("--run", "folder", default="runs/judge", show_default=True, metavar="DIR", help="Where to train.")
@click.option("--out", metavar="DIR", help="Where to write the judge; default the package's own models/judge.")
@click.option("--scenes", type=int, default=72_000, show_default=True, help="How many scenes to draw first.")
@click.option("--minutes", type=float, default=9.0, show_default=True, help="How long to train, scenes apart.")
def train_judge(artwork: str, folder: str, out: str | None, vocabulary: str, scenes: int, minutes: float) -> None:
    """Train the judge from artwork: draw scenes of its own, learn them, write the judge."""
    from sumi.cli.screen import start_progress_bar
    from sumi.judge.network import default_judge
    from sumi.judge.train_judge import JudgeTraining

    training = JudgeTraining(Path(artwork), Path(folder), vocabulary, scenes, start_progress_bar())
    if training.train(minutes):
        click.echo(str(training.export(default_judge() if out is None else Path(out))))


def print_table(rows: list[tuple[str, Share]]) -> None:
    """Print names and shares in two columns."""
    width = max(len(name) for name, _ in rows)
    for name, share in rows:
        click.echo(f"{name:{width}}  {share}")

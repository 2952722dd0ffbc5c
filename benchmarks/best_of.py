"""Whether a few candidates are worth their time: the judge's verdict on the best of 1, 4 and 16 by CLIP.

    python benchmarks/best_of.py --model runs/sticker-wide/bundle -n 100 --out exams/best-of

Asks questions that `sumi exam` never asks: of each category those after its first 200, with other seeds. For each it
draws 16 candidates and grades them all; the best of 4 is chosen among the first four, so all three answer the same
questions. Prints each share, the gain over the first candidate with its paired 95 per cent interval, and the seconds
that a picture takes at that many candidates. Every result is appended to a log, so an interrupted run continues.
The default of a model is `best_of` of the settings in its bundle.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

import sumi
from sumi.evaluation.exam import load_syllabus, prompt_drawer
from sumi.evaluation.grading import grade_pictures
from sumi.evaluation.intervals import Gain, Mean, Share
from sumi.evaluation.questions import Question, Syllabus, make_questions
from sumi.evaluation.ranking import ResultLog
from sumi.judge.network import load_judge
from sumi.pipelines.prompt import clean

CANDIDATES = (1, 4, 16)
EXAM = 200
"""Questions of each category that the exam asks, which are left out here."""
FIRST_SEED = 7_000_003
CATEGORIES = ("single", "colour", "pair", "count")


def ask(category: str, syllabus: Syllabus, n: int) -> list[Question]:
    """Return questions that the exam does not ask."""
    asked = make_questions(category, syllabus, EXAM + n)
    known = {question.prompt for question in asked[:EXAM]}
    return [question for question in asked[EXAM:] if question.prompt not in known]


def best(near: Sequence[float], among: int) -> int:
    """The candidate that CLIP prefers among the first ones."""
    return max(range(among), key=lambda number: near[number])


def draw(artist: sumi.Sumi, judge: Any, question: Question, first: int) -> dict[str, Any]:
    """Draw all candidates of a question: CLIP's cosine of each, the judge's verdict on each, and the seconds."""
    started, most = time.perf_counter(), CANDIDATES[-1]
    pictures = prompt_drawer(artist.pipeline)([question.prompt] * most, range(first, first + most))
    z_t = artist.pipeline.read([clean(question.prompt)]).z_t
    near = F.cosine_similarity(artist.pipeline.embed(pictures), z_t, dim=-1).tolist()
    seconds = (time.perf_counter() - started) / most
    right = [grade.right for grade in grade_pictures(judge, pictures, [question] * most)]
    return {"near": [round(value, 6) for value in near], "right": right, "seconds": round(seconds, 4)}


def figures(rows: Sequence[Mapping[str, Any]]) -> dict[str, Share | Gain | Mean]:
    """Return the share, the gain over one candidate, and the seconds, for each number of candidates."""
    chosen = {among: [row["right"][best(row["near"], among)] for row in rows] for among in CANDIDATES}
    found: dict[str, Share | Gain | Mean] = {}
    for among, right in chosen.items():
        found[f"best of {among}"] = Share.of(right)
        if among > 1:
            found[f"best of {among} less best of 1"] = Gain.of(chosen[1], right)
        found[f"seconds, best of {among}"] = Mean(tuple(among * row["seconds"] for row in rows), "s")
    found["any of 16"] = Share.of(any(row["right"]) for row in rows)
    return found


def main() -> None:
    """Draw, choose, grade, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a bundle; default the model that comes with Sumi")
    parser.add_argument("--judge", help="a judge; default Sumi's own")
    parser.add_argument("--category", action="append", help="repeatable; default " + ", ".join(CATEGORIES))
    parser.add_argument("-n", type=int, default=100, help="questions a category")
    parser.add_argument("--out", type=Path, default=Path("exams/best-of"))
    given = parser.parse_args()
    artist, judge = sumi.load(given.model), load_judge(given.judge)
    if not isinstance(artist, sumi.Sumi):
        parser.error(f"{given.model} cannot be asked for candidates: name a sticker model")
    syllabus = load_syllabus(given.model, judge)
    given.out.mkdir(parents=True, exist_ok=True)
    record, every = {}, []
    for place, category in enumerate(given.category or CATEGORIES):
        asked = ask(category, syllabus, given.n)
        about = {"hashes": dict(artist.model.hashes), "category": category, "seed": FIRST_SEED, "left_out": EXAM}
        log = ResultLog(given.out / f"{category.replace(' ', '-')}.jsonl", about)
        for number, question in enumerate(asked[len(log.rows) :], start=len(log.rows)):
            with torch.no_grad():
                log.add([draw(artist, judge, question, FIRST_SEED + 10**5 * place + CANDIDATES[-1] * number)])
            print(f"\r{category} {number + 1}/{len(asked)}", end="", flush=True)
        rows = log.rows[: len(asked)]
        every += rows
        record[category] = figures(rows)
    record["all"] = figures(every)
    print()
    for category, found in record.items():
        for name, value in found.items():
            low, high = value.interval
            spread = f"{value.as_text(low)} to {value.as_text(high)}, n = {value.n}"
            print(f"{category:8} {name:26} {value.as_text(value.value)} ({spread})")
    values: dict[str, dict[str, Any]] = {
        category: {name: value.to_json() for name, value in found.items()} for category, found in record.items()
    }
    values["about"] = {"model": artist.model.name, "threads": torch.get_num_threads(), "size_px": artist.sizes[0]}
    (given.out / "best-of.json").write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

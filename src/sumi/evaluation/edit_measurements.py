"""Measurements of editing on true pictures, each through the same tasks that the commands run.

    variations : the judge still recognizes the thing, and the variations differ
    blends     : the first and the last frame are the given pictures
    restyles   : cos(CLIP(picture), z_t(new text)) rises with the amount

The judge does not belong to the model. CLIP is the model's own: the question is whether the picture follows z_i.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sumi.data.grammar import noun_phrase
from sumi.data.scene import COLOURS
from sumi.data.seeding import scene_rng
from sumi.evaluation.edit_exam import EditExam
from sumi.evaluation.exam import Progress
from sumi.evaluation.intervals import Mean, Share
from sumi.evaluation.inversion import ASKED_DB, ROUNDS, codec_round_trip, measure_inversion, psnr_figure, reconstruct
from sumi.evaluation.measurement import Figure, Measurement, load_record, sample_sheet
from sumi.evaluation.pixel_metrics import mean_pairwise_rmse, rmse
from sumi.evaluation.questions import CATEGORIES, SEED, Question
from sumi.evaluation.ranking import measure_reranking, measurement_name
from sumi.pipelines.checks import check_choice
from sumi.pipelines.invert import slerp
from sumi.pipelines.prompt import clean
from sumi.pipelines.tasks import FURTHEST, INVERTED, Blend, Restyle, Vary

__all__ = ["measure_edits"]

KEEPS = 0.8
"""At least this share of variations must show what the picture shows."""
DIFFERS = 0.1
"""The least mean RMSE between variations: a tenth of a channel's range, several times the error of the codec."""
VARIATIONS, FRAMES = 4, 5
AMOUNTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
SHOWN = 24


def measure_variations(exam: EditExam, n: int, progress: Progress) -> Measurement:
    """Draw four variations of each of n pictures; measure what the judge recognizes and how much they differ."""
    asked, sources = exam.true_pictures(n)
    seen, truth = exam.model_inputs(sources), [question.things[0] for question in asked]
    taken, varied, names = exam.recognize(seen), [], []
    for number, source in enumerate(sources):
        task = Vary(n=VARIATIONS, size=exam.pipeline.size_px, seed=SEED + VARIATIONS * number)
        varied.append(exam.run_task(task, source))
        names.append(exam.recognize(varied[-1]))
        progress(number + 1, n)
    others = [k for k in range(n) if truth[k] != truth[k - 1]]
    figures = (
        _share("variations that the judge takes for the true thing", names, truth, KEEPS),
        _share("variations that the judge takes for what it took the picture for", names, taken),
        Figure("pictures that the judge itself gets right", Share.of(map(str.__eq__, taken, truth))),
        _distance("between variations of a picture", map(mean_pairwise_rmse, varied), DIFFERS),
        _distance("between pictures of different things", rmse(seen[others], seen[[k - 1 for k in others]])),
        _distance("between a picture and the codec's return of it", rmse(seen, codec_round_trip(exam.pipeline, seen))),
    )
    rows = [
        (torch.cat([seen[k : k + 1], varied[k]]), [truth[k], *(f"judge: {name}" for name in names[k])])
        for k in range(min(n, SHOWN))
    ]
    claim = f"{VARIATIONS} variations of a picture show what it shows, and differ."
    seeds = f"{exam.scenes_seed}; seeds {SEED} to {SEED + VARIATIONS * n - 1}"
    return Measurement(claim, figures, sample_sheet(rows, beside=2), seeds)


def _share(name: str, said: Sequence[Sequence[str]], wanted: Sequence[str], target: float | None = None) -> Figure:
    """Average within each picture first, so that the interval counts pictures and not variations."""
    shares = [names.count(thing) / len(names) for names, thing in zip(said, wanted, strict=True)]
    return Figure(name, Mean(tuple(shares), "%"), target)


def _distance(name: str, values: Iterator[float] | Sequence[float], target: float | None = None) -> Figure:
    return Figure(f"distance {name}", Mean(tuple(values)), target)


def measure_blends(exam: EditExam, n: int, progress: Progress) -> Measurement:
    """Blend n pictures in pairs, and compare the first and the last frame with the pictures."""
    n += n % 2
    asked, sources = exam.true_pictures(n)
    seen, frames = exam.model_inputs(sources), []
    for number in range(0, n, 2):
        task = Blend(frames=FRAMES, size=exam.pipeline.size_px, seed=SEED + number)
        frames.append(exam.run_task(task, *sources[number : number + 2]))
        progress(number + 2, n)
    first, last = (torch.stack([film[end] for film in frames]) for end in (0, -1))
    bare = reconstruct(exam.pipeline, seen, INVERTED["steps"], ROUNDS[-1]).bare
    middle = exam.recognize(torch.stack([film[FRAMES // 2] for film in frames]))
    either = [name in {q.things[0] for q in asked[2 * k : 2 * k + 2]} for k, name in enumerate(middle)]
    figures = (
        psnr_figure("the first frame to the first picture", first, seen[::2], ASKED_DB),
        psnr_figure("the last frame to the second picture", last, seen[1::2], ASKED_DB),
        psnr_figure(
            "both, before details are given back, to the codec's return",
            bare,
            codec_round_trip(exam.pipeline, seen),
            ASKED_DB,
        ),
        Figure("middle frames that the judge takes for either thing", Share.of(either)),
    )
    said = ["the first picture", *(f"{number / (FRAMES - 1):g}" for number in range(FRAMES)), "the second picture"]
    rows = [
        (torch.cat([seen[2 * k, None], film, seen[2 * k + 1, None]]), said) for k, film in enumerate(frames[:SHOWN])
    ]
    claim = "The ends of a blend are the pictures."
    return Measurement(
        claim, figures, sample_sheet(rows, beside=2), f"{exam.scenes_seed}; seeds {SEED} to {SEED + n - 2}"
    )


def restyle_prompts(question: Question, number: int) -> tuple[str, str, str]:
    """Return the prompts before and after, and the colour, which only the seed and the number determine."""
    name, colours = question.things[0], tuple(COLOURS)
    colour = colours[int(scene_rng(SEED, number, "exam restyle").random() * len(colours))]
    return noun_phrase(name, []), noun_phrase(name, [colour]), colour


def measure_restyles(exam: EditExam, n: int, progress: Progress) -> Measurement:
    """Restyle n pictures towards a colour by several amounts; measure the similarity and what the judge recognizes."""
    asked, sources = exam.true_pictures(n)
    near, aims, right, kept, rows = [], [], [], [], []
    for number, (question, source) in enumerate(zip(asked, sources, strict=True)):
        before, after, colour = restyle_prompts(question, number)
        tasks = [Restyle(before, after, amount, size=exam.pipeline.size_px, seed=SEED + number) for amount in AMOUNTS]
        drawn = torch.cat([exam.run_task(task, source) for task in tasks])
        z_t = exam.pipeline.read([clean(before), clean(after)]).z_t
        near.append(exam.pipeline.rank(drawn, z_t[1:]))
        aims.append(expected_similarity(exam.embed(exam.model_inputs([source])), *z_t))
        right.append([name == colour for name in exam.recognize_colour(drawn, question.things[0])])
        kept.append([name == question.things[0] for name in exam.recognize(drawn)])
        said = [f"{amount:g}: {cosine:.2f}" for amount, cosine in zip(AMOUNTS, near[-1], strict=True)]
        rows.append((drawn, [f"{after}, {said[0]}", *said[1:]]))
        progress(number + 1, n)
    claim = "The further a picture is moved from one text to another, the nearer CLIP finds it to the other."
    seeds = f"{exam.scenes_seed}; seeds {SEED} to {SEED + n - 1}"
    return Measurement(claim, similarity_figures(near, aims, right, kept), sample_sheet(rows[:SHOWN], beside=2), seeds)


@torch.no_grad()
def expected_similarity(z_i: Tensor, before: Tensor, after: Tensor) -> list[float]:
    """Return cos(z, z_t(new text)) for the embedding z that the decoder gets at each amount.

    If z_i = z_t(old text) lies at an angle w to the new text, z passes it at theta = w / (90 degrees + w / 2).
    So the curve turns early between texts that are close to each other.

    Args:
        z_i: the embedding of the picture (1, D).
        before: z_t of the old text (D,).
        after: z_t of the new text (D,).
    """
    z_d = F.normalize(after - before, dim=0)[None]
    return [float(torch.cosine_similarity(slerp(z_i, z_d, FURTHEST * amount), after[None])) for amount in AMOUNTS]


def similarity_figures(
    near: Sequence[Sequence[float]],
    aims: Sequence[Sequence[float]],
    right: Sequence[Sequence[bool]],
    kept: Sequence[Sequence[bool]],
) -> tuple[Figure, ...]:
    """Return the mean similarity at each amount, its least increase, and what the judge recognizes.

    Args:
        near: cosines between the pictures and the new text, (pictures, amounts).
        aims: cosines between the embeddings that the decoder got and the new text, likewise.
        right: whether the judge sees the new colour, likewise.
        kept: whether the judge still sees the thing, likewise.
    """
    steps = [Mean(tuple(row[k + 1] - row[k] for row in near)) for k, _ in enumerate(pairwise(AMOUNTS))]
    whole = Mean(tuple(row[-1] - row[0] for row in near))
    rows = [
        Figure("the least mean step of the curve, from one amount to the next", min(steps, key=lambda s: s.value), 0.0),
        Figure("the whole way, from the least amount to the largest", whole, 0.0, sure=True),
    ]
    for k, amount in enumerate(AMOUNTS):
        rows += [
            Figure(f"amount {amount:g}: cosine to the new text", Mean(tuple(row[k] for row in near))),
            Figure(f"amount {amount:g}: that of the embedding aimed at", Mean(tuple(row[k] for row in aims))),
            Figure(f"amount {amount:g}: the judge sees the new colour", Share.of(row[k] for row in right)),
            Figure(f"amount {amount:g}: the judge sees the thing", Share.of(row[k] for row in kept)),
        ]
    return tuple(rows)


#: Every measurement by name, and how many prompts correspond to one of its pictures.
MEASUREMENTS: Mapping[str, tuple[Callable[[EditExam, int, Progress], Measurement], int]] = {
    **{measurement_name(category): (partial(measure_reranking, category=category), 1) for category in CATEGORIES},
    "variations": (measure_variations, 4),
    "inversion": (measure_inversion, 4),
    "blends": (measure_blends, 4),
    "restyles": (measure_restyles, 4),
}


DEFAULT_MEASUREMENTS = (
    "reranking",
    "reranking-colour",
    "variations",
    "inversion",
    "blends",
    "restyles",
)
"""What an exam measures by default."""


def measure_edits(
    exam: EditExam, only: Sequence[str], n: int, progress: Callable[[str, int, int], None] = lambda what, done, of: None
) -> Iterator[tuple[str, Measurement, dict[str, Any]]]:
    """Run measurements, and yield the name, the measurement and the record so far after each.

    Args:
        exam: the model and its judge.
        only: names from `MEASUREMENTS`; by default `DEFAULT_MEASUREMENTS`.
        n: how many prompts; measurements on pictures take a part of them.
        progress: called with (name, done, all).

    Raises:
        SumiError: for other names, or without artwork.
    """
    names = only or DEFAULT_MEASUREMENTS
    for name in names:
        check_choice("exam in editing", name, list(MEASUREMENTS))
    if any(not name.startswith("reranking") for name in names):
        _ = exam.scenes  # report missing artwork before drawing anything
    record = load_record(exam.folder, {**exam.about, "n": n})
    for name in dict.fromkeys(names):
        started, (measure, share) = time.perf_counter(), MEASUREMENTS[name]
        measurement = measure(exam, max(2, n // share), partial(progress, name))
        seconds = round(time.perf_counter() - started, 1)
        record["proofs"][name] = {**measurement.to_json(), "seconds": seconds}
        yield name, measurement, record

"""What editing promises, measured on true pictures that are edited as anybody would edit them.

    variations : the judge still sees the thing, and the variations are apart
    blends     : both ends are the pictures
    restyles   : cos(CLIP(picture), z_t(new text)) rises with the amount

The judge is no part of the model; CLIP here is the model's own, for what is asked is whether the picture follows z_i.
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
from sumi.evaluation.distance import mean_distance, pixel_distance
from sumi.evaluation.edit_exam import EditExam
from sumi.evaluation.exam import Progress
from sumi.evaluation.intervals import Mean, Share
from sumi.evaluation.inversion import ASKED_DB, ROUNDS, codec_round_trip, decibels, inversion, reconstruct
from sumi.evaluation.measurement import Figure, Measurement, load_record, sample_sheet
from sumi.evaluation.questions import CATEGORIES, SEED, Question
from sumi.evaluation.ranking import measurement_name, reranking
from sumi.pipelines.checks import check_choice
from sumi.pipelines.invert import slerp
from sumi.pipelines.prompt import clean
from sumi.pipelines.tasks import FURTHEST, INVERTED, Blend, Restyle, Vary

KEEPS = 0.8
"""This share of variations must show what the picture shows."""
DIFFERS = 0.1
"""How far apart variations must be: a tenth of a channel's range, a few times what the codec changes of a picture."""
VARIATIONS, FRAMES = 4, 5
AMOUNTS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
SHOWN = 24


def variations(who: EditExam, n: int, progress: Progress) -> Measurement:
    """Vary n pictures four times each; the judge says what it sees, and the pixels how different they are."""
    asked, sources = who.pictures(n)
    seen, truth = who.seen(sources), [question.things[0] for question in asked]
    taken, varied, names = who.named(seen), [], []
    for number, source in enumerate(sources):
        task = Vary(n=VARIATIONS, size=who.pipeline.size_px, seed=SEED + VARIATIONS * number)
        varied.append(who.drawn(task, source))
        names.append(who.named(varied[-1]))
        progress(number + 1, n)
    others = [k for k in range(n) if truth[k] != truth[k - 1]]
    figures = (
        _share("variations that the judge takes for the true thing", names, truth, KEEPS),
        _share("variations that the judge takes for what it took the picture for", names, taken),
        Figure("pictures that the judge itself gets right", Share.of(map(str.__eq__, taken, truth))),
        _distance("between variations of a picture", map(mean_distance, varied), DIFFERS),
        _distance("between pictures of different things", pixel_distance(seen[others], seen[[k - 1 for k in others]])),
        _distance(
            "between a picture and the codec's return of it", pixel_distance(seen, codec_round_trip(who.pipeline, seen))
        ),
    )
    rows = [
        (torch.cat([seen[k : k + 1], varied[k]]), [truth[k], *(f"judge: {name}" for name in names[k])])
        for k in range(min(n, SHOWN))
    ]
    claim = f"{VARIATIONS} variations of a picture show what it shows, and differ."
    seeds = f"{who.scenes_seed}; seeds {SEED} to {SEED + VARIATIONS * n - 1}"
    return Measurement(claim, figures, sample_sheet(rows, beside=2), seeds)


def _share(name: str, said: Sequence[Sequence[str]], wanted: Sequence[str], mark: float | None = None) -> Figure:
    """The share of a picture's variations, so that the interval is that of pictures, not of variations."""
    shares = [names.count(thing) / len(names) for names, thing in zip(said, wanted, strict=True)]
    return Figure(name, Mean(tuple(shares), "%"), mark)


def _distance(name: str, values: Iterator[float] | Sequence[float], mark: float | None = None) -> Figure:
    return Figure(f"distance {name}", Mean(tuple(values)), mark)


def blends(who: EditExam, n: int, progress: Progress) -> Measurement:
    """Blend n pictures two by two, and hold the first and the last frame against the pictures."""
    n += n % 2
    asked, sources = who.pictures(n)
    seen, frames = who.seen(sources), []
    for number in range(0, n, 2):
        task = Blend(frames=FRAMES, size=who.pipeline.size_px, seed=SEED + number)
        frames.append(who.drawn(task, *sources[number : number + 2]))
        progress(number + 2, n)
    first, last = (torch.stack([film[end] for film in frames]) for end in (0, -1))
    bare = reconstruct(who.pipeline, seen, INVERTED["steps"], ROUNDS[-1]).bare
    middle = who.named(torch.stack([film[FRAMES // 2] for film in frames]))
    either = [name in {q.things[0] for q in asked[2 * k : 2 * k + 2]} for k, name in enumerate(middle)]
    figures = (
        decibels("the first frame to the first picture", first, seen[::2], ASKED_DB),
        decibels("the last frame to the second picture", last, seen[1::2], ASKED_DB),
        decibels(
            "both, before details are given back, to the codec's return",
            bare,
            codec_round_trip(who.pipeline, seen),
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
        claim, figures, sample_sheet(rows, beside=2), f"{who.scenes_seed}; seeds {SEED} to {SEED + n - 2}"
    )


def recoloured(question: Question, number: int) -> tuple[str, str, str]:
    """Return a thing, the same in a colour, and that colour, chosen by the number alone."""
    name, colours = question.things[0], tuple(COLOURS)
    colour = colours[int(scene_rng(SEED, number, "exam restyle").random() * len(colours))]
    return noun_phrase(name, []), noun_phrase(name, [colour]), colour


def restyles(who: EditExam, n: int, progress: Progress) -> Measurement:
    """Move n pictures of things towards the same in a colour; CLIP and the judge say how far they followed."""
    asked, sources = who.pictures(n)
    near, aims, right, kept, rows = [], [], [], [], []
    for number, (question, source) in enumerate(zip(asked, sources, strict=True)):
        before, after, colour = recoloured(question, number)
        tasks = [Restyle(before, after, amount, size=who.pipeline.size_px, seed=SEED + number) for amount in AMOUNTS]
        drawn = torch.cat([who.drawn(task, source) for task in tasks])
        z_t = who.pipeline.read([clean(before), clean(after)]).z_t
        near.append(who.pipeline.rank(drawn, z_t[1:]))
        aims.append(expected_similarity(who.embed(who.seen([source])), *z_t))
        right.append([name == colour for name in who.colour(drawn, question.things[0])])
        kept.append([name == question.things[0] for name in who.named(drawn)])
        said = [f"{amount:g}: {cosine:.2f}" for amount, cosine in zip(AMOUNTS, near[-1], strict=True)]
        rows.append((drawn, [f"{after}, {said[0]}", *said[1:]]))
        progress(number + 1, n)
    claim = "The further a picture is moved from one text to another, the nearer CLIP finds it to the other."
    seeds = f"{who.scenes_seed}; seeds {SEED} to {SEED + n - 1}"
    return Measurement(claim, curve(near, aims, right, kept), sample_sheet(rows[:SHOWN], beside=2), seeds)


@torch.no_grad()
def expected_similarity(z_i: Tensor, before: Tensor, after: Tensor) -> list[float]:
    """Return cos(z, z_t(new text)) of what a decoder is told of a picture z_i (1, D): what it can be expected to draw.

    From z_i = z_t(old text), at an angle w to the new one, z passes it at theta = w / (90 degrees + w / 2); so
    between texts that are near to each other the curve has to turn early.
    """
    z_d = F.normalize(after - before, dim=0)[None]
    return [float(torch.cosine_similarity(slerp(z_i, z_d, FURTHEST * amount), after[None])) for amount in AMOUNTS]


def curve(
    near: Sequence[Sequence[float]],
    aims: Sequence[Sequence[float]],
    right: Sequence[Sequence[bool]],
    kept: Sequence[Sequence[bool]],
) -> tuple[Figure, ...]:
    """Return the mean curve over the amounts, its least step, and what the judge sees.

    near, aims: cosines to the new text of pictures, and of what was aimed at; right: whether the judge sees the new
    colour; kept: whether it still sees the thing. All (pictures, amounts).
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


#: Every proof by name, in the order they are given, and how many prompts there are to one of its pictures. Ranking is
#: asked about single things, and of other categories by their own name: it can only help where a model can fail.
PROOFS: Mapping[str, tuple[Callable[[EditExam, int, Progress], Measurement], int]] = {
    **{measurement_name(category): (partial(reranking, category=category), 1) for category in CATEGORIES},
    "variations": (variations, 4),
    "inversion": (inversion, 4),
    "blends": (blends, 4),
    "restyles": (restyles, 4),
}


USUAL = ("reranking", "reranking-colour", "variations", "inversion", "blends", "restyles")
"""What an exam consists of unless it is told."""


def measure_edits(
    who: EditExam, only: Sequence[str], n: int, progress: Callable[[str, int, int], None] = lambda what, done, of: None
) -> Iterator[tuple[str, Measurement, dict[str, Any]]]:
    """Yield each proof with its name, and the record so far, which keeps what an earlier exam of the same found.

    only: names, by default `USUAL`; SumiError for others. n: prompts.
    """
    names = only or USUAL
    for name in names:
        check_choice("exam in editing", name, list(PROOFS))
    if any(not name.startswith("reranking") for name in names):
        _ = who.scenes  # so that missing artwork is said before anything is drawn
    record = load_record(who.folder, {**who.about, "n": n})
    for name in dict.fromkeys(names):
        started, (proof, share) = time.perf_counter(), PROOFS[name]
        proven = proof(who, max(2, n // share), partial(progress, name))
        seconds = round(time.perf_counter() - started, 1)
        record["proofs"][name] = {**proven.to_json(), "seconds": seconds}
        yield name, proven, record

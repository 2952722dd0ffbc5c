"""The exam of the judge itself: it grades true pictures whose answers are known.

The pictures are renders of scenes that it never saw (another seed, other places), intact and degraded. Three rows are
chance levels: true pictures of one thing and of two things graded against the question of another picture, and
drawings in their own colours graded against a question for another colour.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from sumi.bundles import Bundle
from sumi.data.generator import Mix, Scenes
from sumi.data.scene import Scene
from sumi.evaluation.exam import resize_for_judge
from sumi.evaluation.grading import grade_pictures, summarize
from sumi.evaluation.intervals import Share
from sumi.evaluation.questions import RELATIONS, Question, Syllabus, make_questions
from sumi.imaging.pixels import from_levels, to_levels
from sumi.judge.network import SIZE_PX, Judge
from sumi.judge.train_judge import JUDGE_SEED

__all__ = ["examine_judge", "load_codec_redraw", "true_pictures"]

Redraw = Callable[[Tensor], Tensor]
"""Pictures uint8 (B, 4, 64, 64) to degraded ones of the same shape."""

_SINGLE = replace(Mix.singles(), single=0.97, person=0.03)
_PAIR = replace(Mix.singles().only("pair"), person=0)


def _single(**liberties: float) -> Mix:
    return replace(_SINGLE, single=1.0, person=0.0, plain=0.0, **liberties)


#: Kinds of true pictures: each is a mix of scenes, or a kind of combination that is held out from training.
KINDS: dict[str, Mix | str] = {
    "plain": _SINGLE,
    "coloured": _single(single_coloured=1),
    "styled": _single(single_styled=1),
    "on a background": _single(single_background=1),
    "two things": _PAIR,
    "two coloured things": replace(_PAIR, coloured=1),
    "counted": _SINGLE.only("count"),
    "people": _SINGLE.only("person"),
    "held-out colour": "colour",
    "held-out pair": "relation",
    "held-out style": "style",
    "held-out count": "count",
    "held-out icon": "concept",
}


def examine_judge(
    judge: Judge, scenes: Scenes, n: int = 300, codec: Redraw | None = None
) -> Iterator[tuple[str, Share]]:
    """Yield rows (name, share) of how often the judge is right.

    Args:
        judge: the judge to examine.
        scenes: a generator whose artwork and vocabulary the judge knows.
        n: how many pictures of each kind.
        codec: encodes and decodes pictures with a model's codec, to measure what that costs.
    """
    plain: tuple[list[Question], Tensor] | None = None
    pairs: tuple[list[Question], Tensor] | None = None
    for name, source in KINDS.items():
        asked, pictures = true_pictures(scenes, name, source, n)
        if not asked:
            continue
        plain = plain or (asked, pictures)
        pairs = (asked, pictures) if name == "two things" else pairs
        yield from summarize(asked, grade_pictures(judge, pictures, asked))
    assert plain is not None
    asked, pictures = plain
    degradations: dict[str, Redraw] = {"blurred": blur, "noisy": add_noise, "both": lambda x: add_noise(blur(x))}
    if codec is not None:
        degradations["through the codec"] = codec
    for name, redraw in degradations.items():
        yield from summarize(_with_category(asked, f"plain, {name}"), grade_pictures(judge, redraw(pictures), asked))
    swapped = [*asked[1:], asked[0]]
    yield from summarize(_with_category(swapped, "plain, captions swapped"), grade_pictures(judge, pictures, swapped))
    if pairs is not None:
        asked, pictures = pairs
        swapped = _with_category([*asked[1:], asked[0]], "two things, captions swapped")
        yield from summarize(swapped, grade_pictures(judge, pictures, swapped))
    yield from _ignored_colours(judge, scenes, n)


def true_pictures(scenes: Scenes, name: str, source: Mix | str, n: int) -> tuple[list[Question], Tensor]:
    """Render true pictures with the questions that they answer.

    Args:
        scenes: the generator of the scenes.
        name: the category of the questions.
        source: a mix of scenes, or a kind of held-out combination.
        n: how many at most.

    Returns:
        The questions, and the pictures, premultiplied uint8 (B, 4, 64, 64).
    """
    if isinstance(source, str):
        drawn = scenes.held_out(source, JUDGE_SEED + 1)
    else:
        drawn = Scenes(scenes.atlas, scenes.vocabulary, source, JUDGE_SEED + 1)
    chosen = [scene for scene in map(drawn.scene, range(2 * n)) if _can_be_asked(scene)][:n]
    return [Question.of_scene(name, scene) for scene in chosen], drawn.render(chosen, SIZE_PX)


def _can_be_asked(scene: Scene) -> bool:
    """Return whether a question can ask for everything in a scene."""
    relation = scene.relation
    return len(scene.things) in (1, 2) and (relation is None or relation.name in RELATIONS)


def _ignored_colours(judge: Judge, scenes: Scenes, n: int) -> Iterator[tuple[str, Share]]:
    """Yield the score of a model that ignores the colour: drawings in their own colours, asked for held-out ones."""
    asked = make_questions("colour", Syllabus.common(judge.names, judge.names, judge.people), n)
    source = Scenes(scenes.atlas, scenes.vocabulary, _SINGLE.only("single"), JUDGE_SEED + 2)
    shown: dict[str, Scene] = {}
    for number in range(20 * len(judge.names)):
        scene = source.scene(number)
        shown.setdefault(scene.things[0].concept, scene)
    answered = [question for question in asked if question.things[0] in shown]
    pictures = source.render([shown[question.things[0]] for question in answered], SIZE_PX)
    named = _with_category(answered, "plain, asked for a held-out colour")
    yield from (
        row for row in summarize(named, grade_pictures(judge, pictures, answered)) if row[0].endswith("all right")
    )


def _with_category(asked: Sequence[Question], category: str) -> list[Question]:
    return [replace(question, category=category) for question in asked]


def blur(pictures: Tensor, sigma_px: float = 1.2) -> Tensor:
    """Return pictures after a Gaussian blur with a standard deviation in pixels."""
    offsets = torch.arange(-4, 5, dtype=torch.float32)
    line = torch.exp(-0.5 * (offsets / sigma_px) ** 2)
    line = (line / line.sum()).expand(4, 1, 1, -1)
    padded = F.pad(pictures.float(), (4, 4, 4, 4), mode="replicate")
    return F.conv2d(F.conv2d(padded, line, groups=4), line.transpose(2, 3), groups=4).round().to(torch.uint8)


def add_noise(pictures: Tensor, deviation: float = 0.08) -> Tensor:
    """Return pictures with Gaussian noise; its standard deviation is a fraction of a channel's range."""
    noise = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(JUDGE_SEED))
    return (pictures.float() + 255 * deviation * noise).clamp(0, 255).round().to(torch.uint8)


def codec_redraw(encode: Callable[[Tensor], Tensor], decode: Callable[[Tensor], Tensor]) -> Redraw:
    """Return a function that encodes pictures with a codec and decodes them again."""

    @torch.no_grad()
    def redraw(pictures: Tensor) -> Tensor:
        return torch.cat(
            [resize_for_judge(to_levels(decode(encode(from_levels(x))))) for x in torch.split(pictures, 64)]
        )

    return redraw


def load_codec_redraw(model: str | Path) -> Redraw:
    """Return a function that encodes and decodes pictures with the codec of a model's bundle."""
    codec = Bundle.load(model).part("codec")
    return codec_redraw(codec.encode, codec.decode)  # type: ignore[arg-type]

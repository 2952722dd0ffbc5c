"""How good the judge itself is: the same marking, on true pictures whose answers are known.

Pictures are renders of scenes it never saw (another seed, other places), whole and degraded. Three lines say what
luck would score: true pictures of one thing and of two marked against another picture's question, and plain drawings
asked for a colour that they were not given.
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
from sumi.evaluation.exam import at_judged_size
from sumi.evaluation.intervals import Share
from sumi.evaluation.marking import mark, rows
from sumi.evaluation.questions import RELATIONS, Question, Syllabus, questions
from sumi.imaging.pixels import from_levels, to_levels
from sumi.judge.network import SIZE_PX, Judge
from sumi.judge.train_judge import SEED

Redraw = Callable[[Tensor], Tensor]
"""Pictures uint8 (B, 4, 64, 64) -> the same, worse."""

_SINGLE = replace(Mix.singles(), single=0.97, person=0.03)
_PAIR = replace(Mix.singles().only("pair"), person=0)


def _single(**liberties: float) -> Mix:
    return replace(_SINGLE, single=1.0, person=0.0, plain=0.0, **liberties)


#: True pictures by what is asked of them: the mix they come from, or the kind of combination held out from products.
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


def judge_rows(judge: Judge, scenes: Scenes, n: int = 300, codec: Redraw | None = None) -> Iterator[tuple[str, Share]]:
    """Yield the judge's figures on n true pictures of each kind; `codec` is a model's, there and back."""
    plain: tuple[list[Question], Tensor] | None = None
    pairs: tuple[list[Question], Tensor] | None = None
    for name, source in KINDS.items():
        asked, pictures = true_pictures(scenes, name, source, n)
        if not asked:
            continue
        plain = plain or (asked, pictures)
        pairs = (asked, pictures) if name == "two things" else pairs
        yield from rows(asked, mark(judge, pictures, asked))
    assert plain is not None
    asked, pictures = plain
    worse: dict[str, Redraw] = {"blurred": blurred, "noisy": noisy, "both": lambda x: noisy(blurred(x))}
    if codec is not None:
        worse["through the codec"] = codec
    for name, redraw in worse.items():
        yield from rows(_named(asked, f"plain, {name}"), mark(judge, redraw(pictures), asked))
    swapped = [*asked[1:], asked[0]]
    yield from rows(_named(swapped, "plain, captions swapped"), mark(judge, pictures, swapped))
    if pairs is not None:
        asked, pictures = pairs
        swapped = _named([*asked[1:], asked[0]], "two things, captions swapped")
        yield from rows(swapped, mark(judge, pictures, swapped))
    yield from _own_colours(judge, scenes, n)


def true_pictures(scenes: Scenes, name: str, source: Mix | str, n: int) -> tuple[list[Question], Tensor]:
    """Up to n true pictures, uint8 (B, 4, 64, 64), with their questions, as category `name`."""
    if isinstance(source, str):
        drawn = scenes.held_out(source, SEED + 1)
    else:
        drawn = Scenes(scenes.atlas, scenes.vocabulary, source, SEED + 1)
    chosen = [scene for scene in map(drawn.scene, range(2 * n)) if _clear(scene)][:n]
    return [Question.of_scene(name, scene) for scene in chosen], drawn.render(chosen, SIZE_PX)


def _clear(scene: Scene) -> bool:
    """Whether the questions know how to ask for all of it."""
    link = scene.relation
    return len(scene.things) in (1, 2) and (link is None or link.name in RELATIONS)


def _own_colours(judge: Judge, scenes: Scenes, n: int) -> Iterator[tuple[str, Share]]:
    """What a model scores on held-out colours that never listens to the colour: drawings in their own."""
    asked = questions("colour", Syllabus.common(judge.names, judge.names, judge.people), n)
    source = Scenes(scenes.atlas, scenes.vocabulary, _SINGLE.only("single"), SEED + 2)
    shown: dict[str, Scene] = {}
    for number in range(20 * len(judge.names)):
        scene = source.scene(number)
        shown.setdefault(scene.things[0].concept, scene)
    answered = [question for question in asked if question.things[0] in shown]
    pictures = source.render([shown[question.things[0]] for question in answered], SIZE_PX)
    named = _named(answered, "plain, asked for a held-out colour")
    yield from (row for row in rows(named, mark(judge, pictures, answered)) if row[0].endswith("all right"))


def _named(asked: Sequence[Question], category: str) -> list[Question]:
    return [replace(question, category=category) for question in asked]


def blurred(pictures: Tensor, sigma_px: float = 1.2) -> Tensor:
    """Pictures after a Gaussian blur."""
    offsets = torch.arange(-4, 5, dtype=torch.float32)
    line = torch.exp(-0.5 * (offsets / sigma_px) ** 2)
    line = (line / line.sum()).expand(4, 1, 1, -1)
    padded = F.pad(pictures.float(), (4, 4, 4, 4), mode="replicate")
    return F.conv2d(F.conv2d(padded, line, groups=4), line.transpose(2, 3), groups=4).round().to(torch.uint8)


def noisy(pictures: Tensor, deviation: float = 0.08) -> Tensor:
    """Pictures under Gaussian noise of this standard deviation, in full ranges of a channel."""
    noise = torch.randn(pictures.shape, generator=torch.Generator().manual_seed(SEED))
    return (pictures.float() + 255 * deviation * noise).clamp(0, 255).round().to(torch.uint8)


def codec_redraw(encode: Callable[[Tensor], Tensor], decode: Callable[[Tensor], Tensor]) -> Redraw:
    """Return the round trip of a codec between [-1, 1] and latents, as something done to pictures."""

    @torch.no_grad()
    def redraw(pictures: Tensor) -> Tensor:
        return torch.cat([at_judged_size(to_levels(decode(encode(from_levels(x))))) for x in torch.split(pictures, 64)])

    return redraw


def codec_of(model: str | Path) -> Redraw:
    """Return the round trip of a model's own codec."""
    codec = Bundle.load(model).part("codec")
    return codec_redraw(codec.encode, codec.decode)  # type: ignore[arg-type]

"""Which word drew what: the picture drawn again without each of its words, from the same noise.

    d_w(p) = mean over channels of |x(p) - x_without_w(p)|,    share_w = sum_p d_w(p) / sum_v sum_p d_v(p)

A decoder that takes words as one vector has no map of attention, and such a map would say where a network looked, not
what came of it. What comes of a word is seen by leaving it out (Li, Monroe & Jurafsky 2016, arXiv 1612.08220). All
else stays: the seed, every stage's random numbers, and which of the prior's draws is kept. Words that only work
together (`ice cream`) each take the whole away with them: maps overlap, and a share compares words, it divides nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from sumi.errors import SumiError
from sumi.pipelines.explanation import Explanation, WordAttribution
from sumi.pipelines.generate import Generate
from sumi.pipelines.layered_image import LayeredImage
from sumi.pipelines.prior import EncodedText, Prior
from sumi.pipelines.prompt import clean
from sumi.pipelines.recipe import Recipe, Settings
from sumi.pipelines.request import Request
from sumi.pipelines.steps import Work, run_side_by_side

__all__ = ["MOST_WORDS", "FixedPrior", "explain", "without_word"]

MOST_WORDS = 40
_WORD = re.compile(r'"[^"]*"|\S+')


def explain(pipeline: Generate, recipe: Recipe) -> Work[Explanation]:
    """Check that a recipe's picture was drawn from words, by this model, then leave them out one by one (SumiError)."""
    request = recipe.request()
    if not isinstance(request, Request):
        raise SumiError(f"this picture was made by {recipe.operation}: words explain what was drawn from them alone")
    own = pipeline.model.hashes
    used = {"arranger", "clip", "codec", *recipe.stages} & own.keys()
    if strange := sorted(name for name in used if recipe.hashes.get(name) != own[name]):
        raise SumiError(f"this picture was drawn by another {' and '.join(strange)} than {pipeline.model.name} has")
    words = list(without_word(clean(request.prompt)))
    if len(words) > MOST_WORDS:
        raise SumiError(f"the prompt has {len(words)} words, and at most {MOST_WORDS} are explained")
    pipeline, settled = pipeline.with_settings(recipe.stages).settle(request)
    return _explain(pipeline, settled, words)


def without_word(prompt: str) -> Iterator[tuple[str, str]]:
    """Yield each word of a clean prompt, or string in double quotes, and the prompt without it."""
    for found in _WORD.finditer(prompt):
        yield found[0], clean(prompt[: found.start()] + prompt[found.end() :])


@torch.no_grad()
def _explain(pipeline: Generate, request: Request, words: Sequence[tuple[str, str]]) -> Work[Explanation]:
    assert request.seed is not None
    steady = replace(pipeline, priors={kind: FixedPrior(prior) for kind, prior in pipeline.priors.items()})
    works = [steady.sketch(request, [request.prompt], [request.seed])]
    works += [_without(steady, request, rest) for _, rest in words]
    drawn: list[Tensor] = []
    for start in range(0, len(works), pipeline.batch):
        sketches = yield from run_side_by_side(works[start : start + pipeline.batch])
        drawn += [sketch.flat() for (sketch,) in sketches]
    return explanation(clean(request.prompt), request.seed, drawn[0], [word for word, _ in words], drawn[1:])


def _without(pipeline: Generate, request: Request, rest: str) -> Work[list[LayeredImage]]:
    """Draw a request of which only these words are left; of none, what zeros mean to the model."""
    assert request.seed is not None
    if rest:
        shorter = replace(request, prompt=rest)
        return pipeline.sketch(shorter, [shorter.prompt], [request.seed])
    nothing = pipeline.read([""])
    silence = EncodedText(nothing.z_t * 0, nothing.hidden * 0, nothing.ids)
    return pipeline.sketched(request, silence, [None], [request.seed])


def explanation(
    prompt: str, seed: int, picture: Tensor, words: Sequence[str], without: Sequence[Tensor]
) -> Explanation:
    """Compare a picture, premultiplied uint8 (4, S, S), with those drawn without each of its words."""
    changes = [(picture.float() - other.float()).abs().mean(dim=0) / 255 for other in without]
    sums = [float(change.sum()) for change in changes]
    whole = sum(sums) or 1.0
    rows = zip(words, sums, changes, without, strict=True)
    return Explanation(
        prompt, seed, picture, tuple(WordAttribution(text, own / whole, *maps) for text, own, *maps in rows)
    )


@dataclass(frozen=True)
class FixedPrior:
    """A prior of which always the draw is kept that was kept at first, so that no word's absence changes the choice."""

    prior: Prior
    kept: dict[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its own."""
        return self.prior.name

    @property
    def settings(self) -> Settings:
        """Its own."""
        return self.prior.settings

    def rerun(self, settings: Settings) -> FixedPrior:
        """Return it run otherwise."""
        return FixedPrior(self.prior.rerun(settings), self.kept)

    def imagine(
        self, text: EncodedText, seeds: Sequence[int], stream: str, chunk: int = 0, chunks: int = 1
    ) -> Work[Tensor]:
        """Draw for one picture, and give the one draw that is kept for all, (B, D)."""
        z_i = yield from self.prior.imagine(text, seeds, stream, chunk, chunks)
        best = self.kept.setdefault(stream, int(F.cosine_similarity(z_i, text.z_t, dim=-1).argmax()))
        return z_i[best].expand_as(z_i)

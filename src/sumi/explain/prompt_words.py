"""Attribution to words: the picture is drawn again without each word of its prompt, from the same noise.

    d_w(p) = mean over channels of |x(p) - x_without_w(p)|,    share_w = sum_p d_w(p) / sum_v sum_p d_v(p)

A decoder that takes words as one vector has no attention map, and such a map shows where a network looked, not the
effect. The effect of a word is measured by erasing it (Li, Monroe & Jurafsky 2016, arXiv 1612.08220). Everything else
stays: the seed, the random numbers of every stage, and which of the prior's draws is kept. Each of the words that only
work together (`ice cream`) removes the whole thing: maps overlap, and shares compare words, they do not partition.
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
from sumi.pipelines.layered import sample_small
from sumi.pipelines.prior import EncodedText, Prior
from sumi.pipelines.prompt import clean
from sumi.pipelines.recipe import Recipe, Settings
from sumi.pipelines.request import Request
from sumi.pipelines.steps import Work, run_side_by_side
from sumi.pipelines.unclip import UnCLIPPipeline

__all__ = ["MOST_WORDS", "FixedPrior", "explain", "without_word"]

MOST_WORDS = 40
_WORD = re.compile(r'"[^"]*"|\S+')


def explain(pipeline: UnCLIPPipeline, recipe: Recipe) -> Work[Explanation]:
    """Check that a recipe's picture was drawn from words, by this model, then leave them out one by one (SumiError)."""
    request = recipe.request()
    if not isinstance(request, Request):
        raise SumiError(f"this picture was made by {recipe.operation}: words explain what was drawn from them alone")
    own = pipeline.model.hashes
    used = {"layout_planner", "clip", "codec", *recipe.stages} & own.keys()
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
def _explain(pipeline: UnCLIPPipeline, request: Request, words: Sequence[tuple[str, str]]) -> Work[Explanation]:
    assert request.seed is not None
    steady = replace(pipeline, priors={kind: FixedPrior(prior) for kind, prior in pipeline.priors.items()})
    works = [sample_small(steady, [request.prompt], [request.seed])]
    works += [_without(steady, rest, request.seed) for _, rest in words]
    drawn: list[Tensor] = []
    for start in range(0, len(works), pipeline.batch):
        pictures = yield from run_side_by_side(works[start : start + pipeline.batch])
        drawn += [picture for (picture,) in pictures]
    return explanation(clean(request.prompt), request.seed, drawn[0], [word for word, _ in words], drawn[1:])


def _without(pipeline: UnCLIPPipeline, rest: str, seed: int) -> Work[list[Tensor]]:
    """Draw a prompt of which only these words are left; of none, what a condition of zeros gives."""
    if rest:
        return (yield from sample_small(pipeline, [rest], [seed]))
    nothing = pipeline.read([""])
    silence = EncodedText(nothing.z_t * 0, nothing.hidden * 0, nothing.ids)
    z_i = yield from pipeline.sample_prior(silence, [seed])
    return (yield from pipeline.sample_decoder(silence, z_i, [seed]))


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

    def with_settings_of(self, settings: Settings) -> FixedPrior:
        """Return it with other settings."""
        return FixedPrior(self.prior.with_settings_of(settings), self.kept)

    def sample(
        self, text: EncodedText, seeds: Sequence[int], stream: str | None = None, batch: int | None = None
    ) -> Work[Tensor]:
        """Draw for one picture, and return the one draw that is kept for all, (B, D)."""
        z_i = yield from self.prior.sample(text, seeds, stream, batch)
        best = self.kept.setdefault(stream or self.name, int(F.cosine_similarity(z_i, text.z_t, dim=-1).argmax()))
        return z_i[best].expand_as(z_i)

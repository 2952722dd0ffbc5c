"""The layout planner: from a prompt to the things of its picture, each in words of the prompt, and their places.

prompt -> ids, features -> layout -> Composition(LayerSpec(prompt, spots), ..., ground)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sumi.autoregressive import LayoutItem, SceneLayout, sample_layouts
from sumi.conditioning import WordTokenizer
from sumi.conditioning.tokenizer import FIRST_BYTE
from sumi.nn import EncodedCaption, LayoutPlannerNetwork
from sumi.pipelines import EncodedText
from sumi.pipelines.layered_image import Composition, LayerSpec
from sumi.pipelines.stage import seeded_generators

__all__ = ["LayoutPlanner", "allowed_words", "composition"]

_QUOTED = re.compile(r'"[^"]*"')


@dataclass(frozen=True)
class LayoutPlanner:
    """A network, and the tokenizer that it reads and writes with."""

    network: LayoutPlannerNetwork
    tokenizer: WordTokenizer

    def __call__(self, text: EncodedText, seeds: Sequence[int]) -> list[Composition]:
        """Return the composition of each picture of a text, one row for all seeds or a row for each."""
        each, glue = text.each(len(seeds)), self.network.connecting_words
        prompts = each.ids.tolist()
        sayable = torch.stack([allowed_words(ids, glue, self.tokenizer) for ids in prompts])
        made = sample_layouts(
            self.network, EncodedCaption(each.ids, each.hidden), sayable, seeded_generators(seeds, "arranger")
        )
        return [composition(one, ids, glue, self.tokenizer) for one, ids in zip(made, prompts, strict=True)]


def allowed_words(prompt: Sequence[int], glue: Tensor, tokenizer: WordTokenizer) -> Tensor:
    """Return which tokens a layout of a prompt may use: its own, their singulars, and glue; (vocabulary_size,)."""
    sayable = glue > 0
    for token in {token for token in prompt if token >= FIRST_BYTE}:
        sayable[[token, *tokenizer.singular_ids(token)]] = True
    return sayable


def composition(one: SceneLayout, prompt: Sequence[int], glue: Tensor, tokenizer: WordTokenizer) -> Composition:
    """Return a layout as text, without things of glue alone; quoted text is copied letter by letter."""
    quoted = _QUOTED.findall(tokenizer.text(prompt))

    def phrase_of(item: LayoutItem) -> str:
        phrase = tokenizer.text(item.words)
        return _QUOTED.sub(lambda _: quoted[0], phrase) if len(quoted) == 1 else phrase

    things = [item for item in one.items if any(not glue[word] for word in item.words)]
    return Composition(tuple(LayerSpec(phrase_of(item), item.spots) for item in things), one.ground)

r"""Prompts with weights, as the web UI of AUTOMATIC1111 made them common, and longer than a text tower reads at once.

    (red) [cat] with a (long tail:1.4)    weights 1.1, 1 / 1.1, 1, 1.4; brackets nest, and \( is a bracket itself

Words beyond the 75 that fit between start and end go into further chunks, each encoded alone; so does what follows the
word BREAK. The features of all chunks are the condition, each token's multiplied by its weight, and the mean of a chunk
is then what it was without weights.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from sumi.nn.published import CLIPTextModel, CLIPTextModelWithProjection, TextFeatures
from sumi.systems.published.tokenizer import CLIPTokenizer

__all__ = ["PromptTower", "Span", "parse_weights"]

UP, DOWN = 1.1, 1 / 1.1
BREAK = "BREAK"
SIGNS = re.compile(r"\\.|:\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*\)|[()\[\]]|\bBREAK\b|[^\\()\[\]:B]+|.", re.DOTALL)
"""An escaped sign, the weight that closes a bracket, a bracket, a break, and text."""
STRONGEST = 10.0


class Span(NamedTuple):
    """A text and the weight of its tokens; the text BREAK ends a chunk."""

    text: str
    weight: float


@dataclass
class _Open:
    """A text with its weight, while brackets around it are open."""

    text: str
    weight: float
    breaks: bool = False


def parse_weights(prompt: str) -> list[Span]:
    r"""Return the texts of a prompt with their weights; a bracket that is not closed ends with the prompt.

    Args:
        prompt: `(text)` is weighted by 1.1, `(text:1.3)` by 1.3, `[text]` by 1 / 1.1; `\(` is a bracket.
    """
    spans: list[_Open] = []
    brackets: list[tuple[str, int]] = []
    for sign in SIGNS.finditer(prompt):
        text, weight = sign[0], sign[1]
        opened = brackets[-1][0] if brackets else ""
        if weight is not None and opened == "(":
            _weigh(spans[brackets.pop()[1] :], float(weight))
        elif text in ("(", "["):
            brackets.append((text, len(spans)))
        elif text in (")", "]") and opened == {")": "(", "]": "["}[text]:
            _weigh(spans[brackets.pop()[1] :], UP if text == ")" else DOWN)
        else:
            spans.append(_Open(text[1:] if len(text) == 2 and text[0] == "\\" else text, 1.0, text == BREAK))
    for bracket, start in brackets:
        _weigh(spans[start:], UP if bracket == "(" else DOWN)
    return _merge_spans(spans)


def _weigh(spans: Sequence[_Open], weight: float) -> None:
    for span in spans:
        span.weight = max(-STRONGEST, min(STRONGEST, span.weight * weight))


def _merge_spans(spans: Sequence[_Open]) -> list[Span]:
    """Neighbours of one weight as one text, so that words are not cut where signs were read."""
    merged: list[Span] = []
    for span in spans:
        alike = merged and merged[-1].weight == span.weight and BREAK not in (merged[-1].text, span.text)
        if alike and not span.breaks:
            merged[-1] = Span(merged[-1].text + span.text, span.weight)
        else:
            merged.append(Span(BREAK, 1.0) if span.breaks else Span(span.text, span.weight))
    return merged


class Tokens(NamedTuple):
    """The ids of a prompt's chunks, (K, L), and the weight of each."""

    ids: Tensor
    weights: Tensor


@dataclass(frozen=True)
class PromptTower:
    """A text tower with its tokenizer."""

    tokenizer: CLIPTokenizer
    text_encoder: CLIPTextModel | CLIPTextModelWithProjection

    def tokens(self, prompt: str) -> Tokens:
        """Return the ids and weights of a prompt, in as many chunks as it needs, at least one."""
        room = self.tokenizer.length - 2
        chunks: list[list[tuple[int, float]]] = [[]]
        for text, weight in parse_weights(prompt):
            if text == BREAK:
                chunks.append([])
                continue
            for number in self.tokenizer.ids(text):
                if len(chunks[-1]) == room:
                    chunks.append([])
                chunks[-1].append((number, weight))
        ids = self.tokenizer.rows([[number for number, _ in chunk] for chunk in chunks])
        weights = torch.ones(ids.shape)
        for row, chunk in zip(weights, chunks, strict=True):
            row[1 : 1 + len(chunk)] = torch.tensor([weight for _, weight in chunk])
        return Tokens(ids, weights)

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> list[TextFeatures]:
        """Return the features of each prompt, all with as many chunks as the longest: tokens (1, K L, width).

        The pooled embedding is that of the first chunk.
        """
        tokens = [self.tokens(prompt) for prompt in prompts]
        longest = max(len(ids) for ids, _ in tokens)
        empty = self.tokenizer.rows([[]])
        features = []
        for ids, weights in tokens:
            missing = longest - len(ids)
            ids = torch.cat([ids, empty.expand(missing, -1)])
            weights = torch.cat([weights, weights.new_ones(missing, ids.shape[1])])
            features.append(_weighted(self.text_encoder(ids), weights))
        return features


def _weighted(read: TextFeatures, weights: Tensor) -> TextFeatures:
    """Return the features of a prompt's chunks as those of one text."""

    def join_chunks(state: Tensor) -> Tensor:
        state = state.float()
        if bool((weights != 1).any()):
            means = state.mean(dim=(1, 2), keepdim=True)
            state = state * weights[:, :, None]
            now = state.mean(dim=(1, 2), keepdim=True)
            state = state * torch.where(now.abs() > 1e-12, means / now, 1.0)
        return state.flatten(0, 1)[None]

    return TextFeatures(
        join_chunks(read.tokens), read.pooled[:1].float(), tuple(map(join_chunks, read.hidden_states[-2:]))
    )

"""What the layout planner learns: to go on after a caption with who stands where.

    loss = -log p(s_j | caption, s_1 ... s_{j-1}), its mean over the arrangement's tokens

The caption is told as a frozen CLIP understands it, so the planner itself may be small.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from sumi.autoregressive import END, FIRST_NUMBER, SYMBOLS, LayoutBox, LayoutItem, SceneLayout
from sumi.conditioning import CLIP, WordTokenizer
from sumi.data.layout_captions import LayoutCaption
from sumi.nn import EncodedCaption, LayoutPlannerNetwork
from sumi.systems.objectives import Arrays, take
from sumi.training import Batch

__all__ = ["LayoutPlannerObjective", "arrangement_of", "connecting_words", "encode_layout_captions"]

GLUE_SHARE = 0.003


def arrangement_of(brief: LayoutCaption, tokenizer: WordTokenizer) -> SceneLayout:
    """What a brief wants, in the tokenizer's words."""
    items = [
        LayoutItem(tuple(tokenizer.ids(wanted.phrase)), tuple(LayoutBox(p.x, p.y, p.side) for p in wanted.places))
        for wanted in brief.wanted
    ]
    return SceneLayout(tuple(items), brief.ground)


def encode_layout_captions(
    briefs: Iterable[LayoutCaption], tokenizer: WordTokenizer, length: int
) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Captions (N, context) and arrangements (N, length) as ids, the rest of a row END; what is longer is left out."""
    captions: list[str] = []
    rows: list[Sequence[int]] = []
    for brief in briefs:
        tokens = arrangement_of(brief, tokenizer).encode()
        if len(tokens) <= length:
            captions.append(brief.caption)
            rows.append([*tokens, *[END] * (length - len(tokens))])
    return tokenizer.encode(captions).numpy().astype(np.int16), np.array(rows, dtype=np.int16)


def connecting_words(ids: Arrays, rows: Arrays, vocabulary_size: int) -> Tensor:
    """Words that arrangements often have and their captions have not, (vocabulary_size,): 1 for those, else 0.

    They are articles, and the names under which styles and the like are always called; a thing's name is never one,
    since no single thing is in so many captions.
    """
    added = np.zeros(vocabulary_size)
    for caption, row in zip(ids, rows, strict=True):
        added[np.setdiff1d(row[row >= SYMBOLS] - SYMBOLS, caption)] += 1
    return torch.from_numpy(added >= GLUE_SHARE * len(ids)).float()


@dataclass(frozen=True)
class LayoutPlannerObjective:
    """Write arrangements. ids (N, context) and arrangements (N, length): see `written`."""

    model: nn.Module
    clip: CLIP
    ids: Arrays
    arrangements: Arrays
    name: str = "layout_planner"

    def __len__(self) -> int:
        """How many captions there are."""
        return len(self.ids)

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """Cross-entropy a token up to END, and of the words and symbols alone."""
        assert isinstance(model, LayoutPlannerNetwork)
        ids = take(self.ids, batch.indices, batch.rng.device).long()
        tokens = take(self.arrangements, batch.indices, batch.rng.device).long()
        lengths = (tokens != END).sum(dim=1) + 1
        tokens = tokens[:, : int(lengths.max())]
        with torch.no_grad():
            _, features = self.clip.encode_text(ids)
        asked = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]
        logits = model.logits(model.read(tokens[:, :-1], EncodedCaption(ids, features))[asked])
        each = F.cross_entropy(logits.float(), tokens[asked], reduction="none")
        numbers = (tokens[asked] >= FIRST_NUMBER) & (tokens[asked] < model.symbols)
        return {"loss": each.mean(), "words": each[~numbers].mean().detach()}

    def picture(self, model: nn.Module) -> None:
        """Nothing to look at."""

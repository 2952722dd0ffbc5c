"""DALL-E 1: a discrete VAE turns pictures into tokens, and one transformer generates them after the caption.

Ramesh et al. 2021, Zero-Shot Text-to-Image Generation, arXiv 2102.12092.

    ln p(x, y) >= E_q [ ln p(x | z) - KL(q(z | x) || uniform) ] + ln p(y, z)                          (eq. 1)
    ln p(y, z) = sum_i ln p(s_i | s_1 ... s_{i-1}),    s = start, caption, tokens                (section 2.2)

A discrete VAE is trained first, then a transformer of row, column and convolutional attention, with 1/8 of its loss on
captions and 7/8 on pictures. `DALLE1.complete` continues a given top; `best` keeps the best of many by a ranking
(section 2.6). Known deviations: RGBA; small, with a square of 5 x 5 tokens for the convolutional layer where the paper
has 11 x 11; captions are tokenized by words and bytes, not by BPE, so there is no BPE dropout; one padding token for
all positions of the text; the KL weight is 1, as in eq. 1, where the paper has 6.6: a token stands for few pixels here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sumi.codecs import DVAE
from sumi.conditioning import CLIP, WordTokenizer
from sumi.errors import SumiError
from sumi.pipelines.steps import drive_to_end
from sumi.systems.vqvae import TokenSystem, codec_halves

__all__ = ["DALLE1", "best", "by_clip"]

Rank = Callable[[Tensor], Tensor]  # pictures (B, 4, S, S) in [-1, 1] to scores (B,)

DALLE1 = TokenSystem(
    name="dalle1",
    codec=lambda size_px: DVAE(**codec_halves(size_px), kl_weight=1.0),
    tokenizer=WordTokenizer((), context=32),
    network={"width": 128, "depth": 4, "heads": 2, "kernel": 5},
)


def best(
    system: TokenSystem,
    parts: Mapping[str, Any],
    caption: str,
    seeds: Sequence[int],
    rank: Rank,
    keep: int = 1,
    batch: int = 64,
) -> tuple[Tensor, Tensor]:
    """Draw one picture for each seed, and return the `keep` that `rank` puts highest, best first (section 2.6).

    Returns pictures (keep, 4, S, S) in [-1, 1] and their scores (keep,). batch: pictures drawn at once.
    """
    if not 1 <= keep <= len(seeds):
        raise SumiError(f"cannot keep the best {keep} of {len(seeds)} pictures")
    some = [seeds[start : start + batch] for start in range(0, len(seeds), batch)]
    drawn = torch.cat([drive_to_end(system.complete(parts, [caption] * len(few), few)) for few in some])
    scores, order = rank(drawn).topk(keep)
    return drawn[order], scores


def by_clip(clip: CLIP, tokenizer: WordTokenizer, caption: str) -> Rank:
    """Return a ranking of pictures of CLIP's size by their cosine to a caption."""

    @torch.no_grad()
    def rank(pictures: Tensor) -> Tensor:
        z_t, _ = clip.encode_text(tokenizer.encode([caption]).to(pictures.device))
        return clip.encode_image(pictures) @ z_t[0]

    return rank

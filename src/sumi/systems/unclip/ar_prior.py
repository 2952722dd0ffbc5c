"""unCLIP's autoregressive prior: z_i generated as a sequence of tokens after its caption.

Ramesh et al. 2022, Hierarchical Text-Conditional Image Generation with CLIP Latents, arXiv 2204.06125, section 2.2.

    p(z_i | y) = prod_j p(b_j | caption, z_t, b_0 ... b_{j-1})

b_0 is the quantised z_i·z_t, b_1 ... the principal components of z_i, largest first, quantised. When sampling, b_0
comes from the top half of its distribution, which asks for a picture that CLIP finds near. The caption is sometimes
dropped in training, so that sampling can be guided. Known deviations: the caption enters as CLIP's token features, as
in the diffusion prior, and there is no text transformer of its own; b_0 is also predicted, which measures how well
captions determine it; buckets are uniform in a component and equally frequent in b_0, which the paper leaves open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from sumi.autoregressive import EmbeddingTokens
from sumi.conditioning import CLIP
from sumi.nn import ARPriorNetwork, Cond, drop_condition
from sumi.systems.objectives import Arrays, CaptionFeatures, take
from sumi.training import Batch

__all__ = ["ARPriorObjective", "network"]


def network(clip: CLIP, words: EmbeddingTokens, width: int = 256, depth: int = 4, heads: int = 4) -> ARPriorNetwork:
    """Return a fresh network for the captions of this CLIP and these tokens."""
    text = clip.text.config
    made = ARPriorNetwork(clip.size, text["width"], text["context"], words.dims, words.buckets, width, depth, heads)
    words.store_in(made)
    return made


@dataclass(frozen=True)
class ARPriorObjective:
    """Predict the tokens of the embedding of the picture that a caption describes; z_i: (N, D), unit."""

    model: ARPriorNetwork
    z_i: Arrays
    words: CaptionFeatures
    text_drop: float = 0.1
    name: str = "ar_prior"

    def __len__(self) -> int:
        """How many pairs."""
        return len(self.z_i)

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """Return the cross-entropy in nats per token, and that of the first component alone, which matters most."""
        z_i = take(self.z_i, batch.indices, batch.rng.device).float()
        z_t, hidden = self.words(batch.indices, batch.rng.device)
        words = EmbeddingTokens.from_network(model).encode(z_i, z_t)
        cond = drop_condition(Cond(vector=z_t, tokens=hidden), self.text_drop, batch.rng)
        logits = model(words[:, :-1], cond).float()
        each = F.cross_entropy(logits.mT, words, reduction="none").mean(dim=0)
        return {"loss": each.mean(), "first": each[1].detach()}

    def picture(self, model: nn.Module) -> None:
        """Return nothing: an embedding is no picture."""

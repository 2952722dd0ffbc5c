"""An embedding as a sentence: its principal components, largest first, each one of so many words.

    y = axes (z - mean),    word_j = floor(buckets (y_j - low_j) / (high_j - low_j))

Before them stands a word for the cosine of z_i and z_t, and its words are equally frequent, so that "the top half
of the distribution" is the upper half of the words (unCLIP: Ramesh et al. 2022, section 2.2; there, 319 of 1,024
components and 1,024 buckets lose less than 1% of an embedding).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from sumi.autoregressive.pca import principal_axes
from sumi.autoregressive.sampling import FAIR, TokenSampling, stream_tokens
from sumi.errors import SumiError
from sumi.nn import ARPriorNetwork, Cond


@dataclass(frozen=True)
class EmbeddingTokens:
    """mean (D,), axes (dims, D); low, high (dims,): range of each component; dots (buckets - 1,): bounds of cosines."""

    mean: Tensor
    axes: Tensor
    low: Tensor
    high: Tensor
    dots: Tensor

    @classmethod
    def fit(
        cls, z_i: Tensor, z_t: Tensor, buckets: int = 1024, lost: float = 0.01, dims: int | None = None
    ) -> EmbeddingTokens:
        """Measure pairs of unit embeddings (N, D): as few components as lose at most `lost` of the variance.

        dims: a number of components to take instead.
        """
        if len(z_i) < 2 or len(z_i) != len(z_t):
            raise SumiError(f"principal axes need at least two pairs of embeddings, not {len(z_i)} and {len(z_t)}")
        if buckets < 2:
            raise SumiError(f"buckets must be at least 2, not {buckets}")
        mean, axes, variances = principal_axes(z_i)
        if dims is None:
            left = 1 - variances.cumsum(0) / variances.sum()
            dims = 1 + int((left > lost).sum().clamp(max=len(variances) - 1))
        kept = axes[:dims]
        y = (z_i.double() - mean) @ kept.T
        levels = torch.arange(1, buckets, dtype=torch.float64, device=y.device) / buckets
        dots = torch.quantile(F.cosine_similarity(z_i.double(), z_t.double(), dim=-1), levels)
        return cls(*(part.float() for part in (mean, kept, y.amin(dim=0), y.amax(dim=0), dots)))

    @classmethod
    def of(cls, network: nn.Module) -> EmbeddingTokens:
        """Read what is kept with the weights of an `ARPriorNetwork`."""
        return cls(*(network.get_buffer(field.name) for field in fields(cls)))

    def keep_in(self, network: nn.Module) -> None:
        """Keep it with the weights of an `ARPriorNetwork`."""
        for field in fields(self):
            network.get_buffer(field.name).copy_(getattr(self, field.name))

    @property
    def dims(self) -> int:
        """How many components."""
        return len(self.axes)

    @property
    def buckets(self) -> int:
        """How many words there are for each."""
        return len(self.dots) + 1

    def encode(self, z_i: Tensor, z_t: Tensor) -> Tensor:
        """Unit embeddings (B, D) as words, int64 (B, 1 + dims)."""
        with torch.autocast(z_i.device.type, enabled=False):  # bfloat16 has fewer levels than there are words
            y = (z_i.float() - self.mean) @ self.axes.T
        place = (y - self.low) / (self.high - self.low).clamp(min=1e-12)
        words = (place * self.buckets).floor().clamp(0, self.buckets - 1).long()
        near = torch.bucketize(F.cosine_similarity(z_i.float(), z_t.float(), dim=-1), self.dots)
        return torch.cat([near[:, None], words], dim=1)

    def decode(self, words: Tensor) -> Tensor:
        """Words (B, n), n <= 1 + dims, as unit embeddings (B, D): the middles of the buckets.

        The first word is not needed, and a component whose word is not there yet is what it is on average, 0.
        """
        place = (words[:, 1:].to(self.low) + 0.5) / self.buckets
        low, high, axes = (slot[: place.shape[1]] for slot in (self.low, self.high, self.axes))
        return F.normalize((low + place * (high - low)) @ axes + self.mean, dim=-1)

    def near(self, rngs: Sequence[Generator]) -> Tensor:
        """First words (B, 1) drawn from the top half of the distribution of z_i·z_t, a generator each."""
        half = self.buckets // 2
        drawn = [torch.randint(half, self.buckets, (1,), generator=rng, device=rng.device) for rng in rngs]
        return torch.stack(drawn).to(self.low.device)


@torch.no_grad()
def sample_embedding(
    model: ARPriorNetwork, cond: Cond, rngs: Sequence[Generator], dice: TokenSampling = FAIR, guidance: float = 1.0
) -> Iterator[Tensor]:
    """Draw a unit z_i (B, D) a generator, given `cond.vector` z_t and `cond.tokens`, the caption's features.

    Yields what is known of it after each of `model.length` words, the last time all. guidance: how far to lean away
    from what would be written after no caption; 1 is not at all.
    """
    words = EmbeddingTokens.of(model)
    for known in stream_tokens(model, cond, words.near(rngs), rngs, dice, cond.null(), guidance):
        yield words.decode(known)

"""Embeddings as tokens: the principal components, largest first, each quantised.

    y = axes (z - mean),    token_j = floor(buckets (y_j - low_j) / (high_j - low_j))

Before them stands a token for the cosine of z_i and z_t. Its values are equally frequent, so the top half of the
distribution is the upper half of the values (unCLIP: Ramesh et al. 2022, arXiv 2204.06125, sec. 2.2; there, 319 of
1,024 components and 1,024 buckets lose less than 1% of an embedding).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from sumi.autoregressive.pca import principal_axes
from sumi.autoregressive.sampling import DEFAULT_SAMPLING, TokenSampling, stream_tokens
from sumi.errors import SumiError
from sumi.nn import ARPriorNetwork, Cond


@dataclass(frozen=True)
class EmbeddingTokens:
    """The map between embeddings (B, D) and tokens (B, 1 + dims).

    Attributes:
        mean: (D,), of the embeddings.
        axes: (dims, D), the principal axes.
        low: (dims,), the smallest value of each component.
        high: (dims,), the largest value of each component.
        dots: (buckets - 1,), the bounds between the tokens of the cosine.
    """

    mean: Tensor
    axes: Tensor
    low: Tensor
    high: Tensor
    dots: Tensor

    @classmethod
    def fit(
        cls, z_i: Tensor, z_t: Tensor, buckets: int = 1024, lost: float = 0.01, dims: int | None = None
    ) -> EmbeddingTokens:
        """Fit the map to pairs of unit embeddings.

        Args:
            z_i: image embeddings, (N, D) with N at least 2.
            z_t: text embeddings, (N, D).
            buckets: values of a token, at least 2.
            lost: keep as few components as lose at most this share of the variance.
            dims: number of components to keep instead.

        Raises:
            SumiError: too few pairs or buckets.
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
    def from_network(cls, network: nn.Module) -> EmbeddingTokens:
        """Read the map from the buffers of an `ARPriorNetwork`."""
        return cls(*(network.get_buffer(field.name) for field in fields(cls)))

    def store_in(self, network: nn.Module) -> None:
        """Store the map in the buffers of an `ARPriorNetwork`."""
        for field in fields(self):
            network.get_buffer(field.name).copy_(getattr(self, field.name))

    @property
    def dims(self) -> int:
        """Number of components."""
        return len(self.axes)

    @property
    def buckets(self) -> int:
        """Values of a token."""
        return len(self.dots) + 1

    def encode(self, z_i: Tensor, z_t: Tensor) -> Tensor:
        """Encode unit embeddings z_i, given z_t, each (B, D), as tokens, int64 (B, 1 + dims)."""
        with torch.autocast(z_i.device.type, enabled=False):  # bfloat16 has fewer levels than there are values
            y = (z_i.float() - self.mean) @ self.axes.T
        place = (y - self.low) / (self.high - self.low).clamp(min=1e-12)
        tokens = (place * self.buckets).floor().clamp(0, self.buckets - 1).long()
        near = torch.bucketize(F.cosine_similarity(z_i.float(), z_t.float(), dim=-1), self.dots)
        return torch.cat([near[:, None], tokens], dim=1)

    def decode(self, tokens: Tensor) -> Tensor:
        """Decode tokens (B, n), n <= 1 + dims, to unit embeddings (B, D), by the middles of the buckets.

        The first token is ignored, and a component without a token takes its mean, 0.
        """
        place = (tokens[:, 1:].to(self.low) + 0.5) / self.buckets
        low, high, axes = (slot[: place.shape[1]] for slot in (self.low, self.high, self.axes))
        return F.normalize((low + place * (high - low)) @ axes + self.mean, dim=-1)

    def sample_nearness(self, rngs: Sequence[Generator]) -> Tensor:
        """Draw first tokens (B, 1) from the top half of the distribution of z_i·z_t, with one generator per sample."""
        half = self.buckets // 2
        drawn = [torch.randint(half, self.buckets, (1,), generator=rng, device=rng.device) for rng in rngs]
        return torch.stack(drawn).to(self.low.device)


@torch.no_grad()
def sample_embedding(
    model: ARPriorNetwork,
    cond: Cond,
    rngs: Sequence[Generator],
    sampling: TokenSampling = DEFAULT_SAMPLING,
    guidance: float = 1.0,
) -> Iterator[Tensor]:
    """Sample image embeddings token by token.

    Args:
        model: the prior.
        cond: `vector` z_t (B, D) and `tokens`, the caption's features.
        rngs: one generator per sample.
        sampling: how a token is drawn.
        guidance: scale of classifier-free guidance; 1 is unguided.

    Yields:
        The unit embeddings (B, D) that the tokens so far stand for, after each of `model.length` tokens.
    """
    embedding_tokens = EmbeddingTokens.from_network(model)
    for known in stream_tokens(
        model, cond, embedding_tokens.sample_nearness(rngs), rngs, sampling, cond.null(), guidance
    ):
        yield embedding_tokens.decode(known)

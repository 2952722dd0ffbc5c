"""Autoregressive sampling: draw a sequence token by token.

    p(k) ~ exp(logit_k / temperature),    restricted to the top_k likeliest, or to the fewest that reach top_p in sum

Top-p is nucleus sampling (Holtzman et al. 2020, arXiv 1904.09751). Each sample has its own generator and uses one
uniform number per token, by inverting the distribution function. So a seed draws the same alone and in any batch, and a
sequence whose start is given continues as it would have continued by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

import torch
from torch import Generator, Tensor

from sumi.errors import SumiError
from sumi.nn import Past

C = TypeVar("C")
C_contra = TypeVar("C_contra", contravariant=True)


class TokenModel(Protocol[C_contra]):
    """A network that predicts the next token from a condition, of any type, and the tokens before it.

    Attributes:
        length: tokens of a whole sample.
    """

    length: int

    def begin(self, cond: C_contra, known: Tensor) -> tuple[Tensor, Past]:
        """Compute the logits (B, K) of the token after `known` (B, n), n < length, and the past."""
        ...

    def step(self, token: Tensor, past: Past) -> tuple[Tensor, Past]:
        """Append a token (B,); compute the logits (B, K) of the one after it, and the past."""
        ...


@dataclass(frozen=True)
class TokenSampling:
    """How a token is drawn from its logits.

    Args:
        temperature: at least 0; 0 takes the most probable token.
        top_k: restrict to the k most probable tokens; 0 for all.
        top_p: in (0, 1]; restrict to the fewest tokens whose probabilities sum to this.

    Raises:
        SumiError: a setting is out of its range.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf"):
            raise SumiError(f"temperature must be at least 0, not {self.temperature}")
        if self.top_k < 0:
            raise SumiError(f"top_k must be at least 1, or 0 to keep all, not {self.top_k}")
        if not 0 < self.top_p <= 1:
            raise SumiError(f"top_p must be above 0 and at most 1, not {self.top_p}")

    def probabilities(self, logits: Tensor) -> Tensor:
        """Map logits (B, K) to probabilities (B, K), float64."""
        logits = logits.double()
        if self.temperature == 0:
            return torch.nn.functional.one_hot(logits.argmax(dim=-1), logits.shape[-1]).double()
        ordered, order = (logits / self.temperature).softmax(dim=-1).sort(dim=-1, descending=True, stable=True)
        before = ordered.cumsum(dim=-1) - ordered
        kept = before < self.top_p if self.top_p < 1 else torch.ones_like(ordered, dtype=torch.bool)
        if self.top_k:
            kept[:, self.top_k :] = False
        p = torch.zeros_like(ordered).scatter(-1, order, ordered * kept)
        return p / p.sum(dim=-1, keepdim=True)

    def sample(self, logits: Tensor, rngs: Sequence[Generator]) -> Tensor:
        """Draw one token (B,) from logits (B, K), with one generator per sample."""
        if len(rngs) != len(logits):
            raise ValueError(f"{len(rngs)} generators for {len(logits)} samples: give one for each")
        u = torch.stack([torch.rand((), generator=rng, device=rng.device, dtype=torch.float32) for rng in rngs])
        cumulative = self.probabilities(logits).cumsum(dim=-1)
        # Scaled by the total, which rounding keeps from 1; the first value above u belongs to a probability above 0.
        u = u.to(cumulative)[:, None] * cumulative[:, -1:]
        return torch.searchsorted(cumulative, u, right=True)[:, 0]


DEFAULT_SAMPLING = TokenSampling()
"""Sample from the model's own distribution."""


def sample_tokens(
    model: TokenModel[C],
    cond: C,
    known: Tensor,
    rngs: Sequence[Generator],
    sampling: TokenSampling = DEFAULT_SAMPLING,
    null: C | None = None,
    scale: float = 1.0,
) -> Tensor:
    """Complete tokens `known` (B, n), n >= 0, to (B, length); the arguments are those of `stream_tokens`."""
    *_, tokens = stream_tokens(model, cond, known, rngs, sampling, null, scale)
    return tokens


@torch.no_grad()
def stream_tokens(
    model: TokenModel[C],
    cond: C,
    known: Tensor,
    rngs: Sequence[Generator],
    sampling: TokenSampling = DEFAULT_SAMPLING,
    null: C | None = None,
    scale: float = 1.0,
    steer: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Iterator[Tensor]:
    """Yield the tokens so far, starting with `known` (B, n) and growing by one to (B, length).

    Args:
        model: the network.
        cond: its condition.
        known: given tokens, (B, n) with n >= 0.
        rngs: one generator per sample.
        sampling: how a token is drawn.
        null: the null condition for classifier-free guidance.
        scale: its scale, log p = log p(null) + scale (log p(cond) - log p(null)); 1 is unguided.
        steer: maps the tokens so far and the logits (B, K) of the next to the logits that it is drawn from.
    """
    for _ in range(known.shape[1]):  # the numbers that given tokens would have used
        [torch.rand((), generator=rng, device=rng.device, dtype=torch.float32) for rng in rngs]
    guided = null is not None and scale != 1
    tokens = known
    yield tokens
    for place in range(known.shape[1], model.length):
        if place == known.shape[1]:
            logits, past = model.begin(cond, known)
            if guided and null is not None:
                null_logits, null_past = model.begin(null, known)
        else:
            logits, past = model.step(tokens[:, -1], past)
            if guided:
                null_logits, null_past = model.step(tokens[:, -1], null_past)
        if guided:
            logits = torch.lerp(null_logits.log_softmax(-1), logits.log_softmax(-1), scale)
        if steer is not None:
            logits = steer(tokens, logits)
        tokens = torch.cat([tokens, sampling.sample(logits, rngs)[:, None]], dim=1)
        yield tokens

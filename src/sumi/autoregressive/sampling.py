"""Drawing a stream token by token, each from what the model says of the next.

    p(k) ~ exp(logit_k / temperature),    kept: the top_k likeliest, or the fewest whose chances reach top_p

Top-p is nucleus sampling (Holtzman et al. 2020, arXiv 1904.09751). Each sample has a generator and spends one
uniform number a token, by inverting the distribution function; so seed k draws the same alone as in any batch, and
a stream whose beginning is given goes on as it would have gone on by itself.
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
    """A network that reads a condition and tokens, and says what comes next; the condition is its own affair.

    length: tokens of a whole sample.
    """

    length: int

    def begin(self, cond: C_contra, known: Tensor) -> tuple[Tensor, Past]:
        """Tokens so far (B, n), n < length, to the logits (B, K) of the next, and the past."""
        ...

    def step(self, token: Tensor, past: Past) -> tuple[Tensor, Past]:
        """One more token (B,), to the logits (B, K) of the one after it, and the past."""
        ...


@dataclass(frozen=True)
class TokenSampling:
    """How tokens are thrown. temperature 0 takes the likeliest; top_k 0 and top_p 1 keep them all."""

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

    def chances(self, logits: Tensor) -> Tensor:
        """Logits (B, K) to probabilities (B, K), float64."""
        logits = logits.double()
        if self.temperature == 0:
            return torch.nn.functional.one_hot(logits.argmax(dim=-1), logits.shape[-1]).double()
        chances, order = (logits / self.temperature).softmax(dim=-1).sort(dim=-1, descending=True, stable=True)
        before = chances.cumsum(dim=-1) - chances
        kept = before < self.top_p if self.top_p < 1 else torch.ones_like(chances, dtype=torch.bool)
        if self.top_k:
            kept[:, self.top_k :] = False
        chances = torch.zeros_like(chances).scatter(-1, order, chances * kept)
        return chances / chances.sum(dim=-1, keepdim=True)

    def throw(self, logits: Tensor, rngs: Sequence[Generator]) -> Tensor:
        """One token (B,) from logits (B, K), a generator each."""
        if len(rngs) != len(logits):
            raise ValueError(f"{len(rngs)} generators for {len(logits)} samples: give one for each")
        heights = torch.stack([torch.rand((), generator=rng, device=rng.device, dtype=torch.float32) for rng in rngs])
        reached = self.chances(logits).cumsum(dim=-1)
        # Of the total, which rounding keeps from being 1; the first step above the height has a chance above 0.
        heights = heights.to(reached)[:, None] * reached[:, -1:]
        return torch.searchsorted(reached, heights, right=True)[:, 0]


FAIR = TokenSampling()
"""As the model says, and no otherwise."""


def sample_tokens(
    model: TokenModel[C],
    cond: C,
    known: Tensor,
    rngs: Sequence[Generator],
    dice: TokenSampling = FAIR,
    null: C | None = None,
    scale: float = 1.0,
) -> Tensor:
    """Complete tokens `known` (B, n), n >= 0, to (B, length); the rest as in `drawing`."""
    *_, tokens = stream_tokens(model, cond, known, rngs, dice, null, scale)
    return tokens


@torch.no_grad()
def stream_tokens(
    model: TokenModel[C],
    cond: C,
    known: Tensor,
    rngs: Sequence[Generator],
    dice: TokenSampling = FAIR,
    null: C | None = None,
    scale: float = 1.0,
    steer: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Iterator[Tensor]:
    """Yield the tokens so far, first `known` (B, n), n >= 0, then one more each time, at last (B, length).

    null, scale: what to lean away from and how far, as in classifier-free guidance,
    log p = log p(null) + scale (log p(cond) - log p(null)); without `null`, or at scale 1, nothing is added.
    steer: tokens so far and logits (B, K) of the next to the logits that it is drawn from.
    """
    for _ in range(known.shape[1]):  # the numbers that the given tokens would have cost
        [torch.rand((), generator=rng, device=rng.device, dtype=torch.float32) for rng in rngs]
    guided = null is not None and scale != 1
    tokens = known
    yield tokens
    for place in range(known.shape[1], model.length):
        if place == known.shape[1]:
            logits, past = model.begin(cond, known)
            if guided and null is not None:
                silent, silent_past = model.begin(null, known)
        else:
            logits, past = model.step(tokens[:, -1], past)
            if guided:
                silent, silent_past = model.step(tokens[:, -1], silent_past)
        if guided:
            logits = torch.lerp(silent.log_softmax(-1), logits.log_softmax(-1), scale)
        if steer is not None:
            logits = steer(tokens, logits)
        tokens = torch.cat([tokens, dice.throw(logits, rngs)[:, None]], dim=1)
        yield tokens

"""A sampler that changes what it is given: after guidance, which is what saturates, and not before.

`threshold` wraps a denoiser, and guidance wraps it again where samples are guided together; this wraps the sampler, and
so sees the guided mean. karlo and Kandinsky keep their priors' embeddings within 5 and 10 deviations by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import Tensor

from sumi.diffusion.denoise import Denoiser, threshold
from sumi.diffusion.rng import Rng
from sumi.diffusion.sampler import Sampler, Step

C = TypeVar("C")
S = TypeVar("S")


@dataclass(frozen=True)
class AdjustedSampler(Generic[S]):
    """A sampler on another denoiser than it is given; subclasses say which."""

    sampler: Sampler[S]

    @property
    def order(self) -> int:
        """The sampler's."""
        return self.sampler.order

    @property
    def stochastic(self) -> bool:
        """The sampler's."""
        return self.sampler.stochastic

    def init(self, x: Tensor) -> S:
        """The sampler's."""
        return self.sampler.init(x)

    def adjust(self, denoise: Denoiser[C]) -> Denoiser[C]:
        """Return the denoiser that the sampler is to use."""
        raise NotImplementedError

    def step(self, denoise: Denoiser[C], x: Tensor, t: Tensor, s: Tensor, cond: C, state: S, rng: Rng) -> Step[S]:
        """The sampler's step with the adjusted denoiser."""
        return self.sampler.step(self.adjust(denoise), x, t, s, cond, state, rng)


@dataclass(frozen=True)
class ThresholdedSampler(AdjustedSampler[S]):
    """A sampler on means kept within [-limit, limit], or thresholded dynamically; the arguments are `threshold`'s."""

    limit: float = 1.0
    quantile: float | None = None
    most: float = float("inf")

    def adjust(self, denoise: Denoiser[C]) -> Denoiser[C]:
        """Threshold the mean."""
        return threshold(denoise, self.limit, self.quantile, self.most)

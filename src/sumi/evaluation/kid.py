"""KID, the kernel Inception distance: how much generated pictures differ from true ones in the features of a network.

    KID = E k(x, x') + E k(y, y') - 2 E k(x, y),    x, x' different generated pictures, y, y' different true ones
    k(a, b) = (a . b / D + 1)^3

It is the unbiased estimate of a squared maximum mean discrepancy. Its mean is 0 for two samples of one distribution, so
single estimates can be negative. Binkowski et al. 2018, Demystifying MMD GANs, arXiv 1801.01401, section 4.

Our features are CLIP's unit embeddings times sqrt(D), so that k = (cosine + 1)^3. They are not Inception's, so these
values cannot be compared with published ones.

The interval is a bootstrap interval (Efron 1979). Resampling the pictures of a U-statistic directly gives three times
the variance where the two sets are alike, so the parts of its Hoeffding decomposition are resampled instead:

    KID* - KID = 2 sum_i w_i a_i / n + sum_{i != j} w_i w_j k_ij / n(n - 1) + (the same of y) - 2 sum w_i v_j k_ij / nm

with w, v multinomial counts less 1, k centred twice, and a_i = E k(x_i, x') - E k(x_i, y), scaled to the variance that
it has without the noise of its own estimate (Arcones and Gine 1992, Ann. Statist. 20, 655-674).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sumi.bundles import Bundle, default_bundle
from sumi.conditioning import CLIP
from sumi.errors import SumiError
from sumi.imaging.pixels import from_levels, resize

__all__ = ["KID", "FeatureExtractor", "gaussian_kernel", "kid"]

Kernel = Callable[[Tensor, Tensor], Tensor]
"""Features (N, D) and (M, D) to float64 (N, M)."""
CMMD_SIGMA = 10.0

RESAMPLES = 1000


@dataclass(frozen=True)
class KID:
    """A distance with its 95 per cent interval.

    Args:
        value: the estimate.
        low: the lower limit of its interval.
        high: the upper limit.
        error: the standard error.
        n: how many generated pictures.
        num_true: how many true pictures.
    """

    value: float
    low: float
    high: float
    error: float
    n: int
    num_true: int

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        numbers = {"kid": self.value, "low": self.low, "high": self.high, "error": self.error}
        return {**{name: round(number, 6) for name, number in numbers.items()}, "n": self.n, "num_true": self.num_true}


def kernel(a: Tensor, b: Tensor) -> Tensor:
    """Return k of every a (N, D) with every b (M, D), as float64 (N, M)."""
    return (a.double() @ b.double().T / a.shape[1] + 1) ** 3


def gaussian_kernel(a: Tensor, b: Tensor) -> Tensor:
    """Return exp(-|a - b|^2 / 2 sigma^2) of unit vectors, sigma 10, as float64 (N, M).

    With it the discrepancy is CMMD without its factor of 1000 (Jayasumana et al. 2024, arXiv 2401.09603).
    """
    return torch.exp(-torch.cdist(a.double(), b.double()).square() / (2 * CMMD_SIGMA**2))


def mmd(x: Tensor, y: Tensor, kernel: Kernel = kernel) -> float:
    """Return the unbiased squared discrepancy of features x (N, D) and y (M, D), at least two of each."""
    n, m = len(x), len(y)
    if min(n, m) < 2:
        raise ValueError(f"a discrepancy needs two pictures of each kind, not {n} and {m}")
    return float(_row_means(kernel(x, x)).mean() + _row_means(kernel(y, y)).mean() - 2 * kernel(x, y).mean())


def kid(x: Tensor, y: Tensor, resamples: int = RESAMPLES, kernel: Kernel = kernel) -> KID:
    """Return the distance between two sets of features, with a bootstrap interval.

    Args:
        x: features of the generated pictures (N, D), N >= 4.
        y: features of the true pictures (M, D), M >= 4.
        resamples: of the bootstrap.
        kernel: by default that of KID.
    """
    if min(len(x), len(y)) < 4:
        raise ValueError(f"an interval needs four pictures of each kind, not {len(x)} and {len(y)}")
    value, changes = mmd(x, y, kernel), bootstrap(x, y, resamples, kernel)
    low, high = (value - changes.quantile(share).item() for share in (0.975, 0.025))
    return KID(value, low, high, changes.std().item(), len(x), len(y))


def bootstrap(x: Tensor, y: Tensor, resamples: int = RESAMPLES, kernel: Kernel = kernel) -> Tensor:
    """Return KID* - KID for each resample of x (N, D) and y (M, D): (resamples,)."""
    (n, m), rng = (len(x), len(y)), torch.Generator().manual_seed(len(x))
    within_x, within_y, across = kernel(x, x), kernel(y, y), kernel(x, y)
    pull_x, pull_y = _row_means(within_x) - across.mean(dim=1), _row_means(within_y) - across.mean(dim=0)
    pairs_x, pairs_y, pairs_xy = _centred_pairs(within_x), _centred_pairs(within_y), _doubly_centred(across)
    noise_x, noise_y, noise_xy = (pairs.square().mean().item() for pairs in (pairs_x, pairs_y, pairs_xy))
    of_pairs = 2 * noise_x / n**2 + 2 * noise_y / m**2 + 4 * noise_xy / (n * m)
    of_pulls = 4 * pull_x.var().item() / n + 4 * pull_y.var().item() / m
    own = of_pulls - 4 * (noise_x / n + noise_xy / m) / n - 4 * (noise_y / m + noise_xy / n) / m
    w, v = _weights(n, resamples, rng), _weights(m, resamples, rng)
    linear = 2 * (w @ pull_x) / n + 2 * (v @ pull_y) / m
    paired = ((w @ pairs_x) * w).sum(dim=1) / n**2 + ((v @ pairs_y) * v).sum(dim=1) / m**2
    paired = paired - 2 * ((w @ pairs_xy) * v).sum(dim=1) / (n * m)
    # An unbiased estimate of a variance that is 0 can be negative, so `own` may be below 0.
    changes = (max(0.0, own) / of_pulls) ** 0.5 * linear + paired if of_pulls > 0 else paired
    return changes * (max(of_pairs / 2, of_pairs + min(0.0, own)) / of_pairs) ** 0.5 if of_pairs > 0 else changes


def _weights(count: int, resamples: int, rng: torch.Generator) -> Tensor:
    """Return multinomial counts less 1: (resamples, count)."""
    drawn = torch.randint(count, (resamples, count), generator=rng)
    counts = torch.zeros(resamples, count, dtype=torch.float64)
    return counts.scatter_add_(1, drawn, torch.ones_like(drawn).double()) - 1


def _row_means(within: Tensor) -> Tensor:
    """Return the mean of k of each with all others: (N,)."""
    return (within.sum(dim=1) - within.diagonal()) / (len(within) - 1)


def _centred_pairs(within: Tensor) -> Tensor:
    """Return k within one set, centred in both arguments, with a diagonal of zeros: (N, N)."""
    n, means = len(within), _row_means(within)
    pull = (means - means.mean()) * (n - 1) / (n - 2)
    pairs = within - means.mean() - pull[:, None] - pull
    return pairs.fill_diagonal_(0)


def _doubly_centred(across: Tensor) -> Tensor:
    """Return k across two sets, centred in both arguments: (N, M)."""
    return across - across.mean(dim=0) - across.mean(dim=1, keepdim=True) + across.mean()


@dataclass(frozen=True)
class FeatureExtractor:
    """The image tower of a bundle's CLIP.

    Args:
        clip: the network.
        name: of the bundle.
        sha256: of the network's weights.
    """

    clip: CLIP
    name: str
    sha256: str

    @classmethod
    def of(cls, model: Bundle | None = None) -> FeatureExtractor:
        """Return the extractor of a bundle; by default of the model that comes with Sumi."""
        bundle = Bundle.load(default_bundle()) if model is None else model
        clip = bundle.part("clip")
        if not isinstance(clip, CLIP):
            raise SumiError(f"the part clip of {bundle.folder} is a {type(clip).__name__}, not a CLIP")
        return cls(clip, bundle.name, bundle.hashes.get("clip", ""))

    @torch.no_grad()
    def features(self, pictures: Tensor, batch: int = 64) -> Tensor:
        """Return features (N, D) of premultiplied uint8 pictures (N, 4, S, S), resized to the input of CLIP."""
        size = (self.clip.size_px, self.clip.size_px)
        views = (resize(from_levels(some), size).clamp(-1, 1) for some in torch.split(pictures, batch))
        features: Tensor = torch.cat([self.clip.encode_image(view) for view in views]) * self.clip.size**0.5
        return features

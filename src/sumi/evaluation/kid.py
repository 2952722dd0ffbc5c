"""KID: how far pictures are from true ones, by the features of a network that sees both.

    KID = E k(x, x') + E k(y, y') - 2 E k(x, y),    x, x' different pictures drawn, y, y' different true ones
    k(a, b) = (a . b / D + 1)^3

the unbiased estimate of a squared maximum mean discrepancy: 0 on average where the two are alike, so that a figure may
fall below 0. Binkowski et al. 2018, Demystifying MMD GANs, arXiv 1801.01401, section 4.

Our features are CLIP's unit embeddings times sqrt(D), so that k = (cosine + 1)^3. They are not Inception's: the figures
compare with each other and with nobody else's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sumi.bundles import Bundle, default_bundle
from sumi.conditioning import CLIP
from sumi.errors import SumiError
from sumi.pipelines.pixels import from_levels, resize

SUBSETS = 8


@dataclass(frozen=True)
class Kid:
    """A distance; its standard error; how many pictures were drawn, and how many true ones they are held against."""

    value: float
    error: float
    n: int
    num_true: int

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {"kid": round(self.value, 6), "error": round(self.error, 6), "n": self.n, "num_true": self.num_true}


def kernel(a: Tensor, b: Tensor) -> Tensor:
    """k of every a (N, D) with every b (M, D): (N, M), in float64."""
    return (a.double() @ b.double().T / a.shape[1] + 1) ** 3


def mmd(x: Tensor, y: Tensor) -> float:
    """The unbiased squared discrepancy of features x (N, D) and y (M, D), at least two of each."""
    n, m = len(x), len(y)
    if min(n, m) < 2:
        raise ValueError(f"a discrepancy needs two pictures of each kind, not {n} and {m}")
    within_x, within_y = kernel(x, x), kernel(y, y)
    alike = (within_x.sum() - within_x.trace()) / (n * (n - 1)) + (within_y.sum() - within_y.trace()) / (m * (m - 1))
    return float(alike - 2 * kernel(x, y).mean())


def kid(x: Tensor, y: Tensor, subsets: int = SUBSETS) -> Kid:
    """The distance of all of x from all of y, and its error over disjoint subsets of both, taken in turn.

    error: the standard deviation of the subsets' distances over the root of their number; a little too large, since
    all of x and y together know more than the subsets one by one. Each subset needs two rows of both.
    """
    apart = torch.tensor([mmd(x[k::subsets], y[k::subsets]) for k in range(subsets)])
    return Kid(mmd(x, y), float(apart.std() / subsets**0.5), len(x), len(y))


@dataclass(frozen=True)
class Eye:
    """What sees pictures: the CLIP of a bundle. name and sha256 say which."""

    clip: CLIP
    name: str
    sha256: str

    @classmethod
    def of(cls, model: Bundle | None = None) -> Eye:
        """The frozen CLIP of a bundle; by default of the model that comes with Sumi."""
        bundle = Bundle.load(default_bundle()) if model is None else model
        clip = bundle.part("clip")
        if not isinstance(clip, CLIP):
            raise SumiError(f"the clip of {bundle.folder} is no CLIP")
        return cls(clip, bundle.name, bundle.hashes.get("clip", ""))

    @torch.no_grad()
    def features(self, pictures: Tensor, batch: int = 64) -> Tensor:
        """Features (N, D) of premultiplied uint8 pictures (N, 4, S, S) of any size, enlarged to what CLIP looks at."""
        size = (self.clip.size_px, self.clip.size_px)
        views = (resize(from_levels(some), size).clamp(-1, 1) for some in torch.split(pictures, batch))
        features: Tensor = torch.cat([self.clip.encode_image(view) for view in views]) * self.clip.size**0.5
        return features

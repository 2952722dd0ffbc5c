"""A linear codec: the principal components of the squares of an image.

    z_k = u_k^T (square - mean) / s_k,     decoded square = mean + sum_k s_k z_k u_k,     s_k = sqrt(sigma_k) / c

The u_k are the first K eigenvectors of the covariance of all squares of f x f pixels, and sigma_k^2 their eigenvalues.
It is exact where K = channels · f^2, costs one matrix product, and is fitted in seconds. Flat art has few edges, so a
quarter of the numbers of an image holds most of it; the upsampler restores the rest. The square root in s_k stands
between latents of equal variance, where a diffusion model spends as much on a hair as on the whole shape, and pixels,
where it does not see the hair; c makes the mean variance 1.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from sumi.nn import ConfigModule

__all__ = ["PatchPCA"]


class PatchPCA(ConfigModule):
    """Images (B, in_channels, H, W) in [-1, 1] to latents (B, latent_channels, H/factor, W/factor), and back.

    Args:
        in_channels: channels of an image.
        latent_channels: components kept, at most in_channels · factor².
        factor: side of a square in pixels.
    """

    def __init__(self, in_channels: int = 4, latent_channels: int = 64, factor: int = 8) -> None:
        super().__init__()
        self.latent_channels, self.factor = latent_channels, factor
        self.register_buffer("mean", torch.zeros(in_channels))
        self.register_buffer("components", torch.zeros(latent_channels, in_channels * factor**2))
        self.register_buffer("scale", torch.ones(latent_channels))
        self.mean: Tensor
        self.components: Tensor
        self.scale: Tensor

    @torch.no_grad()
    def fit(self, images: Tensor) -> None:
        """Fit the mean, the components and their scale to images (B, in_channels, H, W); some thousands suffice."""
        self.mean.copy_(images.mean(dim=(0, 2, 3)))
        squares = self._squares(images).flatten(0, 2)
        variances, axes = torch.linalg.eigh(squares.T @ squares / len(squares))  # variances ascend
        kept = variances.flip(0)[: self.latent_channels].clamp(min=1e-8)
        self.components.copy_(axes.flip(1)[:, : self.latent_channels].T)
        self.scale.copy_(kept**0.25 * kept.sqrt().mean().sqrt())

    @property
    def deviations(self) -> list[float]:
        """The standard deviation of each channel of the latents of the images that it was fitted to."""
        return [float(one) for one in self.scale / self.scale.square().mean().sqrt()]

    def encode(self, x: Tensor) -> Tensor:
        """Encode x to latents of about unit variance."""
        return (self._squares(x) @ self.components.T / self.scale).permute(0, 3, 1, 2).contiguous()

    def decode(self, z: Tensor) -> Tensor:
        """Decode latents z to images clamped to [-1, 1]."""
        squares = (z.permute(0, 2, 3, 1).float() * self.scale) @ self.components
        folded = squares.permute(0, 3, 1, 2).contiguous()
        return (F.pixel_shuffle(folded, self.factor) + self.mean[:, None, None]).clamp(-1, 1)

    def _squares(self, x: Tensor) -> Tensor:
        """The squares of images, less the mean: (B, H/factor, W/factor, in_channels · factor²), float32."""
        return F.pixel_unshuffle(x.float() - self.mean[:, None, None], self.factor).permute(0, 2, 3, 1)

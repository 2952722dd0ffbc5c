"""The codec protocol, and the identity codec.

    x ≈ decode(encode(x))

A diffusion model learns and draws what `encode` returns, be it pixels or latents.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from sumi.nn import ConfigModule


@runtime_checkable
class Codec(Protocol):
    """A map from images (B, C, H, W) to latents (B, latent_channels, H/factor, W/factor), and back."""

    latent_channels: int
    factor: int

    def encode(self, x: Tensor) -> Tensor:
        """Encode images in [-1, 1] to latents of about unit variance."""
        ...

    def decode(self, z: Tensor) -> Tensor:
        """Decode latents to images clamped to [-1, 1]."""
        ...


class Pixels(ConfigModule):
    """The identity codec, for diffusion over pixels."""

    factor = 1

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.latent_channels = channels

    def encode(self, x: Tensor) -> Tensor:
        """Return x itself."""
        return x

    def decode(self, z: Tensor) -> Tensor:
        """Return z clamped to [-1, 1]."""
        return z.clamp(-1, 1)

"""What a codec is, and the one that changes nothing.

    x ≈ decode(encode(x))

A diffusion model draws what `encode` gives; whether that is pixels or latents is the codec's business alone.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from sumi.nn import ConfigModule


@runtime_checkable
class Codec(Protocol):
    """A signal into something smaller, and back.

    latent_channels, factor: pictures (B, C, H, W) become (B, latent_channels, H/factor, W/factor).
    """

    latent_channels: int
    factor: int

    def encode(self, x: Tensor) -> Tensor:
        """A signal in [-1, 1] as what is stored and drawn, of about unit variance."""
        ...

    def decode(self, z: Tensor) -> Tensor:
        """The inverse, clamped to [-1, 1]."""
        ...


class Pixels(ConfigModule):
    """The codec that changes nothing: a decoder over it draws pixels, as in the paper."""

    factor = 1

    def __init__(self, channels: int = 4) -> None:
        super().__init__()
        self.latent_channels = channels

    def encode(self, x: Tensor) -> Tensor:
        """The signal itself."""
        return x

    def decode(self, z: Tensor) -> Tensor:
        """The signal itself, clamped to [-1, 1]."""
        return z.clamp(-1, 1)

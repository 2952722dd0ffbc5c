"""Degradations: an upsampler is trained on small pictures with errors like those of the decoder.

    low = degrade(small),    the upsampler learns P(large | low)

Ramesh et al. 2022, section 2.1: the first upsampler is trained on blurred pictures, the second on BSR degradations
(Zhang et al. 2021, Designing a Practical Degradation Model for Deep Blind Image Super-Resolution, arXiv
2103.14006): blur, resizing and noise of any strength in any order. JPEG is left out, since it knows no transparency.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from sumi.codecs import Codec
from sumi.conditioning import CLIP
from sumi.diffusion import Denoiser, Schedule
from sumi.nn import Cond

__all__ = ["DecoderDegradation", "DecoderEstimate", "Degrade", "blurred", "bsr_degradation", "sometimes_blurred"]

Degrade = Callable[[Tensor, Generator], Tensor]
"""Small pictures (B, C, S, S) in [-1, 1], and chance, to what an upsampler is shown of them."""

RESIZING = ("area", "bilinear", "bicubic")


def blurred(x: Tensor, sigma: tuple[float, float] = (0.6, 0.6)) -> Tensor:
    """A Gaussian blur of these widths, in pixels, down and across; edges repeated. Three taps suffice below 0.7."""
    reach = max(1, round(2 * max(sigma)))
    place = torch.arange(-reach, reach + 1, device=x.device)
    down, across = (torch.softmax(-0.5 * (place / width) ** 2, dim=0) for width in sigma)
    kernel = torch.outer(down, across).expand(x.shape[1], 1, -1, -1)
    return F.conv2d(F.pad(x, (reach,) * 4, mode="replicate"), kernel, groups=x.shape[1])


def sometimes_blurred(x: Tensor, rng: Generator) -> Tensor:
    """Half of the pictures blurred, three taps of sigma 0.6 (unCLIP, appendix C)."""
    dice = torch.rand(len(x), 1, 1, 1, generator=rng, device=rng.device)
    return torch.where(dice < 0.5, blurred(x), x)


def bsr_degradation(x: Tensor, rng: Generator) -> Tensor:
    """Blurred, made smaller and large again, and noisy, in an order and by methods that are the batch's own."""
    for number in torch.randperm(3, generator=rng, device=rng.device).tolist():
        x = (_smeared, _resized, _noisy)[number](x, rng)
    return x


def _dice(rng: Generator, *shape: int) -> Tensor:
    return torch.rand(*shape, generator=rng, device=rng.device)


def _smeared(x: Tensor, rng: Generator) -> Tensor:
    down, across = (0.2 + 1.0 * _dice(rng, 2)).tolist()
    return blurred(x, (down, across))


def _resized(x: Tensor, rng: Generator) -> Tensor:
    share, down, up = _dice(rng, 3).tolist()
    side = max(1, round(x.shape[-1] * (0.5 + 0.5 * share)))
    small = _at(x, side, RESIZING[int(len(RESIZING) * down)])
    return _at(small, x.shape[-1], RESIZING[int(len(RESIZING) * up)])


def _at(x: Tensor, side: int, mode: str) -> Tensor:
    return F.interpolate(x, size=(side, side), mode=mode)


def _noisy(x: Tensor, rng: Generator) -> Tensor:
    level = 0.1 * _dice(rng, len(x), 1, 1, 1)
    return x + level * torch.randn(x.shape, generator=rng, device=rng.device)


@dataclass(frozen=True)
class DecoderDegradation:
    """What an upsampler meets in use: a third sharp or blurred, the rest through the codec, as a decoder leaves it.

    Of the latents, half are moved by noise of up to `noise` standard deviations. The others are noised up to time
    `redraw` and estimated again by the decoder, told what CLIP sees in the picture: they keep their places and take on
    the decoder's own faults. A little pixel noise is added to every picture.

    Args:
        codec: The codec in whose latents the decoder draws.
        redraw: Latents (B, C, h, w), their pictures and chance to the decoder's estimate of them; None to skip it.
        noise: The largest deviation of the noise on latents, of about unit variance.
    """

    codec: Codec
    redraw: Callable[[Tensor, Tensor, Generator], Tensor] | None = None
    noise: float = 0.4

    @torch.no_grad()
    def __call__(self, small: Tensor, rng: Generator) -> Tensor:
        """Degrade pictures (B, C, S, S) of the size that the codec's decoder draws."""
        dice = _dice(rng, len(small), 1, 1, 1)
        z = self.codec.encode(small)
        noise = self.noise * _dice(rng, len(small), 1, 1, 1)
        z_off = z + noise * torch.randn(z.shape, generator=rng, device=rng.device)
        if self.redraw is not None:
            z_off = torch.where(dice < 0.65, z_off, self.redraw(z, small, rng).to(z_off.dtype))
        coded = self.codec.decode(z_off)
        degraded = torch.where(dice < 0.25, small, torch.where(dice < 0.35, blurred(small), coded))
        level = 0.03 * _dice(rng, len(small), 1, 1, 1)
        return degraded + level * torch.randn(small.shape, generator=rng, device=rng.device)


@dataclass(frozen=True)
class DecoderEstimate:
    """Latents noised to a time in [0, max_t], and the decoder's estimate of them from what CLIP sees in the picture."""

    denoiser: Denoiser[Cond]
    schedule: Schedule
    clip: CLIP
    max_t: float = 0.5

    @torch.no_grad()
    def __call__(self, z: Tensor, picture: Tensor, rng: Generator) -> Tensor:
        """Return the estimate of latents z (B, C, h, w) of a picture (B, 4, S, S)."""
        t = self.max_t * _dice(rng, len(z))
        z_t = self.schedule(t).add_noise(z, torch.randn(z.shape, generator=rng, device=rng.device))
        z_i = self.clip.encode_image(picture).float()
        text = self.clip.text.config
        words = torch.zeros(len(z), int(text["context"]), int(text["width"]), device=z.device)
        return self.denoiser(z_t, t, Cond(torch.cat([z_i, torch.zeros_like(z_i)], dim=1), words)).mean

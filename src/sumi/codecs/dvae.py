"""The discrete VAE of DALL-E: an image as a grid of tokens, trained with the Gumbel-softmax relaxation.

    loss = -E log p(x | softmax((logits + gumbel) / tau)) + weight KL(q || uniform)
    p(y) = exp(-|logit(y) - mu| / b) / (2 b y (1 - y)),    y = (1 - 2 eps) x + eps,  eps = 0.1

Ramesh et al. 2021, arXiv 2102.12092, sec. 2.1 and appendix A (the logit-Laplace distribution, whose support is the
interval of the pixels); relaxation: Jang et al. 2017, arXiv 1611.01144. As tau falls, the relaxed sample becomes
one-hot. Deviations: ln b is clamped to -5, about half a level of eight bits, because flat colours repeat exactly and
the density of a constant is unbounded; tau and the KL weight follow fractions of the run, not fixed numbers of steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from sumi.codecs.vqvae import perplexity
from sumi.nn import ConfigModule
from sumi.nn.conv_codec import build_decoder, build_encoder

__all__ = ["DVAE", "gumbel_softmax", "kl_to_uniform", "logit_laplace", "map_pixels", "unmap_pixels"]

EPSILON = 0.1
MIN_LOG_B = -5.0
MIN_TAU = 1 / 16


def map_pixels(x: Tensor) -> Tensor:
    """Map pixels in [0, 1] to [EPSILON, 1 - EPSILON], where logits are bounded."""
    return (1 - 2 * EPSILON) * x + EPSILON


def unmap_pixels(y: Tensor) -> Tensor:
    """Invert `map_pixels`, clamped to [0, 1]."""
    return ((y - EPSILON) / (1 - 2 * EPSILON)).clamp(0, 1)


def logit_laplace(y: Tensor, mu: Tensor, log_b: Tensor) -> Tensor:
    """Compute the log-density at y in (0, 1) of a number whose logit is Laplace(mu, exp(log_b)) (appendix A, eq. 2)."""
    distance = (torch.logit(y) - mu).abs() * torch.exp(-log_b)
    return -distance - math.log(2) - log_b - torch.log(y) - torch.log1p(-y)


def gumbel_softmax(logits: Tensor, tau: float, rng: Generator) -> Tensor:
    """Sample softmax((logits + gumbel) / tau) along dim 1 of logits (B, K, h, w), float32."""
    exponentials = torch.empty(logits.shape, device=rng.device, dtype=torch.float32).exponential_(generator=rng)
    return ((logits.float() - exponentials.to(logits.device).log()) / tau).softmax(dim=1)


def kl_to_uniform(logits: Tensor) -> Tensor:
    """Compute KL(softmax(logits) || uniform) along dim 1 in nats: 0 for uniform, log K for certain."""
    log_q = logits.float().log_softmax(dim=1)
    return (log_q.exp() * log_q).sum(dim=1) + math.log(logits.shape[1])


class DVAE(ConfigModule):
    """Images (B, in_channels, H, W) in [-1, 1] to tokens (B, H/f, W/f) in 0 … codes - 1, and back.

    Args:
        in_channels: channels of an image.
        channels: channels of each level, finest first; f = patch · 2^(levels - 1).
        blocks: residual blocks of each level.
        codes: number of tokens.
        patch: side of the pixel squares that the first layer folds into channels.
        kl_weight: weight of an image's KL against its log-density, after the first tenth of training (paper: 6.6).
    """

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int],
        blocks: Sequence[int],
        codes: int,
        patch: int = 2,
        kl_weight: float = 6.6,
    ) -> None:
        super().__init__()
        self.codes, self.factor, self.kl_weight = codes, patch * 2 ** (len(channels) - 1), kl_weight
        self.encoder = build_encoder(in_channels, channels, blocks, patch, codes)
        self.decoder = build_decoder(codes, channels, blocks, patch, 2 * in_channels)
        # Logits and code embeddings start large, so that tokens are distinct; from small ones, few codes come into use.
        for layer, std in ((self.encoder[-1], 4 / channels[-1] ** 0.5), (self.decoder[0], 1.0)):
            assert isinstance(layer, nn.Conv2d)
            nn.init.normal_(layer.weight, std=std)

    def encode(self, x: Tensor) -> Tensor:
        """Encode images to their most probable tokens, int64 (B, H/f, W/f)."""
        return self.encoder(x).argmax(dim=1)  # type: ignore[no-any-return]

    def decode(self, tokens: Tensor) -> Tensor:
        """Decode tokens (B, H/f, W/f) to the median images, in [-1, 1]."""
        mu, _ = self.pixel_distribution(F.one_hot(tokens, self.codes).movedim(-1, 1).float())
        return 2 * unmap_pixels(torch.sigmoid(mu)) - 1

    def pixel_distribution(self, shares: Tensor) -> tuple[Tensor, Tensor]:
        """Map shares of the codes (B, codes, h, w) to mu and ln b of the pixels, each (B, in_channels, H, W)."""
        mu, log_b = self.decoder(shares).float().chunk(2, dim=1)
        return mu, log_b.clamp(min=MIN_LOG_B)

    def losses(self, x: Tensor, rng: Generator, progress: float = 0.0) -> dict[str, Tensor]:
        """Compute the training loss of a batch.

        Args:
            x: images in [-1, 1], (B, in_channels, H, W).
            rng: generator of the Gumbel noise.
            progress: fraction of the training run, 0 to 1. tau falls from 1 to 1/16 over the first three quarters,
                linearly in its logarithm; the KL weight rises over the first tenth.

        Returns:
            Scalars: "loss" (nats a dimension), "surprise" (-log p of the pixels), "kl" (nats an image), "pixels" (mean
            squared error) and "perplexity" (of the tokens).
        """
        logits = self.encoder(x).float()
        tau = MIN_TAU ** min(1.0, progress / 0.75)
        mu, log_b = self.pixel_distribution(gumbel_softmax(logits, tau, rng))
        surprise = -logit_laplace(map_pixels((x + 1) / 2), mu, log_b).mean()
        kl = kl_to_uniform(logits).sum(dim=(1, 2)).mean()
        weight = self.kl_weight * min(1.0, progress / 0.1)
        mse = (2 * unmap_pixels(torch.sigmoid(mu.detach())) - 1 - x).square().mean()
        return {
            "loss": surprise + weight * kl / x[0].numel(),
            "surprise": surprise.detach(),
            "kl": kl.detach(),
            "pixels": mse,
            "perplexity": perplexity(logits.detach().argmax(dim=1), self.codes),
        }

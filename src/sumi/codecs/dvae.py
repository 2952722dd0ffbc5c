"""The discrete VAE of DALL-E: a picture as a grid of words, chosen by a relaxed throw of dice.

    loss = -E log p(x | softmax((logits + gumbel) / tau)) + weight KL(q || uniform)
    p(y) = exp(-|logit(y) - mu| / b) / (2 b y (1 - y)),    y = (1 - 2 eps) x + eps,  eps = 0.1

Ramesh et al. 2021, arXiv 2102.12092, section 2.1 and appendix A (the logit-Laplace distribution, which lives on the
interval that pixels live on); the relaxation is of Jang et al. 2017, arXiv 1611.01144. As tau falls the relaxed throw
becomes a choice. Deviations: ln b is kept above -5, about half a level of eight bits, since flat colours repeat exactly
and a density of them has no bound; tau and the weight move over fractions of the run, not over fixed counts of steps.
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

EPSILON = 0.1
LEAST_LOG_B = -5.0
COLDEST = 1 / 16


def map_pixels(x: Tensor) -> Tensor:
    """Pixels in [0, 1] into [EPSILON, 1 - EPSILON], away from where a logit has no bound."""
    return (1 - 2 * EPSILON) * x + EPSILON


def unmap_pixels(y: Tensor) -> Tensor:
    """The inverse of `map_pixels`, clamped to [0, 1]."""
    return ((y - EPSILON) / (1 - 2 * EPSILON)).clamp(0, 1)


def logit_laplace(y: Tensor, mu: Tensor, log_b: Tensor) -> Tensor:
    """The log-density at y in (0, 1) of a number whose logit is Laplace(mu, exp(log_b)) (appendix A, eq. 2)."""
    distance = (torch.logit(y) - mu).abs() * torch.exp(-log_b)
    return -distance - math.log(2) - log_b - torch.log(y) - torch.log1p(-y)


def gumbel_softmax(logits: Tensor, tau: float, rng: Generator) -> Tensor:
    """Shares along dim 1 of logits (B, K, h, w): softmax((logits + gumbel) / tau), float32."""
    waits = torch.empty(logits.shape, device=rng.device, dtype=torch.float32).exponential_(generator=rng)
    return ((logits.float() - waits.to(logits.device).log()) / tau).softmax(dim=1)


def kl_to_uniform(logits: Tensor) -> Tensor:
    """KL(softmax(logits) || uniform) along dim 1, in nats: 0 if undecided, log K if certain."""
    log_q = logits.float().log_softmax(dim=1)
    return (log_q.exp() * log_q).sum(dim=1) + math.log(logits.shape[1])


class DVAE(ConfigModule):
    """Pictures (B, in_channels, H, W) in [-1, 1] ↔ tokens (B, H/f, W/f) in 0 … codes - 1.

    channels, blocks: one entry per level, finest first; f = patch · 2^(levels - 1). kl_weight: of a picture's KL
    against its log-density, once it has risen over the first tenth of training; the paper's is 6.6.
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
        # Words begin decided and distinct; from near silence, few would ever be spoken.
        for layer, std in ((self.encoder[-1], 4 / channels[-1] ** 0.5), (self.decoder[0], 1.0)):
            assert isinstance(layer, nn.Conv2d)
            nn.init.normal_(layer.weight, std=std)

    def encode(self, x: Tensor) -> Tensor:
        """The likeliest tokens of pictures, int64."""
        return self.encoder(x).argmax(dim=1)  # type: ignore[no-any-return]

    def decode(self, tokens: Tensor) -> Tensor:
        """The median pictures of tokens, in [-1, 1]."""
        mu, _ = self.drawn(F.one_hot(tokens, self.codes).movedim(-1, 1).float())
        return 2 * unmap_pixels(torch.sigmoid(mu)) - 1

    def drawn(self, shares: Tensor) -> tuple[Tensor, Tensor]:
        """Shares of the codes (B, codes, h, w) to mu and ln b, each (B, in_channels, H, W)."""
        mu, log_b = self.decoder(shares).float().chunk(2, dim=1)
        return mu, log_b.clamp(min=LEAST_LOG_B)

    def losses(self, x: Tensor, rng: Generator, progress: float = 0.0) -> dict[str, Tensor]:
        """The loss of pictures x, nats a dimension, with its parts, and how much of the book they use.

        progress: how far training is, 0 to 1. tau falls from 1 to 1/16 over the first three quarters, in its
        logarithm; the KL's weight rises over the first tenth.
        """
        logits = self.encoder(x).float()
        tau = COLDEST ** min(1.0, progress / 0.75)
        mu, log_b = self.drawn(gumbel_softmax(logits, tau, rng))
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

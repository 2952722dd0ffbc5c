"""VQ-VAE: a picture as a grid of words, each the nearest of a learned book of codes.

    k = argmin_j |z - e_j|,    loss = |x - decode(z + sg(e_k - z))|^2 + commitment |z - sg(e_k)|^2

van den Oord et al. 2017, arXiv 1711.00937, eq. 1-3: the gradient passes the choice as if it were not there
(straight-through), and each code follows the mean of what chose it, N_k <- g N_k + (1 - g) n_k and
e_k <- (g N_k e_k + (1 - g) sum z) / N_k (appendix A.1). A code that nobody chooses takes the place of something seen
just now (Dhariwal et al. 2020, arXiv 2005.00341, section 3), and so does every code at the beginning.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from sumi.nn import ConfigModule
from sumi.nn.conv_codec import build_decoder, build_encoder

DEAD_SHARE = 0.05
"""A code is dead when it is chosen less often than this share of what would be even."""


def perplexity(tokens: Tensor, codes: int) -> Tensor:
    """exp of the entropy of how often each of `codes` is used: 1 if it is always one, `codes` if all alike."""
    share = torch.bincount(tokens.flatten(), minlength=codes).double() / tokens.numel()
    entropy: Tensor = torch.special.entr(share).sum()
    return entropy.exp().float()


class VQVAE(ConfigModule):
    """Pictures (B, in_channels, H, W) in [-1, 1] ↔ tokens (B, H/f, W/f) in 0 … codes - 1.

    channels, blocks: one entry per level, finest first; f = patch · 2^(levels - 1). width: of a code. decay: of the
    codes' running means.
    """

    def __init__(
        self,
        in_channels: int,
        channels: Sequence[int],
        blocks: Sequence[int],
        codes: int,
        width: int,
        patch: int = 2,
        commitment: float = 0.25,
        decay: float = 0.99,
    ) -> None:
        super().__init__()
        self.codes, self.factor = codes, patch * 2 ** (len(channels) - 1)
        self.commitment, self.decay = commitment, decay
        self.encoder = build_encoder(in_channels, channels, blocks, patch, width)
        self.decoder = build_decoder(width, channels, blocks, patch, in_channels)
        self.register_buffer("codebook", torch.zeros(codes, width))
        self.register_buffer("counts", torch.zeros(codes))
        self.codebook: Tensor
        self.counts: Tensor

    def encode(self, x: Tensor) -> Tensor:
        """The tokens of pictures, int64."""
        return self.nearest(self.encoder(x).float())

    def decode(self, tokens: Tensor) -> Tensor:
        """The pictures of tokens, clamped to [-1, 1]."""
        return self.decoder(self.look_up(tokens)).float().clamp(-1, 1)  # type: ignore[no-any-return]

    @torch.no_grad()
    def nearest(self, z: Tensor) -> Tensor:
        """The code nearest to each place of z (B, width, h, w), int64 (B, h, w)."""
        with torch.autocast(z.device.type, enabled=False):  # a nearest code must not hang on bfloat16
            distance = self.codebook.square().sum(dim=1) - 2 * z.movedim(1, -1) @ self.codebook.T
        return distance.argmin(dim=-1)

    def look_up(self, tokens: Tensor) -> Tensor:
        """The codes of tokens (B, h, w), (B, width, h, w)."""
        return self.codebook[tokens].movedim(-1, 1)

    def losses(self, x: Tensor, rng: Generator, progress: float = 0.0) -> dict[str, Tensor]:
        """The loss of pictures x with its parts, and how much of the book they use; moves the book in training.

        progress: how far training is, 0 to 1; it makes no difference here.
        """
        z = self.encoder(x).float()
        if self.training:
            self.revive(z.detach(), rng)
        tokens = self.nearest(z)
        chosen = self.look_up(tokens)
        pixels = F.mse_loss(self.decoder(straight_through(z, chosen)).float(), x)
        commitment = F.mse_loss(z, chosen)
        if self.training:
            self.follow(z.detach(), tokens)
        return {
            "loss": pixels + self.commitment * commitment,
            "pixels": pixels.detach(),
            "commitment": commitment.detach(),
            "perplexity": perplexity(tokens, self.codes),
        }

    @torch.no_grad()
    def follow(self, z: Tensor, tokens: Tensor) -> None:
        """Move every code towards the mean of the places of z (B, width, h, w) that chose it."""
        places, chosen = z.movedim(1, -1).flatten(0, 2), tokens.flatten()
        sums = torch.zeros_like(self.codebook).index_add_(0, chosen, places)
        counts = torch.bincount(chosen, minlength=self.codes).to(self.counts)
        total = self.decay * self.counts + (1 - self.decay) * counts
        moved = self.codebook * (self.decay * self.counts)[:, None] + (1 - self.decay) * sums
        self.codebook.copy_(torch.where((total > 0)[:, None], moved / total.clamp(min=1e-12)[:, None], self.codebook))
        self.counts.copy_(total)

    @torch.no_grad()
    def revive(self, z: Tensor, rng: Generator) -> None:
        """Put every dead code onto a place of z (B, width, h, w) drawn at random, as if evenly chosen until now."""
        places = z.movedim(1, -1).flatten(0, 2)
        drawn = torch.randint(len(places), (self.codes,), generator=rng, device=rng.device).to(z.device)
        even = len(places) / self.codes
        dead = self.counts < DEAD_SHARE * even
        self.codebook.copy_(torch.where(dead[:, None], places[drawn], self.codebook))
        self.counts.copy_(torch.where(dead, torch.full_like(self.counts, even), self.counts))


def straight_through(z: Tensor, chosen: Tensor) -> Tensor:
    """The chosen codes, with the gradient going to z as if nothing had been chosen."""
    return z + (chosen - z).detach()

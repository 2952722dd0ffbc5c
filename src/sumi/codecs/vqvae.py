"""VQ-VAE: an image as a grid of tokens, each the index of the nearest vector in a learned codebook.

    k = argmin_j |z - e_j|,    loss = |x - decode(z + sg(e_k - z))|^2 + commitment |z - sg(e_k)|^2

van den Oord et al. 2017, arXiv 1711.00937, eq. 1-3. The gradient passes the quantisation unchanged (straight-through),
and each code follows the mean of the vectors assigned to it, N_k <- g N_k + (1 - g) n_k and
e_k <- (g N_k e_k + (1 - g) sum z) / N_k (appendix A.1). A dead code is replaced by a vector of the batch (Dhariwal et
al. 2020, Jukebox, arXiv 2005.00341, sec. 3), and so is every code at the start.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from sumi.nn import ConfigModule
from sumi.nn.conv_codec import build_decoder, build_encoder

DEAD_SHARE = 0.05
"""A code is dead when it is used less than this fraction of an even use of all codes."""


def perplexity(tokens: Tensor, codes: int) -> Tensor:
    """Compute exp(entropy) of the use of `codes` codes: 1 if all tokens are equal, `codes` if all are used evenly."""
    share = torch.bincount(tokens.flatten(), minlength=codes).double() / tokens.numel()
    entropy: Tensor = torch.special.entr(share).sum()
    return entropy.exp().float()


class VQVAE(ConfigModule):
    """Images (B, in_channels, H, W) in [-1, 1] to tokens (B, H/f, W/f) in 0 … codes - 1, and back.

    Args:
        in_channels: channels of an image.
        channels: channels of each level, finest first; f = patch · 2^(levels - 1).
        blocks: residual blocks of each level.
        codes: number of codes.
        width: dimensions of a code.
        patch: side of the pixel squares that the first layer folds into channels.
        commitment: weight of the commitment loss.
        decay: g, of the running means of the codes.
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
        """Encode images to tokens, int64 (B, H/f, W/f)."""
        return self.nearest_codes(self.encoder(x).float())

    def decode(self, tokens: Tensor) -> Tensor:
        """Decode tokens (B, H/f, W/f) to images clamped to [-1, 1]."""
        return self.decoder(self.look_up(tokens)).float().clamp(-1, 1)  # type: ignore[no-any-return]

    @torch.no_grad()
    def nearest_codes(self, z: Tensor) -> Tensor:
        """Find the code nearest to each vector of z (B, width, h, w), int64 (B, h, w)."""
        with torch.autocast(z.device.type, enabled=False):  # bfloat16 would change which code is nearest
            distance = self.codebook.square().sum(dim=1) - 2 * z.movedim(1, -1) @ self.codebook.T
        return distance.argmin(dim=-1)

    def look_up(self, tokens: Tensor) -> Tensor:
        """Look up the codes of tokens (B, h, w), as (B, width, h, w)."""
        return self.codebook[tokens].movedim(-1, 1)

    def losses(self, x: Tensor, rng: Generator, progress: float = 0.0) -> dict[str, Tensor]:
        """Compute the training loss of a batch; in training mode, also update the codebook.

        Args:
            x: images in [-1, 1], (B, in_channels, H, W).
            rng: generator that replaces dead codes.
            progress: unused; the signature is that of `DVAE.losses`.

        Returns:
            Scalars: "loss", "pixels" (mean squared error), "commitment" and "perplexity" (of the tokens).
        """
        z = self.encoder(x).float()
        if self.training:
            self.revive_dead_codes(z.detach(), rng)
        tokens = self.nearest_codes(z)
        chosen = self.look_up(tokens)
        pixels = F.mse_loss(self.decoder(straight_through(z, chosen)).float(), x)
        commitment = F.mse_loss(z, chosen)
        if self.training:
            self.update_codebook(z.detach(), tokens)
        return {
            "loss": pixels + self.commitment * commitment,
            "pixels": pixels.detach(),
            "commitment": commitment.detach(),
            "perplexity": perplexity(tokens, self.codes),
        }

    @torch.no_grad()
    def update_codebook(self, z: Tensor, tokens: Tensor) -> None:
        """Move every code towards the mean of the vectors of z (B, width, h, w) whose tokens (B, h, w) it is."""
        vectors, chosen = z.movedim(1, -1).flatten(0, 2), tokens.flatten()
        sums = torch.zeros_like(self.codebook).index_add_(0, chosen, vectors)
        counts = torch.bincount(chosen, minlength=self.codes).to(self.counts)
        total = self.decay * self.counts + (1 - self.decay) * counts
        moved = self.codebook * (self.decay * self.counts)[:, None] + (1 - self.decay) * sums
        self.codebook.copy_(torch.where((total > 0)[:, None], moved / total.clamp(min=1e-12)[:, None], self.codebook))
        self.counts.copy_(total)

    @torch.no_grad()
    def revive_dead_codes(self, z: Tensor, rng: Generator) -> None:
        """Replace every dead code by a random vector of z (B, width, h, w), with the count of an even use."""
        vectors = z.movedim(1, -1).flatten(0, 2)
        drawn = torch.randint(len(vectors), (self.codes,), generator=rng, device=rng.device).to(z.device)
        even = len(vectors) / self.codes
        dead = self.counts < DEAD_SHARE * even
        self.codebook.copy_(torch.where(dead[:, None], vectors[drawn], self.codebook))
        self.counts.copy_(torch.where(dead, torch.full_like(self.counts, even), self.counts))


def straight_through(z: Tensor, chosen: Tensor) -> Tensor:
    """Return the chosen codes, with the gradient passed to z unchanged."""
    return z + (chosen - z).detach()

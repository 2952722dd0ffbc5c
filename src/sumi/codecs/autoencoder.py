"""The KL autoencoder: an image to a small grid of latents, and back.

The encoder predicts a mean and a log-variance of each latent, the decoder regresses the image from a sample of them,
and a light Kullback-Leibler term keeps the latents smooth (Kingma and Welling 2014, arXiv 1312.6114; Rombach et al.
2022, arXiv 2112.10752, sec. 3.1):

    loss = |x - decode(z)| + weight · KL(N(mean, var) || N(0, 1)),   z = mean + sqrt(var)·eps
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sumi.nn import ConfigModule
from sumi.nn.unet import Downsample, ResBlock, Upsample, norm, to_channels_last


class Autoencoder(ConfigModule):
    """Images (B, in_channels, H, W) in [-1, 1] to latents (B, latent_channels, H/f, W/f), and back.

    The latents have about unit variance.

    Args:
        in_channels: channels of an image.
        latent_channels: channels of the latents.
        channels: channels of each level, finest first; f = patch · 2^(levels - 1).
        blocks: residual blocks of each level of the encoder.
        decoder_blocks: residual blocks of each level of the decoder.
        patch: side of the pixel squares that the first layer folds into channels.
    """

    def __init__(
        self,
        in_channels: int,
        latent_channels: int,
        channels: Sequence[int],
        blocks: Sequence[int],
        decoder_blocks: Sequence[int],
        patch: int = 2,
    ) -> None:
        super().__init__()
        self.patch, self.latent_channels = patch, latent_channels
        self.factor = patch * 2 ** (len(channels) - 1)
        encoder: list[nn.Module] = [nn.Conv2d(in_channels * patch**2, channels[0], 3, padding=1)]
        for level, count in enumerate(blocks):
            if level:
                encoder.append(Downsample(channels[level - 1], channels[level]))
            encoder += [ResBlock(channels[level], channels[level]) for _ in range(count)]
        encoder += [norm(channels[-1]), nn.SiLU(), nn.Conv2d(channels[-1], 2 * latent_channels, 3, padding=1)]
        decoder: list[nn.Module] = [nn.Conv2d(latent_channels, channels[-1], 3, padding=1)]
        for level in reversed(range(len(channels))):
            decoder += [ResBlock(channels[level], channels[level]) for _ in range(decoder_blocks[level])]
            if level:
                decoder.append(Upsample(channels[level], channels[level - 1]))
        decoder += [
            norm(channels[0]),
            nn.SiLU(),
            nn.Conv2d(channels[0], in_channels * patch**2, 3, padding=1),
        ]
        self.encoder, self.decoder = nn.Sequential(*encoder), nn.Sequential(*decoder)
        self.register_buffer("latent_mean", torch.zeros(latent_channels))
        self.register_buffer("latent_std", torch.ones(latent_channels))
        self.latent_mean: Tensor
        self.latent_std: Tensor
        to_channels_last(self)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Predict the mean and the log-variance of the raw latents of x, each (B, latent_channels, H/f, W/f)."""
        folded = F.pixel_unshuffle(x, self.patch).contiguous(memory_format=torch.channels_last)
        mean, logvar = self.encoder(folded).float().chunk(2, dim=1)
        return mean, logvar.clamp(-12.0, 4.0)

    def decode_raw(self, raw: Tensor) -> Tensor:
        """Decode raw latents to images (B, in_channels, H, W), unclamped."""
        folded = self.decoder(raw.contiguous(memory_format=torch.channels_last))
        # Contiguous first: for channels_last torch shuffles with FBGEMM, which fails on a Linux without /proc.
        return F.pixel_shuffle(folded.contiguous(), self.patch)

    def encode(self, x: Tensor) -> Tensor:
        """Encode x to latents, normalised by the statistics that are stored with the weights."""
        raw, _ = self.posterior(x)
        return (raw - self.latent_mean[:, None, None]) / self.latent_std[:, None, None]

    def decode(self, z: Tensor) -> Tensor:
        """Decode normalised latents z to images clamped to [-1, 1]."""
        return self.decode_raw(z * self.latent_std[:, None, None] + self.latent_mean[:, None, None]).clamp(-1, 1)

    @torch.no_grad()
    def fit_latent_stats(self, pictures: Sequence[Tensor]) -> None:
        """Set the mean and standard deviation of each latent channel, which `encode` uses, from batches of images."""
        raw = torch.cat([self.posterior(x)[0] for x in pictures])
        self.latent_mean.copy_(raw.mean(dim=(0, 2, 3)))
        self.latent_std.copy_(raw.std(dim=(0, 2, 3)).clamp(min=1e-4))


def autoencoder_loss(model: Autoencoder, x: Tensor, rng: torch.Generator, kl_weight: float) -> dict[str, Tensor]:
    """Compute the training loss of a batch.

    Args:
        model: the autoencoder.
        x: images in [-1, 1], (B, C, H, W).
        rng: generator of the latents' noise.
        kl_weight: weight of the KL term.

    Returns:
        Scalars: "loss" = pixels + edges / 2 + kl_weight · kl, where edges compares the differences of neighbours at
        full and half size; "pixels" (L1), "kl" (nats a latent) and "psnr" (the median, dB).
    """
    mean, logvar = model.posterior(x)
    eps = torch.randn(mean.shape, generator=rng, device=rng.device, dtype=torch.float32).to(mean.device)
    decoded = model.decode_raw(mean + (0.5 * logvar).exp() * eps).float()
    pixels = (decoded - x).abs().mean()
    edges = _edge_distance(decoded, x) + _edge_distance(F.avg_pool2d(decoded, 2), F.avg_pool2d(x, 2))
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
    mse = (decoded.detach().clamp(-1, 1) - x).square().mean(dim=(1, 2, 3))
    psnr = (10 * torch.log10(4 / mse.clamp(min=1e-8))).median()
    return {"loss": pixels + 0.5 * edges + kl_weight * kl, "pixels": pixels, "kl": kl, "psnr": psnr}


def _edge_distance(a: Tensor, b: Tensor) -> Tensor:
    """The L1 distance between the horizontal and vertical differences of two images, which soft edges raise."""
    difference = a - b
    return difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()

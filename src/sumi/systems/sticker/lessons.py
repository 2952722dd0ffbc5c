"""What each stage of the sticker model learns: its batch, its loss, and a sheet of samples to look at.

Order matters: the codec and CLIP learn from pictures (and captions); the prior and the decoder learn from what
those two, frozen, make of the same pictures, computed once; the upsampler learns from pairs of sizes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sumi.codecs import Autoencoder, Codec, autoencoder_loss
from sumi.conditioning import CLIP, sigmoid_loss, softmax_loss
from sumi.diffusion import (
    DenoisingLoss,
    DPMSolver2M,
    NetworkDenoiser,
    Schedule,
    Target,
    guide,
    sample,
    seeded,
    uniform_times,
)
from sumi.nn import Cond, PriorNetwork
from sumi.training import Batch

Arrays = Any  # numpy arrays, in memory or mapped: (N, …)


def to_signal(pictures: Tensor) -> Tensor:
    """uint8 pictures (B, 4, S, S) as a signal in [-1, 1]."""
    return pictures.float() / 127.5 - 1


def to_picture(signal: Tensor) -> Tensor:
    """A signal in [-1, 1] as uint8, its colours kept within their alpha."""
    levels = ((signal.float().clamp(-1, 1) + 1) * 127.5).round()
    colours, alpha = levels[:, :3], levels[:, 3:]
    return torch.cat([torch.minimum(colours, alpha), alpha], dim=1).to(torch.uint8)


def sheet(rows: Sequence[Tensor]) -> Tensor:
    """Rows of uint8 pictures (B, 4, S, S) as one picture (4, rows·S, B·S)."""
    return torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)


def take(array: Arrays, indices: Tensor, device: torch.device) -> Tensor:
    """Rows of an array as a tensor on the device of training."""
    return torch.from_numpy(np.ascontiguousarray(array[indices.numpy()])).to(device)


def dropped(x: Tensor, chance: float, rng: torch.Generator) -> Tensor:
    """Zero whole rows at random: the silence that guidance later leans away from."""
    keep = torch.rand(len(x), generator=rng, device=rng.device) >= chance
    return x * keep.view(-1, *[1] * (x.dim() - 1)).to(x.dtype)


@dataclass(frozen=True)
class CodecLesson:
    """Regress the picture through a narrow grid of latents."""

    model: Autoencoder
    pictures: Arrays
    kl_weight: float = 1e-4
    name: str = "codec"

    def __len__(self) -> int:
        """How many pictures."""
        return len(self.pictures)

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """L1 of pixels and edges, and a light KL."""
        assert isinstance(model, Autoencoder)
        x = to_signal(take(self.pictures, batch.indices, batch.rng.device))
        return autoencoder_loss(model, x, batch.rng, self.kl_weight)

    @torch.no_grad()
    def picture(self, model: nn.Module) -> Tensor:
        """Pictures above, their reconstructions below."""
        assert isinstance(model, Autoencoder)
        some = torch.linspace(0, len(self) - 1, 12).long()
        device = next(model.parameters()).device
        x = take(self.pictures, some, device)
        return sheet([x, to_picture(model.draw(model.posterior(to_signal(x))[0]))])


@dataclass(frozen=True)
class ClipLesson:
    """Tell which caption belongs to which picture."""

    model: CLIP
    pictures: Arrays
    ids: Arrays
    loss_kind: str = "softmax"
    name: str = "clip"

    def __len__(self) -> int:
        """How many pairs."""
        return len(self.pictures)

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """Softmax or sigmoid loss over the batch, pictures sometimes softened as a decoder's may be."""
        assert isinstance(model, CLIP)
        x = soften(to_signal(take(self.pictures, batch.indices, batch.rng.device)), batch.rng)
        z_t, _ = model.encode_text(take(self.ids, batch.indices, batch.rng.device))
        logits = model.logits(z_t, model.encode_image(x))
        loss = softmax_loss(logits) if self.loss_kind == "softmax" else sigmoid_loss(logits)
        right = (logits.argmax(dim=0) == torch.arange(len(logits), device=logits.device)).float().mean()
        return {"loss": loss, "matched": right}

    def picture(self, model: nn.Module) -> None:
        """There is nothing to look at."""


def soften(x: Tensor, rng: torch.Generator, chance: float = 0.3) -> Tensor:
    """Blur some pictures and add a little noise to others, so that features do not hang on crisp edges."""
    dice = torch.rand(len(x), 1, 1, 1, generator=rng, device=rng.device)
    blurred = F.interpolate(F.avg_pool2d(x, 2), scale_factor=2.0, mode="bilinear", align_corners=False)
    noise = 0.1 * torch.randn(x.shape, generator=rng, device=rng.device)
    x = torch.where(dice < chance, blurred, x)
    return torch.where((dice > chance / 2) & (dice < 1.5 * chance), x + noise, x)


@dataclass(frozen=True)
class PriorLesson:
    """Denoise the embedding of the picture that a caption describes (unCLIP, section 2.2)."""

    model: PriorNetwork
    clip: CLIP
    z_i: Arrays
    ids: Arrays
    target: Target
    schedule: Schedule
    text_drop: float = 0.1
    name: str = "prior"

    def __len__(self) -> int:
        """How many pairs."""
        return len(self.z_i)

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """The diffusion loss of normalised z_i."""
        assert isinstance(model, PriorNetwork)
        x = model.normalise(take(self.z_i, batch.indices, batch.rng.device).float())
        with torch.no_grad():
            z_t, hidden = self.clip.encode_text(take(self.ids, batch.indices, batch.rng.device))
        keep = dropped(torch.ones(len(x), 1, device=x.device), self.text_drop, batch.rng)
        cond = Cond(vector=z_t * keep, tokens=hidden * keep[:, :, None])
        return {"loss": DenoisingLoss(self.target, self.schedule)(model, x, cond, batch.rng).mean()}

    def picture(self, model: nn.Module) -> None:
        """An embedding is nothing to look at."""


@dataclass(frozen=True)
class Told:
    """What a decoder may be told of each picture: embeddings z_i and z_t (N, D), and token ids (N, L)."""

    z_i: Arrays
    z_t: Arrays
    ids: Arrays

    def cond(self, indices: Tensor, device: torch.device) -> Cond:
        """All of it, for some pictures."""
        z_i, z_t = (take(array, indices, device).float() for array in (self.z_i, self.z_t))
        return Cond(torch.cat([z_i, z_t], dim=1), take(self.ids, indices, device).long())


def hushed(cond: Cond, picture: Tensor, words: Tensor) -> Cond:
    """Silence z_i where `picture` (B, 1) is false, z_t and the tokens where `words` is."""
    assert cond.vector is not None and cond.tokens is not None
    z_i, z_t = cond.vector.chunk(2, dim=1)
    return Cond(torch.cat([z_i * picture, z_t * words], dim=1), cond.tokens * words)


@dataclass(frozen=True)
class DecoderLesson:
    """Denoise the latents of a picture, shown its embedding and its caption (unCLIP, section 2.1).

    singles: numbers of the scenes of one thing. Two thirds of the others give way to them: shapes are learned from
    what stands alone, and composition, later and cheaply, from the rest.
    """

    model: nn.Module
    codec: Codec
    latents: Arrays
    told: Told
    singles: Arrays
    target: Target
    schedule: Schedule
    loss_of: DenoisingLoss
    drop: float = 0.1
    name: str = "decoder"

    def __len__(self) -> int:
        """How many pictures."""
        return len(self.latents)

    def chosen(self, indices: Tensor) -> Tensor:
        """The batch with two thirds of its composed scenes replaced by single things."""
        if not len(self.singles):
            return indices
        singles = torch.from_numpy(self.singles)
        stays = torch.isin(indices, singles) | (indices % 3 == 0)
        return torch.where(stays, indices, singles[indices % len(singles)])

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """The diffusion loss of the latents; a share `drop` hears nothing, one no z_i, half of one no words."""
        rng, indices = batch.rng, self.chosen(batch.indices)
        x = take(self.latents, indices, rng.device).float()
        dice = torch.rand(len(x), 1, generator=rng, device=rng.device)
        picture = dice >= 2 * self.drop
        words = (dice >= self.drop) & ((dice < 2 * self.drop) | (dice >= 2.5 * self.drop))
        cond = hushed(self.told.cond(indices, rng.device), picture, words)
        return {"loss": self.loss_of(model, x, cond, rng).mean()}

    @torch.no_grad()
    def picture(self, model: nn.Module) -> Tensor:
        """True pictures above; drawn from their embedding and caption; drawn from their caption alone."""
        device = next(model.parameters()).device
        some = torch.linspace(0, len(self) - 1, 16).long()
        x, both = take(self.latents, some, device).float(), self.told.cond(some, device)
        silent, loud = (torch.full((len(some), 1), on, device=device) for on in (False, True))
        rows = [to_picture(self.codec.decode(x))]
        for cond in (both, hushed(both, silent, loud)):
            denoise = guide(NetworkDenoiser(model, self.target, self.schedule), cond.null(), 2.0)
            rngs = seeded(range(len(some)))
            noise = torch.stack([torch.randn(x.shape[1:], generator=rng) for rng in rngs]).to(device)
            drawn = sample(DPMSolver2M(self.schedule), denoise, noise, uniform_times(16), cond, rngs)
            rows.append(to_picture(self.codec.decode(drawn)))
        return sheet(rows)


@dataclass(frozen=True)
class UpsamplerLesson:
    """Denoise a large picture, shown a degraded small one (unCLIP, section 2.1; SR3's noise and blur)."""

    model: nn.Module
    codec: Codec
    large: Arrays
    small: Arrays
    target: Target
    schedule: Schedule
    loss_of: DenoisingLoss
    crop_px: int = 128
    name: str = "upsampler"

    def __len__(self) -> int:
        """How many pictures."""
        return len(self.large)

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """The diffusion loss of one random crop a picture, the same for the whole batch."""
        rng = batch.rng
        x = to_signal(take(self.large, batch.indices, rng.device))
        low = upsampled(self.degraded(to_signal(take(self.small, batch.indices, rng.device)), rng), x.shape[-1])
        top, left = (
            int(torch.randint(0, x.shape[-1] - self.crop_px + 1, (), generator=rng, device=rng.device)) & ~7
            for _ in "yx"
        )
        window = (..., slice(top, top + self.crop_px), slice(left, left + self.crop_px))
        return {"loss": self.loss_of(model, x[window], Cond(concat=low[window]), rng).mean()}

    @torch.no_grad()
    def degraded(self, small: Tensor, rng: torch.Generator) -> Tensor:
        """A third as the codec draws them, a third blurred (Gaussian, 3 px, sigma 0.6), all slightly noisy."""
        dice = torch.rand(len(small), 1, 1, 1, generator=rng, device=rng.device)
        coded = self.codec.decode(self.codec.encode(small))
        degraded = torch.where(dice < 0.33, small, torch.where(dice < 0.66, blurred(small), coded))
        level = 0.06 * torch.rand(len(small), 1, 1, 1, generator=rng, device=rng.device)
        return degraded + level * torch.randn(small.shape, generator=rng, device=rng.device)

    @torch.no_grad()
    def picture(self, model: nn.Module) -> Tensor:
        """The small picture enlarged, the drawn one, the true one."""
        device = next(model.parameters()).device
        some = torch.linspace(0, len(self) - 1, 5).long()
        small, large = take(self.small, some, device), take(self.large, some, device)
        cond = Cond(concat=upsampled(self.codec.decode(self.codec.encode(to_signal(small))), large.shape[-1]))
        rngs = seeded(range(len(some)))
        noise = torch.stack([torch.randn(large.shape[1:], generator=rng) for rng in rngs]).to(device)
        denoise = NetworkDenoiser(model, self.target, self.schedule)
        drawn = sample(DPMSolver2M(self.schedule), denoise, noise, uniform_times(4), cond, rngs)
        return sheet([to_picture(cond.concat), to_picture(drawn), large])  # type: ignore[arg-type]


def upsampled(small: Tensor, size_px: int) -> Tensor:
    """Bicubic, antialiased."""
    return F.interpolate(small.float(), size=(size_px, size_px), mode="bicubic", antialias=True)


def blurred(x: Tensor, sigma: float = 0.6) -> Tensor:
    """A 3 x 3 Gaussian blur, edges repeated."""
    side = float(np.exp(-0.5 / sigma**2))
    line = torch.tensor([side, 1.0, side], device=x.device) / (1 + 2 * side)
    kernel = (line[:, None] * line[None]).expand(x.shape[1], 1, 3, 3)
    return F.conv2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), kernel, groups=x.shape[1])

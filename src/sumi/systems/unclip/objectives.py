"""The objectives of unCLIP's diffusion models: the batch, the loss, and a sheet of samples of each.

CLIP is trained first. The prior and the decoder learn from its frozen embeddings of pictures and captions; the
upsamplers learn from pairs of sizes. The sticker model and the small system share these objectives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sumi.codecs import Codec
from sumi.diffusion import (
    DenoisingLoss,
    DPMSolver2MSampler,
    Loss,
    NetworkDenoiser,
    Schedule,
    Target,
    guide,
    sample,
    seeded,
    uniform_times,
)
from sumi.imaging.pixels import from_levels
from sumi.nn import Cond, DenseDraft, EmbeddingDenoiser, drop_condition
from sumi.systems.objectives import Arrays, CaptionFeatures, sheet, take, to_picture, upsampled
from sumi.systems.unclip.degradation import Degrade
from sumi.training import Batch

__all__ = ["DecoderCondition", "DecoderObjective", "DraftObjective", "PriorObjective", "UpsamplerObjective"]


@dataclass(frozen=True)
class PriorObjective:
    """Denoise the embedding of the picture that a caption describes (unCLIP, section 2.2)."""

    model: EmbeddingDenoiser
    z_i: Arrays
    words: CaptionFeatures
    target: Target
    schedule: Schedule
    text_drop: float = 0.1
    name: str = "prior"

    def __len__(self) -> int:
        """How many pairs."""
        return len(self.z_i)

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """Return the diffusion loss of normalised z_i."""
        assert isinstance(model, EmbeddingDenoiser)
        x = model.normalise(take(self.z_i, batch.indices, batch.rng.device).float())
        z_t, words = self.words(batch.indices, batch.rng.device)
        cond = drop_condition(Cond(vector=z_t, tokens=words), self.text_drop, batch.rng)
        return {"loss": DenoisingLoss(self.target, self.schedule)(model, x, cond, batch.rng).mean()}

    def picture(self, model: nn.Module) -> None:
        """Return nothing: an embedding is no picture."""


@dataclass(frozen=True)
class DecoderCondition:
    """The decoder's full condition: the embedding z_i (N, D) of each picture, and the encoding of its caption."""

    z_i: Arrays
    words: CaptionFeatures

    def __call__(self, indices: Tensor, device: torch.device) -> Cond:
        """Return it for some pictures."""
        z_t, words = self.words(indices, device)
        return Cond(torch.cat([take(self.z_i, indices, device).float(), z_t], dim=1), words)


def drop_parts(cond: Cond, picture: Tensor, words: Tensor) -> Cond:
    """Zero z_i where `picture` (B, 1) is false, and z_t and the token features where `words` is."""
    assert cond.vector is not None and cond.tokens is not None
    z_i, z_t = cond.vector.chunk(2, dim=1)
    return Cond(torch.cat([z_i * picture, z_t * words], dim=1), cond.tokens * words[:, :, None])


def drop_at_random(cond: Cond, share: float, rng: torch.Generator) -> Cond:
    """Drop all of the condition for a `share` of the batch; z_i for another, and for half of one the caption."""
    assert cond.vector is not None
    dice = torch.rand(len(cond.vector), 1, generator=rng, device=rng.device)
    words = (dice >= share) & ((dice < 2 * share) | (dice >= 2.5 * share))
    return drop_parts(cond, dice >= 2 * share, words)


@dataclass(frozen=True)
class DraftObjective:
    """Predict the latents of a picture from its embedding and its caption, before there is any noisy picture."""

    model: DenseDraft
    codec: Codec
    latents: Arrays
    told: DecoderCondition
    drop: float = 0.1
    name: str = "draft"

    def __len__(self) -> int:
        """How many pictures."""
        return len(self.latents)

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """Return the squared error; conditions are dropped as the decoder's are."""
        x = take(self.latents, batch.indices, batch.rng.device).float()
        cond = drop_at_random(self.told(batch.indices, batch.rng.device), self.drop, batch.rng)
        return {"loss": (model(cond) - x).square().mean()}

    @torch.no_grad()
    def picture(self, model: nn.Module) -> Tensor:
        """Return true pictures, and their drafts."""
        device = next(model.parameters()).device
        some = torch.linspace(0, len(self) - 1, 16).long()
        both = take(self.latents, some, device).float(), model(self.told(some, device))
        return sheet([to_picture(self.codec.decode(x)) for x in both])


@dataclass(frozen=True)
class DecoderObjective:
    """Denoise the latents of a picture, given its embedding and its caption (unCLIP, section 2.1).

    singles: numbers of the scenes of one thing. They replace two thirds of the others at first, and none at the end:
    shapes are learned from single things first, and then compositions.
    """

    model: nn.Module
    codec: Codec
    latents: Arrays
    told: DecoderCondition
    target: Target
    schedule: Schedule
    loss_of: DenoisingLoss
    singles: Arrays = ()
    drop: float = 0.1
    name: str = "decoder"

    def __len__(self) -> int:
        """How many pictures."""
        return len(self.latents)

    def chosen(self, batch: Batch) -> Tensor:
        """Return the numbers of the batch, with some composed scenes replaced by single things."""
        if not len(self.singles):
            return batch.indices
        singles = torch.from_numpy(self.singles)
        away = (2 / 3) * (1 - batch.step / batch.num_steps)
        dice = torch.rand(len(batch.indices), generator=batch.rng, device=batch.rng.device).cpu()
        stays = torch.isin(batch.indices, singles) | (dice >= away)
        return torch.where(stays, batch.indices, singles[batch.indices % len(singles)])

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """Return the diffusion loss; a share `drop` has no condition, another no z_i, half of one no caption."""
        rng, indices = batch.rng, self.chosen(batch)
        x = take(self.latents, indices, rng.device).float()
        cond = drop_at_random(self.told(indices, rng.device), self.drop, rng)
        return {"loss": self.loss_of(model, x, cond, rng).mean()}

    @torch.no_grad()
    def picture(self, model: nn.Module) -> Tensor:
        """Return true pictures; those drawn from embedding and caption; those drawn from the caption alone."""
        device = next(model.parameters()).device
        some = torch.linspace(0, len(self) - 1, 16).long()
        x, both = take(self.latents, some, device).float(), self.told(some, device)
        silent, loud = (torch.full((len(some), 1), on, device=device) for on in (False, True))
        rows = [to_picture(self.codec.decode(x))]
        for cond in (both, drop_parts(both, silent, loud)):
            denoise = guide(NetworkDenoiser(model, self.target, self.schedule), cond.null(), 2.0)
            rngs = seeded(range(len(some)))
            noise = torch.stack([torch.randn(x.shape[1:], generator=rng) for rng in rngs]).to(device)
            drawn = sample(DPMSolver2MSampler(self.schedule), denoise, noise, uniform_times(16), cond, rngs)
            rows.append(to_picture(self.codec.decode(drawn)))
        return sheet(rows)


@dataclass(frozen=True)
class UpsamplerObjective:
    """Denoise or regress a large picture, given a degraded small one (unCLIP, section 2.1)."""

    model: nn.Module
    large: Arrays
    small: Arrays
    degrade: Degrade
    target: Target
    schedule: Schedule
    loss_of: Loss
    crop_px: int = 96
    name: str = "upsampler"

    def __len__(self) -> int:
        """How many pictures."""
        return len(self.large)

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """Return the loss of a random crop, at the same place for the whole batch."""
        rng = batch.rng
        x = from_levels(take(self.large, batch.indices, rng.device))
        low = upsampled(self.degrade(from_levels(take(self.small, batch.indices, rng.device)), rng), x.shape[-1])
        top, left = (
            int(torch.randint(0, x.shape[-1] - self.crop_px + 1, (), generator=rng, device=rng.device)) & ~7
            for _ in "yx"
        )
        window = (..., slice(top, top + self.crop_px), slice(left, left + self.crop_px))
        return {"loss": self.loss_of(model, x[window], Cond(concat=low[window]), rng).mean()}

    @torch.no_grad()
    def picture(self, model: nn.Module) -> Tensor:
        """Return rows of small pictures enlarged, drawn pictures, and true ones."""
        device = next(model.parameters()).device
        some = torch.linspace(0, len(self) - 1, 5).long()
        small, large = take(self.small, some, device), take(self.large, some, device)
        shown = self.degrade(from_levels(small), torch.Generator(device).manual_seed(0))
        cond = Cond(concat=upsampled(shown, large.shape[-1]))
        rngs = seeded(range(len(some)))
        noise = torch.stack([torch.randn(large.shape[1:], generator=rng) for rng in rngs]).to(device)
        denoise = NetworkDenoiser(model, self.target, self.schedule)
        drawn = sample(DPMSolver2MSampler(self.schedule), denoise, noise, uniform_times(4), cond, rngs)
        return sheet([to_picture(cond.concat), to_picture(drawn), large])  # type: ignore[arg-type]

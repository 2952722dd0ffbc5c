"""Objectives that systems share: of a codec, which compresses pictures, and of CLIP.

Both learn from pictures alone, or with their captions, and are frozen before the next stage learns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sumi.codecs import Autoencoder, autoencoder_loss
from sumi.conditioning import CLIP, sigmoid_loss, softmax_loss
from sumi.imaging.pixels import from_levels
from sumi.training import Batch

__all__ = [
    "CHANNELS",
    "Arrays",
    "CLIPObjective",
    "CaptionFeatures",
    "CodecObjective",
    "ConceptNames",
    "encode_captions",
    "sheet",
    "take",
    "to_picture",
    "upsampled",
]

CHANNELS = 4
Arrays = Any  # numpy arrays, in memory or mapped: (N, …)


def to_picture(signal: Tensor) -> Tensor:
    """Return a signal in [-1, 1] as premultiplied uint8; colours are clipped to their alpha."""
    levels = ((signal.float().clamp(-1, 1) + 1) * 127.5).round()
    colours, alpha = levels[:, :3], levels[:, 3:]
    return torch.cat([torch.minimum(colours, alpha), alpha], dim=1).to(torch.uint8)


def sheet(rows: Sequence[Tensor]) -> Tensor:
    """Return rows of uint8 pictures (B, 4, S, S) as one picture (4, rows S, B S)."""
    return torch.cat([torch.cat(list(row), dim=2) for row in rows], dim=1)


def take(array: Arrays, indices: Tensor, device: torch.device) -> Tensor:
    """Return rows of an array as a tensor on the device of training."""
    return torch.from_numpy(np.ascontiguousarray(array[indices.numpy()])).to(device)


@dataclass(frozen=True)
class CaptionFeatures:
    """CLIP's encoding of captions: z_t (B, D), and a feature for each token (B, L, W).

    ids: token ids (N, L). kept: features of the tokens of every different caption (M, L, W), computed before, or None
    to compute them anew. which: the row of each caption in them (N,).
    """

    clip: CLIP
    ids: Arrays
    kept: Arrays | None = None
    which: Tensor | None = None

    @torch.no_grad()
    def once(self) -> CaptionFeatures:
        """Return the same with every different caption encoded once, ahead of training: for a frozen CLIP."""
        different, which = torch.unique(torch.as_tensor(self.ids), dim=0, return_inverse=True)
        device = next(self.clip.parameters()).device
        read = [self.clip.encode_text(some.to(device))[1] for some in torch.split(different, 256)]
        return replace(self, kept=torch.cat(read).cpu().numpy(), which=which)

    @torch.no_grad()
    def __call__(self, indices: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return the encoding of some captions."""
        ids = take(self.ids, indices, device)
        if self.kept is None or self.which is None:
            return self.clip.encode_text(ids)
        words = take(self.kept, self.which[indices], device).float()
        return self.clip.embed_caption(ids, words), words


@dataclass(frozen=True)
class CodecObjective:
    """Reconstruct pictures from a small grid of latents."""

    model: Autoencoder
    pictures: Arrays
    kl_weight: float = 1e-4
    name: str = "codec"

    def __len__(self) -> int:
        """How many pictures."""
        return len(self.pictures)

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """Return the L1 loss of pixels and edges, and a light KL."""
        assert isinstance(model, Autoencoder)
        x = from_levels(take(self.pictures, batch.indices, batch.rng.device))
        return autoencoder_loss(model, x, batch.rng, self.kl_weight)

    @torch.no_grad()
    def picture(self, model: nn.Module) -> Tensor:
        """Return pictures above, and their reconstructions below."""
        assert isinstance(model, Autoencoder)
        some = torch.linspace(0, len(self) - 1, 12).long()
        device = next(model.parameters()).device
        x = take(self.pictures, some, device)
        return sheet([x, to_picture(model.decode_raw(model.posterior(from_levels(x))[0]))])


def encode_captions(model: CLIP, ids: Tensor, parts: int = 4) -> Tensor:
    """Return z_t (B, D) of token ids (B, L), in parts of about one length.

    The text tower is causal, so padding after the end changes nothing, but it takes as long as words do.
    """
    lengths = (ids > 0).sum(dim=1)
    order = lengths.argsort()
    encoded = [model.encode_text(ids[rows, : int(lengths[rows].max())])[0] for rows in order.chunk(parts)]
    return torch.cat(encoded)[order.argsort()]


@dataclass(frozen=True)
class ConceptNames:
    """Tell what a picture shows among the names of many concepts, as CLIP's zero-shot classifier is asked to.

        loss = -log softmax_c(scale · z_i · z_t(name_c)),   over the concepts of the batch and others at random

    A batch holds the captions of few concepts, so its pictures are told apart by colour and style. Names are short, and
    cost little beside captions.

    Args:
        ids: token ids (C, L) of a prompt for each concept, such as "a fox".
        concepts: the concept of each picture (N,), -1 for a picture of several or of none.
        candidates: how many names to choose from, at least those of the batch.
    """

    ids: Tensor
    concepts: Arrays
    candidates: int = 512

    def loss(self, model: CLIP, z_i: Tensor, indices: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        """Return the loss of pictures with embeddings z_i (B, D), and the share of them that is named right."""
        shown = torch.from_numpy(np.asarray(self.concepts[indices.numpy()])).long()
        known = shown >= 0
        others = torch.randperm(len(self.ids), generator=rng, device=rng.device).cpu()[: self.candidates]
        names = torch.unique(torch.cat([shown[known], others]))
        z_t = encode_captions(model, self.ids[names].to(z_i.device))
        logits = model.logits(z_t, z_i[known.to(z_i.device)]).T
        right = torch.searchsorted(names, shown[known]).to(z_i.device)
        if not len(right):
            return z_i.sum() * 0, z_i.new_zeros(())
        return F.cross_entropy(logits, right), (logits.argmax(dim=1) == right).float().mean()


@dataclass(frozen=True)
class CLIPObjective:
    """Tell which caption belongs to which picture.

    group: how many pictures stand together, which differ by one fact each (`sumi.data.contrasts`). They always come
    into a batch together, so that CLIP has to see that fact. An example is a group. repeated: whether a batch may hold
    a caption several times, which then matches each of its pictures. names: also tell what each picture shows.
    features: (N, width) of a locked image tower, computed once; then only the text tower and the projections learn,
    which is sooner done and keeps what the tower learned (LiT: Zhai et al. 2021, arXiv 2111.07991). further: how many
    other pictures are named in each step, which with features costs next to nothing.
    """

    model: CLIP
    pictures: Arrays
    ids: Arrays
    loss_kind: str = "softmax"
    name: str = "clip"
    group: int = 1
    repeated: bool = False
    names: ConceptNames | None = None
    features: Arrays | None = None
    further: int = 0

    def __len__(self) -> int:
        """How many pairs, or groups of them."""
        return len(self.pictures) // self.group

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """Return the softmax or sigmoid loss over the batch, and the share of the pictures that find their caption."""
        assert isinstance(model, CLIP)
        members = (batch.indices[:, None] * self.group + torch.arange(self.group)).flatten()
        ids, which = torch.unique(take(self.ids, members, batch.rng.device), dim=0, return_inverse=True)
        z_t = encode_captions(model, ids)[which]  # a caption that occurs twice in a batch is encoded once
        z_i = self._embed(model, members, batch.rng)
        logits = model.logits(z_t, z_i)
        if self.loss_kind == "softmax":
            loss = softmax_loss(logits, which if self.repeated else None)
        else:
            loss = sigmoid_loss(logits)
        right = (which[logits.argmax(dim=0)] == which).float().mean()
        if self.names is None:
            return {"loss": loss, "matched": right}
        if self.features is not None:
            more = torch.randint(
                len(self.features), (self.further,), generator=batch.rng, device=batch.rng.device
            ).cpu()
            members, z_i = torch.cat([members, more]), torch.cat([z_i, self._embed(model, more, batch.rng)])
        naming, named = self.names.loss(model, z_i, members, batch.rng)
        return {"loss": loss + naming, "matched": right, "named": named}

    def _embed(self, model: CLIP, members: Tensor, rng: torch.Generator) -> Tensor:
        """Return z_i of pictures, some of which are softened, as a decoder's are; or of their features."""
        if self.features is not None:
            return model.project(take(self.features, members, rng.device).float())
        return model.encode_image(soften(from_levels(take(self.pictures, members, rng.device)), rng))

    def picture(self, model: nn.Module) -> None:
        """Return nothing: CLIP draws no pictures."""


def upsampled(small: Tensor, size_px: int) -> Tensor:
    """Return pictures at another size, bicubic and antialiased."""
    return F.interpolate(small.float(), size=(size_px, size_px), mode="bicubic", antialias=True)


def soften(x: Tensor, rng: torch.Generator, chance: float = 0.3) -> Tensor:
    """Blur some pictures and add a little noise to others, so that features do not depend on sharp edges."""
    dice = torch.rand(len(x), 1, 1, 1, generator=rng, device=rng.device)
    blurred = F.interpolate(F.avg_pool2d(x, 2), scale_factor=2.0, mode="bilinear", align_corners=False)
    noise = 0.1 * torch.randn(x.shape, generator=rng, device=rng.device)
    x = torch.where(dice < chance, blurred, x)
    return torch.where((dice > chance / 2) & (dice < 1.5 * chance), x + noise, x)

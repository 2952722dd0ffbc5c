"""CLIP's embeddings of views, by which copies and words for pictures are searched."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from sumi.bundles import Bundle, default_bundle
from sumi.conditioning import CLIP
from sumi.errors import SumiError
from sumi.imaging.pixels import from_levels, resize, to_uint8

__all__ = ["embed_views", "load_clip"]

BATCH = 64


def load_clip(model: str | Path | None) -> tuple[Bundle, CLIP]:
    """Return a model and its CLIP; by default those that come with Sumi.

    Raises:
        SumiError: when the model has none of Sumi's.
    """
    bundle = Bundle.load(model or default_bundle())
    clip = bundle.part("clip") if "clip" in bundle.parts else None
    if not isinstance(clip, CLIP):
        raise SumiError(f"the model {bundle.name} has no CLIP of Sumi's, which compares pictures")
    return bundle, clip


@torch.no_grad()
def embed_views(views: Tensor, clip: CLIP) -> Tensor:
    """Return unit vectors (N, D) of views, uint8 (N, 3, S, S)."""
    parts = []
    for some in torch.split(views, BATCH):
        opaque = torch.cat([some, torch.full_like(some[:, :1], 255)], dim=1)
        small = resize(opaque.float() / 255, (clip.size_px, clip.size_px)).clamp(0, 1)
        parts.append(clip.encode_image(from_levels(to_uint8(small))).cpu())
    return torch.cat(parts)

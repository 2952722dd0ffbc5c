"""The untrained networks of the small unCLIP, and the features that they learn from.

One width sets all sizes: towers and transformers have it, U-Nets have half of it at their finest level.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sumi.autoregressive import EmbeddingTokens
from sumi.conditioning import CLIP, WordTokenizer
from sumi.hardware import autocast
from sumi.imaging.pixels import from_levels
from sumi.nn import ARPriorNetwork, DecoderNetwork, PriorNetwork, UNet
from sumi.systems.objectives import CaptionFeatures, take, to_picture, upsampled
from sumi.systems.unclip.ar_prior import network as writer

CPU = torch.device("cpu")
COARSE_PX = 16  # what CLIP's convolutions begin at
BUCKETS = 128


def clip(tokenizer: WordTokenizer, size_px: int, width: int) -> CLIP:
    """Return CLIP for pictures of size_px, a multiple of COARSE_PX."""
    tower = {"width": width, "depth": 2, "heads": 2}
    stem = {"in_channels": 4, "size_px": size_px, "patch": size_px // COARSE_PX, "channels": [width // 2, width]}
    text = {"vocabulary_size": tokenizer.size, "context": tokenizer.context}
    return CLIP(width, stem | {"blocks": [1, 1]} | tower, text | tower)


def prior(clip: CLIP, z_i: Any) -> PriorNetwork:
    """Return a diffusion prior that normalises by the mean and the deviation of z_i (N, D)."""
    text = clip.text.config
    made = PriorNetwork(clip.size, text["width"], text["context"], text["width"], depth=3, heads=2)
    made.mean.copy_(torch.from_numpy(z_i.mean(axis=0)))
    made.std.copy_(torch.from_numpy(z_i.std(axis=0)).clamp(min=1e-4))
    return made


def ar_prior(clip: CLIP, z_i: Any, words: CaptionFeatures) -> ARPriorNetwork:
    """Return an autoregressive prior over the principal components of z_i (N, D) with 99% of the variance."""
    z_t = torch.cat([words(some, CPU)[0] for some in torch.split(torch.arange(len(z_i)), 256)])
    tokens = EmbeddingTokens.fit(torch.from_numpy(z_i), z_t, BUCKETS)
    return writer(clip, tokens, clip.text.config["width"], depth=3, heads=2)


def decoder(clip: CLIP, side_px: int) -> DecoderNetwork:
    """Return a decoder of pictures of side_px, even, conditioned on [z_i, z_t] and the token features."""
    width = clip.text.config["width"]
    unet = {"in_channels": 4, "out_channels": 4, "channels": [3 * width // 4, 3 * width // 2], "blocks": [1, 1]}
    unet |= {"attention": [False, True], "middle": 1}
    return DecoderNetwork(2 * clip.size, width, unet, (8, side_px, 2 * width))


def upsampler(width: int, patch: int) -> UNet:
    """Return an upsampler without attention, for pictures of any shape."""
    return UNet(4, 4, [width // 2, width], [1, 1], [False, False], patch=patch, concat_channels=4, middle=1)


@torch.no_grad()
def image_embeddings(clip: CLIP, pictures: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return CLIP's embeddings z_i (N, D) of pictures, uint8 (N, 4, S, S)."""
    some = torch.split(torch.arange(len(pictures)), 256)
    device = next(clip.parameters()).device
    with autocast(device):
        z_i = [clip.encode_image(from_levels(take(pictures, k, device))).float().cpu() for k in some]
    return torch.cat(z_i).numpy()


def smaller(pictures: Any, size_px: int) -> Tensor:
    """Return pictures, uint8 (N, 4, S, S), at a smaller size, uint8 (N, 4, size_px, size_px)."""
    some = torch.split(torch.arange(len(pictures)), 256)
    return torch.cat([to_picture(upsampled(from_levels(take(pictures, k, CPU)), size_px)) for k in some])

"""CLIP as published models condition on it: prompts and pictures to embeddings z_t and z_i, not normalised.

Pictures are scaled so that the shorter side fits, cropped in the middle and normalised, as the folder's
`preprocessor_config.json` says.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from sumi.errors import SumiError
from sumi.imaging.pixels import to_image
from sumi.nn.published import CLIPTextModelWithProjection, CLIPVisionModelWithProjection, ImageFeatures, TextFeatures
from sumi.systems.published.loading import ModelLoader
from sumi.systems.published.tokenizer import CLIPTokenizer

__all__ = ["CLIPImageTower", "CLIPTextTower", "EncodedPrompts"]

WHITE = (255, 255, 255)
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
"""Of the pictures that OpenAI's CLIP was trained on."""


class EncodedPrompts(NamedTuple):
    """What CLIP says of prompts, and which of its tokens (B, L) belong to them."""

    features: TextFeatures
    mask: Tensor


@dataclass(frozen=True)
class CLIPTextTower:
    """CLIP's text tower with its projection and its tokenizer."""

    tokenizer: CLIPTokenizer
    text_encoder: CLIPTextModelWithProjection

    @classmethod
    def read(cls, loader: ModelLoader, tokenizer: str = "tokenizer", encoder: str = "text_encoder") -> CLIPTextTower:
        """Load the tower of an opened model."""
        return cls(loader.tokenizer(tokenizer, encoder), loader.part(encoder, CLIPTextModelWithProjection))

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> EncodedPrompts:
        """Return what CLIP says of prompts, a row for each."""
        ids = self.tokenizer.encode(prompts)
        return EncodedPrompts(self.text_encoder(ids), self.tokenizer.mask(ids))

    def direction(self, before: str, after: str) -> Tensor:
        """Return z_after - z_before of two texts, of unit length (1, D); SumiError where they say the same."""
        z_t = self.encode([before, after]).features.pooled.float()
        difference = z_t[1:] - z_t[:1]
        if float(difference.norm()) < 1e-5 * float(z_t.norm()):
            raise SumiError("to this model the two texts say the same, so there is no direction between them")
        return F.normalize(difference, dim=-1)


@dataclass(frozen=True)
class CLIPImageTower:
    """CLIP's image tower with its projection.

    Args:
        image_encoder: the network.
        shorter_px: what the shorter side of a picture is scaled to.
        crop_px: the side of the square in its middle.
        mean, std: of each colour, in [0, 1].
    """

    image_encoder: CLIPVisionModelWithProjection
    shorter_px: int
    crop_px: int
    mean: Sequence[float] = MEAN
    std: Sequence[float] = STD

    @classmethod
    def read(cls, loader: ModelLoader, processor: str) -> CLIPImageTower:
        """Load the tower of an opened model; SumiError for a configuration that gives no pictures of its size."""
        network = loader.part("image_encoder", CLIPVisionModelWithProjection)
        config = loader.opened.processors[processor]
        wanted = int(network.config["image_size"])
        shorter, crop = side_of(config.get("size"), wanted), side_of(config.get("crop_size"), wanted)
        if crop != wanted or shorter < crop:
            raise SumiError(
                f"the {processor} of {loader.opened.path} makes pictures of {crop} px from {shorter} px, "
                f"and its image encoder sees {wanted} px"
            )
        mean, std = config.get("image_mean", MEAN), config.get("image_std", STD)
        return cls(network, shorter, crop, mean, std)

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        """Return z_i (N, D) of premultiplied uint8 pictures (N, 4, S, S), over white."""
        return self._embed(torch.stack(list(map(self._pixels, pictures))))

    @torch.no_grad()
    def nothing(self) -> Tensor:
        """Return z_i (1, D) of normalised pixels that are all zero, Kandinsky's embedding of no picture."""
        return self._embed(torch.zeros(1, 3, self.crop_px, self.crop_px))

    def _embed(self, pixels: Tensor) -> Tensor:
        features: ImageFeatures = self.image_encoder(pixels)
        return features.pooled.float()

    def _pixels(self, levels: Tensor) -> Tensor:
        image = to_image(levels, WHITE)
        scale = self.shorter_px / min(image.size)
        size = [self.shorter_px if side == min(image.size) else int(side * scale) for side in image.size]
        image = image.resize((size[0], size[1]), Image.Resampling.BICUBIC)
        left, top = ((side - self.crop_px) // 2 for side in image.size)
        image = image.crop((left, top, left + self.crop_px, top + self.crop_px))
        unit = torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255
        mean, std = (torch.tensor(list(values))[:, None, None] for values in (self.mean, self.std))
        return (unit - mean) / std


def side_of(value: Any, default: int) -> int:
    """Return a side in pixels, which configurations spell in three ways."""
    if isinstance(value, Mapping):
        value = value.get("shortest_edge", value.get("height"))
    return value if isinstance(value, int) else default

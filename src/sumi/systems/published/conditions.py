"""What each published model is told, from what CLIP says: the condition, and what guidance leads away from.

Each function makes one `Cond`; the null condition is the same function of the negative prompt, or of the empty one,
except where it says otherwise. Embeddings are as the towers project them, not normalised.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from sumi.diffusion import Level
from sumi.nn import Cond
from sumi.nn.published import StableUnCLIPImageNormalizer, TextFeatures, UNet2DModel


def stable_diffusion(text: TextFeatures) -> Cond:
    """Stable Diffusion 1.x and 2.x: the words, (B, 77, width)."""
    return Cond(tokens=text.tokens)


def stable_diffusion_xl(text: TextFeatures, text_2: TextFeatures, sizes: Sequence[float]) -> Cond:
    """SDXL: the words of both towers before their last layer, the second's embedding, and six sizes in pixels.

    sizes: height and width of the original, top and left of the crop, height and width of the target. Where no negative
    prompt is given, the null condition is this with zeros for both towers (`zero_text`).
    """
    tokens = torch.cat([text.hidden_states[-2], text_2.hidden_states[-2]], dim=2)
    numbers = text_2.pooled.new_tensor([sizes]).expand(len(tokens), -1)
    return Cond(torch.cat([text_2.pooled, numbers], dim=1), tokens)


def zero_text(text: TextFeatures) -> TextFeatures:
    """Return the features with zeros everywhere."""
    return TextFeatures(
        torch.zeros_like(text.tokens),
        torch.zeros_like(text.pooled),
        tuple(torch.zeros_like(state) for state in text.hidden_states),
    )


def stable_unclip(
    text: TextFeatures, image_embed: Tensor, normalizer: StableUnCLIPImageNormalizer, level: Level, noise_level: int,
    eps: Tensor,
) -> Cond:  # fmt: skip
    """Stable unCLIP: the words, and an image embedding (B, D) noised by eps to a level of its own chain.

    level: that chain's at step `noise_level`, 0 for a picture as it is. The null condition has zeros for the vector:
    `Cond(torch.zeros_like(cond.vector), negative.tokens)`.
    """
    return Cond(noised_embedding(image_embed, normalizer, level, noise_level, eps), text.tokens)


def noised_embedding(
    image_embed: Tensor, normalizer: StableUnCLIPImageNormalizer, level: Level, noise_level: int, eps: Tensor
) -> Tensor:
    """Return image embeddings (B, D) noised by eps, and their noise level, as Stable unCLIP hears them, (B, 2 D)."""
    noised = normalizer.denormalise(level.add_noise(normalizer.normalise(image_embed), eps))
    steps = torch.full((len(noised),), noise_level, device=noised.device)
    return normalizer.condition(noised, steps)


def prior(text: TextFeatures, mask: Tensor) -> Cond:
    """The priors of karlo and Kandinsky: the text's embedding, its words, and the mask (B, 77) up to its end."""
    return Cond(text.pooled, text.tokens, mask)


def kandinsky(image_embed: Tensor) -> Cond:
    """Kandinsky's decoder: an image embedding. The null condition is a negative prompt's, or a black image's."""
    return Cond(image_embed)


def karlo_super_resolution(small: Tensor, size_px: int) -> Cond:
    """karlo's super-resolution: a picture (B, 3, H, W) in [-1, 1], enlarged to `size_px`. It is not guided."""
    enlarged = F.interpolate(
        small.clamp(-1, 1), size=(size_px, size_px), mode="bicubic", align_corners=False, antialias=True
    )
    return Cond(concat=enlarged)


class KarloSuperResolution(torch.nn.Module):
    """karlo's two super-resolution networks as one: the last step, to the data, has a network of its own."""

    def __init__(self, first: UNet2DModel, last: UNet2DModel) -> None:
        super().__init__()
        self.first, self.last = first, last

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """x (B, 3, H, W), t (B,), and `cond.concat` to (B, 3, H, W)."""
        at_end = t < 1.5 / 1000  # the first node of the chain, which every walk of karlo's visits last
        if not bool(at_end.any()):
            return self.first(x, t, cond)  # type: ignore[no-any-return]
        if bool(at_end.all()):
            return self.last(x, t, cond)  # type: ignore[no-any-return]
        out = torch.empty_like(x)
        for network, rows in ((self.first, ~at_end), (self.last, at_end)):
            out[rows] = network(x[rows], t[rows], cond[rows])
        return out

"""GLIDE's network: a U-Net with a text transformer that is trained with it.

    tokens = text(ids);   embedding = time(t) + W tokens_last;   every attention layer also attends to the tokens

Nichol et al. 2021, GLIDE, arXiv 2112.10741, sec. 2.1. A caption of padding alone is the empty caption, the null
condition of guidance.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from sumi.nn.cond import Cond
from sumi.nn.config_module import ConfigModule
from sumi.nn.transformer import TextTransformer
from sumi.nn.unet import UNet


class TextUNet(ConfigModule):
    """A `UNet` conditioned on token ids `cond.tokens` (B, L) and, if `unet` has concat_channels, on `cond.concat`.

    Args:
        text: arguments of the `TextTransformer`.
        unet: arguments of the `UNet`, without the widths set here.
    """

    def __init__(self, text: dict[str, Any], unet: dict[str, Any]) -> None:
        super().__init__()
        self.text = TextTransformer(**text)
        self.unet = UNet(**unet, vector_width=text["width"], context_width=text["width"])

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """Map x_t (B, C, H, W) at t (B,) to the answer (B, C', H, W)."""
        if cond.tokens is None:
            raise ValueError("the network needs cond.tokens; for no condition pass ids of zero")
        ids, which = torch.unique(cond.tokens, dim=0, return_inverse=True)  # encode each caption of a batch once
        tokens = self.text(ids)[which]
        return self.unet(x, t, Cond(tokens[:, -1], tokens, concat=cond.concat))  # type: ignore[no-any-return]

    def widened(self, concat_channels: int) -> TextUNet:
        """Copy the network with more channels in `cond.concat`, whose new weights are zero, to fine-tune it."""
        wider = TextUNet(self.config["text"], {**self.config["unet"], "concat_channels": concat_channels})
        weights = dict(self.state_dict())
        conv_in = weights["unet.conv_in.weight"]
        more = wider.unet.conv_in.weight.shape[1] - conv_in.shape[1]
        weights["unet.conv_in.weight"] = F.pad(conv_in, (0, 0, 0, 0, 0, more))
        wider.load_state_dict(weights)
        return wider

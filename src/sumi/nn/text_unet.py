"""GLIDE's network: a U-Net with a text transformer of its own, trained with it.

    words = text(ids);   embedding = time(t) + W words_last;   every attention layer also looks at words

Nichol et al. 2021, GLIDE, arXiv 2112.10741. A caption of padding alone is the empty one, and an answer to it
is learned like any other, so zeros say nothing here too.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sumi.nn.cond import Cond
from sumi.nn.transformer import TextTransformer
from sumi.nn.unet import UNet


class TextUNet(nn.Module):
    """Conditioned on `cond.tokens` (B, L), token ids, and on `cond.concat` where `unet` has room for it.

    text: the configuration of its `TextTransformer`. unet: that of its `UNet`, less the widths set here.
    """

    def __init__(self, text: dict[str, Any], unet: dict[str, Any]) -> None:
        super().__init__()
        self.config: dict[str, Any] = {"text": text, "unet": unet}
        self.text = TextTransformer(**text)
        self.unet = UNet(**unet, vector_width=text["width"], context_width=text["width"])

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """x (B, C, H, W), t (B,), to (B, C', H, W)."""
        if cond.tokens is None:
            raise ValueError("the network needs cond.tokens; ids of zero mean nothing was said")
        ids, which = torch.unique(cond.tokens, dim=0, return_inverse=True)  # the same caption is read once in a batch
        words = self.text(ids)[which]
        return self.unet(x, t, Cond(words[:, -1], words, concat=cond.concat))  # type: ignore[no-any-return]

    def widened(self, concat_channels: int) -> TextUNet:
        """A network with that many channels in `concat`, deaf to the new ones at first: what to fine-tune from."""
        wider = TextUNet(self.config["text"], {**self.config["unet"], "concat_channels": concat_channels})
        weights = dict(self.state_dict())
        mouth = weights["unet.mouth.weight"]
        more = wider.unet.mouth.weight.shape[1] - mouth.shape[1]
        weights["unet.mouth.weight"] = F.pad(mouth, (0, 0, 0, 0, 0, more))
        wider.load_state_dict(weights)
        return wider

"""unCLIP's decoder network: a U-Net that is shown a CLIP image embedding and attends to the caption's words.

The embedding is added to the time embedding and becomes four extra tokens beside the words (Ramesh et al. 2022,
section 2.1), whose features are CLIP's own (Rombach et al. 2022, section 3.3). Zeros are the null condition.

Beyond the paper it has a draft: two layers that spread the embedding and the words over the canvas,
    draft = W2 silu(W1 [z, mean of the words]) as (C, H, W), joined to the noisy signal,
since at full noise a convolution has nothing else to tell it which position it stands on.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sumi.nn.cond import Cond
from sumi.nn.unet import UNet

EXTRA_TOKENS = 4


class DecoderNetwork(nn.Module):
    """Conditioned on `cond.vector` (B, vector_width), embeddings, and `cond.tokens` (B, L, token_width), words.

    unet: the configuration of its `UNet`, less the widths set here.
    draft: (channels, side, hidden) of the draft over a canvas of side x side, or None for none.
    """

    def __init__(
        self,
        vector_width: int,
        token_width: int,
        unet: dict[str, Any],
        draft: tuple[int, int, int] | None = None,
    ) -> None:
        super().__init__()
        self.config: dict[str, Any] = {
            "vector_width": vector_width, "token_width": token_width, "unet": unet, "draft": draft,
        }  # fmt: skip
        self.extra = nn.Linear(vector_width, EXTRA_TOKENS * token_width)
        self.draft: nn.Sequential | None = None
        channels = 0
        if draft is not None:
            channels, side, hidden = draft
            self.draft = nn.Sequential(
                nn.Linear(vector_width + token_width, hidden),
                nn.SiLU(),
                nn.Linear(hidden, channels * side * side),
                nn.Unflatten(1, (channels, side, side)),
            )
        self.unet = UNet(**unet, vector_width=vector_width, context_width=token_width, concat_channels=channels)

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """x (B, C, H, W), t (B,), to (B, C', H, W)."""
        if cond.vector is None or cond.tokens is None:
            raise ValueError("the decoder needs cond.vector and cond.tokens; zeros mean nothing was said")
        vector = cond.vector * self.config["vector_width"] ** 0.5  # entries of a unit vector are small
        words = cond.tokens
        extra = self.extra(vector).unflatten(1, (EXTRA_TOKENS, -1))
        tokens = torch.cat([words, extra.to(words.dtype)], dim=1)
        draft = None if self.draft is None else self.draft(torch.cat([vector, words.mean(dim=1)], dim=1))
        return self.unet(x, t, Cond(vector, tokens, concat=draft))  # type: ignore[no-any-return]

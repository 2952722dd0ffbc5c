"""unCLIP's decoder network: a U-Net conditioned on a CLIP image embedding and on the caption's tokens.

The embedding is added to the time embedding and becomes four extra tokens beside the caption's (Ramesh et al. 2022,
arXiv 2204.06125, sec. 2.1), whose features are CLIP's (Rombach et al. 2022, arXiv 2112.10752, sec. 3.3). Zeros are the
null condition.

Beyond the paper it has a draft: two dense layers from the embedding and the tokens to a canvas,

    draft = W2 silu(W1 [z, mean of the tokens]) as (C, H, W), concatenated to the noisy signal,

because at full noise a convolution has no other information about its position.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sumi.nn.cond import Cond
from sumi.nn.config_module import ConfigModule
from sumi.nn.unet import UNet

EXTRA_TOKENS = 4


class DecoderNetwork(ConfigModule):
    """A `UNet` conditioned on `cond.vector` (B, vector_width) and `cond.tokens` (B, L, token_width).

    Args:
        vector_width: width of the embeddings.
        token_width: width of the caption's features.
        unet: arguments of the `UNet`, without the widths set here.
        draft: (channels, side, hidden width) of the draft, or None for no draft.
    """

    def __init__(
        self,
        vector_width: int,
        token_width: int,
        unet: dict[str, Any],
        draft: tuple[int, int, int] | None = None,
    ) -> None:
        super().__init__()
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
        """Map x_t (B, C, H, W) at t (B,) to the answer (B, C', H, W)."""
        if cond.vector is None or cond.tokens is None:
            raise ValueError("the decoder needs cond.vector and cond.tokens; for no condition pass zeros")
        vector = cond.vector * self.config["vector_width"] ** 0.5  # entries of a unit vector are small
        words = cond.tokens
        extra = self.extra(vector).unflatten(1, (EXTRA_TOKENS, -1))
        tokens = torch.cat([words, extra.to(words.dtype)], dim=1)
        draft = None if self.draft is None else self.draft(torch.cat([vector, words.mean(dim=1)], dim=1))
        return self.unet(x, t, Cond(vector, tokens, concat=draft))  # type: ignore[no-any-return]

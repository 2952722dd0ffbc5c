"""The network of DALLE2-pytorch's diffusion prior, with the parameter names and the words of that package (1.9 on).

    z_i = transformer([words, z_t, time, x_t, query])[query],    causal, attention over cosines

A learned row stands for each word that is not there. Where z_t is all zeros there is no condition: learned rows stand
for the words, for z_t and for x_t itself, and guidance leads away from that. Ramesh et al. 2022, arXiv 2204.06125,
section 2.2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sumi.nn.cond import Cond
from sumi.nn.published.config import PublishedConfig
from sumi.nn.published.timestep import timesteps

COSINE_SCALE: Final = 16.0
"""What cosines are multiplied by before the softmax."""
BUCKETS, FURTHEST = 32, 128
"""Of relative positions: how many are told apart, and from which distance on all are one."""


@dataclass(frozen=True, kw_only=True)
class DiffusionPriorNetworkConfig(PublishedConfig):
    """The sizes of the network. num_timesteps: rows of the table of times; None where a time is sines and cosines.

    ff_dim: width between the two layers of a block. rotary_dim: features of a head that turn with the position.
    """

    dim: int
    depth: int
    heads: int
    dim_head: int
    ff_dim: int
    max_text_len: int
    num_timesteps: int | None
    num_time_embeds: int = 1
    num_image_embeds: int = 1
    num_text_embeds: int = 1
    norm_in: bool = False
    norm_out: bool = True
    final_proj: bool = True
    normformer: bool = False
    rotary_dim: int = 32


class GainNorm(nn.Module):
    """Layer norm with a gain and no bias. stable: divides by the largest entry first."""

    def __init__(self, dim: int, stable: bool = False) -> None:
        super().__init__()
        self.g, self.stable = nn.Parameter(torch.ones(dim)), stable

    def forward(self, x: Tensor) -> Tensor:
        """(..., dim) to (..., dim)."""
        if self.stable:
            x = x / x.amax(dim=-1, keepdim=True)
        return F.layer_norm(x, x.shape[-1:], self.g, eps=1e-5 if x.dtype == torch.float32 else 1e-3)


class GatedSiLU(nn.Module):
    """The first half of the features, times the SiLU of the second."""

    def forward(self, x: Tensor) -> Tensor:
        """(..., 2 width) to (..., width)."""
        x, gate = x.chunk(2, dim=-1)
        return x * F.silu(gate)


class Rotary(nn.Module):
    """Turns pairs of features by angles that grow with the position. Su et al. 2021, RoFormer, arXiv 2104.09864."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.freqs = nn.Parameter(torch.ones(dim // 2))

    def forward(self, x: Tensor) -> Tensor:
        """(..., L, width) to the same, its first features turned."""
        angles = torch.arange(x.shape[-2], device=x.device)[:, None] * self.freqs.float()
        turned, rest = x[..., : 2 * len(self.freqs)], x[..., 2 * len(self.freqs) :]
        even, odd = turned.float().reshape(*turned.shape[:-1], -1, 2).unbind(-1)
        pairs = even * angles.cos() - odd * angles.sin(), odd * angles.cos() + even * angles.sin()
        return torch.cat([torch.stack(pairs, dim=-1).flatten(-2).to(x.dtype), rest], dim=-1)


class CosineAttention(nn.Module):
    """Attention over cosines: many heads ask one head of keys and values, and a learned key that all may attend to."""

    def __init__(self, read: DiffusionPriorNetworkConfig) -> None:
        super().__init__()
        self.heads, width = read.heads, read.dim_head
        self.norm = GainNorm(read.dim)
        self.null_kv = nn.Parameter(torch.zeros(2, width))
        self.to_q = nn.Linear(read.dim, self.heads * width, bias=False)
        self.to_kv = nn.Linear(read.dim, 2 * width, bias=False)
        if read.rotary_dim:
            self.rotary_emb = Rotary(read.rotary_dim)
        self.to_out = nn.Sequential(nn.Linear(self.heads * width, read.dim, bias=False), GainNorm(read.dim))

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """x (B, L, dim) and what is added to its scores, (heads, L, 1 + L), to (B, L, dim)."""
        x = self.norm(x)
        q, (k, v) = self.to_q(x).unflatten(-1, (self.heads, -1)).transpose(1, 2), self.to_kv(x).chunk(2, dim=-1)
        if hasattr(self, "rotary_emb"):
            q, k = self.rotary_emb(q), self.rotary_emb(k)
        nothing = self.null_kv[:, None, None].expand(-1, len(x), -1, -1)
        k, v = (torch.cat([first, rest], dim=1)[:, None] for first, rest in zip(nothing, (k, v), strict=True))
        q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
        k, v = (shared.expand(-1, self.heads, -1, -1) for shared in (k, v))
        out = F.scaled_dot_product_attention(q, k, v, bias.to(q.dtype), scale=COSINE_SCALE)
        return self.to_out(out.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class RelativePositions(nn.Module):
    """What each head adds to a score, by how far back it looks. Raffel et al. 2020, T5, arXiv 1910.10683."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.relative_attention_bias = nn.Embedding(BUCKETS, heads)

    def forward(self, length: int) -> Tensor:
        """Return (heads, L, 1 + L), -inf where a place lies ahead; place 0 is the learned key."""
        device = self.relative_attention_bias.weight.device
        back = torch.arange(length, device=device)[:, None] - torch.arange(length + 1, device=device)
        exact, far = BUCKETS // 2, back.clamp(min=1).float()
        coarse = exact + (torch.log(far / exact) / math.log(FURTHEST / exact) * (BUCKETS - exact)).long()
        bucket = torch.where(back < exact, back.clamp(min=0), coarse.clamp(max=BUCKETS - 1))
        bias = self.relative_attention_bias(bucket).permute(2, 0, 1)
        return bias.masked_fill(back < -1, -math.inf)  # type: ignore[no-any-return]


class PriorLayers(nn.Module):
    """Blocks of attention and a gated layer, each added to what it read."""

    def __init__(self, read: DiffusionPriorNetworkConfig) -> None:
        super().__init__()
        dim = read.dim
        self.init_norm = GainNorm(dim) if read.norm_in else nn.Identity()
        self.rel_pos_bias = RelativePositions(read.heads)
        self.layers = nn.ModuleList(
            nn.ModuleList([CosineAttention(read), gated_layer(dim, read.ff_dim, read.normformer)])
            for _ in range(read.depth)
        )
        self.norm = GainNorm(dim, stable=True) if read.norm_out else nn.Identity()
        self.project_out = nn.Linear(dim, dim, bias=False) if read.final_proj else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, dim) to (B, dim), what stands at the last place."""
        x = self.init_norm(x)
        bias = self.rel_pos_bias(x.shape[1])
        for layer in self.layers:
            assert isinstance(layer, nn.ModuleList)
            attention, gated = layer
            x = x + attention(x, bias)
            x = x + gated(x)
        return self.project_out(self.norm(x)[:, -1])  # type: ignore[no-any-return]


def gated_layer(dim: int, width: int, norm: bool) -> nn.Sequential:
    """Return the layer after attention; the places of its modules are those of their names in the file."""
    inner = GainNorm(width) if norm else nn.Identity()
    return nn.Sequential(
        GainNorm(dim), nn.Linear(dim, 2 * width, bias=False), GatedSiLU(), inner, nn.Identity(),
        nn.Linear(width, dim, bias=False),
    )  # fmt: skip


class Waves(nn.Module):
    """Steps (B,) as sines and cosines (B, dim). Vaswani et al. 2017, arXiv 1706.03762, section 3.5."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, steps: Tensor) -> Tensor:
        """(B,) to (B, dim)."""
        half = self.dim // 2
        slower = torch.exp(torch.arange(half, device=steps.device) * (-math.log(10000) / (half - 1)))
        angles = steps[:, None] * slower
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


class TimeLayers(nn.Module):
    """Three layers from the waves of a step to its embeddings."""

    def __init__(self, dim: int, out_dim: int) -> None:
        super().__init__()
        width = 2 * out_dim
        first, second = (nn.Sequential(nn.Linear(size, width), nn.SiLU()) for size in (dim, width))
        self.net = nn.Sequential(first, second, nn.Linear(width, out_dim))

    def forward(self, x: Tensor) -> Tensor:
        """(B, dim) to (B, out_dim)."""
        return self.net(x)  # type: ignore[no-any-return]


class DiffusionPriorNetwork(nn.Module):
    """The prior of DALLE2-pytorch. Keyword arguments are the fields of `DiffusionPriorNetworkConfig`."""

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self.config, self.read = config, DiffusionPriorNetworkConfig.read(config)
        read, dim = self.read, self.read.dim
        self.to_text_embeds, self.to_image_embeds = (
            nn.Sequential(nn.Linear(dim, count * dim) if count > 1 else nn.Identity())
            for count in (read.num_text_embeds, read.num_image_embeds)
        )
        times: nn.Module = nn.Sequential(Waves(dim), TimeLayers(dim, read.num_time_embeds * dim))
        if read.num_timesteps is not None:
            times = nn.Embedding(read.num_timesteps, read.num_time_embeds * dim)
        self.to_time_embeds = nn.Sequential(times)
        self.learned_query = nn.Parameter(torch.zeros(dim))
        self.causal_transformer = PriorLayers(read)
        self.null_text_encodings = nn.Parameter(torch.zeros(1, read.max_text_len, dim))
        self.null_text_embeds = nn.Parameter(torch.zeros(1, read.num_text_embeds, dim))
        self.null_image_embed = nn.Parameter(torch.zeros(1, dim))

    @property
    def size(self) -> int:
        """Entries of an embedding."""
        return self.read.dim

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """x (B, dim), t (B,) in (0, 1], to (B, dim).

        `cond.vector` is z_t (B, dim), of unit length, or zeros for no condition; `cond.tokens` the text tower's output
        (B, L, dim) with zeros where there is no word, or None where words are not read.
        """
        if cond.vector is None:
            raise ValueError("the prior needs cond.vector")
        dtype = self.learned_query.dtype
        z_t, count, dim = cond.vector.to(dtype), len(x), self.read.dim
        told = (z_t != 0).any(dim=-1)[:, None, None]
        text, image, time = (
            made.view(count, -1, dim)
            for made in (self.to_text_embeds(z_t), self.to_image_embeds(x.to(dtype)), self._times(t, dtype))
        )
        rows = [
            self._words(cond.tokens, count, told), torch.where(told, text, self.null_text_embeds), time,
            torch.where(told, image, self.null_image_embed), self.learned_query.expand(count, 1, -1),
        ]  # fmt: skip
        return self.causal_transformer(torch.cat(rows, dim=1))  # type: ignore[no-any-return]

    def _times(self, t: Tensor, dtype: torch.dtype) -> Tensor:
        steps = timesteps(t)
        if self.read.num_timesteps is not None:
            return self.to_time_embeds(steps.round().long())  # type: ignore[no-any-return]
        return self.to_time_embeds[0][1](self.to_time_embeds[0][0](steps).to(dtype))  # type: ignore[no-any-return,index]

    def _words(self, tokens: Tensor | None, count: int, told: Tensor) -> Tensor:
        """Return max_text_len rows: the words, and a learned row of its place for each that is missing."""
        null = self.null_text_encodings.expand(count, -1, -1)
        if tokens is None:
            return null
        words = tokens[:, : self.read.max_text_len].to(null.dtype)
        words = F.pad(words, (0, 0, 0, self.read.max_text_len - words.shape[1]))
        return torch.where((words != 0).any(dim=-1, keepdim=True) & told, words, null)

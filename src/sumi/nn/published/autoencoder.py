"""The codecs of Stable Diffusion and Kandinsky: a picture as a grid of latents an eighth of its size, and back.

Both are VQGAN's convolutional encoder and decoder (Esser et al. 2021, arXiv 2012.09841). `AutoencoderKL` keeps its
latents smooth by a Kullback-Leibler term (Rombach et al. 2022, arXiv 2112.10752, section 3.1). `VQModel` is MoVQ: in
its decoder each normalisation is modulated by the latents (Zheng et al. 2022, arXiv 2209.09002, section 3.2):

    norm(h, z) = group_norm(h) * W_y z + W_b z,    z enlarged to the size of h

Parameter names are those of diffusers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sumi.nn.attention import attend
from sumi.nn.published.config import PublishedConfig

EPS = 1e-6

DownType = Literal["DownEncoderBlock2D", "AttnDownEncoderBlock2D"]
UpType = Literal["UpDecoderBlock2D", "AttnUpDecoderBlock2D"]
Norm = Callable[[int], nn.Module]
"""Channels to a normalisation norm(h, z), which may look at the latents z."""


@dataclass(frozen=True, kw_only=True)
class CodecConfig(PublishedConfig):
    """What both codecs are made of."""

    in_channels: int
    out_channels: int
    latent_channels: int
    block_out_channels: tuple[int, ...]
    layers_per_block: int
    down_block_types: tuple[DownType, ...]
    up_block_types: tuple[UpType, ...]
    norm_num_groups: int = 32
    neutral: ClassVar[dict[str, tuple[object, ...]]] = {"act_fn": ("silu",), "mid_block_add_attention": (True,)}
    unused: ClassVar[frozenset[str]] = frozenset({"sample_size", "force_upcast"})


@dataclass(frozen=True, kw_only=True)
class AutoencoderKLConfig(CodecConfig):
    """Stable Diffusion's. scaling_factor: what the latents are multiplied by to be of about unit variance."""

    scaling_factor: float = 0.18215
    neutral: ClassVar[dict[str, tuple[object, ...]]] = CodecConfig.neutral | {
        "shift_factor": (None,), "latents_mean": (None,), "latents_std": (None,),
        "use_quant_conv": (True,), "use_post_quant_conv": (True,),
    }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class VQModelConfig(CodecConfig):
    """Kandinsky's. Its pipelines do not scale the latents."""

    num_vq_embeddings: int
    vq_embed_dim: int
    norm_type: Literal["group", "spatial"] = "group"
    neutral: ClassVar[dict[str, tuple[object, ...]]] = CodecConfig.neutral | {"lookup_from_codebook": (False,)}
    unused: ClassVar[frozenset[str]] = CodecConfig.unused | {"scaling_factor"}


class GroupNorm(nn.GroupNorm):
    """A normalisation that does not look at the latents."""

    def forward(self, h: Tensor, z: Tensor | None = None) -> Tensor:
        """(B, C, H, W) to the same."""
        return super().forward(h)


class SpatialNorm(nn.Module):
    """MoVQ's normalisation, modulated by the latents."""

    def __init__(self, channels: int, latent_channels: int) -> None:
        super().__init__()
        self.norm_layer = nn.GroupNorm(32, channels, eps=EPS)
        self.conv_y, self.conv_b = (nn.Conv2d(latent_channels, channels, 1) for _ in range(2))

    def forward(self, h: Tensor, z: Tensor) -> Tensor:
        """h (B, C, H, W) and latents z (B, latent_channels, h, w) to (B, C, H, W)."""
        z = F.interpolate(z, size=h.shape[2:], mode="nearest")
        return self.norm_layer(h) * self.conv_y(z) + self.conv_b(z)  # type: ignore[no-any-return]


class ResnetBlock(nn.Module):
    """Two convolutions around a skip."""

    def __init__(self, channels: int, out_channels: int, norm: Norm) -> None:
        super().__init__()
        self.norm1, self.norm2 = norm(channels), norm(out_channels)
        self.conv1 = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(channels, out_channels, 1) if channels != out_channels else None

    def forward(self, x: Tensor, z: Tensor | None) -> Tensor:
        """(B, C, H, W) to (B, C', H, W)."""
        h = self.conv1(F.silu(self.norm1(x, z)))
        h = self.conv2(F.silu(self.norm2(h, z)))
        return h + (x if self.conv_shortcut is None else self.conv_shortcut(x))  # type: ignore[no-any-return]


class SelfAttention(nn.Module):
    """Attention among the positions, with one head; its normalisation is named by its kind."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        layer = norm(channels)
        self.norm_name = "spatial_norm" if isinstance(layer, SpatialNorm) else "group_norm"
        self.add_module(self.norm_name, layer)
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x: Tensor, z: Tensor | None) -> Tensor:
        """(B, C, H, W) to the same."""
        positions = self.get_submodule(self.norm_name)(x, z).flatten(2).transpose(1, 2)
        q, k, v = (project(positions)[:, None] for project in (self.to_q, self.to_k, self.to_v))
        out = self.to_out[0](attend(q, k, v)[:, 0])
        return x + out.transpose(1, 2).unflatten(2, x.shape[2:])  # type: ignore[no-any-return]


class Downsample(nn.Module):
    """Halve the resolution by a strided convolution, padded at the right and the bottom alone."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, H/2, W/2)."""
        return self.conv(F.pad(x, (0, 1, 0, 1)))  # type: ignore[no-any-return]


class Upsample(nn.Module):
    """Double the resolution by repetition and a convolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C, 2H, 2W)."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))  # type: ignore[no-any-return]


class Level(nn.Module):
    """Residual blocks of one resolution, each with attention after it or none, and the way to the next resolution."""

    def __init__(self, channels: int, out_channels: int, layers: int, attention: bool, norm: Norm,
                 downsample: bool = False, upsample: bool = False) -> None:  # fmt: skip
        super().__init__()
        first_widths = [channels] + [out_channels] * (layers - 1)
        self.resnets = nn.ModuleList(ResnetBlock(width, out_channels, norm) for width in first_widths)
        if attention:
            self.attentions = nn.ModuleList(SelfAttention(out_channels, norm) for _ in range(layers))
        if downsample:
            self.downsamplers = nn.ModuleList([Downsample(out_channels)])
        if upsample:
            self.upsamplers = nn.ModuleList([Upsample(out_channels)])
        self.attention, self.resampler = attention, ("downsamplers" if downsample else "upsamplers" if upsample else "")

    def forward(self, x: Tensor, z: Tensor | None = None) -> Tensor:
        """(B, C, H, W) to (B, C', H, W), halved or doubled in size where the level resamples."""
        for index, resnet in enumerate(self.resnets):
            x = resnet(x, z)
            if self.attention:
                x = self.attentions[index](x, z)
        for resample in getattr(self, self.resampler) if self.resampler else ():
            x = resample(x)
        return x


class Middle(nn.Module):
    """A residual block, attention and a residual block."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.attentions = nn.ModuleList([SelfAttention(channels, norm)])
        self.resnets = nn.ModuleList(ResnetBlock(channels, channels, norm) for _ in range(2))

    def forward(self, x: Tensor, z: Tensor | None = None) -> Tensor:
        """(B, C, H, W) to the same."""
        return self.resnets[1](self.attentions[0](self.resnets[0](x, z), z), z)  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """Pictures (B, in_channels, H, W) to (B, out_channels, H/f, W/f)."""

    def __init__(self, config: CodecConfig, out_channels: int) -> None:
        super().__init__()
        channels, norm = config.block_out_channels, group_norm(config)
        self.conv_in = nn.Conv2d(config.in_channels, channels[0], 3, padding=1)
        last = len(channels) - 1
        self.down_blocks = nn.ModuleList(
            Level(channels[max(level - 1, 0)], channels[level], config.layers_per_block,
                  kind == "AttnDownEncoderBlock2D", norm, downsample=level < last)
            for level, kind in enumerate(config.down_block_types)
        )  # fmt: skip
        self.mid_block = Middle(channels[-1], norm)
        self.conv_norm_out = norm(channels[-1])
        self.conv_out = nn.Conv2d(channels[-1], out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H/f, W/f)."""
        h = self.conv_in(x)
        for level in self.down_blocks:
            h = level(h)
        return self.conv_out(F.silu(self.conv_norm_out(self.mid_block(h))))  # type: ignore[no-any-return]


class Decoder(nn.Module):
    """(B, latent_channels, h, w) to pictures (B, out_channels, h·f, w·f)."""

    def __init__(self, config: CodecConfig, norm: Norm) -> None:
        super().__init__()
        channels = config.block_out_channels[::-1]
        self.conv_in = nn.Conv2d(config.latent_channels, channels[0], 3, padding=1)
        self.mid_block = Middle(channels[0], norm)
        last = len(channels) - 1
        self.up_blocks = nn.ModuleList(
            Level(channels[max(level - 1, 0)], channels[level], config.layers_per_block + 1,
                  kind == "AttnUpDecoderBlock2D", norm, upsample=level < last)
            for level, kind in enumerate(config.up_block_types)
        )  # fmt: skip
        self.conv_norm_out = norm(channels[-1])
        self.conv_out = nn.Conv2d(channels[-1], config.out_channels, 3, padding=1)

    def forward(self, h: Tensor, z: Tensor | None = None) -> Tensor:
        """(B, latent_channels, h, w), and the latents that modulate MoVQ's norms, to (B, out_channels, h·f, w·f)."""
        h = self.mid_block(self.conv_in(h), z)
        for level in self.up_blocks:
            h = level(h, z)
        return self.conv_out(F.silu(self.conv_norm_out(h, z)))  # type: ignore[no-any-return]


def group_norm(config: CodecConfig) -> Norm:
    """Return the normalisation that does not look at the latents."""
    return lambda channels: GroupNorm(config.norm_num_groups, channels, eps=EPS)


class AutoencoderKL(nn.Module):
    """Stable Diffusion's codec. Keyword arguments are the keys of its `config.json`."""

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self.config, read = config, AutoencoderKLConfig.read(config)
        self.latent_channels, self.factor = read.latent_channels, int(2 ** (len(read.block_out_channels) - 1))
        self.scaling_factor = read.scaling_factor
        self.encoder, self.decoder = Encoder(read, 2 * read.latent_channels), Decoder(read, group_norm(read))
        self.quant_conv = nn.Conv2d(2 * read.latent_channels, 2 * read.latent_channels, 1)
        self.post_quant_conv = nn.Conv2d(read.latent_channels, read.latent_channels, 1)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the unscaled latents of x, each (B, latent_channels, H/f, W/f)."""
        moments = self.quant_conv(self.encoder(x.to(self.quant_conv.weight.dtype)))
        mean, logvar = moments.chunk(2, dim=1)
        return mean, logvar.clamp(-30, 20)

    def encode(self, x: Tensor) -> Tensor:
        """Pictures (B, in_channels, H, W) in [-1, 1] to the scaled mean of their latents."""
        return self.scaling_factor * self.posterior(x)[0]

    def decode(self, z: Tensor) -> Tensor:
        """Scaled latents (B, latent_channels, h, w) to pictures (B, out_channels, h·f, w·f) in [-1, 1]."""
        raw = (z / self.scaling_factor).to(self.post_quant_conv.weight.dtype)
        return self.decoder(self.post_quant_conv(raw)).clamp(-1, 1)  # type: ignore[no-any-return]


class Codebook(nn.Module):
    """The vectors that MoVQ's latents were trained towards."""

    def __init__(self, size: int, channels: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(size, channels)

    def forward(self, z: Tensor) -> Tensor:
        """Each of the latents (B, channels, h, w) replaced by the nearest vector."""
        rows = z.movedim(1, -1)
        nearest = torch.cdist(rows.flatten(0, 2), self.embedding.weight).argmin(dim=1)
        return self.embedding(nearest).view_as(rows).movedim(-1, 1)  # type: ignore[no-any-return]


class VQModel(nn.Module):
    """Kandinsky's codec, MoVQ. Keyword arguments are the keys of its `config.json`.

    Its latents are neither scaled nor quantised, as Kandinsky's decoder was trained on them; `quantize` is there for
    models over its tokens.
    """

    def __init__(self, **config: Any) -> None:
        super().__init__()
        self.config, read = config, VQModelConfig.read(config)
        self.latent_channels, self.factor = read.vq_embed_dim, int(2 ** (len(read.block_out_channels) - 1))
        self.spatial = read.norm_type == "spatial"

        def spatial_norm(channels: int) -> nn.Module:
            return SpatialNorm(channels, read.vq_embed_dim)

        self.encoder = Encoder(read, read.latent_channels)
        self.decoder = Decoder(read, spatial_norm if self.spatial else group_norm(read))
        self.quant_conv = nn.Conv2d(read.latent_channels, read.vq_embed_dim, 1)
        self.quantize = Codebook(read.num_vq_embeddings, read.vq_embed_dim)
        self.post_quant_conv = nn.Conv2d(read.vq_embed_dim, read.latent_channels, 1)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def encode(self, x: Tensor) -> Tensor:
        """Pictures (B, in_channels, H, W) in [-1, 1] to latents (B, vq_embed_dim, H/f, W/f)."""
        return self.quant_conv(self.encoder(x.to(self.quant_conv.weight.dtype)))  # type: ignore[no-any-return]

    def decode(self, z: Tensor) -> Tensor:
        """Latents (B, vq_embed_dim, h, w) to pictures (B, out_channels, h·f, w·f) in [-1, 1]."""
        z = z.to(self.post_quant_conv.weight.dtype)
        return self.decoder(self.post_quant_conv(z), z).clamp(-1, 1)  # type: ignore[no-any-return]

"""The U-Nets of published diffusion models, called as any network here: network(x, t, cond).

`UNet2DConditionModel` is that of Stable Diffusion 1.x, 2.x and XL, of Stable unCLIP, and the decoder of karlo and of
Kandinsky 2.2. They differ in their blocks and in what they are told besides the words:

    karlo             cond.vector is added to the time embedding as it is
    Stable unCLIP     cond.vector, a noised image embedding, is added to it after two layers
    SDXL              so is cond.vector, the pooled text embedding and six numbers of sizes, these as sinusoids
    Kandinsky 2.2     cond.vector, an image embedding, is added after one layer, and becomes 32 context tokens

`UNet2DModel` hears the time, and a class where it knows some. It is karlo's super-resolution, whose small picture comes
enlarged in cond.concat, and guided-diffusion's network.
Parameter names are those of diffusers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from sumi.nn.cond import Cond
from sumi.nn.embedding import sinusoids
from sumi.nn.published.attention import AddedKVAttention, SpatialTransformer
from sumi.nn.published.config import PublishedConfig, per_level
from sumi.nn.published.timestep import TimestepEmbedding
from sumi.nn.published.unet_blocks import Attend, Resample, UNetTrunk

Kind = Literal["none", "transformer", "added_kv", "self"]

# The kinds of level: attention, and how the next level is reached.
BLOCKS: dict[str, tuple[Kind, Resample]] = {
    "DownBlock2D": ("none", "conv"),
    "UpBlock2D": ("none", "conv"),
    "CrossAttnDownBlock2D": ("transformer", "conv"),
    "CrossAttnUpBlock2D": ("transformer", "conv"),
    "UNetMidBlock2DCrossAttn": ("transformer", "conv"),
    "ResnetDownsampleBlock2D": ("none", "resnet"),
    "ResnetUpsampleBlock2D": ("none", "resnet"),
    "SimpleCrossAttnDownBlock2D": ("added_kv", "resnet"),
    "SimpleCrossAttnUpBlock2D": ("added_kv", "resnet"),
    "UNetMidBlock2DSimpleCrossAttn": ("added_kv", "resnet"),
    "AttnDownBlock2D": ("self", "conv"),
    "AttnUpBlock2D": ("self", "conv"),
}

DownType = Literal["DownBlock2D", "CrossAttnDownBlock2D", "ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"]
UpType = Literal["UpBlock2D", "CrossAttnUpBlock2D", "ResnetUpsampleBlock2D", "SimpleCrossAttnUpBlock2D"]
MidType = Literal["UNetMidBlock2DCrossAttn", "UNetMidBlock2DSimpleCrossAttn"]
PlainDownType = Literal["DownBlock2D", "ResnetDownsampleBlock2D", "AttnDownBlock2D"]
PlainUpType = Literal["UpBlock2D", "ResnetUpsampleBlock2D", "AttnUpBlock2D"]


@dataclass(frozen=True, kw_only=True)
class UNetConfig(PublishedConfig):
    """What every U-Net is made of; lists have one entry for each level."""

    in_channels: int
    out_channels: int
    block_out_channels: tuple[int, ...]
    norm_num_groups: int = 32
    norm_eps: float = 1e-5
    resnet_time_scale_shift: Literal["default", "scale_shift"] = "default"
    neutral: ClassVar[dict[str, tuple[object, ...]]] = {
        "act_fn": ("silu",), "center_input_sample": (False,), "downsample_padding": (1,), "flip_sin_to_cos": (True,),
        "freq_shift": (0,), "mid_block_scale_factor": (1,),
        "time_embedding_dim": (None,), "time_embedding_type": ("positional",),
    }  # fmt: skip
    unused: ClassVar[frozenset[str]] = frozenset({"sample_size", "dropout"})

    def resnet(self) -> dict[str, Any]:
        """Return the keyword arguments of the residual blocks."""
        scale_shift = self.resnet_time_scale_shift == "scale_shift"
        return {"groups": self.norm_num_groups, "eps": self.norm_eps, "scale_shift": scale_shift}


@dataclass(frozen=True, kw_only=True)
class UNet2DConditionConfig(UNetConfig):
    """A U-Net with attention.

    attention_head_dim: by an old mistake of the format the number of heads; in unCLIP's kind of blocks their width.
    """

    down_block_types: tuple[DownType, ...]
    up_block_types: tuple[UpType, ...]
    mid_block_type: MidType = "UNetMidBlock2DCrossAttn"
    layers_per_block: int | tuple[int, ...]
    attention_head_dim: int | tuple[int, ...]
    cross_attention_dim: int
    transformer_layers_per_block: int | tuple[int, ...] = 1
    use_linear_projection: bool = False
    class_embed_type: Literal["identity", "projection"] | None = None
    addition_embed_type: Literal["text_time", "image"] | None = None
    addition_time_embed_dim: int | None = None
    projection_class_embeddings_input_dim: int | None = None
    encoder_hid_dim: int | None = None
    encoder_hid_dim_type: Literal["image_proj"] | None = None
    neutral: ClassVar[dict[str, tuple[object, ...]]] = UNetConfig.neutral | {
        "attention_type": ("default",), "class_embeddings_concat": (False, None), "conv_in_kernel": (3,),
        "conv_out_kernel": (3,), "cross_attention_norm": (None,), "dual_cross_attention": (False,),
        "mid_block_only_cross_attention": (None, False), "num_attention_heads": (None,), "num_class_embeds": (None,),
        "only_cross_attention": (False,), "resnet_out_scale_factor": (1,), "resnet_skip_time_act": (False,),
        "reverse_transformer_layers_per_block": (None,), "time_cond_proj_dim": (None,),
        "time_embedding_act_fn": (None,), "timestep_post_act": (None,),
    }  # fmt: skip
    unused: ClassVar[frozenset[str]] = UNetConfig.unused | {"addition_embed_type_num_heads", "upcast_attention"}


@dataclass(frozen=True, kw_only=True)
class UNet2DConfig(UNetConfig):
    """A U-Net without words, some of whose levels attend to themselves.

    attention_head_dim: the width of a head, which guided-diffusion may set for each level. model_channels: of the time
    embedding, where they are not those of the finest level, as in guided-diffusion's largest network.
    """

    down_block_types: tuple[PlainDownType, ...]
    up_block_types: tuple[PlainUpType, ...]
    layers_per_block: int
    add_attention: bool = True
    attention_head_dim: int | tuple[int, ...] | None = 8
    attn_norm_num_groups: int | None = None
    downsample_type: Literal["conv", "resnet"] = "conv"
    upsample_type: Literal["conv", "resnet"] = "conv"
    num_class_embeds: int | None = None
    model_channels: int | None = None
    neutral: ClassVar[dict[str, tuple[object, ...]]] = UNetConfig.neutral | {
        "class_embed_type": (None,), "mid_block_type": ("UNetMidBlock2D",), "num_train_timesteps": (None,),
    }  # fmt: skip


class ImageTimeEmbedding(nn.Module):
    """An image embedding (B, in_width) as what is added to the time embedding (B, width)."""

    def __init__(self, in_width: int, width: int) -> None:
        super().__init__()
        self.image_proj, self.image_norm = nn.Linear(in_width, width), nn.LayerNorm(width)

    def forward(self, embed: Tensor) -> Tensor:
        """(B, in_width) to (B, width)."""
        return self.image_norm(self.image_proj(embed))  # type: ignore[no-any-return]


class ImageProjection(nn.Module):
    """An image embedding (B, in_width) as context tokens (B, tokens, width)."""

    def __init__(self, in_width: int, width: int, tokens: int = 32) -> None:
        super().__init__()
        self.tokens = tokens
        self.image_embeds, self.norm = nn.Linear(in_width, tokens * width), nn.LayerNorm(width)

    def forward(self, embed: Tensor) -> Tensor:
        """(B, in_width) to (B, tokens, width)."""
        return self.norm(self.image_embeds(embed).unflatten(1, (self.tokens, -1)))  # type: ignore[no-any-return]


class UNet2DConditionModel(UNetTrunk):
    """A U-Net that attends to words, or to an image. Keyword arguments are the keys of its `config.json`."""

    def __init__(self, **config: Any) -> None:
        read = UNet2DConditionConfig.read(config)
        levels = len(read.block_out_channels)
        down, up = (_kinds(types, levels) for types in (read.down_block_types, read.up_block_types))
        super().__init__(
            read.in_channels, read.out_channels, read.block_out_channels,
            per_level(read.layers_per_block, levels, "layers_per_block"),
            [(_attention(read, kind, level), resample) for level, (kind, resample) in enumerate(down)],
            _attention(read, BLOCKS[read.mid_block_type][0], levels - 1),
            [(_attention(read, kind, levels - 1 - level), resample) for level, (kind, resample) in enumerate(up)],
            **read.resnet(),
        )  # fmt: skip
        self.config, self.read = config, read
        if read.class_embed_type == "projection":
            self.class_embedding = TimestepEmbedding(
                _given(read, "projection_class_embeddings_input_dim"), self.time_width
            )
        if read.addition_embed_type == "text_time":
            self.size_width = _given(read, "addition_time_embed_dim")
            self.add_embedding: nn.Module = TimestepEmbedding(
                _given(read, "projection_class_embeddings_input_dim"), self.time_width
            )
        elif read.addition_embed_type == "image":
            self.add_embedding = ImageTimeEmbedding(_given(read, "encoder_hid_dim"), self.time_width)
        if read.encoder_hid_dim_type == "image_proj":
            self.encoder_hid_proj = ImageProjection(_given(read, "encoder_hid_dim"), read.cross_attention_dim)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """x (B, C, H, W) and `cond.concat` on its channels, t (B,) in (0, 1], to (B, out_channels, H, W).

        `cond.tokens` is (B, M, cross_attention_dim), `cond.mask` (B, M) or None; both are of no use to Kandinsky.
        """
        time = self.time_embedding.at(t)
        if self.read.class_embed_type or self.read.addition_embed_type:
            time = time + self._vector(cond)
        if self.read.encoder_hid_dim_type == "image_proj" and cond.vector is not None:
            context, mask = self.encoder_hid_proj(cond.vector.to(self.dtype)), None
        else:
            context, mask = cond.tokens, cond.mask
        if context is None:
            raise ValueError("the U-Net needs cond.tokens")
        if cond.concat is not None:
            x = torch.cat([x, cond.concat], dim=1)
        return self.walk(x, time, context, mask)

    def _vector(self, cond: Cond) -> Tensor:
        """What `cond.vector` adds to the time embedding, (B, time_width)."""
        if cond.vector is None:
            raise ValueError("the U-Net needs cond.vector")
        if self.read.class_embed_type == "identity":
            return cond.vector.to(self.dtype)
        if self.read.class_embed_type == "projection":
            return self.class_embedding(cond.vector)  # type: ignore[no-any-return]
        if self.read.addition_embed_type == "image":
            return self.add_embedding(cond.vector.to(self.dtype))  # type: ignore[no-any-return]
        # The projection takes the pooled embedding and every size as `size_width` sinusoids, so its width tells how
        # many numbers at the end of the vector are sizes.
        sizes = (_given(self.read, "projection_class_embeddings_input_dim") - cond.vector.shape[1]) // (
            self.size_width - 1
        )
        pooled, numbers = cond.vector[:, :-sizes], cond.vector[:, -sizes:]
        waves = sinusoids(numbers.flatten(), self.size_width, scale=1.0).view(len(numbers), -1)
        return self.add_embedding(torch.cat([pooled, waves], dim=1))  # type: ignore[no-any-return]


class UNet2DModel(UNetTrunk):
    """A U-Net that hears the time, and a class. Keyword arguments are the keys of its `config.json`."""

    def __init__(self, **config: Any) -> None:
        read = UNet2DConfig.read(config)
        levels = len(read.block_out_channels)
        down = [(_self_attention(read, kind, level), _resampled(read.downsample_type, kind, resample))
                for level, (kind, resample) in enumerate(_kinds(read.down_block_types, levels))]  # fmt: skip
        up = [(_self_attention(read, kind, levels - 1 - level), _resampled(read.upsample_type, kind, resample))
              for level, (kind, resample) in enumerate(_kinds(read.up_block_types, levels))]  # fmt: skip
        super().__init__(
            read.in_channels, read.out_channels, read.block_out_channels, [read.layers_per_block] * levels, down,
            _middle_attention(read), up, read.model_channels, **read.resnet(),
        )  # fmt: skip
        self.config, self.read = config, read
        if read.num_class_embeds is not None:
            self.class_embedding = nn.Embedding(read.num_class_embeds, self.time_width)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """x (B, C, H, W) and `cond.concat` on its channels, t (B,) in (0, 1], to (B, out_channels, H, W).

        `cond.tokens` (B, 1) int64 is a class, 0 to num_class_embeds - 1.
        """
        time = self.time_embedding.at(t)
        if self.read.num_class_embeds is not None:
            if cond.tokens is None:
                raise ValueError("the U-Net needs cond.tokens, a class for each picture")
            time = time + self.class_embedding(cond.tokens[:, 0])
        if cond.concat is not None:
            x = torch.cat([x, cond.concat], dim=1)
        return self.walk(x, time)


def _self_attention(config: UNet2DConfig, kind: Kind, level: int) -> Attend | None:
    """The attention of one level to itself, counted from the finest."""
    if kind != "self":
        return None
    levels, groups = len(config.block_out_channels), config.norm_num_groups
    widths = config.attention_head_dim
    head_width = None if widths is None else per_level(widths, levels, "attention_head_dim")[level]
    return lambda width: AddedKVAttention(width, width // (head_width or width), None, groups)


def _middle_attention(config: UNet2DConfig) -> Attend | None:
    """The attention of the middle; ValueError where diffusers would leave its norm out."""
    if not config.add_attention:
        return None
    scaled = config.resnet_time_scale_shift == "scale_shift"
    groups = config.attn_norm_num_groups or (None if scaled else config.norm_num_groups)
    if groups != config.norm_num_groups:
        raise ValueError(
            f"attn_norm_num_groups is {config.attn_norm_num_groups}, and only that of the blocks is supported"
        )
    return _self_attention(config, "self", len(config.block_out_channels) - 1)


def _resampled(kind: Literal["conv", "resnet"], attention: Kind, resample: Resample) -> Resample:
    """How a level is left: levels with attention say it apart, the others by their type."""
    return kind if attention == "self" else resample


def _kinds(types: Sequence[str], levels: int) -> list[tuple[Kind, Resample]]:
    if len(types) != levels:
        raise ValueError(f"{len(types)} types of blocks for {levels} levels")
    return [BLOCKS[kind] for kind in types]


def _attention(config: UNet2DConditionConfig, kind: Kind, level: int) -> Attend | None:
    """The attention layers of one level, counted from the finest."""
    levels, context, groups = len(config.block_out_channels), config.cross_attention_dim, config.norm_num_groups
    if kind == "transformer":
        heads = per_level(config.attention_head_dim, levels, "attention_head_dim")[level]
        depth = per_level(config.transformer_layers_per_block, levels, "transformer_layers_per_block")[level]
        return lambda width: SpatialTransformer(width, heads, context, depth, groups, config.use_linear_projection)
    if kind == "added_kv":
        head_width = config.attention_head_dim
        if not isinstance(head_width, int):
            raise ValueError("attention_head_dim must be one number where blocks are of unCLIP's kind")
        return lambda width: AddedKVAttention(width, width // head_width, context, groups)
    return None


def _given(config: UNet2DConditionConfig, key: str) -> int:
    """A width that another key of the configuration calls for."""
    value = getattr(config, key)
    if value is None:
        raise ValueError(f"the configuration needs {key} with the embeddings that it asks for")
    return int(value)

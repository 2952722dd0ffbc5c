"""U-Nets in the naming of guided-diffusion, which CompVis and karlo share: their configuration, and where tensors go.

    input_blocks.N.0    a residual block, or a way down       input_blocks.N.1     its attention
    middle_block        residual block, attention, residual block
    output_blocks.N     residual block[, attention][, a way up]

Levels are counted at the ways up, which have a place of their own; everything else follows from the shapes, but for
the width of a head, which no shape shows.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from sumi.bundles.published.mapping import Move, Table, as_linear, head_rows, renamed, rows, then
from sumi.bundles.tensors import Entry

RESIDUAL: Final = {
    "in_layers.0": "norm1", "in_layers.2": "conv1", "emb_layers.1": "time_emb_proj", "out_layers.0": "norm2",
    "out_layers.3": "conv2", "skip_connection": "conv_shortcut",
}  # fmt: skip
ENDS: Final = {
    "time_embed.0": "time_embedding.linear_1", "time_embed.2": "time_embedding.linear_2", "input_blocks.0.0": "conv_in",
    "out.0": "conv_norm_out", "out.2": "conv_out",
}  # fmt: skip


LABELS: Final = {"label_emb.0.0": "linear_1", "label_emb.0.2": "linear_2"}


def original_name(ours: str, layers: int, attended: Callable[[str], bool]) -> str | None:
    """Return what guided-diffusion calls a module of a U-Net; None for one that it does not have.

    Args:
        ours: the module's name, such as "down_blocks.1.attentions.0.proj_in".
        layers: residual blocks that a level has on the way down.
        attended: whether a level, such as "up_blocks.0", has attention, which moves its way up by one place.
    """
    if found := re.fullmatch(r"(?:add|class)_embedding\.(linear_[12])", ours):
        return next(name for name, module in LABELS.items() if module == found[1])
    if end := next((name for name, module in ENDS.items() if module == ours), None):
        return end
    if found := re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d)\.?(.*)", ours):
        block, rest = f"middle_block.{2 * int(found[2]) + (found[1] == 'attentions')}", found[3]
    elif found := re.fullmatch(r"((down|up)_blocks\.(\d+))\.(resnets|attentions|\w+samplers)\.(\d+)\.?(.*)", ours):
        down, place, rest = found[2] == "down", int(found[3]) * (layers + 1), found[6]
        resampling = found[4].endswith("samplers")
        place += layers if resampling else int(found[5])
        block = f"input_blocks.{1 + place}" if down else f"output_blocks.{place}"
        if resampling and rest == "conv":
            return f"{block}.0.op" if down else f"{block}.{1 + attended(found[1])}.conv"
        block = f"{block}.{int(found[4] == 'attentions')}"
    else:
        return None
    if ".attentions." in ours:
        return f"{block}.{rest}"
    return next((f"{block}.{name}" for name, module in RESIDUAL.items() if module == rest), None)


@dataclass(frozen=True)
class OriginalUNet:
    """A U-Net of a single file.

    entries: the tensors of the file. prefix: of this network in it. head_width: channels a head of attention; None for
    eight heads at every level, as Stable Diffusion 1 has. label: what `label_emb` takes, "text_time" or "projection".
    heads: of every level, in place of a width. by_head: whether q, k and v are packed head by head, or all of q first.
    """

    entries: Mapping[str, Entry]
    prefix: str
    head_width: int | None = 64
    label: str | None = None
    heads: int | None = None
    by_head: bool = True

    def has(self, name: str) -> bool:
        """Whether there is a tensor of that name behind the prefix."""
        return self.prefix + name in self.entries

    def shape(self, name: str) -> tuple[int, ...]:
        """Return a tensor's shape."""
        return self.entries[self.prefix + name].shape

    @cached_property
    def ways_up(self) -> dict[int, str]:
        """The output block that ends each level but the last, and the way up in it."""
        pattern = re.compile(re.escape(self.prefix) + r"output_blocks\.(\d+)\.([12])\.(?:conv|in_layers\.2)\.weight")
        found = (pattern.fullmatch(name) for name in self.entries)
        return {int(match[1]): f"output_blocks.{match[1]}.{match[2]}" for match in found if match}

    @cached_property
    def levels(self) -> int:
        """How many resolutions there are."""
        return len(self.ways_up) + 1

    @cached_property
    def layers(self) -> int:
        """How many residual blocks a level has on the way down."""
        pattern = re.compile(re.escape(self.prefix) + r"output_blocks\.(\d+)\.0\.in_layers\.2\.weight")
        blocks = sum(pattern.fullmatch(name) is not None for name in self.entries)
        if blocks % self.levels:
            raise ValueError(f"{blocks} output blocks do not divide into {self.levels} levels")
        return blocks // self.levels - 1

    def input_block(self, level: int, layer: int) -> str:
        """Return the name of a block on the way down; layer `layers` is the way down itself."""
        return f"input_blocks.{1 + level * (self.layers + 1) + layer}"

    def output_block(self, up_level: int, layer: int) -> str:
        """Return the name of a block on the way up; level 0 is the smallest picture."""
        return f"output_blocks.{up_level * (self.layers + 1) + layer}"

    def attends(self, block: str) -> str | None:
        """Return the kind of attention in a block: "transformer", "simple" to a context too, "self", or none."""
        if self.has(f"{block}.1.proj_in.weight"):
            return "transformer"
        if self.has(f"{block}.1.encoder_kv.weight"):
            return "simple"
        return "self" if self.has(f"{block}.1.qkv.weight") else None

    @cached_property
    def attends_in_middle(self) -> str | None:
        """The kind of attention in the middle, which has the place of the second block of others."""
        named = {"transformer": "proj_in", "simple": "encoder_kv", "self": "qkv"}
        return next((kind for kind, name in named.items() if self.has(f"middle_block.1.{name}.weight")), None)

    def depth(self, attention: str) -> int:
        """Return how many transformer blocks an attention has."""
        found = re.compile(re.escape(f"{self.prefix}{attention}.transformer_blocks.") + r"(\d+)\.")
        return len({match[1] for name in self.entries if (match := found.match(name))})

    def config(self) -> dict[str, Any]:
        """Return the configuration as diffusers spells it."""
        channels = [self.shape(f"{self.input_block(level, 0)}.0.in_layers.2.weight")[0] for level in range(self.levels)]
        kinds = [self.attends(self.input_block(level, 0)) for level in range(self.levels)]
        residual = self.levels > 1 and not self.has(f"{self.input_block(0, self.layers)}.0.op.weight")
        width = self.shape(f"{self.input_block(0, 0)}.0.emb_layers.1.weight")[0]
        config: dict[str, Any] = {
            "in_channels": self.shape("input_blocks.0.0.weight")[1], "out_channels": self.shape("out.2.weight")[0],
            "block_out_channels": channels, "layers_per_block": self.layers,
            "down_block_types": [_down_type(kind, residual) for kind in kinds],
            "up_block_types": [_up_type(kind, residual) for kind in reversed(kinds)],
            "resnet_time_scale_shift": "scale_shift" if width == 2 * channels[0] else "default",
        }  # fmt: skip
        if self.attends_in_middle == "self":
            config |= self._self_attention_config(channels, residual)
        elif self.attends_in_middle:
            config |= self._attention_config(channels, kinds)
        else:
            config["add_attention"] = False
        return config | self._label_config()

    def table(self) -> Table:
        """Return where each tensor goes."""
        moves = self._renamed(ENDS)
        for level in range(self.levels):
            for layer in range(self.layers):
                moves += self._block(self.input_block(level, layer), f"down_blocks.{level}", layer)
            if level < self.levels - 1:
                below = f"{self.input_block(level, self.layers)}.0"
                moves += self._renamed({f"{below}.op": f"down_blocks.{level}.downsamplers.0.conv"})
                moves += self._residual(below, f"down_blocks.{level}.downsamplers.0")
            for layer in range(self.layers + 1):
                moves += self._block(self.output_block(level, layer), f"up_blocks.{level}", layer)
        for block, way in self.ways_up.items():
            target = f"up_blocks.{block // (self.layers + 1)}.upsamplers.0"
            moves += self._renamed({f"{way}.conv": f"{target}.conv"}) + self._residual(way, target)
        moves += self._residual("middle_block.0", "mid_block.resnets.0")
        if self.attends_in_middle:
            moves += self._attention("middle_block.1", "mid_block.attentions.0")
            moves += self._residual("middle_block.2", "mid_block.resnets.1")
        else:
            moves += self._residual("middle_block.1", "mid_block.resnets.1")
        target = "add_embedding" if self.label == "text_time" else "class_embedding"
        labels = {name: f"{target}.{module}" for name, module in LABELS.items()}
        return moves + self._renamed(labels if self.label else {"label_emb": "class_embedding"})

    def _attention_config(self, channels: list[int], kinds: list[str | None]) -> dict[str, Any]:
        if self.has("middle_block.1.qkv.weight"):
            context = self.shape("middle_block.1.encoder_kv.weight")[1]
            middle = {"mid_block_type": "UNetMidBlock2DSimpleCrossAttn", "class_embed_type": "identity"}
            return middle | {"cross_attention_dim": context, "attention_head_dim": self.head_width}
        attended = [self.depth(f"{self.input_block(level, 0)}.1") for level in range(self.levels)]
        attended[-1] = self.depth("middle_block.1")
        heads = 8 if self.head_width is None else [width // self.head_width for width in channels]
        return {
            "mid_block_type": "UNetMidBlock2DCrossAttn", "attention_head_dim": heads,
            "cross_attention_dim": self.shape("middle_block.1.transformer_blocks.0.attn2.to_k.weight")[1],
            "transformer_layers_per_block": [depth or 1 for depth in attended],
            "use_linear_projection": len(self.shape("middle_block.1.proj_in.weight")) == 2,
        }  # fmt: skip

    def _self_attention_config(self, channels: list[int], residual: bool) -> dict[str, Any]:
        resample, widths = "resnet" if residual else "conv", [self.width_of_head(width) for width in channels]
        config: dict[str, Any] = {
            "add_attention": True, "attention_head_dim": widths[0] if len({*widths}) == 1 else widths,
            "attn_norm_num_groups": 32, "downsample_type": resample, "upsample_type": resample,
        }  # fmt: skip
        waves = self.shape("time_embed.0.weight")[1]
        return config | ({} if waves == channels[0] else {"model_channels": waves})

    def width_of_head(self, channels: int) -> int:
        """Return the channels of a head in a level of so many; ValueError where they do not divide."""
        heads = self.heads or channels // (self.head_width or 64)
        if not heads or channels % heads or (not self.heads and channels % (self.head_width or 64)):
            raise ValueError(f"{channels} channels do not divide into heads")
        return channels // heads

    def _label_config(self) -> dict[str, Any]:
        if self.label is None:
            return {"num_class_embeds": self.shape("label_emb.weight")[0]} if self.has("label_emb.weight") else {}
        width = {"projection_class_embeddings_input_dim": self.shape("label_emb.0.0.weight")[1]}
        if self.label == "text_time":
            return width | {"addition_embed_type": "text_time", "addition_time_embed_dim": 256}
        return width | {"class_embed_type": "projection"}

    def _renamed(self, names: Mapping[str, str]) -> list[Move]:
        return renamed(self.entries, self.prefix, names)

    def _residual(self, block: str, target: str) -> list[Move]:
        return self._renamed({f"{block}.{old}": f"{target}.{new}" for old, new in RESIDUAL.items()})

    def _block(self, block: str, target: str, layer: int) -> list[Move]:
        moves = self._residual(f"{block}.0", f"{target}.resnets.{layer}")
        if self.attends(block):
            moves += self._attention(f"{block}.1", f"{target}.attentions.{layer}")
        return moves

    def _attention(self, block: str, target: str) -> list[Move]:
        if not self.has(f"{block}.qkv.weight"):  # a transformer has the same names on both sides
            return self._renamed({block: target})
        moves = self._renamed({f"{block}.norm": f"{target}.group_norm"})
        head = self.width_of_head(self.shape(f"{block}.qkv.weight")[1])
        packs = {"qkv": ("to_q", "to_k", "to_v"), "encoder_kv": ("add_k_proj", "add_v_proj")}
        for name, targets in packs.items():
            if not self.has(f"{block}.{name}.weight"):
                continue
            for index, to in enumerate(targets):
                take = head_rows(index, len(targets), head) if self.by_head else rows(index, len(targets))
                source = f"{self.prefix}{block}.{name}"
                moves.append(Move(f"{target}.{to}.weight", (f"{source}.weight",), then(as_linear, take)))
                moves.append(Move(f"{target}.{to}.bias", (f"{source}.bias",), take))
        moves.append(Move(f"{target}.to_out.0.weight", (f"{self.prefix}{block}.proj_out.weight",), as_linear))
        return [*moves, Move(f"{target}.to_out.0.bias", (f"{self.prefix}{block}.proj_out.bias",))]


def _down_type(kind: str | None, residual: bool) -> str:
    if kind == "transformer":
        return "CrossAttnDownBlock2D"
    if kind == "simple":
        return "SimpleCrossAttnDownBlock2D"
    if kind == "self":
        return "AttnDownBlock2D"
    return "ResnetDownsampleBlock2D" if residual else "DownBlock2D"


def _up_type(kind: str | None, residual: bool) -> str:
    return _down_type(kind, residual).replace("Downsample", "Upsample").replace("Down", "Up")

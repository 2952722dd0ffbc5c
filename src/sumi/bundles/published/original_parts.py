"""The other networks of single files: CLIP, CompVis' autoencoder, karlo's prior and condition, GLIDE's text encoder.

Each function reads a configuration off the shapes and says where every tensor goes, in the names of diffusers and
transformers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from sumi.bundles.published.mapping import (
    Move,
    Table,
    as_linear,
    as_row,
    head_rows,
    identity,
    renamed,
    rows,
    transposed,
)
from sumi.bundles.tensors import Entry

Entries = Mapping[str, Entry]
Config = dict[str, Any]
HEAD_WIDTH: Final = 64
"""Of every CLIP by OpenAI, and of the text towers of open_clip."""
LAYER: Final = {
    "ln_1": "layer_norm1", "ln_2": "layer_norm2", "attn.out_proj": "self_attn.out_proj", "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}  # fmt: skip


def count(entries: Entries, pattern: str) -> int:
    """Count the different numbers that a pattern captures."""
    found = re.compile(pattern)
    return len({match[1] for name in entries if (match := found.match(name))})


# CLIP ------------------------------------------------------------------------------------------------------------


def clip_layers(entries: Entries, source: str, target: str, layers: int) -> list[Move]:
    """Return where the layers of one tower go; q, k and v are packed in that order."""
    moves = []
    for layer in range(layers):
        old, new = f"{source}transformer.resblocks.{layer}.", f"{target}encoder.layers.{layer}."
        moves += renamed(entries, "", {old + name: new + to for name, to in LAYER.items()})
        for index, name in enumerate(("q_proj", "k_proj", "v_proj")):
            for kind in ("weight", "bias"):
                take = rows(index, 3)
                moves.append(Move(f"{new}self_attn.{name}.{kind}", (f"{old}attn.in_proj_{kind}",), take))
    return moves


def clip_text(entries: Entries, prefix: str, *, skip_layers: int = 0, projected: bool = True) -> tuple[Config, Table]:
    """Read a text tower in OpenAI's naming, without its last `skip_layers` layers."""
    layers = count(entries, re.escape(prefix) + r"transformer\.resblocks\.(\d+)\.") - skip_layers
    vocabulary, width = entries[f"{prefix}token_embedding.weight"].shape
    config: Config = {
        "vocab_size": vocabulary, "hidden_size": width, "num_hidden_layers": layers,
        "num_attention_heads": width // HEAD_WIDTH,
        "intermediate_size": entries[f"{prefix}transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
        "max_position_embeddings": entries[f"{prefix}positional_embedding"].shape[0], "eos_token_id": 2,
    }  # fmt: skip
    moves = clip_layers(entries, prefix, "text_model.", layers)
    moves.append(Move("text_model.embeddings.position_embedding.weight", (f"{prefix}positional_embedding",)))
    moves += renamed(
        entries, prefix,
        {"token_embedding": "text_model.embeddings.token_embedding", "ln_final": "text_model.final_layer_norm"},
    )  # fmt: skip
    if projected:
        config["projection_dim"] = entries[f"{prefix}text_projection"].shape[1]
        moves.append(Move("text_projection.weight", (f"{prefix}text_projection",), transposed))
    return config, moves


def clip_image(entries: Entries, prefix: str, head_width: int = HEAD_WIDTH) -> tuple[Config, Table]:
    """Read an image tower in OpenAI's naming: a transformer over patches."""
    layers = count(entries, re.escape(prefix) + r"transformer\.resblocks\.(\d+)\.")
    width, channels, patch_px, _ = entries[f"{prefix}conv1.weight"].shape
    side = round((entries[f"{prefix}positional_embedding"].shape[0] - 1) ** 0.5)
    config: Config = {
        "hidden_size": width, "num_channels": channels, "patch_size": patch_px, "image_size": side * patch_px,
        "num_hidden_layers": layers, "num_attention_heads": width // head_width,
        "intermediate_size": entries[f"{prefix}transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
        "projection_dim": entries[f"{prefix}proj"].shape[1],
    }  # fmt: skip
    moves = clip_layers(entries, prefix, "vision_model.", layers)
    moves += renamed(
        entries, prefix,
        {"conv1": "vision_model.embeddings.patch_embedding", "ln_pre": "vision_model.pre_layrnorm",
         "ln_post": "vision_model.post_layernorm"},
    )  # fmt: skip
    moves.append(Move("vision_model.embeddings.class_embedding", (f"{prefix}class_embedding",)))
    moves.append(Move("vision_model.embeddings.position_embedding.weight", (f"{prefix}positional_embedding",)))
    return config, [*moves, Move("visual_projection.weight", (f"{prefix}proj",), transposed)]


def clip(entries: Entries, *, head_width: int = HEAD_WIDTH, activation: str = "quick_gelu") -> tuple[Config, Table]:
    """Read both towers of a CLIP by OpenAI or of open_clip."""
    (text, text_table), (image, image_table) = clip_text(entries, ""), clip_image(entries, "visual.", head_width)
    act = {"hidden_act": activation}
    config = {"projection_dim": text["projection_dim"], "text_config": text | act, "vision_config": image | act}
    return config, [*text_table, *image_table, Move("logit_scale", ("logit_scale",))]


def hf_text(entries: Entries, prefix: str) -> tuple[Config, Table]:
    """Read a text tower that already has transformers' names, behind a prefix."""
    tower = f"{prefix}text_model."
    vocabulary, width = entries[f"{tower}embeddings.token_embedding.weight"].shape
    config: Config = {
        "vocab_size": vocabulary, "hidden_size": width, "hidden_act": "quick_gelu", "eos_token_id": 2,
        "num_hidden_layers": count(entries, re.escape(tower) + r"encoder\.layers\.(\d+)\."),
        "num_attention_heads": width // HEAD_WIDTH, "projection_dim": width,
        "intermediate_size": entries[f"{tower}encoder.layers.0.mlp.fc1.weight"].shape[0],
        "max_position_embeddings": entries[f"{tower}embeddings.position_embedding.weight"].shape[0],
    }  # fmt: skip
    names = [name for name in entries if name.startswith(tower) and not name.endswith("position_ids")]
    return config, [Move(name.removeprefix(prefix), (name,)) for name in names]


# The autoencoder of CompVis -----------------------------------------------------------------------------------------


def autoencoder(entries: Entries, prefix: str, scaling_factor: float) -> tuple[Config, Table]:
    """Read CompVis' KL autoencoder; its decoder counts levels from the largest picture, diffusers from the smallest."""
    levels = count(entries, re.escape(prefix) + r"encoder\.down\.(\d+)\.")
    layers = count(entries, re.escape(prefix) + r"encoder\.down\.0\.block\.(\d+)\.")
    channels = [entries[f"{prefix}encoder.down.{level}.block.0.conv1.weight"].shape[0] for level in range(levels)]
    config: Config = {
        "in_channels": entries[f"{prefix}encoder.conv_in.weight"].shape[1],
        "out_channels": entries[f"{prefix}decoder.conv_out.weight"].shape[0],
        "latent_channels": entries[f"{prefix}post_quant_conv.weight"].shape[1],
        "block_out_channels": channels, "layers_per_block": layers, "scaling_factor": scaling_factor,
        "down_block_types": ["DownEncoderBlock2D"] * levels, "up_block_types": ["UpDecoderBlock2D"] * levels,
    }  # fmt: skip
    names = {"quant_conv": "quant_conv", "post_quant_conv": "post_quant_conv"}
    for half in ("encoder", "decoder"):
        names |= {f"{half}.{end}": f"{half}.{end}" for end in ("conv_in", "conv_out")}
        names |= {f"{half}.norm_out": f"{half}.conv_norm_out"}
        for number in (1, 2):
            names |= _vae_residual(f"{half}.mid.block_{number}", f"{half}.mid_block.resnets.{number - 1}")
        names |= {f"{half}.mid.attn_1.norm": f"{half}.mid_block.attentions.0.group_norm"}
    for level in range(levels):
        down, up, mirrored = (
            f"encoder.down_blocks.{level}",
            f"decoder.up_blocks.{levels - 1 - level}",
            f"decoder.up.{level}",
        )
        names |= {f"encoder.down.{level}.downsample.conv": f"{down}.downsamplers.0.conv"}
        names |= {f"{mirrored}.upsample.conv": f"{up}.upsamplers.0.conv"}
        for layer in range(layers):
            names |= _vae_residual(f"encoder.down.{level}.block.{layer}", f"{down}.resnets.{layer}")
        for layer in range(layers + 1):
            names |= _vae_residual(f"{mirrored}.block.{layer}", f"{up}.resnets.{layer}")
    moves = renamed(entries, prefix, names)
    for half in ("encoder", "decoder"):
        for old, new in (("q", "to_q"), ("k", "to_k"), ("v", "to_v"), ("proj_out", "to_out.0")):
            source, target = f"{prefix}{half}.mid.attn_1.{old}", f"{half}.mid_block.attentions.0.{new}"
            moves += [
                Move(f"{target}.weight", (f"{source}.weight",), as_linear),
                Move(f"{target}.bias", (f"{source}.bias",)),
            ]
    return config, moves


def _vae_residual(source: str, target: str) -> dict[str, str]:
    same = {f"{source}.{name}": f"{target}.{name}" for name in ("norm1", "conv1", "norm2", "conv2")}
    return same | {f"{source}.nin_shortcut": f"{target}.conv_shortcut"}


# karlo ---------------------------------------------------------------------------------------------------------------


def karlo_prior(entries: Entries, prefix: str, mean: str, std: str) -> tuple[Config, Table]:
    """Read karlo's prior; q, k and v are packed head by head. mean, std: the tensors of CLIP's statistics."""
    width, embedding = entries[f"{prefix}clip_img_proj.weight"].shape
    layers = count(entries, re.escape(prefix) + r"transformer\.resblocks\.(\d+)\.")
    length = entries[f"{prefix}positional_embedding"].shape[1]
    config: Config = {
        "num_attention_heads": width // HEAD_WIDTH, "attention_head_dim": HEAD_WIDTH, "num_layers": layers,
        "embedding_dim": embedding, "num_embeddings": length - 4, "additional_embeddings": 4,
    }  # fmt: skip
    names = {
        "time_embed.0": "time_embedding.linear_1", "time_embed.2": "time_embedding.linear_2",
        "clip_img_proj": "proj_in", "text_emb_proj": "embedding_proj", "text_enc_proj": "encoder_hidden_states_proj",
        "final_ln": "norm_out", "out_proj": "proj_to_clip_embeddings",
    }  # fmt: skip
    moves = [
        Move("positional_embedding", (f"{prefix}positional_embedding",)), Move("prd_embedding", (f"{prefix}prd_emb",)),
        Move("clip_mean", (mean,), as_row), Move("clip_std", (std,), as_row),
    ]  # fmt: skip
    blocks, block_moves = packed_blocks(entries, prefix, layers)
    return config, [*moves, *block_moves, *renamed(entries, prefix, names | blocks)]


def packed_blocks(entries: Entries, prefix: str, layers: int) -> tuple[dict[str, str], list[Move]]:
    """Return where the blocks of a transformer go whose q, k and v are packed head by head: modules, and tensors."""
    names: dict[str, str] = {}
    moves = []
    for layer in range(layers):
        old, new = f"transformer.resblocks.{layer}.", f"transformer_blocks.{layer}."
        names |= {f"{old}ln_1": f"{new}norm1", f"{old}ln_2": f"{new}norm3", f"{old}attn.c_proj": f"{new}attn1.to_out.0"}
        names |= {f"{old}mlp.c_fc": f"{new}ff.net.0.proj", f"{old}mlp.c_proj": f"{new}ff.net.2"}
        for index, name in enumerate(("to_q", "to_k", "to_v")):
            for kind in ("weight", "bias"):
                source, take = f"{prefix}{old}attn.c_qkv.{kind}", head_rows(index, 3, HEAD_WIDTH)
                moves.append(Move(f"{new}attn1.{name}.{kind}", (source,), take))
    return names, moves


def karlo_text_projection(entries: Entries, prefix: str) -> tuple[Config, Table]:
    """Read what karlo's decoder is told: extra tokens from the image embedding, and the null embedding."""
    context, embedding = entries[f"{prefix}text_seq_proj.0.weight"].shape
    config: Config = {
        "clip_embeddings_dim": embedding, "cross_attention_dim": context,
        "clip_extra_context_tokens": entries[f"{prefix}clip_tok_proj.weight"].shape[0] // context,
        "time_embed_dim": entries[f"{prefix}text_feat_proj.weight"].shape[0],
    }  # fmt: skip
    names = {
        "text_seq_proj.0": "encoder_hidden_states_proj", "text_seq_proj.1": "text_encoder_hidden_states_norm",
        "clip_tok_proj": "clip_extra_context_tokens_proj", "text_feat_proj": "embedding_proj",
        "clip_emb": "clip_image_embeddings_project_to_time_embeddings",
    }  # fmt: skip
    learned = Move("learned_classifier_free_guidance_embeddings", (f"{prefix}cf_param",))
    return config, [learned, *renamed(entries, prefix, names)]


# GLIDE ---------------------------------------------------------------------------------------------------------------


def glide_text(entries: Entries) -> tuple[Config, Table]:
    """Read the text encoder that lies in a file beside the U-Net; q, k and v are packed head by head."""
    vocabulary, width = entries["token_embedding.weight"].shape
    layers = count(entries, r"transformer\.resblocks\.(\d+)\.")
    config: Config = {
        "vocab_size": vocabulary, "hidden_size": width, "num_hidden_layers": layers,
        "num_attention_heads": width // HEAD_WIDTH, "max_position_embeddings": entries["positional_embedding"].shape[0],
        "projection_dim": entries["transformer_proj.weight"].shape[0],
    }  # fmt: skip
    names = {"token_embedding": "token_embedding", "final_ln": "norm_out", "transformer_proj": "proj_out"}
    moves = [Move(name, (name,)) for name in ("positional_embedding", "padding_embedding")]
    blocks, block_moves = packed_blocks(entries, "", layers)
    return config, [*moves, *block_moves, *renamed(entries, "", names | blocks)]


# OpenAI's discrete VAE -----------------------------------------------------------------------------------------------


def dvae(entries: Entries) -> tuple[str, Config, Table]:
    """Read one half, the encoder or the decoder, which keeps its authors' names."""
    first, last = (entries[f"blocks.{end}.w"].shape for end in ("input", "output.conv"))
    config: Config = {"n_blk_per_group": count(entries, r"blocks\.group_1\.block_(\d+)\.")}
    if first[-1] == 7:
        half, config = "encoder", config | {"channels": first[1], "n_hid": first[0], "vocab_size": last[0]}
    else:
        sizes = {"channels": last[0] // 2, "n_hid": last[1], "vocab_size": first[1], "n_init": first[0]}
        half, config = "decoder", config | sizes
    return half, config, identity(entries)

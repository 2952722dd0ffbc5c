"""Networks written as their authors published them: our tensors under the names of CompVis, OpenAI and karlo."""

from __future__ import annotations

import re
from typing import Any

import torch
from published_weights import Config, Tensors, behind, published_system
from torch import Tensor

from sumi.nn import published

LEAVES = {
    "norm1": "in_layers.0", "conv1": "in_layers.2", "time_emb_proj": "emb_layers.1", "norm2": "out_layers.0",
    "conv2": "out_layers.3", "conv_shortcut": "skip_connection",
}  # fmt: skip
ENDS = {
    "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2", "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0", "conv_out": "out.2", "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2", "mid_block.attentions.0": "middle_block.1",
}  # fmt: skip


def random_state(config: Config) -> Tensors:
    """Random tensors for a network of that configuration, of a size with which signals neither grow nor vanish."""
    network = getattr(published, config["_class_name"])(**{k: v for k, v in config.items() if not k.startswith("_")})
    rng = torch.Generator().manual_seed(0)
    return {
        name: torch.randn(value.shape, generator=rng) / (value[0].numel() ** 0.5 if value.ndim > 1 else 1.0)
        for name, value in network.state_dict().items()
    }


def unet(state: Tensors, config: Config) -> Tensors:
    """A U-Net under guided-diffusion's names."""
    made: Tensors = {}
    for name, value in state.items():
        module, kind = name.rsplit(".", 1)
        made[f"{unet_module(module, config)}.{kind}"] = value
    return packed(made)


def unet_module(module: str, config: Config) -> str:
    """How guided-diffusion calls a module of ours."""
    layers, simple = config["layers_per_block"], "Resnet" in str(config["down_block_types"])
    for ours, theirs in ENDS.items():
        if module.startswith(ours):
            return theirs + module.removeprefix(ours)
    if found := re.match(r"mid_block\.resnets\.(\d)\.(.*)", module):
        last = 2 if "mid_block_type" in config or "cross_attention_dim" in config else 1
        return f"middle_block.{int(found[1]) * last}.{LEAVES[found[2]]}"
    found = re.match(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.?(.*)", module)
    assert found is not None, module
    side, level, what, layer, rest = found[1], int(found[2]), found[3], int(found[4]), found[5]
    where = f"input_blocks.{1 + level * (layers + 1)}" if side == "down" else f"output_blocks.{level * (layers + 1)}"
    block, first = where.rsplit(".", 1)
    if what == "resnets":
        return f"{block}.{int(first) + layer}.0.{LEAVES[rest]}"
    if what == "attentions":
        return f"{block}.{int(first) + layer}.1" + (f".{rest}" if rest else "")
    at = int(first) + layers
    if what == "downsamplers":
        return f"{block}.{at}.0.{LEAVES[rest] if simple else 'op'}"
    attends = config["up_block_types"][level].startswith(("Cross", "Simple"))
    return f"{block}.{at}.{2 if attends else 1}.{LEAVES[rest] if simple else rest}"


def packed(made: Tensors, width: int = 64) -> Tensors:
    """Attention as karlo packs it: q, k and v head by head in one convolution of size 1."""
    packs = {"qkv": ("to_q", "to_k", "to_v"), "encoder_kv": ("add_k_proj", "add_v_proj")}
    for attention in [name.removesuffix(".group_norm.weight") for name in made if name.endswith(".group_norm.weight")]:
        for kind in ("weight", "bias"):
            made[f"{attention}.norm.{kind}"] = made.pop(f"{attention}.group_norm.{kind}")
            for pack, names in packs.items():
                made[f"{attention}.{pack}.{kind}"] = by_head(
                    [made.pop(f"{attention}.{n}.{kind}") for n in names], width
                )
            made[f"{attention}.proj_out.{kind}"] = made.pop(f"{attention}.to_out.0.{kind}")
        for name in ("qkv", "encoder_kv", "proj_out"):
            made[f"{attention}.{name}.weight"] = made[f"{attention}.{name}.weight"][..., None]
    return made


def by_head(tensors: list[Tensor], width: int) -> Tensor:
    """Interleave projections: `width` rows of each in turn."""
    heads = [tensor.unflatten(0, (-1, width)) for tensor in tensors]
    return torch.stack(heads, 1).flatten(0, 2)


def vae(state: Tensors, levels: int) -> Tensors:
    """An autoencoder under CompVis' names."""
    made = {}
    for name, value in state.items():
        name = name.replace("mid_block.resnets.0", "mid.block_1").replace("mid_block.resnets.1", "mid.block_2")
        name = name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
        name = name.replace("mid_block.attentions.0.group_norm", "mid.attn_1.norm")
        name = re.sub(r"down_blocks\.(\d)\.resnets", r"down.\1.block", name)
        name = re.sub(r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample", name)
        name = re.sub(r"up_blocks\.(\d)\.resnets", lambda m: f"up.{levels - 1 - int(m[1])}.block", name)
        name = re.sub(r"up_blocks\.(\d)\.upsamplers\.0", lambda m: f"up.{levels - 1 - int(m[1])}.upsample", name)
        for ours, theirs in (("to_q", "q"), ("to_k", "k"), ("to_v", "v"), ("to_out.0", "proj_out")):
            if f"mid_block.attentions.0.{ours}" in name:
                name = name.replace(f"mid_block.attentions.0.{ours}", f"mid.attn_1.{theirs}")
                value = value[:, :, None, None] if value.ndim == 2 else value
        made[name] = value
    return made


def clip_tower(state: Tensors, tower: str, prefix: str) -> Tensors:
    """A tower of CLIP under OpenAI's names: q, k and v stacked."""
    made: Tensors = {}
    renames = {
        "layer_norm1": "ln_1", "layer_norm2": "ln_2", "self_attn.out_proj": "attn.out_proj", "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj", "encoder.layers": "transformer.resblocks", "final_layer_norm": "ln_final",
        "embeddings.token_embedding": "token_embedding", "embeddings.position_embedding.weight": "positional_embedding",
        "embeddings.patch_embedding": "conv1", "embeddings.class_embedding": "class_embedding",
        "pre_layrnorm": "ln_pre", "post_layernorm": "ln_post",
    }  # fmt: skip
    for name, value in state.items():
        if not name.startswith(f"{tower}."):
            continue
        name = name.removeprefix(f"{tower}.")
        for ours, theirs in renames.items():
            name = name.replace(ours, theirs)
        if found := re.match(r"(.*)\.self_attn\.q_proj\.(\w+)", name):
            parts = [state[f"{tower}.{ours}"] for ours in qkv_names(found[1], found[2])]
            made[f"{prefix}{found[1]}.attn.in_proj_{found[2]}"] = torch.cat(parts)
        elif "self_attn" not in name:
            made[prefix + name] = value
    return made


def qkv_names(block: str, kind: str) -> list[str]:
    block = block.replace("transformer.resblocks", "encoder.layers")
    return [f"{block}.self_attn.{name}.{kind}" for name in ("q_proj", "k_proj", "v_proj")]


def clip(state: Tensors) -> Tensors:
    """Both towers and what joins them."""
    return {
        **clip_tower(state, "text_model", ""), **clip_tower(state, "vision_model", "visual."),
        "text_projection": state["text_projection.weight"].t().contiguous(),
        "visual.proj": state["visual_projection.weight"].t().contiguous(),
        "logit_scale": state.get("logit_scale", torch.zeros(())),
    }  # fmt: skip


def karlo_prior(state: Tensors) -> Tensors:
    """karlo's prior; the statistics lie in a file of their own."""
    renames = {
        "time_embedding.linear_1": "time_embed.0", "time_embedding.linear_2": "time_embed.2",
        "proj_in": "clip_img_proj", "embedding_proj": "text_emb_proj",
        "encoder_hidden_states_proj": "text_enc_proj", "norm_out": "final_ln",
        "proj_to_clip_embeddings": "out_proj", "prd_embedding": "prd_emb",
        "transformer_blocks": "transformer.resblocks",
        "norm1": "ln_1", "norm3": "ln_2", "attn1.to_out.0": "attn.c_proj", "ff.net.0.proj": "mlp.c_fc",
        "ff.net.2": "mlp.c_proj",
    }  # fmt: skip
    made = {}
    for name, value in state.items():
        if found := re.match(r"(transformer_blocks\.\d+\.attn1)\.to_q\.(\w+)", name):
            value = by_head([state[f"{found[1]}.{to}.{found[2]}"] for to in ("to_q", "to_k", "to_v")], 64)
            name = f"{found[1].replace('attn1', 'attn')}.c_qkv.{found[2]}"
        elif ".to_k." in name or ".to_v." in name or name.startswith("clip_"):
            continue
        for ours, theirs in renames.items():
            name = name.replace(ours, theirs)
        made[f"model.{name}"] = value
    return made


def karlo_text_projection(state: Tensors) -> Tensors:
    """What karlo's decoder is told."""
    renames = {
        "text_encoder_hidden_states_norm": "text_seq_proj.1", "encoder_hidden_states_proj": "text_seq_proj.0",
        "clip_extra_context_tokens_proj": "clip_tok_proj", "embedding_proj": "text_feat_proj",
        "clip_image_embeddings_project_to_time_embeddings": "clip_emb",
        "learned_classifier_free_guidance_embeddings": "cf_param",
    }  # fmt: skip
    made = {}
    for name, value in state.items():
        for ours, theirs in renames.items():
            if name.startswith(ours):
                made[f"model.{theirs}{name.removeprefix(ours)}"] = value
    return made


WIDE: Config = {"hidden_size": 64, "num_attention_heads": 1}
"""Heads of CLIP are 64 wide, and no shape says how many there are."""


def stable_diffusion(version: str) -> tuple[Tensors, dict[str, Tensors]]:
    """A single file of Stable Diffusion 1, 2 or XL, and the state of each part of it."""
    name = {"1": "stable-diffusion-v1-5", "2": "stable-diffusion-2-1", "xl": "stable-diffusion-xl-base-1.0"}[version]
    parts = published_system(name)
    width = 64 if version != "xl" else 128
    parts["unet"] |= {
        "cross_attention_dim": width,
        "block_out_channels": [64, 64, 128, 128][: 3 if version == "xl" else 4],
    }
    parts["unet"] |= {
        "attention_head_dim": 8 if version == "1" else [n // 64 for n in parts["unet"]["block_out_channels"]]
    }
    if version == "xl":
        parts["unet"] |= {"addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 64 + 6 * 256}
        parts["unet"] |= {"transformer_layers_per_block": [1, 2, 3]}
    for part in ("text_encoder", "text_encoder_2"):
        if part in parts:
            parts[part] |= WIDE | {"projection_dim": 64}
    networks = [part for part in parts if part != "scheduler"]
    states = {part: random_state(parts[part]) for part in networks}
    file: Tensors = behind("model.diffusion_model.", unet(states["unet"], parts["unet"]))
    file |= behind("first_stage_model.", vae(states["vae"], len(parts["vae"]["block_out_channels"])))
    if version == "1":
        file |= behind("cond_stage_model.transformer.", states["text_encoder"])
        file["cond_stage_model.transformer.text_model.embeddings.position_ids"] = torch.arange(7)[None]
    elif version == "2":
        deeper = random_state(parts["text_encoder"] | {"num_hidden_layers": 2}) | states["text_encoder"]
        file |= behind("cond_stage_model.model.", clip_tower(deeper, "text_model", ""))
        file |= {"cond_stage_model.model.text_projection": torch.zeros(64, 64)}
    else:
        file |= behind("conditioner.embedders.0.transformer.", states["text_encoder"])
        second = states["text_encoder_2"]
        file |= behind("conditioner.embedders.1.model.", clip_tower(second, "text_model", ""))
        file["conditioner.embedders.1.model.text_projection"] = second["text_projection.weight"].t().contiguous()
        file["conditioner.embedders.1.model.logit_scale"] = torch.zeros(())
    return file | {"alphas_cumprod": torch.rand(10)}, states


def karlo() -> tuple[dict[str, Any], dict[str, Tensors]]:
    """karlo's original files by name, and the state of each part of them."""
    parts = published_system("karlo-v1-alpha")
    channels = {"block_out_channels": [32, 64, 96, 128]}
    parts["prior"] |= {"attention_head_dim": 64, "embedding_dim": 64}
    parts["decoder"] |= {**channels, "block_out_channels": [64, 128, 192, 256], "attention_head_dim": 64}
    parts["text_proj"] |= {"time_embed_dim": 256, "clip_embeddings_dim": 64}
    for name in ("super_res_first", "super_res_last"):
        parts[name] |= channels | {"resnet_time_scale_shift": "default"}
    parts["text_encoder"] |= WIDE | {"projection_dim": 64}
    parts["image_encoder"] |= WIDE | {"projection_dim": 64}
    states = {part: random_state(config) for part, config in parts.items() if "scheduler" not in part}
    prior = states["prior"]
    decoder = behind("model.", unet(states["decoder"], parts["decoder"]))
    steps = {"super_res_first": "model_first_steps.", "super_res_last": "model_last_step."}
    return {
        "prior.ckpt": {"state_dict": karlo_prior(prior)},
        "decoder.ckpt": {"state_dict": decoder | karlo_text_projection(states["text_proj"])},
        "sr.ckpt": {
            "state_dict": {
                k: v for part, p in steps.items() for k, v in behind(p, unet(states[part], parts[part])).items()
            }
        },
        "ViT-L-14_stats.th": (prior["clip_mean"][0].clone(), prior["clip_std"][0].clone()),
        "ViT-L-14.pt": clip(states["text_encoder"] | states["image_encoder"]),
    }, states

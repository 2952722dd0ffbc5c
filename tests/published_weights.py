"""Tiny folders and files in published layouts: the publishers' configurations made small, and random tensors."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from sumi.nn import published

CONFIGS = Path(__file__).parent / "parity" / "published"
Tensors = dict[str, Tensor]
Config = dict[str, Any]

SMALL: Config = {
    "block_out_channels": [32, 32, 32, 32], "layers_per_block": 1, "cross_attention_dim": 12, "attention_head_dim": 4,
    "sample_size": 8, "num_attention_heads": 2, "num_layers": 1, "num_embeddings": 7, "embedding_dim": 12,
    "hidden_size": 12, "intermediate_size": 16, "num_hidden_layers": 1, "vocab_size": 50, "max_position_embeddings": 7,
    "projection_dim": 12, "image_size": 8, "patch_size": 4, "clip_embeddings_dim": 12, "time_embed_dim": 128,
    "encoder_hid_dim": 12, "num_vq_embeddings": 16, "addition_time_embed_dim": 8,
}  # fmt: skip


def small(config: Config) -> Config:
    """A published configuration made small; what it does not name it does not get."""
    made = copy.deepcopy(config)
    for key, value in SMALL.items():
        if made.get(key) is not None:
            made[key] = value
    if "block_out_channels" in made:
        made["block_out_channels"] = made["block_out_channels"][: len(config["block_out_channels"])]
    for key in ("text_config", "vision_config"):
        if key in made:
            made[key] = small(made[key])
    return made


def published_system(name: str) -> dict[str, Config]:
    """The parts of a published system, small."""
    parts: dict[str, Config] = json.loads((CONFIGS / f"{name}.json").read_text("utf-8"))
    return {part: small(config) for part, config in parts.items()}


def network_tensors(config: Config) -> Tensors:
    """Random tensors of a network; where there is no such network here yet, one tensor of some name."""
    if config["_class_name"] not in published.__all__:
        return {"placeholder.weight": torch.zeros(2)}
    made = getattr(published, config["_class_name"])(**{k: v for k, v in config.items() if not k.startswith("_")})
    return {name: tensor.detach().contiguous() for name, tensor in made.state_dict().items()}


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value), "utf-8")


def write_network(folder: Path, config: Config, tensors: Tensors | None = None, name: str | None = None) -> None:
    """Write a network's folder as diffusers or transformers would."""
    if config["_class_name"].startswith(("CLIP", "StableDiffusionSafety")):
        stem = "model"
        config = {key: value for key, value in config.items() if key != "_class_name"} | {
            "architectures": [config["_class_name"]]
        }
        kind = config["architectures"][0]
    else:
        stem, kind = "diffusion_pytorch_model", config["_class_name"]
    write_json(folder / "config.json", config)
    tensors = network_tensors({**config, "_class_name": kind}) if tensors is None else tensors
    save_file(tensors, folder / (name or f"{stem}.safetensors"), {"format": "pt"})


def write_folder(root: Path, pipeline: str, parts: dict[str, Config], others: dict[str, str]) -> Path:
    """Write a model's folder: networks with their configurations, and tokenizers, schedulers and processors."""
    index: Config = {"_class_name": pipeline, "_diffusers_version": "0.37.1", "requires_safety_checker": False}
    for name, config in parts.items():
        kind = config["_class_name"]
        library = "transformers" if kind.startswith("CLIP") else "diffusers"
        library = {"UnCLIPTextProjModel": "unclip", "StableUnCLIPImageNormalizer": "stable_diffusion"}.get(
            kind, library
        )
        index[name] = [library, kind]
        write_network(root / name, config)
    for name, kind in others.items():
        index[name] = ["diffusers" if kind.endswith("Scheduler") else "transformers", kind]
        if kind == "CLIPTokenizer":
            write_json(root / name / "vocab.json", {"!": 0})
            (root / name / "merges.txt").write_text("#version: 0.2\n", "utf-8")
        elif kind == "CLIPImageProcessor":
            write_json(root / name / "preprocessor_config.json", {"crop_size": 8})
        else:
            write_json(root / name / "scheduler_config.json", {"_class_name": kind, "num_train_timesteps": 1000})
    write_json(root / "model_index.json", index | {"safety_checker": [None, None]})
    (root / "README.md").write_text("---\nlicense: creativeml-openrail-m\ntags:\n- art\n---\n# A model\n", "utf-8")
    return root


def karlo_folder(root: Path) -> Path:
    parts = published_system("karlo-v1-alpha")
    networks = ("prior", "decoder", "text_proj", "text_encoder", "super_res_first", "super_res_last")
    others = {name: "UnCLIPScheduler" for name in ("prior_scheduler", "decoder_scheduler", "super_res_scheduler")}
    chosen = {name: parts[name] for name in networks}
    return write_folder(root, "UnCLIPPipeline", chosen, others | {"tokenizer": "CLIPTokenizer"})


def karlo_variation_folder(root: Path) -> Path:
    parts = published_system("karlo-v1-alpha")
    networks = ("decoder", "text_proj", "text_encoder", "image_encoder", "super_res_first", "super_res_last")
    others = {
        "decoder_scheduler": "UnCLIPScheduler", "super_res_scheduler": "UnCLIPScheduler",
        "tokenizer": "CLIPTokenizer", "feature_extractor": "CLIPImageProcessor",
    }  # fmt: skip
    return write_folder(root, "UnCLIPImageVariationPipeline", {name: parts[name] for name in networks}, others)


def stable_diffusion_folder(root: Path) -> Path:
    parts = published_system("stable-diffusion-v1-5")
    networks = {name: parts[name] for name in ("unet", "vae", "text_encoder")}
    others = {"tokenizer": "CLIPTokenizer", "scheduler": "PNDMScheduler"}
    return write_folder(root, "StableDiffusionPipeline", networks, others)


def stable_diffusion_2_folder(root: Path) -> Path:
    parts = published_system("stable-diffusion-2-1")
    networks = {name: parts[name] for name in ("unet", "vae", "text_encoder")}
    others = {"tokenizer": "CLIPTokenizer", "scheduler": "DDIMScheduler"}
    return write_folder(root, "StableDiffusionPipeline", networks, others)


def stable_diffusion_xl_folder(root: Path) -> Path:
    parts = published_system("stable-diffusion-xl-base-1.0")
    networks = {name: parts[name] for name in ("unet", "vae", "text_encoder", "text_encoder_2")}
    networks["unet"] |= {"cross_attention_dim": 24, "projection_class_embeddings_input_dim": 12 + 6 * 8}
    others = {"tokenizer": "CLIPTokenizer", "tokenizer_2": "CLIPTokenizer", "scheduler": "EulerDiscreteScheduler"}
    return write_folder(root, "StableDiffusionXLPipeline", networks, others)


def stable_unclip_folder(root: Path, small_variant: bool = False) -> Path:
    parts = published_system("stable-diffusion-2-1-unclip")
    parts["unet"] |= {"projection_class_embeddings_input_dim": 24}
    networks = {name: parts[name] for name in ("unet", "vae", "text_encoder", "image_normalizer")}
    others = {
        "tokenizer": "CLIPTokenizer", "scheduler": "DDIMScheduler", "image_noising_scheduler": "DDPMScheduler",
    }  # fmt: skip
    if not small_variant:
        networks["image_encoder"] = parts["image_encoder"]
        return write_folder(
            root, "StableUnCLIPImg2ImgPipeline", networks, others | {"feature_extractor": "CLIPImageProcessor"}
        )
    karlo = published_system("karlo-v1-alpha")
    networks |= {"prior": karlo["prior"], "prior_text_encoder": karlo["text_encoder"]}
    return write_folder(
        root, "StableUnCLIPPipeline", networks,
        others | {"prior_tokenizer": "CLIPTokenizer", "prior_scheduler": "UnCLIPScheduler"},
    )  # fmt: skip


def kandinsky_prior_folder(root: Path) -> Path:
    parts = published_system("kandinsky-2-2-prior")
    networks = {name: parts[name] for name in ("prior", "image_encoder", "text_encoder")}
    others = {"tokenizer": "CLIPTokenizer", "scheduler": "UnCLIPScheduler", "image_processor": "CLIPImageProcessor"}
    return write_folder(root, "KandinskyV22PriorPipeline", networks, others)


def kandinsky_decoder_folder(root: Path) -> Path:
    parts = published_system("kandinsky-2-2-decoder")
    networks = {name: parts[name] for name in ("unet", "movq")}
    return write_folder(root, "KandinskyV22Pipeline", networks, {"scheduler": "DDPMScheduler"})


def clip_folder(root: Path) -> Path:
    write_network(root, published_system("clip-vit-large-patch14")["clip"] | {"model_type": "clip"})
    return root


FOLDERS = {
    "karlo": karlo_folder,
    "karlo-image-variation": karlo_variation_folder,
    "stable-diffusion": stable_diffusion_folder,
    "stable-diffusion-xl": stable_diffusion_xl_folder,
    "stable-unclip-image": stable_unclip_folder,
    "stable-unclip": lambda root: stable_unclip_folder(root, small_variant=True),
    "kandinsky-prior": kandinsky_prior_folder,
    "kandinsky-decoder": kandinsky_decoder_folder,
    "transformers-clip": clip_folder,
}
"""What `inspect` should call each, and what writes it."""


def shaped(**shapes: tuple[int, ...]) -> Tensors:
    """Random tensors of some shapes; two underscores stand for a dot."""
    rng = torch.Generator().manual_seed(0)
    return {name.replace("__", "."): torch.randn(shape, generator=rng) for name, shape in shapes.items()}


def behind(prefix: str, tensors: Tensors) -> Tensors:
    """Tensors with a prefix before each name."""
    return {prefix + name: tensor for name, tensor in tensors.items()}


def unet_original(in_channels: int = 4, out_channels: int = 4, context: int | None = None) -> Tensors:
    """The ends of a U-Net in guided-diffusion's naming, and one cross-attention."""
    made = shaped(
        input_blocks__0__0__weight=(8, in_channels, 3, 3), time_embed__0__weight=(32, 8),
        out__2__weight=(out_channels, 8, 3, 3), output_blocks__0__0__in_layers__2__weight=(8, 16, 3, 3),
    )  # fmt: skip
    if context is not None:
        made["input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"] = torch.zeros(8, context)
    return made


def clip_original() -> Tensors:
    """A CLIP in OpenAI's naming: image width 128, text width 64, one block each."""
    return shaped(
        visual__conv1__weight=(128, 3, 4, 4), visual__proj=(128, 12), visual__positional_embedding=(5, 128),
        visual__transformer__resblocks__0__attn__in_proj_weight=(384, 128),
        transformer__resblocks__0__attn__in_proj_weight=(192, 64), token_embedding__weight=(50, 64),
        positional_embedding=(7, 64), text_projection=(64, 12), ln_final__weight=(64,), logit_scale=(),
    )  # fmt: skip


def latent_original(text: Tensors) -> Tensors:
    """A single file of CompVis, with some text encoder."""
    return {
        **behind("model.diffusion_model.", unet_original(context=12)),
        **behind("first_stage_model.", shaped(decoder__conv_in__weight=(8, 4, 3, 3), quant_conv__weight=(8, 8, 1, 1))),
        **text,
        "alphas_cumprod": torch.rand(1000),
    }


GLIDE_TEXT = shaped(
    token_embedding__weight=(50, 8), transformer_proj__weight=(32, 8),
    transformer__resblocks__0__attn__c_qkv__weight=(24, 8),
)  # fmt: skip

FILES: dict[str, Tensors] = {
    "karlo-prior": behind(
        "model.", shaped(clip_img_proj__weight=(16, 12), prd_emb=(1, 1, 16), text_enc_proj__weight=(16, 12))
    ),
    "karlo-decoder": behind("model.", unet_original(3, 6) | shaped(text_seq_proj__0__weight=(8, 12), cf_param=(12,))),
    "karlo-super-resolution": {
        **behind("model_first_steps.", unet_original(6, 3)), **behind("model_last_step.", unet_original(6, 3)),
    },
    "clip-statistics": {"0": torch.zeros(12), "1": torch.ones(12)},
    "stable-diffusion-1": latent_original(
        behind("cond_stage_model.transformer.text_model.", shaped(embeddings__token_embedding__weight=(50, 12)))
    ),
    "stable-diffusion-2": latent_original(behind("cond_stage_model.model.", shaped(token_embedding__weight=(50, 12)))),
    "stable-diffusion-xl": latent_original(
        {
            **behind(
                "conditioner.embedders.0.transformer.text_model.", shaped(embeddings__token_embedding__weight=(50, 12))
            ),
            **behind("conditioner.embedders.1.model.", shaped(token_embedding__weight=(50, 12))),
        }
    ),
    "latent-diffusion": latent_original(shaped(cond_stage_model__embedding__weight=(10, 12))),
    "vae": shaped(
        encoder__down__0__block__0__norm1__weight=(8,), decoder__conv_in__weight=(8, 4, 3, 3),
        quant_conv__weight=(8, 8, 1, 1),
    ),
    "clip": clip_original(),
    "clip-resnet": shaped(
        visual__attnpool__positional_embedding=(50, 64), visual__layer1__0__conv1__weight=(8, 8, 1, 1),
        token_embedding__weight=(50, 64), positional_embedding=(7, 64), text_projection=(64, 12),
        ln_final__weight=(64,), logit_scale=(),
    ),
    "glide": unet_original(7, 6) | GLIDE_TEXT,
    "glide-clip-image": shaped(blocks__input__patch_proj=(12, 8), blocks__input__w_pos=(5, 8)),
    "glide-clip-text": shaped(blocks__input__w_voc=(50, 8), blocks__input__w_pos=(7, 8)),
    "dalle-dvae": shaped(blocks__input__w=(8, 3, 7, 7), blocks__output__conv__w=(16, 64, 1, 1)),
    "guided-diffusion": unet_original(3, 6) | {"label_emb.weight": torch.zeros(10, 32)},
    "guided-diffusion-classifier": shaped(
        input_blocks__0__0__weight=(8, 3, 3, 3), time_embed__0__weight=(32, 8), out__2__positional_embedding=(16, 5)
    ),
    "dalle2-pytorch-prior": shaped(
        net__learned_query=(8,), net__null_text_encodings=(1, 7, 8), net__null_text_embeds=(1, 1, 8),
        net__causal_transformer__norm__g=(8,), noise_scheduler__betas=(10,),
    ),
    "dalle2-pytorch-prior-1.8": shaped(
        net__learned_query=(8,), net__null_text_embed=(1, 7, 8), net__causal_transformer__norm__g=(8,),
        noise_scheduler__betas=(10,),
    ),
    "dalle2-pytorch-decoder": shaped(unets__0__null_text_embed=(1, 7, 8), noise_schedulers__0__betas=(10,)),
    "lora-kohya": shaped(
        lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q__lora_down__weight=(4, 8),
        lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q__lora_up__weight=(8, 4),
        lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q__alpha=(),
    ),
    "lora-diffusers": shaped(unet__attn1__to_q__lora_A__weight=(4, 8), unet__attn1__to_q__lora_B__weight=(8, 4)),
}  # fmt: skip
"""The tensors that tell each original layout, by the name that `inspect` should give it."""

"""Single files as their authors published them, recognised by the names of their tensors.

A layout names tensors that only it has; a file is the first layout below of which it holds them all. Prefixes divide a
file into parts. What can be read off the shapes (widths, layers, channels) is reported; what cannot, a caller must
say: GLIDE's and guided-diffusion's flags, the head width of open_clip.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Final

from sumi.bundles.tensors import Entry
from sumi.errors import SumiError

Entries = Mapping[str, Entry]
Facts = dict[str, Any]


def no_facts(entries: Entries) -> Facts:
    """Report nothing."""
    return {}


@dataclass(frozen=True)
class OriginalLayout:
    """A published single-file layout.

    requires: tensors that a file of this layout has; patterns with * match any. parts: the prefix of each part, "" for
    all. ignored: known tensors that drawing does not need. facts: what the shapes say.
    """

    name: str
    title: str
    requires: tuple[str, ...]
    parts: Mapping[str, str] = field(default_factory=lambda: {"model": ""})
    ignored: tuple[str, ...] = ()
    facts: Callable[[Entries], Facts] = no_facts

    def fits(self, entries: Entries) -> bool:
        """Whether a file holds all that this layout requires."""
        return all(
            required in entries or ("*" in required and any(fnmatchcase(name, required) for name in entries))
            for required in self.requires
        )


def unet_facts(prefix: str = "") -> Callable[[Entries], Facts]:
    """Return what reads the channels of a U-Net named as guided-diffusion's; so are CompVis', GLIDE's and karlo's."""

    def facts(entries: Entries) -> Facts:
        conv_in, found = entries[f"{prefix}input_blocks.0.0.weight"].shape, {}
        found = {"channels": conv_in[0], "in_channels": conv_in[1]}
        for name in ("out.2.weight", "label_emb.weight"):
            if f"{prefix}{name}" in entries:
                key = {"out.2.weight": "out_channels", "label_emb.weight": "classes"}[name]
                found[key] = entries[f"{prefix}{name}"].shape[0]
        contexts = {entry.shape[1] for name, entry in entries.items() if name.endswith("attn2.to_k.weight")}
        return found | ({"context": contexts.pop()} if len(contexts) == 1 else {})

    return facts


def glide_facts(entries: Entries) -> Facts:
    """Say which of the four GLIDE networks it is; the input channels tell them apart."""
    facts = unet_facts()(entries)
    kinds = {3: "base", 6: "upsampler", 7: "base, inpainting", 10: "upsampler, inpainting"}
    return {"network": kinds.get(facts["in_channels"], "unknown")} | facts


def clip_facts(entries: Entries) -> Facts:
    """Infer a CLIP from its shapes, as OpenAI's own loader does: heads are width / 64, the grid is a square."""
    text_width = entries["ln_final.weight"].shape[0]
    facts: Facts = {
        "embed_dim": entries["text_projection"].shape[1],
        "text": {
            "width": text_width, "layers": blocks(entries, r"transformer\.resblocks\.(\d+)\."),
            "heads": text_width // 64, "context_length": entries["positional_embedding"].shape[0],
            "vocab_size": entries["token_embedding.weight"].shape[0],
        },
    }  # fmt: skip
    if "visual.conv1.weight" in entries and "visual.proj" in entries:
        width, patch_px = entries["visual.conv1.weight"].shape[0], entries["visual.conv1.weight"].shape[-1]
        side = round((entries["visual.positional_embedding"].shape[0] - 1) ** 0.5)
        layers = blocks(entries, r"visual\.transformer\.resblocks\.(\d+)\.")
        facts["image"] = {
            "width": width,
            "layers": layers,
            "heads": width // 64,
            "patch_px": patch_px,
            "size_px": side * patch_px,
        }
    else:
        side = round((entries["visual.attnpool.positional_embedding"].shape[0] - 1) ** 0.5)
        layers_of = [blocks(entries, rf"visual\.layer{stage}\.(\d+)\.") for stage in (1, 2, 3, 4)]
        facts["image"] = {
            "resnet": layers_of,
            "width": entries["visual.layer1.0.conv1.weight"].shape[0],
            "size_px": 32 * side,
        }
    return facts


def prior_facts(entries: Entries) -> Facts:
    """Read the widths of karlo's prior."""
    width, embedding = entries["model.clip_img_proj.weight"].shape
    return {
        "width": width,
        "embedding": embedding,
        "layers": blocks(entries, r"model\.transformer\.resblocks\.(\d+)\."),
    }


def dalle2_prior_facts(entries: Entries) -> Facts:
    """Read the widths of a prior of DALLE2-pytorch."""
    return {
        "embedding": entries["net.learned_query"].shape[0],
        "layers": blocks(entries, r"net\.causal_transformer\.layers\.(\d+)\."),
        "words": entries["net.null_text_encodings"].shape[1],
        "steps": entries["noise_scheduler.betas"].shape[0],
    }


def dvae_facts(entries: Entries) -> Facts:
    """Say which half of OpenAI's discrete VAE it is: the encoder begins with a 7x7 convolution of a picture."""
    shape = entries["blocks.input.w"].shape
    codes = entries["blocks.output.conv.w"].shape[0] if shape[-1] == 7 else shape[1]
    return {"network": "encoder" if shape[-1] == 7 else "decoder", "codes": codes}


def lora_facts(entries: Entries) -> Facts:
    """Read the ranks of a LoRA, and which networks it changes."""
    down = re.compile(r"lora_down\.weight$|lora_A\.weight$|lora(?:_linear_layer)?\.down\.weight$|_lora\.down\.weight$")
    ranks = {entry.shape[0] for name, entry in entries.items() if down.search(name)}
    heads = {re.match(r"lora_(?:unet|te\d?)|[a-z_0-9]+?(?=\.)", name) for name in entries}
    return {"ranks": sorted(ranks), "of": sorted({head.group(0) for head in heads if head})}


def blocks(entries: Entries, pattern: str) -> int:
    """Count the different numbers that a pattern captures."""
    found = re.compile(pattern)
    return len({match.group(1) for name in entries if (match := found.match(name))})


SCHEDULE: Final = (
    "betas", "alphas_cumprod*", "sqrt_*", "log_one_minus*", "posterior_*", "logvar", "lvlb_weights", "model_ema.*",
    "scale_factor", "denoiser.sigmas", "first_stage_model.loss.*",
)  # fmt: skip
"""What CompVis' checkpoints hold beside the networks: noise schedules, the average, the loss of the autoencoder."""
UNET: Final = "model.diffusion_model.input_blocks.0.0.weight"
VAE: Final = "first_stage_model.decoder.conv_in.weight"
LATENT_PARTS: Final = {
    "unet": "model.diffusion_model.",
    "vae": "first_stage_model.",
    "text_encoder": "cond_stage_model.",
}

LAYOUTS: Final = (
    OriginalLayout(
        "karlo-prior", "karlo's prior", ("model.clip_img_proj.weight", "model.prd_emb", "model.text_enc_proj.weight"),
        {"prior": "model."}, facts=prior_facts,
    ),
    OriginalLayout(
        "karlo-decoder", "karlo's decoder",
        ("model.text_seq_proj.0.weight", "model.cf_param", "model.input_blocks.0.0.weight"),
        {"decoder": "model."}, facts=unet_facts("model."),
    ),
    OriginalLayout(
        "karlo-super-resolution", "karlo's super-resolution",
        ("model_first_steps.input_blocks.0.0.weight", "model_last_step.input_blocks.0.0.weight"),
        {"super_res_first": "model_first_steps.", "super_res_last": "model_last_step."},
        facts=unet_facts("model_first_steps."),
    ),
    OriginalLayout(
        "stable-diffusion-xl", "Stable Diffusion XL base, single file",
        (UNET, VAE, "conditioner.embedders.0.transformer.text_model.embeddings.token_embedding.weight",
         "conditioner.embedders.1.model.token_embedding.weight"),
        {"unet": "model.diffusion_model.", "vae": "first_stage_model.", "text_encoder": "conditioner.embedders.0.",
         "text_encoder_2": "conditioner.embedders.1."},
        SCHEDULE, unet_facts("model.diffusion_model."),
    ),
    OriginalLayout(
        "stable-diffusion-2", "Stable Diffusion 2.x, single file",
        (UNET, VAE, "cond_stage_model.model.token_embedding.weight"),
        LATENT_PARTS, SCHEDULE, unet_facts("model.diffusion_model."),
    ),
    OriginalLayout(
        "stable-diffusion-1", "Stable Diffusion 1.x, single file",
        (UNET, VAE, "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"),
        LATENT_PARTS, SCHEDULE, unet_facts("model.diffusion_model."),
    ),
    OriginalLayout(
        "latent-diffusion", "latent diffusion (CompVis), single file", (UNET, VAE),
        LATENT_PARTS, SCHEDULE, unet_facts("model.diffusion_model."),
    ),
    OriginalLayout(
        "clip", "CLIP in OpenAI's naming, which open_clip shares",
        ("visual.proj", "visual.conv1.weight", "visual.positional_embedding", "token_embedding.weight",
         "positional_embedding", "text_projection", "ln_final.weight", "logit_scale"),
        ignored=("input_resolution", "context_length", "vocab_size"), facts=clip_facts,
    ),
    OriginalLayout(
        "clip-resnet", "CLIP in OpenAI's naming, with a ResNet",
        ("visual.attnpool.positional_embedding", "visual.layer1.0.conv1.weight", "token_embedding.weight",
         "positional_embedding", "text_projection", "ln_final.weight", "logit_scale"),
        ignored=("input_resolution", "context_length", "vocab_size", "*.num_batches_tracked"), facts=clip_facts,
    ),
    OriginalLayout(
        "glide", "GLIDE",
        ("input_blocks.0.0.weight", "token_embedding.weight", "transformer_proj.weight",
         "transformer.resblocks.0.attn.c_qkv.weight"),
        facts=glide_facts,
    ),
    OriginalLayout(
        "glide-clip-image", "GLIDE's noised CLIP, image encoder", ("blocks.input.patch_proj", "blocks.input.w_pos")
    ),
    OriginalLayout(
        "glide-clip-text", "GLIDE's noised CLIP, text encoder", ("blocks.input.w_voc", "blocks.input.w_pos")
    ),
    OriginalLayout("dalle-dvae", "OpenAI's discrete VAE", ("blocks.input.w", "blocks.output.conv.w"), facts=dvae_facts),
    OriginalLayout(
        "guided-diffusion-classifier", "guided-diffusion, noisy classifier",
        ("input_blocks.0.0.weight", "time_embed.0.weight", "out.2.positional_embedding"),
    ),
    OriginalLayout(
        "guided-diffusion", "guided-diffusion",
        ("input_blocks.0.0.weight", "time_embed.0.weight", "output_blocks.0.0.in_layers.2.weight", "out.2.weight"),
        facts=unet_facts(),
    ),
    OriginalLayout(
        "dalle2-pytorch-prior", "DALLE2-pytorch, diffusion prior",
        ("noise_scheduler.betas", "net.learned_query", "net.null_text_encodings", "net.null_text_embeds"),
        {"prior": "net."}, ("noise_scheduler.*", "clip.*", "_dummy"), dalle2_prior_facts,
    ),
    OriginalLayout(
        "dalle2-pytorch-prior-1.8", "DALLE2-pytorch, diffusion prior of a version before 1.9",
        ("noise_scheduler.betas", "net.learned_query"),
        {"prior": "net."}, ("noise_scheduler.*", "clip.*", "_dummy"),
    ),
    OriginalLayout(
        "dalle2-pytorch-decoder", "DALLE2-pytorch, decoder", ("unets.0.*", "noise_schedulers.0.betas"),
        {"unets": "unets."}, ("noise_schedulers.*", "lowres_conds.*", "clip.*", "vaes.*", "_dummy"),
    ),
    OriginalLayout(
        "lora-kohya", "LoRA of Stable Diffusion, kohya's spelling", ("lora_*.lora_down.weight",), facts=lora_facts
    ),
    OriginalLayout(
        "lora-diffusers", "LoRA of Stable Diffusion, diffusers' spelling", ("*.lora_A.weight",), facts=lora_facts
    ),
    OriginalLayout(
        "lora-diffusers", "LoRA of Stable Diffusion, diffusers' older spelling", ("*lora*.down.weight",),
        facts=lora_facts,
    ),
    OriginalLayout(
        "vae", "autoencoder of CompVis, alone",
        ("encoder.down.0.block.0.norm1.weight", "decoder.conv_in.weight", "quant_conv.weight"),
        {"vae": ""}, ("loss.*", "model_ema.*"),
    ),
    OriginalLayout("clip-statistics", "karlo's CLIP statistics", ("0", "1")),
)  # fmt: skip


def recognise(entries: Entries, where: str) -> OriginalLayout:
    """Return the layout of a file; SumiError when it is none that is known, or one network of a diffusers folder."""
    for layout in LAYOUTS:
        if layout.fits(entries):
            return layout
    if "conv_in.weight" in entries or "encoder.conv_in.weight" in entries or "proj_in.weight" in entries:
        raise SumiError(f"{where} is one network of a diffusers folder: give the folder, whose files say what it is")
    some = ", ".join(sorted(entries)[:4]) or "none"
    raise SumiError(f"{where} is of no published layout that is known here; its first tensors: {some}")


def divide(layout: OriginalLayout, entries: Entries) -> tuple[dict[str, dict[str, Entry]], list[str], list[str]]:
    """Return the tensors of each part, the names that drawing does not need, and the names that are unknown."""
    parts: dict[str, dict[str, Entry]] = {part: {} for part in layout.parts}
    ignored, unknown = [], []
    for name, entry in entries.items():
        part = next((part for part, prefix in layout.parts.items() if name.startswith(prefix)), None)
        if any(fnmatchcase(name, pattern) for pattern in layout.ignored):
            ignored.append(name)
        elif part is None:
            unknown.append(name)
        else:
            parts[part][name] = entry
    return {part: held for part, held in parts.items() if held}, ignored, unknown

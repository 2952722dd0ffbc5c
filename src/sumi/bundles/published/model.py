"""A published model: its system and its networks, each ready to be loaded, whatever layout it lies in.

Single files are read by the table of their layout (`original_unet.py`, `original_parts.py`) into the networks that
folders name, so a model draws the same from either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from sumi.bundles.published.dalle2_prior import dalle2_prior
from sumi.bundles.published.mapping import Table, refuse
from sumi.bundles.published.model_flags import ModelFlags, published_flags
from sumi.bundles.published.networks import IGNORED, PublishedPart
from sumi.bundles.published.original_parts import (
    autoencoder,
    clip,
    clip_image,
    clip_text,
    dvae,
    glide_text,
    hf_text,
    karlo_prior,
    karlo_text_projection,
)
from sumi.bundles.published.original_unet import OriginalUNet
from sumi.bundles.published.originals import OriginalLayout
from sumi.bundles.published.weights import Weights
from sumi.bundles.tensors import Entry
from sumi.errors import SumiError

UNET: Final = "model.diffusion_model."
VAE: Final = "first_stage_model."
TEXT: Final = "cond_stage_model."
TEXT_XL: Final = "conditioner.embedders."
STATISTICS: Final = "statistics."
GLIDE_CHANNELS: Final = {3: "base", 6: "upsampler", 7: "base inpaint", 10: "upsampler inpaint"}
"""What a network of GLIDE is, by the channels that it takes: x, a small picture, a known one with its mask."""


class PackedNetwork(NamedTuple):
    """A network in a single file: its class, its configuration, its table, and the tensors it does without."""

    kind: str
    config: Mapping[str, Any]
    table: Table
    skipped: tuple[str, ...] = ()


Networks = dict[str, PackedNetwork]


@dataclass(frozen=True)
class PublishedModel:
    """A published model: what it is, and its networks by the names that diffusers gives them.

    schedulers: their configurations as diffusers writes them; none where the files do not say what a network predicts.
    processors: the configurations of its image processors. tokenizers: the folders of its tokenizers; a single file has
    none. settings: of the pipeline itself. pad_tokens: what fills a text, where a tokenizer's folder does not say it.
    """

    path: Path
    name: str
    title: str
    parts: Mapping[str, PublishedPart]
    schedulers: Mapping[str, Mapping[str, Any]]
    processors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    tokenizers: Mapping[str, Path] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    pad_tokens: Mapping[str, str] = field(default_factory=dict)


def read_parts(layout: OriginalLayout, weights: Weights) -> dict[str, PublishedPart]:
    """Read the networks of a single file, and check that they hold all of it."""
    if layout.name not in READERS:
        raise SumiError(f"{weights.path} is {layout.title}: Sumi recognises it, and cannot run it")
    try:
        networks = READERS[layout.name](weights.entries)
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise SumiError(f"{weights.path} looks like {layout.title}, but is incomplete: {reason}") from None
    return make_parts(networks, weights, layout.ignored)


def make_parts(networks: Networks, weights: Weights, ignored: Iterable[str]) -> dict[str, PublishedPart]:
    """Make the parts of a file; what one needs, the others ignore, and what none needs is unused."""
    sources = {name: {source for move in made.table for source in move.sources} for name, made in networks.items()}
    known = {*ignored, *IGNORED}.union(*(made.skipped for made in networks.values()))
    parts = {}
    for name, made in networks.items():
        others = known.union(*(used for other, used in sources.items() if other != name))
        parts[name] = PublishedPart(name, made.kind, made.config, weights, made.table, tuple(others))
    faults: dict[str, dict[str, None]] = {}
    for part in parts.values():  # what none of them needs is named once
        for kind, names in part.faults().items():
            faults.setdefault(kind, {}).update(dict.fromkeys(names))
    refuse({kind: list(names) for kind, names in faults.items()}, str(weights.path))
    return parts


# What each layout holds. ----------------------------------------------------------------------------------------------


def stable_diffusion_1(entries: Mapping[str, Entry]) -> Networks:
    """Return the networks of Stable Diffusion 1.x: eight heads at every level."""
    unet = OriginalUNet(entries, UNET, head_width=None)
    return {
        "unet": PackedNetwork("UNet2DConditionModel", unet.config() | {"sample_size": 64}, unet.table()),
        "vae": PackedNetwork("AutoencoderKL", *autoencoder(entries, VAE, 0.18215)),
        "text_encoder": PackedNetwork("CLIPTextModel", *hf_text(entries, f"{TEXT}transformer.")),
    }


def stable_diffusion_2(entries: Mapping[str, Entry]) -> Networks:
    """Return the networks of Stable Diffusion 2.x, which reads its text encoder before the last layer."""
    unet = OriginalUNet(entries, UNET)
    config, table = clip_text(entries, f"{TEXT}model.", skip_layers=1, projected=False)
    last = f"{TEXT}model.transformer.resblocks.{config['num_hidden_layers']}.*"
    skipped = (last, f"{TEXT}model.text_projection", f"{TEXT}model.logit_scale")
    return {
        "unet": PackedNetwork("UNet2DConditionModel", unet.config(), unet.table()),
        "vae": PackedNetwork("AutoencoderKL", *autoencoder(entries, VAE, 0.18215)),
        "text_encoder": PackedNetwork("CLIPTextModel", config | {"hidden_act": "gelu"}, table, skipped),
    }


def stable_diffusion_xl(entries: Mapping[str, Entry]) -> Networks:
    """Return the networks of Stable Diffusion XL base: two text encoders, and the size of the picture as a label."""
    unet = OriginalUNet(entries, UNET, label="text_time")
    config, table = clip_text(entries, f"{TEXT_XL}1.model.")
    skipped = (f"{TEXT_XL}1.model.logit_scale",)
    return {
        "unet": PackedNetwork("UNet2DConditionModel", unet.config() | {"sample_size": 128}, unet.table()),
        "vae": PackedNetwork("AutoencoderKL", *autoencoder(entries, VAE, 0.13025)),
        "text_encoder": PackedNetwork("CLIPTextModel", *hf_text(entries, f"{TEXT_XL}0.transformer.")),
        "text_encoder_2": PackedNetwork("CLIPTextModelWithProjection", config | {"hidden_act": "gelu"}, table, skipped),
    }


def karlo_decoder(entries: Mapping[str, Entry]) -> Networks:
    """Return karlo's decoder and what it is told."""
    unet = OriginalUNet(entries, "model.")
    return {
        "decoder": PackedNetwork("UNet2DConditionModel", unet.config() | {"sample_size": 64}, unet.table()),
        "text_proj": PackedNetwork("UnCLIPTextProjModel", *karlo_text_projection(entries, "model.")),
    }


def karlo_super_resolution(entries: Mapping[str, Entry]) -> Networks:
    """Return the two networks of karlo's super-resolution: for the first steps, and for the last one."""
    first, last = (OriginalUNet(entries, f"model_{steps}.") for steps in ("first_steps", "last_step"))
    return {
        "super_res_first": PackedNetwork("UNet2DModel", first.config() | {"sample_size": 256}, first.table()),
        "super_res_last": PackedNetwork("UNet2DModel", last.config() | {"sample_size": 256}, last.table()),
    }


def karlo_clip(entries: Mapping[str, Entry]) -> Networks:
    """Return the towers of CLIP, which karlo needs apart."""
    (text, text_table), (image, image_table) = clip_text(entries, ""), clip_image(entries, "visual.")
    act = {"hidden_act": "quick_gelu"}
    return {
        "text_encoder": PackedNetwork("CLIPTextModelWithProjection", text | act, text_table),
        "image_encoder": PackedNetwork("CLIPVisionModelWithProjection", image | act, image_table),
    }


def glide(entries: Mapping[str, Entry]) -> Networks:
    """Return a network of GLIDE with its own text encoder: what it draws follows from its levels, 64 px from four."""
    unet = OriginalUNet(entries, "")
    config, (text, text_table) = unet.config(), glide_text(entries)
    if config["in_channels"] not in GLIDE_CHANNELS:
        raise ValueError(f"its network takes {config['in_channels']} channels, and GLIDE's take 3, 6, 7 or 10")
    if config["cross_attention_dim"] != text["hidden_size"]:
        raise ValueError(
            f"the U-Net hears {config['cross_attention_dim']} features, the text has {text['hidden_size']}"
        )
    stage = GLIDE_CHANNELS[config["in_channels"]].split()[0]
    size = {"sample_size": 2 ** (unet.levels + 2)}
    return {
        stage: PackedNetwork("UNet2DConditionModel", config | size, unet.table()),
        f"{stage}_text_encoder": PackedNetwork("GlideTextEncoder", text, text_table),
    }


def discrete_vae(entries: Mapping[str, Entry]) -> Networks:
    """Return one half of OpenAI's discrete VAE."""
    half, config, table = dvae(entries)
    return {half: PackedNetwork(f"DVAE{half.capitalize()}", config, table)}


def guided_diffusion(entries: Mapping[str, Entry], flags: ModelFlags | None = None) -> Networks:
    """Return the network of guided-diffusion, read with flags; by default those of the network of these shapes."""
    unet = OriginalUNet(entries, "") if flags is None else flags.unet(entries)
    size = 2 ** (unet.levels + 2) if flags is None else flags.image_size
    if flags is None and unet.attends_in_middle:  # any width: without flags it is not drawn with
        unet = replace(unet, heads=1)
    return {"unet": PackedNetwork("UNet2DModel", unet.config() | {"sample_size": size}, unet.table())}


READERS: Final[Mapping[str, Callable[[Mapping[str, Entry]], Networks]]] = {
    "stable-diffusion-1": stable_diffusion_1,
    "stable-diffusion-2": stable_diffusion_2,
    "stable-diffusion-xl": stable_diffusion_xl,
    "vae": lambda entries: {"vae": PackedNetwork("AutoencoderKL", *autoencoder(entries, "", 0.18215))},
    "clip": lambda entries: {"clip": PackedNetwork("CLIPModel", *clip(entries))},
    "karlo-prior": lambda entries: {
        "prior": PackedNetwork("PriorTransformer", *karlo_prior(entries, "model.", f"{STATISTICS}0", f"{STATISTICS}1"))
    },
    "karlo-decoder": karlo_decoder,
    "karlo-super-resolution": karlo_super_resolution,
    "glide": glide,
    "dalle-dvae": discrete_vae,
    "dalle2-pytorch-prior": lambda entries: {"prior": PackedNetwork("DiffusionPriorNetwork", *dalle2_prior(entries))},
    "guided-diffusion": lambda entries: guided_diffusion(entries, published_flags(entries)),
}
"""How the networks of each layout are read; a layout without one is recognised and cannot be run."""

# What the authors' code says of the noise, as the conversion scripts of diffusers write it down. ----------------------

LATENT_BETAS: Final = {
    "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1, "clip_sample": False,
}  # fmt: skip
UNCLIP: Final = {"_class_name": "UnCLIPScheduler", "num_train_timesteps": 1000, "clip_sample": True}
SCHEDULERS: Final[Mapping[str, Mapping[str, Mapping[str, Any]]]] = {
    "stable-diffusion-1": {"scheduler": {"_class_name": "PNDMScheduler", **LATENT_BETAS}},
    "stable-diffusion-xl": {
        "scheduler": {"_class_name": "EulerDiscreteScheduler", "timestep_spacing": "leading", **LATENT_BETAS}
    },
    "karlo": {
        "prior_scheduler": UNCLIP
        | {"variance_type": "fixed_small_log", "prediction_type": "sample", "clip_sample_range": 5.0},
        "decoder_scheduler": UNCLIP
        | {"variance_type": "learned_range", "prediction_type": "epsilon", "clip_sample_range": 1.0},
        "super_res_scheduler": UNCLIP
        | {"variance_type": "fixed_small_log", "prediction_type": "epsilon", "clip_sample_range": 1.0},
    },
}
"""The schedulers of single files. A file of Stable Diffusion 2.x may predict noise or velocity, so it has none here."""

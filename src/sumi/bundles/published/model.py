"""A published model opened: its system and its networks, each ready to be loaded, whatever layout it lies in.

Folders name their parts. Single files are read by the table of their layout (`original_unet.py`, `original_parts.py`)
into the same networks, so a model draws the same from either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

from torch import Tensor

from sumi.bundles.published.folders import INDEX, open_folder
from sumi.bundles.published.mapping import Table
from sumi.bundles.published.networks import IGNORED, PublishedPart
from sumi.bundles.published.original_parts import (
    autoencoder,
    clip,
    clip_image,
    clip_text,
    hf_text,
    karlo_prior,
    karlo_text_projection,
)
from sumi.bundles.published.original_unet import OriginalUNet
from sumi.bundles.published.originals import LAYOUTS, OriginalLayout, recognise
from sumi.bundles.published.weights import WEIGHT_SUFFIXES, Weights, open_weights
from sumi.bundles.tensors import Entry
from sumi.errors import SumiError

UNET: Final = "model.diffusion_model."
VAE: Final = "first_stage_model."
TEXT: Final = "cond_stage_model."
TEXT_XL: Final = "conditioner.embedders."
STATISTICS: Final = "statistics."


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


class JoinedWeights:
    """Weights of several files as one, the further ones behind a prefix each."""

    def __init__(self, first: Weights, further: Mapping[str, Weights]) -> None:
        self.path = first.path
        self._sources = {name: (first, name) for name in first.entries}
        for prefix, weights in further.items():
            self._sources |= {prefix + name: (weights, name) for name in weights.entries}
        self.entries: dict[str, Entry] = {key: of.entries[name] for key, (of, name) in self._sources.items()}

    def tensor(self, name: str) -> Tensor:
        """Return one tensor."""
        weights, stored = self._sources[name]
        return weights.tensor(stored)


def open_model(path: str | Path) -> PublishedModel:
    """Open a published model; headers and configurations are read, tensors are not.

    Args:
        path: a folder of diffusers; a single file of Stable Diffusion or CLIP; a folder of karlo's original files.

    Raises:
        SumiError: one line for what is missing, damaged, unsafe, unknown, or of parts that do not fit.
    """
    path = Path(path)
    if (path / INDEX).is_file():
        system, parts, schedulers, processors, tokenizers, settings = open_folder(path)
        return PublishedModel(path, system.name, system.title, parts, schedulers, processors, tokenizers, settings)
    if path.is_dir():
        return open_karlo(path)
    if not path.is_file():
        raise SumiError(f"there is no file or folder {str(path)!r}")
    weights = open_weights(path)
    layout = recognise(weights.entries, str(path))
    parts = read_parts(layout, weights)
    return PublishedModel(path, layout.name, layout.title, parts, SCHEDULERS.get(layout.name, {}))


def open_karlo(path: Path) -> PublishedModel:
    """Open karlo's original files: three checkpoints, the statistics of CLIP, and CLIP itself."""
    found: dict[str, Weights] = {}
    for file in sorted(file for file in path.iterdir() if file.suffix in WEIGHT_SUFFIXES):
        weights = open_weights(file, path)
        found[recognise(weights.entries, str(file)).name] = weights
    missing = [name for name in KARLO_FILES if name not in found]
    if missing:
        raise SumiError(
            f"{path} is no model: it has no {INDEX}, and of karlo's original files it lacks {', '.join(missing)}"
        )
    joined = {"karlo-prior": JoinedWeights(found["karlo-prior"], {STATISTICS: found["clip-statistics"]})}
    parts: dict[str, PublishedPart] = {}
    for layout in LAYOUTS:
        if layout.name in KARLO_NETWORKS:
            parts |= read_parts(layout, joined.get(layout.name, found[layout.name]))
    clip_parts = karlo_clip(found["clip"].entries)
    parts |= make_parts(clip_parts, found["clip"], ("logit_scale", "input_resolution", "context_length", "vocab_size"))
    return PublishedModel(path, "karlo", "unCLIP (karlo), original files", parts, SCHEDULERS["karlo"])


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
        parts[name].check()
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
}
"""How the networks of each layout are read; a layout without one is recognised and cannot be run."""
KARLO_NETWORKS: Final = ("karlo-prior", "karlo-decoder", "karlo-super-resolution")
KARLO_FILES: Final = (*KARLO_NETWORKS, "clip-statistics", "clip")

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

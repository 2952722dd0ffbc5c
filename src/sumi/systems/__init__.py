"""Published systems, one file each, over the nouns of the rooms below.

A system trains its networks one after another and draws with them:

    for stage in method.stages:  parts[stage] = trained(method.objective(stage, examples, parts))
    pictures = yield from method.pipeline(parts).sample(request)

`SYSTEMS` is the lineage in the order of its story. A row holds plain text, so that listing costs no torch; the file
behind it is imported when its method is used.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from sumi.errors import SumiError

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

    from sumi.bundles import Bundle
    from sumi.conditioning import WordTokenizer
    from sumi.pipelines import Artist
    from sumi.systems.diffusion_spec import DiffusionSpec
    from sumi.systems.pipeline import Pipeline
    from sumi.training import Objective, TrainConfig

__all__ = ["SYSTEMS", "Examples", "Method", "System", "load", "method_for", "save"]


@dataclass(frozen=True)
class Examples:
    """What a system learns from; the row of a system says in `needs` which of these it uses.

    pictures: uint8 (N, 4, S, S), premultiplied, or floats of any shape (N, ...), taken as they are.
    captions: N of them. labels: int64 (N,), each in 0 ... num_labels - 1.
    """

    pictures: Any
    captions: Sequence[str] = ()
    labels: Any = None
    num_labels: int = 0


class Method(ABC):
    """What the file of a system offers: its stages, their objectives, and the pipeline that draws with them.

    Stages are trained in order; `parts` holds the networks trained so far. What a system does not override is as most
    systems have it.
    """

    #: How the stages share the time there is, by name; the others get a share of 1 or 3 (`sumi.systems.train_system`).
    shares: ClassVar[Mapping[str, float]] = {}
    #: How a stage is trained where the usual configuration will not do, by name.
    plans: ClassVar[Mapping[str, TrainConfig]] = {}
    #: Stages that drawing does not use.
    not_drawing: ClassVar[tuple[str, ...]] = ()

    @property
    @abstractmethod
    def stages(self) -> tuple[str, ...]:
        """The names of its networks."""

    @property
    def num_steps(self) -> int:
        """How many steps it takes to draw by default."""
        diffusion = self.diffusion()
        return 1 if diffusion is None else diffusion.num_steps

    def diffusion(self) -> DiffusionSpec | None:
        """Return the diffusion model that decides what a picture shows; None where it is another kind of model."""
        return None

    def caption_tokenizer(self) -> WordTokenizer | None:
        """Return the tokenizer of its captions, which its bundle keeps; None where it takes none."""
        return None

    @abstractmethod
    def objective(self, stage: str, examples: Examples, parts: Mapping[str, nn.Module]) -> Objective:
        """Return what one stage learns."""

    @abstractmethod
    def pipeline(self, parts: Mapping[str, nn.Module]) -> Pipeline:
        """Return the trained parts put together, ready to draw."""

    def artist(self, bundle: Bundle) -> Artist:
        """Return the model of a bundle, ready to draw (SumiError)."""
        from sumi.systems.artist import system_artist

        return system_artist(bundle, SYSTEMS[bundle.system])

    def stages_for(self, size_px: int) -> tuple[str, ...]:
        """Return the stages that pictures of this size need."""
        return self.stages

    def fit(self, examples: Examples) -> dict[str, Any]:
        """Return the settings that it takes from its examples; its bundle keeps them."""
        return {}

    def num_made(self) -> int | None:
        """Return how many examples its last stage makes for itself; None where it learns from those given."""
        return None

    def making(self, count: int) -> Method:
        """Return the method making only so many examples for itself."""
        return self

    def with_settings(self, settings: Mapping[str, Any]) -> Method:
        """Return the method with the settings of a bundle, as far as it knows them."""
        return self

    def trained_on(self, parts: Mapping[str, nn.Module]) -> dict[str, dict[str, str]]:
        """Return for each part the hashes of the parts that it belongs to; its bundle keeps them."""
        return {}

    def extra_parts(self, parts: Mapping[str, nn.Module], examples: Examples) -> dict[str, nn.Module]:
        """Return further parts of its bundle, which need no training."""
        return {}


SMALL_PX = 32


@dataclass(frozen=True)
class System:
    """A row of the lineage: `home` is module:attribute, the method itself. `needs` names fields of `Examples`.

    draws: whether it makes pictures. multiple: what the side of its pictures must be a multiple of, in pixels, up to 32
    px; large_multiple: the same for larger ones. least: how many pictures it needs to learn from.
    """

    name: str
    year: int
    summary: str
    home: str
    needs: tuple[str, ...] = ("pictures",)
    draws: bool = True
    multiple: int = 4
    large_multiple: int = 4
    least: int = 1

    def check_size(self, size_px: int) -> None:
        """Raise SumiError for a size that the system cannot learn."""
        multiple = self.multiple if size_px <= SMALL_PX else self.large_multiple
        if size_px % multiple or size_px < multiple:
            near = max(multiple, round(size_px / multiple) * multiple)
            raise SumiError(
                f"{self.name} learns pictures whose side is a multiple of {multiple} px, not {size_px}: "
                f"try --size {near}"
            )

    def method(self) -> Method:
        """Import the file behind the row."""
        module, _, attribute = self.home.partition(":")
        found: Method = getattr(importlib.import_module(f"{__name__}.{module}"), attribute)
        return found


_LABELLED = ("pictures", "labels")
_CAPTIONED = ("pictures", "captions")
_ROWS = (
    System(
        "gan",
        2014,
        "GAN: a generator against a discriminator (Goodfellow et al. 2014; R3GAN)",
        "gan:GAN_2014",
        multiple=1,
        large_multiple=1,
    ),
    System(
        "sohl_dickstein",
        2015,
        "The first diffusion model, trained by its bound (Sohl-Dickstein et al. 2015)",
        "sohl_dickstein:GAUSSIAN",
    ),
    System(
        "vqvae",
        2017,
        "VQ-VAE: discrete tokens and a transformer over them (van den Oord et al. 2017)",
        "vqvae:VQVAE_2017",
        large_multiple=16,
    ),
    System("ncsn", 2019, "NCSN: scores, annealed Langevin dynamics (Song and Ermon 2019)", "score_sde:NCSN"),
    System("ddpm", 2020, "DDPM: predicts the noise, 1,000 ancestral steps (Ho et al. 2020)", "ddpm:DDPM_2020"),
    System(
        "ddim", 2020, "DDIM: DDPM's network, deterministic sampling in 50 steps (Song et al. 2020)", "ddpm:DDIM_2020"
    ),
    System(
        "dalle1",
        2021,
        "DALL-E 1: a discrete VAE and one transformer (Ramesh et al. 2021)",
        "dalle1:DALLE1",
        ("pictures", "captions"),
        large_multiple=16,
    ),
    System("score_sde_ve", 2021, "VE SDE, predictor-corrector sampling (Song et al. 2021)", "score_sde:VE_SDE"),
    System("score_sde_vp", 2021, "VP SDE, predictor-corrector sampling (Song et al. 2021)", "score_sde:VP_SDE"),
    System(
        "improved_ddpm",
        2021,
        "Improved DDPM: cosine schedule, learned variance (Nichol, Dhariwal 2021)",
        "ddpm:IMPROVED",
    ),
    System(
        "classifier_guidance",
        2021,
        "Guidance by a classifier of noisy pictures (Dhariwal and Nichol 2021)",
        "guidance:BY_CLASSIFIER",
        _LABELLED,
    ),
    System(
        "glide", 2021, "GLIDE: text to image, upsampler, inpainting (Nichol et al. 2021)", "glide:GLIDE", _CAPTIONED
    ),
    System("classifier_free", 2022, "Classifier-free guidance (Ho and Salimans 2022)", "guidance:FREE", _LABELLED),
    System(
        "latent",
        2022,
        "Latent diffusion: U-Net, text cross-attention (Rombach et al. 2022)",
        "latent:LATENT_2022",
        _CAPTIONED,
        multiple=8,
        large_multiple=16,
    ),
    System(
        "unclip",
        2022,
        "unCLIP (DALL-E 2): prior, decoder, upsamplers (Ramesh et al. 2022)",
        "unclip.system:UNCLIP",
        _CAPTIONED,
        multiple=16,
        large_multiple=16,
        least=2,
    ),
    System("imagen", 2022, "Imagen: frozen language model, cascade (Saharia et al. 2022)", "imagen:IMAGEN", _CAPTIONED),
    System("edm", 2022, "EDM: preconditioned denoiser, Heun sampler (Karras et al. 2022)", "edm:KARRAS"),
    System("flow_matching", 2023, "Flow matching on straight paths (Lipman et al. 2023)", "flow_matching:STRAIGHT"),
    System(
        "rectified_flow",
        2023,
        "Rectified flow: straightened once, drawn in one step (Liu et al. 2023)",
        "flow_matching:RECTIFIED",
    ),
    System(
        "latent_dit",
        2024,
        "Latent diffusion transformer on a flow (Peebles, Xie 2022; Esser et al. 2024)",
        "latent:LATENT_2024",
        _CAPTIONED,
        multiple=8,
        large_multiple=16,
    ),
    System(
        "autoguidance",
        2024,
        "Autoguidance: guided by a weaker model (Karras et al. 2024)",
        "guidance:BY_WEAKER",
        _LABELLED,
    ),
)

#: Every system by its name.
SYSTEMS: Mapping[str, System] = {row.name: row for row in _ROWS}


def method_for(system: System, examples: Examples) -> Method:
    """Return the method of a system, with the settings that it takes from its examples."""
    method = system.method()
    return method.with_settings(method.fit(examples))


def save(name: str, parts: Mapping[str, nn.Module], folder: str | Path, **kept: Any) -> Bundle:
    """Write the trained parts of a system as a bundle; `kept` are further arguments of `save_bundle`."""
    from sumi.bundles import save_bundle

    return save_bundle(folder, system=name, parts=parts, **kept)


def load(folder: str | Path) -> tuple[System, dict[str, nn.Module]]:
    """Read a bundle that `save` wrote; SumiError when it is of no system of the lineage."""
    from sumi.bundles import Bundle

    bundle = Bundle.load(folder)
    if bundle.system not in SYSTEMS:
        raise SumiError(f"{folder} is a model of the kind {bundle.system!r}; those known are {', '.join(SYSTEMS)}")
    return SYSTEMS[bundle.system], {name: bundle.part(name) for name in bundle.parts}

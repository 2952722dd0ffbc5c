"""Presets of the sticker model: its training scenes, the sizes of its networks, and how long each stage trains.

A preset is one row of decisions for one size of machine; everything else is shared. `cpu` is sized so that two
cores learn something honest in an evening, `gpu` for half an hour or more on a large accelerator. `wide` learns
everything that two of six artists drew, with shapes augmented, contrasts for CLIP, and a linear codec of 8,192 numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from sumi.autoregressive import SYMBOLS
from sumi.codecs import Autoencoder, PatchPCA
from sumi.data.augmentation import Augmentation
from sumi.data.generator import Mix
from sumi.errors import SumiError
from sumi.nn import ConvNeXtDecoder, DecoderNetwork, DenseDecoder, DensePrior, PriorNetwork
from sumi.systems.unclip import ASKED
from sumi.training import TrainConfig

__all__ = ["CPU", "FIRST", "PRESETS", "STAGES", "Preset", "preset"]

STAGES = ("codec", "clip", "layout_planner", "prior", "decoder", "upsampler")
FIRST = {"clip": "tower", "decoder": "draft"}
"""What is trained before a stage, where a preset has a plan for it."""

CONTEXT = 32
EMBEDDING = 256
LATENT_CHANNELS = 12


@dataclass(frozen=True)
class Preset:
    """Everything that `sumi train sticker` decides for a machine.

    vocabulary: one of VOCABULARIES. mix, num_scenes: of the 64 px scenes in the pool; num_pairs: scenes at 64 and 256
    px for the upsampler; drawings: the vocabulary of these; briefs, num_briefs: the mix and the number of captions for
    the layout planner. codec, prior, decoder: the classes of their networks. networks: constructor arguments by part.
    asked: the names of target and schedule of each diffusion model. plans: by stage; shares: of the hours, by stage.
    augmentation: of the shapes of all scenes, None for drawings as they are. contrasts, num_contrasts: the mix and the
    number of scenes that CLIP learns from instead of the pool, in groups of `group`: a scene and its contrasts. One
    example of CLIP's plan is then a group. With a plan for the "tower", CLIP's image tower first learns to classify,
    and is locked while CLIP learns; with one for the "draft", the decoder's draft is learned before the decoder.
    decoder_noise: the mean of log(sigma / alpha) at which the decoder learns; shapes are decided while there is much
    noise, and the more so the more of the latents' variance lies in a few of them.
    """

    name: str
    vocabulary: str
    mix: Mix
    briefs: Mix
    num_scenes: int
    num_pairs: int
    num_briefs: int
    decoder: type[nn.Module]
    asked: Mapping[str, tuple[str, str]]
    networks: Mapping[str, dict[str, Any]]
    plans: Mapping[str, TrainConfig]
    shares: Mapping[str, float]
    seed: int = 7
    drawings: str = "full"
    augmentation: Augmentation | None = None
    contrasts: Mix | None = None
    num_contrasts: int = 0
    group: int = 1
    codec: type[nn.Module] = Autoencoder
    prior: type[nn.Module] = PriorNetwork
    decoder_noise: float = 0.5


def _text(width: int, depth: int) -> dict[str, Any]:
    """A text transformer, less the vocabulary, which the captions decide."""
    return {"context": CONTEXT, "width": width, "depth": depth, "heads": width // 64}


CPU = Preset(
    name="cpu",
    vocabulary="everyday",
    mix=Mix.alone(),
    briefs=Mix.arranged(),
    num_scenes=260_000,
    num_pairs=10_000,
    num_briefs=400_000,
    decoder=DenseDecoder,
    asked={**ASKED, "decoder": ("x0", "flow")},
    networks={
        "codec": {
            "in_channels": 4, "latent_channels": LATENT_CHANNELS, "channels": [96, 192], "blocks": [1, 2],
            "decoder_blocks": [2, 3], "patch": 4,
        },
        "clip": {
            "size": EMBEDDING,
            "image": {
                "in_channels": 4, "size_px": 64, "patch": 4, "channels": [96, 192], "blocks": [2, 1],
                "width": 256, "depth": 2, "heads": 4,
            },
            "text": _text(256, 3),
        },
        "layout_planner": {
            "symbols": SYMBOLS, "context": CONTEXT, "token_width": 256, "length": 64,
            "width": 96, "depth": 2, "heads": 4,
        },
        "prior": {
            "size": EMBEDDING, "token_width": 256, "context": CONTEXT, "width": 256, "depth": 3, "heads": 4,
        },
        "decoder": {
            "channels": LATENT_CHANNELS, "side": 8, "vector_width": 2 * EMBEDDING, "token_width": 256,
            "width": 1024, "depth": 5, "refiner": [96, 3],
        },
        "upsampler": {"in_channels": 4, "channels": [64, 96], "blocks": [3, 4], "factor": 4},
    },
    plans={
        "codec": TrainConfig(3_500, 32, lr=1.5e-3, warmup_steps=50, decay_fraction=0.5, ema=0.995),
        "clip": TrainConfig(2_500, 128, lr=1e-3, warmup_steps=100, decay_fraction=0.6, ema=0.99, weight_decay=0.05),
        "layout_planner": TrainConfig(5_000, 128, lr=3e-3, warmup_steps=100, decay_fraction=0.6, ema=0.998),
        "prior": TrainConfig(6_000, 128, lr=1e-3, warmup_steps=100, decay_fraction=0.7, ema=0.998),
        "decoder": TrainConfig(28_000, 512, lr=1e-3, warmup_steps=200, decay_fraction=0.7, ema=0.999),
        "upsampler": TrainConfig(1_500, 16, lr=5e-4, warmup_steps=50, decay_fraction=0.7, ema=0.99),
    },
    shares={"codec": 0.10, "clip": 0.14, "layout_planner": 0.04, "prior": 0.05, "decoder": 0.57, "upsampler": 0.10},
)  # fmt: skip

GPU = Preset(
    name="gpu",
    vocabulary="full",
    mix=Mix.sticker(),
    briefs=Mix.arranged(),
    num_scenes=2_000_000,
    num_pairs=40_000,
    num_briefs=2_000_000,
    decoder=DecoderNetwork,
    asked=ASKED,
    networks={
        **CPU.networks,
        "decoder": {
            "vector_width": 2 * EMBEDDING, "token_width": 256,
            "draft": [16, 8, 384],
            "unet": {
                "in_channels": LATENT_CHANNELS, "out_channels": LATENT_CHANNELS, "channels": [192, 256],
                "blocks": [2, 1], "attention": [False, True], "middle": 1, "embedding_width": 384,
            },
        },
    },
    plans={
        "codec": TrainConfig(30_000, 128, lr=1e-3, warmup_steps=200, decay_fraction=0.5, ema=0.999),
        "clip": TrainConfig(20_000, 1024, lr=8e-4, warmup_steps=500, decay_fraction=0.6, ema=0.999, weight_decay=0.05),
        "layout_planner": TrainConfig(20_000, 512, lr=3e-3, warmup_steps=200, decay_fraction=0.6, ema=0.999),
        "prior": TrainConfig(40_000, 512, lr=8e-4, warmup_steps=200, decay_fraction=0.5, ema=0.999),
        "decoder": TrainConfig(120_000, 256, lr=8e-4, warmup_steps=500, decay_fraction=0.4, ema=0.9998),
        "upsampler": TrainConfig(40_000, 32, lr=8e-4, warmup_steps=100, decay_fraction=0.5, ema=0.999),
    },
    shares=CPU.shares,
)  # fmt: skip


_SIDE, _COMPONENTS = 8, 128
"""Of the latents of WIDE."""
_TOWER = {"in_channels": 4, "size_px": 64, "patch": 4, "channels": [96, 192, 384], "blocks": [2, 2, 2], "width": 256}
"""The image tower of its CLIP: a ResNet learns from fewer pictures than a transformer does."""

WIDE = replace(
    CPU,
    name="wide",
    vocabulary="wide",
    drawings="wide",
    mix=replace(Mix.alone(), single=0.76, person=0.16, word=0.05, bongard=0.03, named_hand=0.08),
    num_scenes=320_000,
    num_pairs=16_000,
    num_briefs=600_000,
    augmentation=Augmentation(),
    contrasts=Mix.contrasting(),
    num_contrasts=240_000,
    group=4,
    codec=PatchPCA,
    prior=DensePrior,
    decoder=ConvNeXtDecoder,
    decoder_noise=1.0,
    networks={
        **CPU.networks,
        "clip": {**CPU.networks["clip"], "image": _TOWER},
        "codec": {"in_channels": 4, "latent_channels": _COMPONENTS, "factor": 64 // _SIDE},
        "prior": {"size": EMBEDDING, "token_width": 256, "width": 512, "depth": 3},
        "decoder": {
            "channels": _COMPONENTS, "side": _SIDE, "vector_width": 2 * EMBEDDING, "token_width": 256,
            "width": 320, "depth": 5, "draft": [512, 2],
        },
    },
    plans={
        "tower": TrainConfig(5_000, 128, lr=3e-3, warmup_steps=100, decay_fraction=0.7, weight_decay=0.05, ema=0.99),
        "clip": TrainConfig(3_000, 40, lr=1e-3, warmup_steps=50, decay_fraction=0.6, weight_decay=0.05, ema=0.99),
        "layout_planner": TrainConfig(8_000, 128, lr=3e-3, warmup_steps=100, decay_fraction=0.6, ema=0.998),
        "prior": TrainConfig(16_000, 256, lr=1e-3, warmup_steps=200, decay_fraction=0.7, ema=0.999),
        "draft": TrainConfig(8_000, 256, lr=2e-3, warmup_steps=100, decay_fraction=0.9, ema=0.998),
        "decoder": TrainConfig(60_000, 64, lr=3e-3, warmup_steps=200, decay_fraction=0.7, ema=0.9995),
        "upsampler": TrainConfig(12_000, 16, lr=5e-4, warmup_steps=100, decay_fraction=0.7, ema=0.998),
    },
    shares={"tower": 0.16, "clip": 0.08, "layout_planner": 0.04, "prior": 0.10, "draft": 0.02,
            "decoder": 0.48, "upsampler": 0.12},
)  # fmt: skip

PRESETS: Mapping[str, Preset] = {"cpu": CPU, "gpu": GPU, "wide": WIDE}


def preset(name: str) -> Preset:
    """The preset of that name; SumiError for another."""
    if name not in PRESETS:
        raise SumiError(f"there is no preset '{name}': choose from {', '.join(PRESETS)}")
    return PRESETS[name]

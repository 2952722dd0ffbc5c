"""unCLIP on one's own pictures: training goes on from the parts of a model, with new words in its vocabulary.

    codec?, CLIP -> z_i, z_t, latents -> prior, decoder -> upsampler?          each from the model's weights

What the model learned about shapes, colours and words is kept as a beginning, so hundreds of pictures give something to
look at, where a model from scratch needs tens of thousands. A word that the model does not know becomes a token with a
fresh embedding. The codec and the upsampler are kept as they are, unless the preset trains them or the codec cannot
restore these pictures. The layout planner is left out: it belongs to the scenes of the model.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from sumi.autoregressive import PrincipalAxes
from sumi.bundles import Bundle, weight_hash
from sumi.codecs import Autoencoder, Codec
from sumi.conditioning import CLIP, WordTokenizer
from sumi.conditioning.transfer import transfer_weights
from sumi.diffusion import (
    DenoisingLoss,
    FlowPrediction,
    LogitNormalTimes,
    NetworkDenoiser,
    RegressionLoss,
    X0Prediction,
)
from sumi.errors import SumiError
from sumi.hardware import autocast
from sumi.imaging.pixels import from_levels
from sumi.nn import ConvNeXtDecoder, DenseDecoder, EmbeddingDenoiser, SuperResolutionNetwork
from sumi.systems import Examples, Method
from sumi.systems.objectives import CaptionFeatures, CLIPObjective, CodecObjective, take
from sumi.systems.pipeline import Pipeline
from sumi.systems.unclip import networks
from sumi.systems.unclip.artist import Sumi
from sumi.systems.unclip.degradation import DecoderDegradation, DecoderEstimate
from sumi.systems.unclip.model import assemble, parameterization
from sumi.systems.unclip.objectives import DecoderCondition, DecoderObjective, PriorObjective, UpsamplerObjective
from sumi.training import Objective, TrainConfig

__all__ = [
    "ENOUGH_PSNR_DB",
    "PRESETS",
    "OwnPreset",
    "UnCLIPFromModel",
    "continue_model",
    "measure_codec",
    "trains_codec",
    "with_codec",
]

ENOUGH_PSNR_DB = 24.0
"""A codec that restores pictures worse than this is trained on them."""
NUM_MEASURED = 256
MOST_AXES = 128


@dataclass(frozen=True)
class OwnPreset:
    """How large a model of one's own pictures is, and how long it trains.

    Attributes:
        name: of the preset.
        minutes: the default budget.
        further: stages that are trained beside CLIP, prior and decoder, where the model has them.
        depth: by how many times the decoder gets deeper; new layers begin as the identity.
        width: of the networks, where training is from scratch.
        size_px: of the pictures, where training is from scratch.
    """

    name: str
    minutes: float
    further: tuple[str, ...]
    depth: int
    width: int
    size_px: int


PRESETS: Mapping[str, OwnPreset] = {
    preset.name: preset
    for preset in (
        OwnPreset("tiny", 40, (), 1, 64, 32),
        OwnPreset("small", 180, ("codec", "upsampler"), 1, 96, 32),
        OwnPreset("base", 12 * 60, ("codec", "upsampler"), 2, 128, 64),
        OwnPreset("large", 48 * 60, ("codec", "upsampler"), 4, 192, 64),
    )
}


@dataclass(frozen=True)
class UnCLIPFromModel(Method):
    """The stages of a model, trained further.

    Attributes:
        start: the model.
        tokenizer: the model's, with the new words.
        depth: by how many times the decoder gets deeper.
        stages: those that are trained; the others stay as they are.
    """

    start: Bundle
    tokenizer: WordTokenizer
    depth: int = 1
    stages: tuple[str, ...] = ("clip", "prior", "decoder")

    shares: ClassVar[Mapping[str, float]] = {
        "codec": 1.5, "clip": 3.0, "prior": 2.5, "decoder": 6.0, "upsampler": 1.5,
    }  # fmt: skip
    plans: ClassVar[Mapping[str, TrainConfig]] = {
        "codec": TrainConfig(1_000, 32, lr=5e-4, warmup_steps=50, decay_fraction=0.6, ema=0.99),
        "clip": TrainConfig(800, 64, lr=3e-4, warmup_steps=30, decay_fraction=0.6, ema=0.98, weight_decay=0.05),
        "prior": TrainConfig(1_500, 128, lr=5e-4, warmup_steps=50, decay_fraction=0.7, ema=0.995),
        "decoder": TrainConfig(4_000, 128, lr=6e-4, warmup_steps=50, decay_fraction=0.7, ema=0.998),
        "upsampler": TrainConfig(800, 8, lr=2e-4, warmup_steps=30, decay_fraction=0.7, ema=0.99),
    }

    def caption_tokenizer(self) -> WordTokenizer:
        """Return the tokenizer with the new words."""
        return self.tokenizer

    def objective(self, stage: str, examples: Examples, parts: Mapping[str, nn.Module]) -> Objective:
        """Return what one stage learns from pictures of the model's size, or of the upsampler's."""
        small = self.small(examples)
        if stage == "codec":
            given = self._given("codec")
            assert isinstance(given, Autoencoder)
            return CodecObjective(given, small)
        ids = self.tokenizer.encode(list(examples.captions)).numpy()
        if stage == "clip":
            return CLIPObjective(self._clip(), small, ids, repeated=True)
        clip = parts["clip"]
        assert isinstance(clip, CLIP)
        if stage == "upsampler":
            return self._upsampling(examples, small, clip, parts)
        z_i, words = networks.image_embeddings(clip, small), CaptionFeatures(clip, ids).once()
        target, schedule = parameterization(self.start.settings["asked"][stage])
        if stage == "prior":
            prior = self._given("prior")
            assert isinstance(prior, EmbeddingDenoiser)
            prior.mean.copy_(torch.from_numpy(z_i.mean(axis=0)))
            prior.std.copy_(torch.from_numpy(z_i.std(axis=0)).clamp(min=1e-4))
            return PriorObjective(prior, z_i, words, target, schedule)
        codec = self._codec(small, parts)
        measure = FlowPrediction() if isinstance(target, X0Prediction) else None
        loss = DenoisingLoss(target, schedule, LogitNormalTimes(mean=0.5), measure, min_sigma=0.1)
        told = DecoderCondition(z_i, words)
        return DecoderObjective(self._decoder(), codec, encode(codec, small), told, target, schedule, loss)

    def _upsampling(
        self, examples: Examples, small: Any, clip: CLIP, parts: Mapping[str, nn.Module]
    ) -> UpsamplerObjective:
        """Enlarge what the trained decoder leaves."""
        target, schedule = parameterization(self.start.settings["asked"]["upsampler"])
        denoiser = NetworkDenoiser(parts["decoder"], *parameterization(self.start.settings["asked"]["decoder"]))
        degrade = DecoderDegradation(self._codec(small, parts), DecoderEstimate(denoiser, denoiser.schedule, clip))
        network = self._given("upsampler")
        regressor = isinstance(network, SuperResolutionNetwork)
        loss = RegressionLoss() if regressor else DenoisingLoss(target, schedule, LogitNormalTimes(), min_sigma=0.1)
        return UpsamplerObjective(network, examples.pictures, small, degrade, target, schedule, loss)

    def small(self, examples: Examples) -> Any:
        """The pictures at the size that CLIP and the decoder see."""
        size_px = self._clip_px
        pictures = examples.pictures
        return pictures if pictures.shape[-1] == size_px else networks.smaller(pictures, size_px).numpy()

    @property
    def _clip_px(self) -> int:
        clip = self.start.part("clip")
        assert isinstance(clip, CLIP)
        return clip.size_px

    def _given(self, stage: str) -> nn.Module:
        """A copy of a part of the model, to be trained."""
        return copy.deepcopy(self.start.part(stage)).requires_grad_(True).train()

    def _clip(self) -> CLIP:
        """CLIP with the new words, whose embeddings are random."""
        given = self.start.part("clip")
        assert isinstance(given, CLIP)
        text = {**given.config["text"], "vocabulary_size": self.tokenizer.size}
        grown = CLIP(given.size, given.config["image"], text)
        transfer_weights(given, self.start.tokenizer(), grown, self.tokenizer)
        return grown

    def _decoder(self) -> nn.Module:
        given = self._given("decoder")
        if isinstance(given, DenseDecoder | ConvNeXtDecoder) and self.depth > 1:
            return deepen(given, self.depth)
        return given

    def _codec(self, small: Any, parts: Mapping[str, nn.Module]) -> Codec:
        """The model's codec, or the one that was trained here, whose latents are measured again."""
        codec = parts.get("codec", self.start.part("codec"))
        assert isinstance(codec, Codec)
        if "codec" in parts and isinstance(codec, Autoencoder):
            some = torch.split(torch.arange(min(len(small), 4096)), 256)
            codec.fit_latent_stats([from_levels(take(small, rows, torch.device("cpu"))) for rows in some])
        return codec

    def extra_parts(self, parts: Mapping[str, Any], examples: Examples) -> dict[str, nn.Module]:
        """Return the parts that are kept from the model, and the principal axes of z_i."""
        kept = {name: self.start.part(name) for name in ("codec", "upsampler") if name in self.start.parts}
        z_i = torch.from_numpy(networks.image_embeddings(parts["clip"], self.small(examples)))
        axes = PrincipalAxes.fit(z_i, dims=min(MOST_AXES, len(z_i), z_i.shape[1]))
        return {**{name: part for name, part in kept.items() if name not in parts}, "pca": axes}

    def trained_on(self, parts: Mapping[str, nn.Module]) -> dict[str, dict[str, str]]:
        """Return the CLIP that prior, decoder and axes belong to."""
        clip = weight_hash(parts["clip"])
        return {name: {"clip": clip} for name in ("prior", "decoder", "pca")}

    def fit(self, examples: Examples) -> dict[str, Any]:
        """Return how the model's stages are parameterized and run."""
        return dict(self.start.settings)

    @property
    def origin(self) -> str:
        """Where training begins, for the card and for the record of the run."""
        named = self.start.hashes.get("decoder", "")[:12]
        return f"the model {self.start.name} (decoder {named}), {len(self.tokenizer.words)} words"

    def pipeline(self, parts: Mapping[str, nn.Module]) -> Pipeline:
        """Raise SumiError: a bundle of it is drawn with through `sumi.load`."""
        raise SumiError("a model on one's own pictures is drawn with through its bundle")

    def artist(self, bundle: Bundle) -> Sumi:
        """Return the model of a bundle."""
        return assemble(bundle)


def continue_model(start: Bundle, preset: OwnPreset, captions: Sequence[str]) -> UnCLIPFromModel:
    """Return the method that trains a model further on pictures with these captions.

    Raises:
        SumiError: when the model is no unCLIP with a codec, whose parts can be trained further.
    """
    needed = ("codec", "clip", "prior", "decoder")
    missing = [name for name in needed if name not in start.parts]
    if missing or start.system != "unclip":
        raise SumiError(
            f"training cannot begin from {start.folder}: it should be an unCLIP model with {', '.join(needed)}, and it "
            + (f"has no {missing[0]}" if missing else f"is a model of the kind {start.system!r}")
        )
    tokenizer = start.tokenizer()
    assert isinstance(tokenizer, WordTokenizer)
    further = [name for name in preset.further if name in start.parts]
    if not trains_codec(start):
        further = [name for name in further if name != "codec"]
    stages = tuple(
        name for name in ("codec", "clip", "prior", "decoder", "upsampler") if name in (*further, *needed[1:])
    )
    return UnCLIPFromModel(start, tokenizer.with_words(captions), preset.depth, stages)


def trains_codec(start: Bundle) -> bool:
    """Whether the codec of a model can be trained further: a linear one is fitted once, and its latents stay."""
    return isinstance(start.part("codec"), Autoencoder)


def with_codec(method: UnCLIPFromModel) -> UnCLIPFromModel:
    """Return the method that trains the codec, too."""
    return replace(method, stages=tuple(dict.fromkeys(("codec", *method.stages))))


@torch.no_grad()
def measure_codec(codec: Codec, pictures: Any) -> float:
    """Return the median PSNR in dB of some pictures, uint8 (N, 4, S, S), after the codec."""
    rows = torch.linspace(0, len(pictures) - 1, min(NUM_MEASURED, len(pictures))).long()
    psnr = []
    for some in torch.split(rows, 64):
        x = from_levels(take(pictures, some, torch.device("cpu")))
        error = (codec.decode(codec.encode(x)) - x).square().mean(dim=(1, 2, 3))
        psnr.append(10 * torch.log10(4 / error.clamp(min=1e-8)))
    return float(torch.cat(psnr).median())


@torch.no_grad()
def encode(codec: Codec, pictures: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return the latents of pictures, uint8 (N, 4, S, S): float32 (N, C, side, side)."""
    device = torch.device("cpu")
    rows = torch.split(torch.arange(len(pictures)), 256)
    with autocast(device):
        return torch.cat([codec.encode(from_levels(take(pictures, k, device))).float().cpu() for k in rows]).numpy()


def deepen(decoder: DenseDecoder | ConvNeXtDecoder, times: int) -> DenseDecoder | ConvNeXtDecoder:
    """Return a decoder with `times` as many blocks; the new ones begin as the identity, so it draws the same."""
    config = dict(decoder.config)
    grown = type(decoder)(**{**config, "depth": times * config["depth"]})
    given: dict[str, Tensor] = decoder.state_dict()
    grown.load_state_dict({**grown.state_dict(), **given})
    return grown

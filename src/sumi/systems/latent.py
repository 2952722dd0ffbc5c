"""Latent diffusion: a diffusion model in the latents of an autoencoder, conditioned on CLIP's text features.

Rombach et al. 2022, High-Resolution Image Synthesis with Latent Diffusion Models, arXiv 2112.10752 (Stable Diffusion).
Peebles and Xie 2022, Scalable Diffusion Models with Transformers, arXiv 2212.09748.
Esser et al. 2024, Scaling Rectified Flow Transformers, arXiv 2403.03206 (Stable Diffusion 3).

    x = (encode(picture) - m) / s
    loss = |eps - network(x_t, t, words)|^2                                                        (2022, eq. 3)
    loss = |(eps - x) - network(x_t, t, words, z_t)|^2,    logit(t) ~ N(0, 1)                     (2024, eq. 19)

The codec is trained first and frozen, then CLIP; the third network is conditioned on the token features of CLIP's text
tower. `LATENT_2022` is a U-Net with cross-attention, on v1's table of betas. `LATENT_2024` is a transformer on the
straight path: the token features join the attention of each block, and z_t modulates its norms. Known deviations: RGBA;
small; CLIP is trained here, on the same captions, tokenized by words and bytes and not by BPE; no adversarial or
perceptual loss in the codec; latents are posterior means, standardised by channel (v1: all by 0.18215); times also
between the nodes of the table; the text stream is not updated, unless the network is `two_streams`, MM-DiT, at several
times the cost; guidance 3 and 2 (v1: 7.5), beyond which small networks leave the range of latents.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sumi.codecs import Autoencoder
from sumi.conditioning import CLIP, WordTokenizer
from sumi.diffusion import (
    BetaSchedule,
    DDIMSampler,
    DenoisingLoss,
    EpsPrediction,
    EulerSampler,
    FlowPrediction,
    FlowSchedule,
    LogitNormalTimes,
)
from sumi.errors import SumiError
from sumi.nn import Cond, DiT, UNet, drop_condition
from sumi.pipelines import Stage
from sumi.pipelines.steps import drive_to_end
from sumi.systems import Examples, Method
from sumi.systems.diffusion_spec import DiffusionObjective, DiffusionSpec, signals
from sumi.systems.objectives import CaptionFeatures, CLIPObjective, CodecObjective, sheet
from sumi.systems.pipeline import Pipeline, SampleRequest, StagePipeline, captions_of
from sumi.training import Batch, Objective

__all__ = ["LATENT_2022", "LATENT_2024", "Latent", "encoded", "text_condition"]

GRID = 8  # latents along a side of a picture, about; of a very small one a quarter of its side
TOWER = {"width": 128, "depth": 2, "heads": 4}


def codec(size_px: int) -> Autoencoder:
    """Return a small codec: 64 px become 8 x 8 latents of 12 channels."""
    return Autoencoder(4, 12, [48, 96], [1, 1], [1, 2], patch=max(2, size_px // (2 * GRID)))


def clip(size_px: int, tokenizer: WordTokenizer) -> CLIP:
    """Return a small CLIP for the ids of a tokenizer."""
    eye = {"in_channels": 4, "size_px": size_px, "patch": max(2, size_px // (2 * GRID)), "channels": [48, 96]}
    text = {"vocabulary_size": tokenizer.size, "context": tokenizer.context}
    return CLIP(128, {**eye, "blocks": [1, 1], **TOWER}, {**text, **TOWER})


def unet(channels: int, vector_width: int, context_width: int) -> UNet:
    """Return the network of 2022, conditioned on token features alone."""
    return UNet(channels, channels, [64, 128], [1, 1], [True, True], context_width=context_width, head_width=32)


def transformer(channels: int, vector_width: int, context_width: int) -> DiT:
    """Return the network of 2024."""
    return DiT(channels, channels, 1, 192, 6, 6, vector_width=vector_width, context_width=context_width)


def two_streams(channels: int, vector_width: int, context_width: int) -> DiT:
    """Return MM-DiT, which updates the text stream too: `replace(LATENT_2024, network=two_streams)`."""
    return DiT(channels, channels, 1, 192, 6, 6, vector_width=vector_width, context_width=context_width, joint=True)


@torch.no_grad()
def text_condition(reader: CLIP, ids: Tensor) -> Cond:
    """Return z_t and a feature for each token of ids (B, L); zeros for an empty caption."""
    ids = ids.to(reader.bias.device)
    return drop_text(*reader.encode_text(ids), (ids > 0).any(1, keepdim=True))


def drop_text(z_t: Tensor, words: Tensor, heard: Tensor) -> Cond:
    """Return the network's condition, with z_t scaled to unit variance; zeros where heard (B, 1) is 0."""
    return Cond(z_t.shape[1] ** 0.5 * z_t * heard, words * heard[:, :, None])


@torch.no_grad()
def encoded(model: Autoencoder, examples: Any) -> Tensor:
    """Return the standardised latents of all pictures; the codec measures itself on the first 2,048 of them."""
    device, some = model.latent_mean.device, torch.split(torch.arange(len(examples)), 64)
    model.fit_latent_stats([signals(examples, indices, device) for indices in some[:32]])
    return torch.cat([model.encode(signals(examples, indices, device)).cpu() for indices in some])


@dataclass(frozen=True)
class LatentObjective(DiffusionObjective):
    """Denoise latents; `show` draws a sheet with a network."""

    show: Callable[[nn.Module], Tensor | None] = lambda network: None

    def picture(self, model: nn.Module) -> Tensor | None:
        """Return true pictures above, and pictures drawn for the same captions below."""
        return self.show(model)


@dataclass(frozen=True)
class Latent(Method):
    """A diffusion model in latents; `network` is made for their channels, the width of z_t and a token's features."""

    spec: DiffusionSpec
    network: Callable[[int, int, int], nn.Module]
    guidance: float
    drop: float = 0.1
    codec: Callable[[int], Autoencoder] = codec
    clip: Callable[[int, WordTokenizer], CLIP] = clip
    tokenizer: WordTokenizer = WordTokenizer((), context=64)  # noqa: RUF009 - it is never changed
    stages: tuple[str, ...] = ("codec", "clip", "network")
    shares: ClassVar[Mapping[str, float]] = {"codec": 2.0, "clip": 1.5, "network": 4.5}  # of the time there is

    def diffusion(self) -> DiffusionSpec:
        """Return the diffusion model of the network."""
        return self.spec

    def caption_tokenizer(self) -> WordTokenizer:
        """Return the tokenizer of its captions."""
        return self.tokenizer

    def objective(self, stage: str, examples: Examples, parts: Mapping[str, Any]) -> Objective:
        """Train the codec on pictures, CLIP on captions too, and the network on the features of both."""
        name, size_px = f"{self.spec.name}-{stage}", int(examples.pictures.shape[-1])
        if len(examples.captions) != len(examples.pictures):
            raise SumiError(f"{self.spec.name} learns from pictures with one caption each, and these have not")
        if stage == "codec":
            return CodecObjective(parts.get(stage) or self.codec(size_px), examples.pictures, name=name)
        ids = self.tokenizer.encode(examples.captions)
        if stage == "clip":
            return CLIPObjective(
                parts.get(stage) or self.clip(size_px, self.tokenizer), examples.pictures, ids, name=name
            )
        reader, latents = parts["clip"], encoded(parts["codec"], examples.pictures)
        words = CaptionFeatures(reader, ids).once()

        def caption_condition(batch: Batch) -> Cond:
            written = (ids[batch.indices] > 0).any(1, keepdim=True).to(batch.rng.device)
            text = drop_text(*words(batch.indices, written.device), written)
            return drop_condition(text, self.drop, batch.rng)

        def show(network: nn.Module) -> Tensor:
            request = SampleRequest(range(min(8, len(ids))), size_px, examples.captions[:8])
            drawn = drive_to_end(self.pipeline({**parts, stage: network}).sample(request))
            return sheet([torch.as_tensor(examples.pictures[:8]), drawn])

        network = parts.get(stage) or self.network(latents.shape[1], reader.size, reader.config["text"]["width"])
        return LatentObjective(name, network, self.spec, latents, caption_condition, show)

    def stage(self, parts: Mapping[str, Any]) -> Stage:
        """Return the network as a stage that draws latents."""
        return self.spec.stage(
            self.spec.denoiser(parts["network"]), decode=parts["codec"].decode, guidance=self.guidance
        )

    def pipeline(self, parts: Mapping[str, Any]) -> Pipeline:
        """Draw pictures of captions; the empty caption is no condition."""
        codec = parts["codec"]

        def cond(request: SampleRequest) -> Cond:
            captions = captions_of(self.spec.name, request)
            if request.size_px % (2 * codec.factor):
                raise SumiError(f"this model draws multiples of {2 * codec.factor} px, not {request.size_px}")
            return text_condition(parts["clip"], self.tokenizer.encode(captions))

        return StagePipeline(self.stage(parts), cond, codec.latent_channels, codec.factor)


_BETAS, _LINE = BetaSchedule.scaled_linear(), FlowSchedule()
_LOSSES = DenoisingLoss(EpsPrediction(), _BETAS), DenoisingLoss(FlowPrediction(), _LINE, LogitNormalTimes())

LATENT_2022 = Latent(DiffusionSpec("latent", _BETAS, EpsPrediction(), _LOSSES[0], DDIMSampler(_BETAS)), unet, 3.0)
LATENT_2024 = Latent(
    DiffusionSpec("latent_dit", _LINE, FlowPrediction(), _LOSSES[1], EulerSampler(_LINE), num_steps=28),
    transformer,
    2.0,
)

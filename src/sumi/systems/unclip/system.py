"""A small unCLIP trained from scratch: six networks, on the pictures that the other systems learn from.

    CLIP at S px; both priors; decoder at S/4 px, upsamplers to S/2 and to S            (S < 32: at S/2, one upsampler)

Ramesh et al. 2022, arXiv 2204.06125, section 2 and appendix C: the prior predicts z_i itself on a cosine chain, decoder
and first upsampler go along a cosine chain and the second along a linear one; the upsamplers are unconditional and
unguided, and learn from blurred and from worn pictures. Known deviations: RGBA; sizes double where they quadruple in
the paper; decoder and upsamplers predict the clean picture, as its prior does, and not the noise, which in few steps
would have to be clipped, and learn no variance; beside z_t the decoder is conditioned on CLIP's token features and has
no text transformer of its own; z_i is dropped for a fifth of the examples and the caption for a seventh. CLIP learns
from the same pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sumi.autoregressive import PrincipalAxes
from sumi.bundles import Bundle
from sumi.codecs import Pixels
from sumi.conditioning import WordTokenizer
from sumi.diffusion import DenoisingLoss, Schedule, Target, VPrediction
from sumi.errors import SumiError
from sumi.imaging.pixels import from_levels
from sumi.pipelines import Model, Prior, Progress, Stage, UnCLIPPipeline
from sumi.pipelines.checks import check_choice
from sumi.pipelines.events import Event, Sample
from sumi.pipelines.steps import Pause, Work, map_events
from sumi.systems import Examples, Method
from sumi.systems.objectives import CaptionFeatures, CLIPObjective
from sumi.systems.pipeline import Pipeline, SampleRequest
from sumi.systems.unclip import networks
from sumi.systems.unclip.ar_prior import ARPriorObjective
from sumi.systems.unclip.artist import Sumi
from sumi.systems.unclip.degradation import bsr_degradation, sometimes_blurred
from sumi.systems.unclip.forward import forward
from sumi.systems.unclip.model import SMALL, artist, assemble, parameterization
from sumi.systems.unclip.objectives import DecoderCondition, DecoderObjective, PriorObjective, UpsamplerObjective
from sumi.training import Objective

__all__ = ["UNCLIP", "UnCLIP", "loss_of"]

GROWTH = 2
LEAST_PX = 8  # of a side that is worth drawing first
BATCH = 64


@dataclass(frozen=True)
class UnCLIP(Method):
    """The six stages. prior: which of two draws z_i, "diffusion" or "ar". width: see `networks`."""

    name: str = "unclip"
    tokenizer: WordTokenizer = field(default_factory=lambda: WordTokenizer((), context=48))
    prior: str = "diffusion"
    width: int = 64
    #: Of the time there is; the rest get 1 each.
    shares: ClassVar[Mapping[str, float]] = {"clip": 2.0, "prior": 1.5, "ar_prior": 0.5, "decoder": 4.0}
    not_drawing: ClassVar[tuple[str, ...]] = ("ar_prior",)
    stages: tuple[str, ...] = ("clip", "prior", "ar_prior", "decoder", "upsampler", "upsampler2")

    def caption_tokenizer(self) -> WordTokenizer:
        """Return the tokenizer of its captions."""
        return self.tokenizer

    def stages_for(self, size_px: int) -> tuple[str, ...]:
        """Return all six, or five where pictures are so small that one upsampler is enough."""
        return self.stages if steps_up(size_px) == 2 else tuple(name for name in self.stages if name != "upsampler2")

    @property
    def num_steps(self) -> int:
        """Steps of the decoder."""
        return int(SMALL["decoder"]["steps"])

    def objective(self, stage: str, examples: Examples, parts: Mapping[str, Any]) -> Objective:
        """Train CLIP on pictures and captions, the next three on its embeddings, the upsamplers on pictures."""
        pictures, size_px = examples.pictures, examples.pictures.shape[-1]
        if len(examples.captions) != len(pictures):
            raise SumiError(f"{self.name} needs a caption a picture: {len(pictures)}, not {len(examples.captions)}")
        if size_px % networks.COARSE_PX:
            raise SumiError(f"{self.name} learns from pictures of {networks.COARSE_PX} px or a multiple, not {size_px}")
        network = parts.get(stage)
        if stage.startswith("upsampler"):
            return self._enlarging(stage, pictures, network)
        ids = self.tokenizer.encode(list(examples.captions)).numpy()
        if stage == "clip":
            return CLIPObjective(network or networks.clip(self.tokenizer, size_px, self.width), pictures, ids)
        clip, small_px = parts["clip"], size_px // GROWTH ** steps_up(size_px)
        z_i, words = networks.image_embeddings(clip, pictures), CaptionFeatures(clip, ids).once()
        if stage == "ar_prior":
            return ARPriorObjective(network or networks.ar_prior(clip, z_i, words), z_i, words)
        target, schedule = parameterization(SMALL["asked"][stage])
        if stage == "prior":
            return PriorObjective(network or networks.prior(clip, z_i), z_i, words, target, schedule)
        small, network = from_levels(networks.smaller(pictures, small_px)), network or networks.decoder(clip, small_px)
        loss = loss_of(target, schedule)
        return DecoderObjective(network, Pixels(), small.numpy(), DecoderCondition(z_i, words), target, schedule, loss)

    def _enlarging(self, stage: str, pictures: Any, network: Any) -> Objective:
        """Train one upsampler; the last folds its pixels into channels, so that both cost the same."""
        whole_px, first = pictures.shape[-1], stage == "upsampler"
        large_px = whole_px // GROWTH ** (steps_up(whole_px) - 1) if first else whole_px
        target, schedule = parameterization(SMALL["asked"][stage])
        return UpsamplerObjective(
            model=network or networks.upsampler(self.width, patch=GROWTH if large_px == whole_px else 1),
            large=pictures if large_px == whole_px else networks.smaller(pictures, large_px),
            small=networks.smaller(pictures, large_px // GROWTH),
            degrade=sometimes_blurred if first else bsr_degradation,
            target=target,
            schedule=schedule,
            loss_of=loss_of(target, schedule),
            crop_px=large_px,
            name=stage,
        )

    def extra_parts(self, parts: Mapping[str, Any], examples: Examples) -> dict[str, nn.Module]:
        """Return the principal axes of z_i, for `explore`."""
        z_i = torch.from_numpy(networks.image_embeddings(parts["clip"], examples.pictures))
        return {"pca": PrincipalAxes.fit(z_i, dims=z_i.shape[1])}

    def fit(self, examples: Examples) -> dict[str, Any]:
        """Return how its stages are parameterized and run."""
        return dict(SMALL)

    def artist(self, bundle: Bundle) -> Sumi:
        """Return the model of a bundle, with everything that unCLIP can do to pictures."""
        return assemble(bundle, self.tokenizer if bundle.tokenizer_class is None else None)

    def pipeline(self, parts: Mapping[str, nn.Module]) -> Pipeline:
        """Draw pictures of captions by the forward pass of every unCLIP."""
        made = artist(parts, SMALL, self.tokenizer, Model(self.name, {})).pipeline
        return ForwardPipeline(self.name, replace(made.with_prior(self.prior), batch=BATCH))


@dataclass(frozen=True)
class ForwardPipeline(Pipeline):
    """The pipeline of an unCLIP for rows of captions."""

    name: str
    unclip: UnCLIPPipeline

    def sample(self, request: SampleRequest) -> Work[Tensor]:
        """Draw pictures of captions, one a seed."""
        if len(request.captions) != len(request.seeds):
            raise SumiError(f"{self.name} needs one caption a seed: {len(request.seeds)}, not {len(request.captions)}")
        check_choice("size", str(request.size_px), [str(known) for known in self.unclip.sizes])
        unclip, drawn = run_in(self.unclip.up_to(request.size_px), request.num_steps), list[Tensor]()

        def collect(event: Event | Pause | Sample) -> Event | Pause | Sample:
            if not isinstance(event, Sample):
                return event
            drawn.append(event.image)
            return Pause()

        yield from map_events(forward(unclip, request.captions, request.seeds), collect)
        return torch.stack(drawn)

    def preview(self, progress: Progress) -> Tensor | None:
        """Return the pictures that a step estimates; None for the prior."""
        return self.unclip.preview(progress)


def steps_up(size_px: int) -> int:
    """Return how many upsamplers lead to pictures of this size."""
    return 2 if size_px >= LEAST_PX * GROWTH**2 else 1


def loss_of(target: Target, schedule: Schedule) -> DenoisingLoss:
    """Return the loss of the v that a clean prediction implies, which also weights small noise."""
    return DenoisingLoss(target, schedule, measure=VPrediction(), min_sigma=0.1)


def run_in(pipeline: UnCLIPPipeline, num_steps: int | None) -> UnCLIPPipeline:
    """Return the pipeline with so many steps in every stage; None leaves it."""
    if num_steps is None:
        return pipeline
    stages: list[Prior | Stage] = [pipeline.prior, *pipeline.stages.values()]
    return pipeline.with_settings({stage.name: replace(stage.settings, steps=num_steps) for stage in stages})


UNCLIP = UnCLIP()

"""unCLIP from its first weight: six networks, each small, on the pictures of the rest of the lineage.

    CLIP at S px; both priors; decoder at S/4 px, upsamplers to S/2 and to S            (S < 32: at S/2, one upsampler)

Ramesh et al. 2022, arXiv 2204.06125, section 2 and appendix C: the prior answers z_i itself on a cosine chain, decoder
and first upsampler go along a cosine chain and the second along a linear one; the upsamplers are unconditional and
unguided, and learn from blurred and from worn pictures. Known deviations: RGBA; sizes double where they quadruple in
the paper; decoder and upsamplers answer the clean picture, as its prior does, and not the noise, which in few steps
would have to be clipped, and learn no variance; beside z_t the decoder reads CLIP's features of the words and has no
text transformer of its own; z_i falls silent in a fifth of its lessons and the caption in a seventh. CLIP learns from
the same pictures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sumi.autoregressive import PrincipalAxes
from sumi.codecs import Pixels
from sumi.conditioning import CLIP, Lexicon, WordTokenizer
from sumi.diffusion import DenoisingLoss, Schedule, Target, VPrediction
from sumi.errors import SumiError
from sumi.imaging.pixels import from_levels
from sumi.pipelines import Model, Prior, Stage, UnCLIPPipeline
from sumi.pipelines.checks import check_choice
from sumi.pipelines.events import Event, Sample
from sumi.pipelines.steps import Pause, Work, map_events
from sumi.systems import Examples, Method, Wish
from sumi.systems.objectives import CaptionFeatures, CLIPObjective
from sumi.systems.unclip import networks
from sumi.systems.unclip.ar_prior import ARPriorObjective
from sumi.systems.unclip.artist import Sumi
from sumi.systems.unclip.degradation import bsr_degradation, sometimes_blurred
from sumi.systems.unclip.forward import forward
from sumi.systems.unclip.model import artist, parameterization
from sumi.systems.unclip.objectives import DecoderCondition, DecoderObjective, PriorObjective, UpsamplerObjective
from sumi.training import Objective

__all__ = ["UNCLIP", "loss_of"]

GROWTH = 2
LEAST_PX = 8  # of a side that is worth drawing first
BATCH = 64

SETTINGS: Mapping[str, Any] = {
    "prior": {"sampler": "dpmpp-2m", "steps": 16, "guidance": 2.0},
    "ar_prior": {"guidance": 1.5},
    "decoder": {"sampler": "dpmpp-2m", "steps": 20, "guidance": 3.0},
    "upsampler": {"sampler": "ddim", "steps": 27},
    "upsampler2": {"sampler": "ddim", "steps": 15},
    "asked": {
        "prior": ("x0", "cosine"),
        "decoder": ("x0", "cosine"),
        "upsampler": ("x0", "cosine"),
        "upsampler2": ("x0", "linear"),
    },
}


@dataclass(frozen=True)
class UnCLIP(Method):
    """The six stages, and how they draw. prior: which of two imagines, "diffusion" or "ar". width: of everything."""

    name: str = "unclip"
    tokenizer: WordTokenizer = field(default_factory=lambda: WordTokenizer((), context=48))
    prior: str = "diffusion"
    width: int = 64
    #: Of the time there is; the rest get 1 each.
    shares: ClassVar[Mapping[str, float]] = {"clip": 2.0, "prior": 1.5, "ar_prior": 0.5, "decoder": 4.0}
    not_drawing: ClassVar[tuple[str, ...]] = ("ar_prior",)
    """Stages that `draw` does not use, while the diffusion prior is the one that draws."""
    stages: tuple[str, ...] = ("clip", "prior", "ar_prior", "decoder", "upsampler", "upsampler2")

    @property
    def reads_with(self) -> WordTokenizer:
        """The tokenizer of its captions."""
        return self.tokenizer

    def stages_for(self, size_px: int) -> tuple[str, ...]:
        """All six, or five where pictures are so small that one upsampler is enough."""
        return self.stages if steps_up(size_px) == 2 else tuple(name for name in self.stages if name != "upsampler2")

    @property
    def num_steps(self) -> int:
        """Steps of the decoder."""
        return int(SETTINGS["decoder"]["steps"])

    def lesson(self, stage: str, examples: Examples, parts: Mapping[str, Any]) -> Objective:
        """CLIP learns from pictures and captions, the next three from what it makes of both, the last from pictures."""
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
        target, schedule = parameterization(SETTINGS["asked"][stage])
        if stage == "prior":
            return PriorObjective(network or networks.prior(clip, z_i), z_i, words, target, schedule)
        small, network = from_levels(networks.smaller(pictures, small_px)), network or networks.decoder(clip, small_px)
        loss = loss_of(target, schedule)
        return DecoderObjective(network, Pixels(), small.numpy(), DecoderCondition(z_i, words), target, schedule, loss)

    def _enlarging(self, stage: str, pictures: Any, network: Any) -> Objective:
        """The first upsampler ends where the second begins; the last folds its pixels, so that it costs the same."""
        whole_px, first = pictures.shape[-1], stage == "upsampler"
        large_px = whole_px // GROWTH ** (steps_up(whole_px) - 1) if first else whole_px
        target, schedule = parameterization(SETTINGS["asked"][stage])
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

    def measured(self, parts: Mapping[str, Any], examples: Examples) -> dict[str, nn.Module]:
        """The principal axes of z_i, by which a picture can be explored."""
        z_i = torch.from_numpy(networks.image_embeddings(parts["clip"], examples.pictures))
        return {"pca": PrincipalAxes.fit(z_i, dims=z_i.shape[1])}

    def artist(
        self, parts: Mapping[str, nn.Module], model: Model | None = None, lexicon: Lexicon | None = None
    ) -> Sumi:
        """The trained parts as a model, with everything that a model can do to pictures. lexicon: of its captions."""
        clip, model = parts.get("clip"), model or Model(self.name, {})
        size_px = clip.size_px // GROWTH ** steps_up(clip.size_px) if isinstance(clip, CLIP) else None
        made = artist(parts, SETTINGS, self.tokenizer, model, size_px, GROWTH)
        return replace(made, pipeline=made.pipeline.with_prior(self.prior), lexicon=lexicon or Lexicon({}))

    @torch.no_grad()
    def draw(self, parts: Mapping[str, nn.Module], wish: Wish) -> Work[Tensor]:
        """Draw pictures of captions, one a seed, uint8 (B, 4, S, S)."""
        if len(wish.captions) != len(wish.seeds):
            raise SumiError(f"{self.name} needs one caption a seed: {len(wish.seeds)}, not {len(wish.captions)}")
        pipeline = self.artist(parts).pipeline
        check_choice("size", str(wish.size_px), [str(known) for known in pipeline.sizes])
        pipeline, drawn = with_num_steps(pipeline.up_to(wish.size_px), wish.num_steps), []

        def collect(event: Event | Pause | Sample) -> Event | Pause | Sample:
            drawn.append(event.image) if isinstance(event, Sample) else None
            return Pause() if isinstance(event, Sample) else event

        yield from map_events(forward(replace(pipeline, batch=BATCH), wish.captions, wish.seeds), collect)
        return torch.stack(drawn)


def steps_up(size_px: int) -> int:
    """How many upsamplers lead to pictures of this size."""
    return 2 if size_px >= LEAST_PX * GROWTH**2 else 1


def loss_of(target: Target, schedule: Schedule) -> DenoisingLoss:
    """A clean answer judged by the v that it implies, so that little noise is worth looking at too."""
    return DenoisingLoss(target, schedule, measure=VPrediction(), min_sigma=0.1)


def with_num_steps(pipeline: UnCLIPPipeline, num_steps: int | None) -> UnCLIPPipeline:
    """The pipeline with so many steps in every stage; None leaves it."""
    if num_steps is None:
        return pipeline
    stages: list[Prior | Stage] = [pipeline.prior, *pipeline.stages.values()]
    return pipeline.with_settings({stage.name: replace(stage.settings, steps=num_steps) for stage in stages})


UNCLIP = UnCLIP()

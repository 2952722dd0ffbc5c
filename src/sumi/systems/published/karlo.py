"""karlo, from a published folder: unCLIP on the words and the embedding of CLIP.

    z_i ~ P(z_i | words)           the prior, guided
    x_64 ~ P(x_64 | z_i, words)    the decoder, guided
    x_256 ~ P(x_256 | x_64)        the super-resolution, whose last step has a network of its own

Ramesh et al. 2022, Hierarchical Text-Conditional Image Generation with CLIP Latents, arXiv 2204.06125. The steps and
the guidance of each stage are the defaults of diffusers' UnCLIPPipeline.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Final, NamedTuple

import torch
from torch import Tensor, nn

from sumi.bundles.published import PublishedModel
from sumi.diffusion import NetworkDenoiser, normal
from sumi.errors import SumiError
from sumi.nn import Cond
from sumi.nn.published import (
    CLIPTextModelWithProjection,
    PriorTransformer,
    TextFeatures,
    UnCLIPTextProjModel,
    UNet2DConditionModel,
    UNet2DModel,
)
from sumi.pipelines import Progress, Request, Settings, Source, Stage, Task, run, seeded_generators
from sumi.pipelines.prompt import clean
from sumi.pipelines.steps import Work
from sumi.systems.published.conditions import KarloSuperResolution, karlo_super_resolution, prior
from sumi.systems.published.pipeline import opaque, read_tokenizer
from sumi.systems.published.scheduler import PublishedScheduler
from sumi.systems.published.tokenizer import CLIPTokenizer

__all__ = ["Karlo"]

PRIOR, DECODER, SUPER_RES = "prior", "decoder", "super_res"
SAMPLER: Final = "ddpm"
"""The one sampler of an UnCLIPScheduler."""


class EncodedPrompts(NamedTuple):
    """What CLIP says of prompts, and which of its tokens (B, L) belong to them."""

    features: TextFeatures
    mask: Tensor


@dataclass(frozen=True)
class Karlo:
    """The networks of a folder and their schedulers.

    Args:
        prior: predicts the image embedding.
        decoder: predicts the noise in small pictures.
        text_proj: makes the decoder's condition.
        text_encoder: CLIP's text tower.
        super_res: predicts the noise in large pictures.
        tokenizer: of the text tower.
        schedulers: each stage's `scheduler_config.json`, by the name of the stage.
    """

    prior: PriorTransformer
    decoder: UNet2DConditionModel
    text_proj: UnCLIPTextProjModel
    text_encoder: CLIPTextModelWithProjection
    super_res: KarloSuperResolution
    tokenizer: CLIPTokenizer
    schedulers: Mapping[str, Mapping[str, Any]]
    tasks: ClassVar[tuple[type[Task], ...]] = (Request,)
    priors: ClassVar[tuple[str, ...]] = ("diffusion",)
    main_stage: ClassVar[str] = DECODER
    settings: ClassVar[Mapping[str, Settings]] = {
        PRIOR: Settings(SAMPLER, 25, 4.0), DECODER: Settings(SAMPLER, 25, 8.0), SUPER_RES: Settings(SAMPLER, 7),
    }  # fmt: skip

    @classmethod
    def read(cls, opened: PublishedModel) -> Karlo:
        """Load the networks of an opened folder; SumiError for what does not fit together."""
        tokenizer = read_tokenizer(opened)
        words = int(opened.parts["prior"].config["num_embeddings"])
        if words != tokenizer.length:
            raise SumiError(f"the prior of {opened.path} reads {words} words, and its text encoder {tokenizer.length}")
        loaded = {name: part.load(torch.float32) for name, part in opened.parts.items()}
        text_prior, decoder, text_proj = loaded["prior"], loaded["decoder"], loaded["text_proj"]
        text_encoder, first, last = loaded["text_encoder"], loaded["super_res_first"], loaded["super_res_last"]
        assert isinstance(text_prior, PriorTransformer)
        assert isinstance(decoder, UNet2DConditionModel)
        assert isinstance(text_proj, UnCLIPTextProjModel)
        assert isinstance(text_encoder, CLIPTextModelWithProjection)
        assert isinstance(first, UNet2DModel)
        assert isinstance(last, UNet2DModel)
        super_res = KarloSuperResolution(first, last)
        schedulers = {stage: opened.schedulers[f"{stage}_scheduler"] for stage in cls.settings}
        pipeline = cls(text_prior, decoder, text_proj, text_encoder, super_res, tokenizer, schedulers)
        _ = pipeline.stages
        return pipeline

    @property
    def size_px(self) -> int:
        """Pixels along a side of the picture that the super-resolution draws."""
        return int(self.super_res.first.config["sample_size"])

    @property
    def sizes(self) -> tuple[int, ...]:
        """The one size that it draws."""
        return (self.size_px,)

    @property
    def drawing_stages(self) -> Mapping[str, int]:
        """The decoder draws a small picture, the super-resolution the large one."""
        return {name: self.stages[name].shape[-1] for name in (DECODER, SUPER_RES)}

    @property
    def grid_places(self) -> int:
        """Pixels of the small picture."""
        return int(self.stages[DECODER].shape[-1]) ** 2

    def check_size(self, size_px: int) -> None:
        """Raise SumiError for another size than its own."""
        if size_px != self.size_px:
            raise SumiError(f"size should be {self.size_px}, the one that karlo draws, not {size_px}")

    def check_sampler(self, sampler: str) -> None:
        """Raise SumiError for another sampler than its own."""
        if sampler != SAMPLER:
            raise SumiError(f"the sampler of karlo is {SAMPLER}, not {sampler!r}")

    @cached_property
    def stages(self) -> dict[str, Stage]:
        """The three stages with their default settings, made once, so that many requests' steps batch together."""
        small, large = int(self.decoder.config["sample_size"]), self.size_px
        return {
            PRIOR: self._stage(PRIOR, self.prior, (self.prior.size,)),
            DECODER: self._stage(DECODER, self.decoder, (3, small, small)),
            SUPER_RES: self._stage(SUPER_RES, self.super_res, (3, large, large)),
        }

    def _stage(self, name: str, network: nn.Module, shape: tuple[int, ...]) -> Stage:
        learned_variance = name == DECODER and self.decoder.config["out_channels"] == 2 * shape[0]
        try:
            scheduler = PublishedScheduler.read(self.schedulers[name], variance=learned_variance)
        except ValueError as error:
            raise SumiError(f"{name}_scheduler does not fit this model: {error}") from None
        denoiser = NetworkDenoiser(network, scheduler.target, scheduler.schedule)
        return Stage(
            name, denoiser, scheduler.schedule, scheduler.times, shape, self.settings[name], sampler=scheduler.sampler
        )

    def draw(
        self, task: Task, sources: Sequence[Source], seeds: Sequence[int], settings: Mapping[str, Settings]
    ) -> Work[Tensor]:
        """Draw a picture of a prompt for each seed, asking for every step.

        Args:
            task: its prompt and negative prompt.
            sources: none.
            seeds: one for each picture; a seed starts from the numbers that `torch.manual_seed` gives.
            settings: sampler, steps and guidance of each stage.

        Returns:
            uint8 (B, 4, size_px, size_px), opaque.
        """
        rngs = seeded_generators(seeds, "")
        text, null = (self.encode([clean(prompt)] * len(seeds)) for prompt in (task.prompt, task.negative))
        x = yield from self._run(PRIOR, settings, prior(*text), prior(*null), seeds, rngs)
        cond, null_cond = self.decoder_cond(text, self.prior.denormalise(x)), self.decoder_cond(null)
        small = yield from self._run(DECODER, settings, cond, null_cond, seeds, rngs)
        enlarged = karlo_super_resolution(small, self.size_px)
        large = yield from self._run(SUPER_RES, settings, enlarged, None, seeds, rngs)
        return opaque(large)

    def _run(
        self, name: str, settings: Mapping[str, Settings], cond: Cond, null: Cond | None, seeds: Sequence[int],
        rngs: Sequence[torch.Generator],
    ) -> Work[Tensor]:  # fmt: skip
        stage = self.stages[name].with_settings_of(settings[name])
        own = fork(rngs, stage.shape, stage.settings.steps)
        noise = normal(torch.empty(len(seeds), *stage.shape), own)
        return (yield from run(stage, cond, seeds, null, x=noise, rngs=own))

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> EncodedPrompts:
        """Return what CLIP says of prompts, a row for each."""
        ids = self.tokenizer.encode(prompts)
        return EncodedPrompts(self.text_encoder(ids), self.tokenizer.mask(ids))

    @torch.no_grad()
    def decoder_cond(self, text: EncodedPrompts, image_embed: Tensor | None = None) -> Cond:
        """Return the decoder's condition: the text, and an image embedding (B, D); by default the learned null one."""
        (tokens, pooled, _), mask = text
        embed = self.text_proj.null_image_embed.expand(len(tokens), -1) if image_embed is None else image_embed
        return self.text_proj(embed, pooled, tokens, mask)  # type: ignore[no-any-return]

    def preview(self, progress: Progress) -> Tensor | None:
        """Return the picture that a step estimates, opaque uint8 (B, 4, h, w); None for the prior."""
        return None if progress.stage == PRIOR else opaque(progress.mean)


def fork(rngs: Sequence[torch.Generator], shape: tuple[int, ...], steps: int) -> list[torch.Generator]:
    """Return copies of generators for one stage, and move the generators past what the stage draws.

    That is as diffusers counts it: noise to start from, and noise for each step but the last.
    """
    copies = [torch.Generator().set_state(rng.get_state()) for rng in rngs]
    for rng in rngs:
        for _ in range(steps):
            torch.randn(shape, generator=rng)
    return copies

"""karlo, from a published model: unCLIP on the words and the embedding of CLIP.

    z_i ~ P(z_i | words)           the prior, guided; or z_i of a picture, in a folder for variations
    x_64 ~ P(x_64 | z_i, words)    the decoder, guided
    x_256 ~ P(x_256 | x_64)        the super-resolution, whose last step has a network of its own

Ramesh et al. 2022, Hierarchical Text-Conditional Image Generation with CLIP Latents, arXiv 2204.06125. The steps and
the guidance of each stage are the defaults of diffusers' UnCLIPPipeline.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Final

import torch
from torch import Tensor, nn

from sumi.diffusion import DDIMSampler, NetworkDenoiser, ThresholdedSampler
from sumi.errors import SumiError
from sumi.imaging.pixels import resize
from sumi.nn import Cond
from sumi.nn.published import UnCLIPTextProjModel, UNet2DConditionModel, UNet2DModel
from sumi.pipelines import (
    Blend,
    Edit,
    Img2img,
    Progress,
    Request,
    Restyle,
    Settings,
    Stage,
    Task,
    Vary,
    run,
    seeded_generators,
)
from sumi.pipelines.prompt import clean
from sumi.pipelines.steps import Work
from sumi.systems.published.clip_towers import CLIPImageTower, CLIPTextTower, EncodedPrompts
from sumi.systems.published.conditions import KarloSuperResolution, karlo_super_resolution
from sumi.systems.published.dalle2_prior import DALLE2Prior
from sumi.systems.published.loading import ModelLoader
from sumi.systems.published.pipeline import (
    RGB,
    AnyPrompt,
    OneSize,
    PictureBatch,
    opaque,
    over_white,
    read_scheduler,
    require_prompt,
)
from sumi.systems.published.prior import ANCESTRAL, PRIOR, PRIOR_SETTINGS, PublishedPrior, check_ancestral, fork
from sumi.systems.published.scheduler import PublishedScheduler
from sumi.systems.published.starting import aim_embeddings, needs_inversion, start_stage

__all__ = ["Karlo", "KarloImageVariation"]

DECODER, SUPER_RES = "decoder", "super_res"
DETERMINISTIC: Final = "ddim"


@dataclass(frozen=True)
class KarloDecoder:
    """The networks that draw, and their schedulers.

    Args:
        decoder: predicts the noise in small pictures.
        text_proj: makes the decoder's condition.
        tower: CLIP's text tower.
        super_res: predicts the noise in large pictures.
        schedulers: each stage's `scheduler_config.json`, by the name of the stage.
    """

    decoder: UNet2DConditionModel
    text_proj: UnCLIPTextProjModel
    tower: CLIPTextTower
    super_res: KarloSuperResolution
    schedulers: Mapping[str, Mapping[str, Any]]
    settings: ClassVar[Mapping[str, Settings]] = {
        DECODER: Settings(ANCESTRAL, 25, 8.0), SUPER_RES: Settings(ANCESTRAL, 7),
    }  # fmt: skip

    @classmethod
    def read(cls, loader: ModelLoader) -> KarloDecoder:
        """Load the networks of an opened model; SumiError for what does not fit together."""
        first, last = (loader.part(f"super_res_{name}", UNet2DModel) for name in ("first", "last"))
        made = cls(
            loader.part("decoder", UNet2DConditionModel),
            loader.part("text_proj", UnCLIPTextProjModel),
            CLIPTextTower.read(loader),
            KarloSuperResolution(first, last),
            {name: loader.scheduler(f"{name}_scheduler") for name in cls.settings},
        )
        _ = made.stages
        return made

    @property
    def size_px(self) -> int:
        """Pixels along a side of the picture that the super-resolution draws."""
        return int(self.super_res.first.config["sample_size"])

    @cached_property
    def schedulers_read(self) -> dict[str, PublishedScheduler]:
        """How each stage is sampled."""
        variance = int(self.decoder.config["out_channels"]) == 2 * RGB
        return {
            name: read_scheduler(config, f"{name}_scheduler", variance and name == DECODER)
            for name, config in self.schedulers.items()
        }

    @cached_property
    def stages(self) -> dict[str, Stage]:
        """The stages with their default settings, made once, so that many requests' steps batch together."""
        small = int(self.decoder.config["sample_size"])
        return {
            DECODER: self._stage(DECODER, self.decoder, small),
            SUPER_RES: self._stage(SUPER_RES, self.super_res, self.size_px),
        }

    def _stage(self, name: str, network: nn.Module, side_px: int) -> Stage:
        scheduler = self.schedulers_read[name]
        denoiser, shape = NetworkDenoiser(network, scheduler.target, scheduler.schedule), (RGB, side_px, side_px)
        settings, sampler = self.settings[name], scheduler.sampler
        return Stage(name, denoiser, scheduler.schedule, scheduler.times, shape, settings, sampler=sampler)

    def check_sampler(self, stage: str, sampler: str) -> None:
        """Raise SumiError for a sampler that a stage does not have."""
        if stage != DECODER:
            check_ancestral(stage, sampler)
        elif sampler not in (ANCESTRAL, DETERMINISTIC):
            raise SumiError(f"the samplers of karlo are {ANCESTRAL} and {DETERMINISTIC}, not {sampler!r}")

    @torch.no_grad()
    def cond(self, text: EncodedPrompts, image_embed: Tensor | None = None) -> Cond:
        """Return the decoder's condition: the text, and an image embedding (B, D); by default the learned null one."""
        (tokens, pooled, _), mask = text
        null = self.text_proj.null_image_embed.cpu()
        embed = null.expand(len(tokens), -1) if image_embed is None else image_embed
        return self.text_proj(embed, pooled, tokens, mask)  # type: ignore[no-any-return]

    def draw(
        self, task: Task, batch: PictureBatch, settings: Mapping[str, Settings], cond: Cond, null: Cond,
        rngs: Sequence[torch.Generator], source_cond: Cond | None = None,
    ) -> Work[Tensor]:  # fmt: skip
        """Draw pictures, asking for every step: the small ones under the condition, then the large ones.

        Args:
            task: what is drawn.
            batch: its seeds and pictures.
            settings: sampler, steps and guidance of each stage.
            cond: the condition, a row for each picture.
            null: what guidance leads away from.
            rngs: a generator for each picture.
            source_cond: the condition under which the task's own pictures are drawn, where they are inverted.

        Returns:
            uint8 (B, 4, H, W), opaque.
        """
        chosen = settings[DECODER]
        stage = self.stages[DECODER].with_settings_of(chosen)
        if chosen.sampler == DETERMINISTIC:
            stage = replace(stage, sampler=ThresholdedSampler(DDIMSampler(stage.schedule)))
        small = yield from self._run(stage, task, batch, cond, null, rngs, source_cond)
        enlarged = karlo_super_resolution(small, self.size_px)
        large = self.stages[SUPER_RES].with_settings_of(settings[SUPER_RES])
        again = task if isinstance(task, Edit) else Request("-")  # the large picture knows the small one alone
        return opaque((yield from self._run(large, again, batch, enlarged, None, rngs, None)))

    def _run(
        self, stage: Stage, task: Task, batch: PictureBatch, cond: Cond, null: Cond | None,
        rngs: Sequence[torch.Generator], source_cond: Cond | None,
    ) -> Work[Tensor]:  # fmt: skip
        own = fork(rngs, stage.shape, stage.settings.steps)

        def encode(pictures: Tensor) -> Tensor:
            return resize(over_white(pictures), stage.shape[1:]).clamp(-1, 1)

        scheduler = self.schedulers_read[stage.name]
        stage, x = yield from start_stage(stage, scheduler, task, batch, encode, source_cond, own)
        return (yield from run(stage, cond, batch.seeds, null, x=x, rngs=own))


class KarloPipeline(OneSize, AnyPrompt):
    """What karlo's two pipelines have in common; each says where the image embedding comes from."""

    pictures: KarloDecoder
    tasks: ClassVar[tuple[type[Task], ...]]
    priors: ClassVar[tuple[str, ...]] = ()
    main_stage: ClassVar[str] = DECODER

    @property
    def settings(self) -> Mapping[str, Settings]:
        """The default settings of each stage, in the order that they run."""
        return KarloDecoder.settings

    @property
    def size_px(self) -> int:
        """Pixels along a side of a picture."""
        return self.pictures.size_px

    @property
    def drawing_stages(self) -> Mapping[str, int]:
        """The decoder draws a small picture, the super-resolution the large one."""
        return {name: stage.shape[-1] for name, stage in self.pictures.stages.items()}

    @property
    def grid_places(self) -> int:
        """Pixels of the small picture."""
        return int(self.pictures.stages[DECODER].shape[-1]) ** 2

    def stages_of(self, task: Task) -> tuple[str, ...]:
        """All stages."""
        return tuple(self.settings)

    def notes(self, task: Task) -> list[str]:
        """Say which part of a long prompt is not read."""
        return self.pictures.tower.tokenizer.notes(clean(task.prompt))

    def check_settings(self, stage: str, settings: Settings) -> None:
        """Raise SumiError for another sampler than a stage's own."""
        self.pictures.check_sampler(stage, settings.sampler)

    def preview(self, progress: Progress) -> Tensor | None:
        """Return the picture that a step estimates, opaque uint8 (B, 4, h, w); None for the prior."""
        return None if progress.stage == PRIOR else opaque(progress.mean)

    @abstractmethod
    def draw(self, task: Task, batch: PictureBatch, settings: Mapping[str, Settings]) -> Work[Tensor]:
        """Draw some of a task's pictures, asking for every step: opaque uint8 (B, 4, H, W)."""


@dataclass(frozen=True)
class Karlo(KarloPipeline):
    """karlo with its prior: pictures of prompts."""

    pictures: KarloDecoder
    prior: PublishedPrior | DALLE2Prior
    tasks: ClassVar[tuple[type[Task], ...]] = (Request, Img2img, Edit)
    priors: ClassVar[tuple[str, ...]] = ("diffusion",)

    @classmethod
    def read(cls, loader: ModelLoader) -> Karlo:
        """Load the networks of an opened model; SumiError for what does not fit together."""
        if PRIOR in loader.opened.settings:  # another prior than karlo's own
            return cls(KarloDecoder.read(loader), DALLE2Prior.read(loader))
        prior = PublishedPrior.read(loader, CLIPTextTower.read(loader))
        return cls(KarloDecoder.read(loader), prior)

    @property
    def settings(self) -> Mapping[str, Settings]:
        """The prior's, then those of the stages that draw."""
        own = self.prior.settings if isinstance(self.prior, DALLE2Prior) else PRIOR_SETTINGS
        return {PRIOR: own, **KarloDecoder.settings}

    def check_settings(self, stage: str, settings: Settings) -> None:
        """Raise SumiError for another sampler than a stage's own."""
        if stage == PRIOR and isinstance(self.prior, DALLE2Prior):
            self.prior.check_settings(settings)
        else:
            super().check_settings(stage, settings)

    def check_task(self, task: Task) -> None:
        """Raise SumiError for a task without words."""
        require_prompt(task)

    def draw(self, task: Task, batch: PictureBatch, settings: Mapping[str, Settings]) -> Work[Tensor]:
        """Draw some of a task's pictures, asking for every step: opaque uint8 (B, 4, H, W)."""
        rngs, tower = seeded_generators(batch.seeds, ""), self.pictures.tower
        text, null = (tower.encode([clean(prompt)] * len(batch)) for prompt in (task.prompt, task.negative))
        z_i = yield from self.prior.sample(text, null, batch.seeds, settings[PRIOR], rngs)
        conds = self.pictures.cond(text, z_i), self.pictures.cond(null)
        return (yield from self.pictures.draw(task, batch, settings, *conds, rngs))


@dataclass(frozen=True)
class KarloImageVariation(KarloPipeline):
    """karlo with CLIP's image tower: variations of pictures, blends of two, text diffs, and pictures drawn over."""

    pictures: KarloDecoder
    images: CLIPImageTower
    tasks: ClassVar[tuple[type[Task], ...]] = (Vary, Blend, Restyle, Img2img, Edit)

    @classmethod
    def read(cls, loader: ModelLoader) -> KarloImageVariation:
        """Load the networks of an opened model; SumiError for what does not fit together."""
        return cls(KarloDecoder.read(loader), CLIPImageTower.read(loader, "feature_extractor"))

    def draw(self, task: Task, batch: PictureBatch, settings: Mapping[str, Settings]) -> Work[Tensor]:
        """Draw some of a task's pictures, asking for every step: opaque uint8 (B, 4, H, W)."""
        rngs, tower = seeded_generators(batch.seeds, ""), self.pictures.tower
        z_i = self.images.encode(batch.sources)
        text, null = (tower.encode([clean(prompt)] * len(batch)) for prompt in (task.prompt, task.negative))
        z_d = tower.direction(clean(task.before), clean(task.after)) if isinstance(task, Restyle) else None
        cond, null_cond = self.pictures.cond(text, aim_embeddings(task, batch, z_i, z_d)), self.pictures.cond(null)
        source = self.pictures.cond(tower.encode([""] * len(z_i)), z_i) if needs_inversion(task) else None
        if isinstance(task, Restyle) and source is not None:  # guidance leads away from the picture as it was
            null_cond = source.repeat(len(batch))
        return (yield from self.pictures.draw(task, batch, settings, cond, null_cond, rngs, source))

"""Diffusion in the latents of a codec, which Stable Diffusion, Stable unCLIP and Kandinsky share.

    z ~ P(z | condition)    the U-Net, with classifier-free guidance
    x = decode(z)           the codec, 8 pixels a place

Rombach et al. 2022, High-Resolution Image Synthesis with Latent Diffusion Models, arXiv 2112.10752. A U-Net for
inpainting also takes a mask and the latents of the picture without what is under it, on five further channels.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, Final

import torch
import torch.nn.functional as F
from torch import Tensor

from sumi.diffusion import NetworkDenoiser
from sumi.errors import SumiError
from sumi.nn import Cond
from sumi.nn.published import AutoencoderKL, UNet2DConditionModel, VQModel
from sumi.pipelines import Edit, Img2img, Pause, Progress, Request, Settings, Stage, Task, run, seeded_generators
from sumi.pipelines.steps import Work
from sumi.systems.published.framing import Frame, fit_frame
from sumi.systems.published.pipeline import RGB, AnyPrompt, PictureBatch, opaque, over_white, read_scheduler
from sumi.systems.published.scheduler import METHODS, PublishedScheduler, with_method
from sumi.systems.published.starting import redraw_mask, start_stage

__all__ = ["UNET", "LatentDiffusion", "LatentPipeline"]

UNET: Final = "unet"
LARGEST_PX: Final = 2048


@dataclass(frozen=True)
class LatentDiffusion:
    """A U-Net in the latents of a codec, and how it is sampled.

    Args:
        unet: predicts the noise, or v, in latents.
        codec: between pictures and latents.
        scheduler: the folder's `scheduler_config.json`.
    """

    unet: UNet2DConditionModel
    codec: AutoencoderKL | VQModel
    scheduler: Mapping[str, Any]
    _made: dict[str, tuple[PublishedScheduler, NetworkDenoiser[Cond]]] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        self.scheduler_of(self.sampler)

    @property
    def size_px(self) -> int:
        """Pixels along a side of what the U-Net was trained on."""
        return int(self.unet.config["sample_size"]) * self.codec.factor

    @property
    def sizes(self) -> tuple[int, ...]:
        """Half, one and one and a half times the side that it was trained on; `size` takes any multiple of 8."""
        step = self.multiple
        return tuple(size // 2 // step * step for size in (self.size_px, 2 * self.size_px, 3 * self.size_px))

    @property
    def grid_places(self) -> int:
        """Places of its latents."""
        return (self.size_px // self.codec.factor) ** 2

    @property
    def inpaints(self) -> bool:
        """Whether the U-Net takes a mask and a masked picture too."""
        return int(self.unet.config["in_channels"]) == 2 * self.codec.latent_channels + 1

    @property
    def multiple(self) -> int:
        """What the sides of a picture are multiples of: unCLIP's kind of blocks halves the latents exactly."""
        config = self.unet.config
        simple = any(kind.startswith("Simple") for kind in config["down_block_types"])
        return int(self.codec.factor * (2 ** (len(config["block_out_channels"]) - 1) if simple else 1))

    def check_size(self, size_px: int) -> None:
        """Raise SumiError for what the codec does not divide, or what is too large."""
        multiple = self.multiple
        if size_px % multiple or not multiple <= size_px <= LARGEST_PX:
            raise SumiError(f"size should be a multiple of {multiple} up to {LARGEST_PX}, not {size_px}")

    @cached_property
    def sampler(self) -> str:
        """The name of the folder's own sampler: a method of METHODS, or the class of the scheduler."""
        keys = ("_class_name", "use_karras_sigmas", "algorithm_type")
        own = [self.scheduler.get(key) or None for key in keys]
        for name in METHODS:
            if own == [with_method({}, name).get(key) or None for key in keys]:
                return name
        return next((name for name, changes in METHODS.items() if changes["_class_name"] == own[0]), str(own[0]))

    def scheduler_of(self, sampler: str) -> PublishedScheduler:
        """Return a sampler on the folder's chain of noise; SumiError for one that does not fit it."""
        return self._scheduled(sampler)[0]

    def _scheduled(self, sampler: str) -> tuple[PublishedScheduler, NetworkDenoiser[Cond]]:
        """The sampler and its denoiser, made once, so that the steps of many requests can be taken together."""
        if sampler not in self._made:
            scheduler = self._read_scheduler(sampler)
            self._made[sampler] = scheduler, NetworkDenoiser(self.unet, scheduler.target, scheduler.schedule)
        return self._made[sampler]

    def _read_scheduler(self, sampler: str) -> PublishedScheduler:
        learned_variance = int(self.unet.config["out_channels"]) == 2 * self.codec.latent_channels
        try:
            config = self.scheduler if sampler == self.sampler else with_method(self.scheduler, sampler)
        except ValueError as error:
            raise SumiError(f"the sampler {sampler} does not fit this model: {error}") from None
        return read_scheduler(config, f"the sampler {sampler}", learned_variance)

    def stage(self, settings: Settings, frame: Frame) -> Stage:
        """Return the U-Net as the stage that draws the latents of pictures with some sides."""
        scheduler, denoiser = self._scheduled(settings.sampler)
        return Stage(
            UNET,
            denoiser,
            scheduler.schedule,
            scheduler.times,
            (self.codec.latent_channels, *(side // self.codec.factor for side in frame)),
            settings,
            sampler=scheduler.sampler,
        )

    def draw(
        self, task: Task, batch: PictureBatch, settings: Settings, cond: Cond, null: Cond,
        rngs: Sequence[torch.Generator], source_cond: Cond | None = None,
    ) -> Work[Tensor]:  # fmt: skip
        """Draw pictures, asking for every step.

        Args:
            task: what is drawn.
            batch: its seeds and pictures.
            settings: sampler, steps and guidance.
            cond: the condition, a row for each picture.
            null: what guidance leads away from, a row for each picture.
            rngs: a generator for each picture.
            source_cond: the condition under which the task's own pictures are drawn, where they are inverted.

        Returns:
            uint8 (B, 4, H, W), opaque.
        """
        stage, scheduler = self.stage(settings, batch.frame), self.scheduler_of(settings.sampler)
        if self.inpaints:  # the network is told what is known, so each step is walked once
            cond, null = (replace(one, concat=self._masked(task, batch)) for one in (cond, null))
            if isinstance(task, Edit) and isinstance(self.codec, VQModel):  # beside which Kandinsky holds what is kept
                task = replace(task, rounds=1)
            else:
                task = Request("-")
        stage, x = yield from start_stage(stage, scheduler, task, batch, self.encode, source_cond, rngs)
        z = yield from run(stage, cond, batch.seeds, null, x=x, rngs=rngs)
        pictures = []
        for row in torch.split(z, 1):  # the codec takes more memory for a picture than the U-Net
            yield Pause()
            pictures.append(self.decode(row))
        return torch.cat(pictures)

    def _masked(self, task: Task, batch: PictureBatch) -> Tensor:
        """Return the mask and the latents of the masked picture, (B, 1 + C, h, w); without one all is to be drawn.

        Kandinsky masks the latents and not the picture, a place more around, and takes what is kept after them.
        """
        shape = [side // self.codec.factor for side in batch.frame]
        if isinstance(task, Edit) and batch.redraw is not None:
            whole, redraw, mask = over_white(batch.sources), batch.redraw, redraw_mask(batch, shape)[None]
        else:
            whole, redraw, mask = torch.zeros(1, RGB, *batch.frame), torch.ones(1), torch.ones(1, 1, *shape)
        with torch.no_grad():
            if isinstance(self.codec, VQModel):
                keep = 1 - F.max_pool2d(mask, 3, 1, 1)
                told = [keep * self.codec.encode(whole).float(), keep]
            else:
                told = [mask, self.codec.encode(whole * (1 - redraw)).float()]
        return torch.cat(told, dim=1).expand(len(batch), -1, -1, -1)

    @torch.no_grad()
    def encode(self, pictures: Tensor) -> Tensor:
        """Return the latents (N, C, h, w) of premultiplied uint8 pictures (N, 4, S, S), over white."""
        return self.codec.encode(over_white(pictures)).float()

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Return the pictures of latents, opaque uint8 (B, 4, H, W)."""
        return opaque(self.codec.decode(z))

    @cached_property
    def _preview_map(self) -> tuple[Tensor, Tensor]:
        """Weight (3, C) and bias (3): the linear map from latents to colours that fits flat pictures best."""
        shades = torch.linspace(-1, 1, 3)
        colours = torch.cartesian_prod(shades, shades, shades)
        side = 4 * self.codec.factor
        latents = torch.cat(
            [self.codec.encode(colour[None, :, None, None].expand(1, RGB, side, side)).float() for colour in colours]
        )
        rows = torch.cat([latents.mean(dim=(2, 3)), torch.ones(len(colours), 1)], dim=1)
        found = torch.linalg.lstsq(rows, colours).solution
        return found[:-1].t(), found[-1]

    @torch.no_grad()
    def preview(self, progress: Progress) -> Tensor:
        """Return what a step's latents roughly look like, one pixel a place: opaque uint8 (B, 4, h, w)."""
        weight, bias = self._preview_map
        return opaque(torch.einsum("oc,bchw->bohw", weight, progress.mean) + bias[:, None, None])


class LatentPipeline(AnyPrompt, ABC):
    """What the pipelines that draw in latents have in common; each says what conditions its U-Net."""

    latent: LatentDiffusion
    priors: ClassVar[tuple[str, ...]] = ()
    main_stage: ClassVar[str] = UNET
    defaults: ClassVar[tuple[int, float]]
    """Steps and guidance."""

    @property
    def tasks(self) -> tuple[type[Task], ...]:
        """Pictures of a prompt, alone, over a picture, or in a part of one."""
        return (Request, Edit) if self.latent.inpaints else (Request, Img2img, Edit)

    @property
    def settings(self) -> Mapping[str, Settings]:
        """The folder's own sampler, with the steps and the guidance that are usual."""
        return {UNET: Settings(self.latent.sampler, *self.defaults)}

    @property
    def drawing_stages(self) -> Mapping[str, int]:
        """The U-Net, with the largest size that it offers."""
        return {UNET: self.sizes[-1]}

    @property
    def sizes(self) -> tuple[int, ...]:
        """Pixels a side of the pictures that it offers, smallest first."""
        return self.latent.sizes

    @property
    def size_px(self) -> int:
        """Pixels a side of a picture by default."""
        return self.latent.size_px

    @property
    def grid_places(self) -> int:
        """Places of its latents."""
        return self.latent.grid_places

    def stages_of(self, task: Task) -> tuple[str, ...]:
        """All stages."""
        return tuple(self.settings)

    def notes(self, task: Task) -> list[str]:
        """None."""
        return []

    def check_size(self, size_px: int) -> None:
        """Raise SumiError for a size that it cannot draw."""
        self.latent.check_size(size_px)

    def frame_of(self, size: tuple[int, int], longest_px: int) -> Frame:
        """Return the sides that a picture of some width and height is drawn at, in its own proportions."""
        return fit_frame(size, longest_px, self.latent.multiple)

    def check_settings(self, stage: str, settings: Settings) -> None:
        """Raise SumiError for a sampler or steps that do not fit the folder's chain of noise."""
        scheduler = self.latent.scheduler_of(settings.sampler)
        try:
            scheduler.times(settings.steps)
        except ValueError as error:
            raise SumiError(f"the sampler {settings.sampler} cannot take {settings.steps} steps: {error}") from None

    def preview(self, progress: Progress) -> Tensor | None:
        """Return what a step's latents roughly look like."""
        return self.latent.preview(progress)

    @abstractmethod
    def conditions(
        self, task: Task, batch: PictureBatch, settings: Mapping[str, Settings], rngs: Sequence[torch.Generator]
    ) -> Work[tuple[Cond, Cond, Cond | None]]:
        """Return the U-Net's condition, what guidance leads away from, and the condition of the task's own pictures."""

    def draw(self, task: Task, batch: PictureBatch, settings: Mapping[str, Settings]) -> Work[Tensor]:
        """Draw some of a task's pictures, asking for every step: opaque uint8 (B, 4, H, W)."""
        rngs = seeded_generators(batch.seeds, "")
        cond, null, source = yield from self.conditions(task, batch, settings, rngs)
        return (yield from self.latent.draw(task, batch, settings[UNET], cond, null, rngs, source))

"""Stable Diffusion 1.x and 2.x, from a published folder: latent diffusion conditioned on the words of CLIP.

    z ~ P(z | words)        the U-Net, with classifier-free guidance away from the negative prompt
    x = decode(z)           the autoencoder, 8 pixels a place

Rombach et al. 2022, High-Resolution Image Synthesis with Latent Diffusion Models, arXiv 2112.10752.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Final

import torch
from torch import Tensor

from sumi.bundles.published import PublishedModel
from sumi.diffusion import NetworkDenoiser, normal
from sumi.errors import SumiError
from sumi.imaging.pixels import over
from sumi.nn import Cond
from sumi.nn.published import AutoencoderKL, CLIPTextModel, UNet2DConditionModel
from sumi.pipelines import Img2img, Pause, Progress, Request, Settings, Source, Stage, Task, run, seeded_generators
from sumi.pipelines.prompt import clean
from sumi.pipelines.steps import Work
from sumi.systems.published.conditions import stable_diffusion
from sumi.systems.published.pipeline import opaque, read_tokenizer
from sumi.systems.published.scheduler import METHODS, PublishedScheduler, with_method
from sumi.systems.published.tokenizer import CLIPTokenizer

__all__ = ["StableDiffusion"]

STAGE: Final = "unet"
STEPS, GUIDANCE = 30, 7.5
LARGEST_PX: Final = 2048


@dataclass(frozen=True)
class StableDiffusion:
    """The networks of a folder and its scheduler.

    Args:
        unet: predicts the noise, or v, in latents.
        vae: between pictures and latents.
        text_encoder: CLIP's text tower.
        tokenizer: of the text tower.
        scheduler: the folder's `scheduler_config.json`.
    """

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder: CLIPTextModel
    tokenizer: CLIPTokenizer
    scheduler: Mapping[str, Any]
    _made: dict[str, tuple[PublishedScheduler, NetworkDenoiser[Cond]]] = field(default_factory=dict, repr=False)
    tasks: ClassVar[tuple[type[Task], ...]] = (Request, Img2img)
    priors: ClassVar[tuple[str, ...]] = ()
    main_stage: ClassVar[str] = STAGE

    @classmethod
    def read(cls, opened: PublishedModel) -> StableDiffusion:
        """Load the networks of an opened folder; SumiError for what does not fit together."""
        tokenizer = read_tokenizer(opened)
        unet, vae, text_encoder = (opened.parts[name].load(torch.float32) for name in ("unet", "vae", "text_encoder"))
        assert isinstance(unet, UNet2DConditionModel)
        assert isinstance(vae, AutoencoderKL)
        assert isinstance(text_encoder, CLIPTextModel)
        pipeline = cls(unet, vae, text_encoder, tokenizer, opened.schedulers["scheduler"])
        pipeline.check_sampler(pipeline.sampler)
        return pipeline

    @property
    def settings(self) -> Mapping[str, Settings]:
        """The folder's own sampler, 30 steps, guidance 7.5."""
        return {STAGE: Settings(self.sampler, STEPS, GUIDANCE)}

    @property
    def drawing_stages(self) -> Mapping[str, int]:
        """The U-Net, with the largest size that it offers."""
        return {STAGE: self.sizes[-1]}

    @property
    def sizes(self) -> tuple[int, ...]:
        """Half, one and one and a half times the side that it was trained on; `size` takes any multiple of 8."""
        return (self.size_px // 2, self.size_px, 3 * self.size_px // 2)

    @property
    def grid_places(self) -> int:
        """Places of its latents."""
        return (self.size_px // self.vae.factor) ** 2

    def check_size(self, size_px: int) -> None:
        """Raise SumiError for what the autoencoder does not divide, or what is too large."""
        factor = self.vae.factor
        if size_px % factor or not factor <= size_px <= LARGEST_PX:
            raise SumiError(f"size should be a multiple of {factor} up to {LARGEST_PX}, not {size_px}")

    def check_sampler(self, sampler: str) -> None:
        """Raise SumiError for a sampler that does not fit the folder's chain of noise."""
        self.scheduler_of(sampler)

    @property
    def size_px(self) -> int:
        """Pixels along a side of what the U-Net was trained on."""
        return int(self.unet.config["sample_size"]) * self.vae.factor

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
        try:
            own = sampler == self.sampler
            return PublishedScheduler.read(self.scheduler if own else with_method(self.scheduler, sampler))
        except ValueError as error:
            raise SumiError(f"the sampler {sampler} does not fit this model: {error}") from None

    @torch.no_grad()
    def encode(self, prompts: Sequence[str]) -> Cond:
        """Return the condition of prompts, a row for each."""
        return stable_diffusion(self.text_encoder(self.tokenizer.encode(prompts)))

    def stage(self, settings: Settings, size_px: int, times: Tensor) -> Stage:
        """Return the U-Net as the stage that draws latents of a size at given times."""
        (scheduler, denoiser), side = self._scheduled(settings.sampler), size_px // self.vae.factor
        return Stage(
            STAGE,
            denoiser,
            scheduler.schedule,
            lambda num_steps: times,
            (self.vae.latent_channels, side, side),
            settings,
            sampler=scheduler.sampler,
        )

    def draw(
        self, task: Task, sources: Sequence[Source], seeds: Sequence[int], settings: Mapping[str, Settings]
    ) -> Work[Tensor]:
        """Draw a picture of a task for each seed, over its source if it has one, asking for every step."""
        assert task.size is not None
        picture = sources[0].levels(task.size) if sources else None
        strength = task.strength if isinstance(task, Img2img) else 1.0
        return (
            yield from self.sample(
                clean(task.prompt), clean(task.negative), seeds, settings[STAGE], task.size, picture, strength
            )
        )

    def sample(
        self, prompt: str, negative: str, seeds: Sequence[int], settings: Settings, size_px: int,
        picture: Tensor | None = None, strength: float = 1.0,
    ) -> Work[Tensor]:  # fmt: skip
        """Draw pictures of a prompt, asking for every step.

        Args:
            prompt: what to draw.
            negative: what guidance leads away from.
            seeds: one for each picture; a seed starts from the numbers that `torch.manual_seed` gives.
            settings: sampler, steps and guidance.
            size_px: pixels along a side, a multiple of 8.
            picture: the picture to draw over, premultiplied uint8 (4, S, S); None to draw from noise.
            strength: how much of that picture to give up, in (0, 1] (SDEdit, Meng et al. 2022, arXiv 2108.01073).

        Returns:
            uint8 (B, 4, size_px, size_px), opaque.
        """
        scheduler, rngs = self.scheduler_of(settings.sampler), seeded_generators(seeds, "")
        times = scheduler.times(settings.steps)
        stage = self.stage(settings, size_px, times)
        noise = normal(torch.empty(len(seeds), *stage.shape), rngs)
        if picture is None:
            x = scheduler.initial_x(noise, times)
        else:
            times = times[len(times) - 1 - max(1, int(settings.steps * strength)) :]
            stage = self.stage(settings, size_px, times)
            latents = self.latents(picture).expand(len(seeds), -1, -1, -1)
            x = scheduler.schedule(times[:1].expand(len(seeds))).add_noise(latents, noise)
        cond, null = self.encode([prompt]).repeat(len(seeds)), self.encode([negative]).repeat(len(seeds))
        z = yield from run(stage, cond, seeds, null, x=x, rngs=rngs)
        pictures = []
        for row in torch.split(z, 1):  # the autoencoder takes more memory for a picture than the U-Net
            yield Pause()
            pictures.append(self.decode(row))
        return torch.cat(pictures)

    @torch.no_grad()
    def latents(self, picture: Tensor) -> Tensor:
        """Return the latents (1, C, h, w) of a premultiplied uint8 picture (4, S, S), over white."""
        return self.vae.encode(2 * over(picture.float() / 255, torch.ones(3, 1, 1))[None] - 1)

    @torch.no_grad()
    def decode(self, z: Tensor) -> Tensor:
        """Return the pictures of latents, opaque uint8 (B, 4, H, W)."""
        return opaque(self.vae.decode(z))

    @cached_property
    def _preview_map(self) -> tuple[Tensor, Tensor]:
        """Weight (3, C) and bias (3): the linear map from latents to colours that fits flat pictures best."""
        shades = torch.linspace(-1, 1, 3)
        colours = torch.cartesian_prod(shades, shades, shades)
        side = 4 * self.vae.factor
        latents = torch.cat(
            [self.vae.encode(colour[None, :, None, None].expand(1, 3, side, side)) for colour in colours]
        )
        rows = torch.cat([latents.mean(dim=(2, 3)), torch.ones(len(colours), 1)], dim=1)
        found = torch.linalg.lstsq(rows, colours).solution
        return found[:-1].t(), found[-1]

    @torch.no_grad()
    def preview(self, progress: Progress) -> Tensor:
        """Return what a step's latents roughly look like, one pixel a place: opaque uint8 (B, 4, h, w)."""
        weight, bias = self._preview_map
        return opaque(torch.einsum("oc,bchw->bohw", weight, progress.mean) + bias[:, None, None])

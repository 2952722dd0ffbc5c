"""guided-diffusion, from its original file: a picture of a class of ImageNet, or of what the network was trained on.

    x ~ P(x | class)    the U-Net, ancestral sampling over a respaced chain

The prompt is the number of the class; networks of 1000 classes are ImageNet's, and their classes have names too.
Nothing stands for no class, so there is no classifier-free guidance; the noisy classifiers that were published beside
the networks are not used. Dhariwal and Nichol 2021, Diffusion Models Beat GANs
on Image Synthesis, arXiv 2105.05233.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Final

import torch
from torch import Tensor

from sumi.conditioning.imagenet_classes import IMAGENET_CLASSES, class_name, close_names, find_classes
from sumi.errors import SumiError
from sumi.imaging.pixels import resize
from sumi.nn import Cond
from sumi.nn.published import UNet2DModel
from sumi.pipelines import Edit, Img2img, Progress, Request, Settings, Stage, Task, run, seeded_generators
from sumi.pipelines.prompt import clean
from sumi.pipelines.steps import Work
from sumi.systems.published.loading import ModelLoader
from sumi.systems.published.pipeline import OneSize, PictureBatch, opaque, over_white
from sumi.systems.published.respaced import DDIM, DDPM, check_respaced, even_times, respaced_stages, strided_times
from sumi.systems.published.scheduler import PublishedScheduler
from sumi.systems.published.starting import start_stage

__all__ = ["GuidedDiffusion"]

UNET: Final = "unet"
MOST_NAME: Final = 60
"""Characters of a prompt that are compared with the names of classes."""
TIMES: Final = {DDPM: even_times, DDIM: strided_times}


@dataclass(frozen=True)
class GuidedDiffusion(OneSize):
    """The network, and the chain that it was trained on."""

    unet: UNet2DModel
    noise_schedule: str
    tasks: ClassVar[tuple[type[Task], ...]] = (Request, Img2img, Edit)
    priors: ClassVar[tuple[str, ...]] = ()
    main_stage: ClassVar[str] = UNET
    settings: ClassVar[Mapping[str, Settings]] = {UNET: Settings(DDPM, 250)}
    example: ClassVar[str] = "0"

    @classmethod
    def read(cls, loader: ModelLoader) -> GuidedDiffusion:
        """Load the network of an opened model; SumiError where nothing says what its shapes do not show."""
        opened = loader.opened
        if "noise_schedule" not in opened.settings:
            raise SumiError(
                f"{opened.path} does not say its heads, its order of q, k and v, or its noise, and is of no size that "
                "OpenAI published: give the flags of its training, as --model-flags '--num_head_channels 64'"
            )
        return cls(loader.part(UNET, UNet2DModel), opened.settings["noise_schedule"])

    @property
    def classes(self) -> int | None:
        """How many classes it knows; None where it draws without."""
        return self.unet.read.num_class_embeds

    @property
    def size_px(self) -> int:
        """Pixels along a side of its pictures."""
        return int(self.unet.config["sample_size"])

    @property
    def drawing_stages(self) -> Mapping[str, int]:
        """Its one stage."""
        return {UNET: self.size_px}

    @property
    def grid_places(self) -> int:
        """Pixels of a picture."""
        return self.size_px**2

    def stages_of(self, task: Task) -> tuple[str, ...]:
        """Its one stage."""
        return (UNET,)

    def notes(self, task: Task) -> list[str]:
        """Say which class of ImageNet is drawn, or that a prompt is not read."""
        prompt = clean(task.prompt)
        if self.classes is None:
            return (
                ["the prompt is not read: this network draws what it was trained on, without words"] if prompt else []
            )
        found = self._classes_of(prompt) if self.has_names else ()
        return [f"class {found[0]}: {class_name(found[0])}"] if len(found) == 1 else []

    def check_settings(self, stage: str, settings: Settings) -> None:
        """Raise SumiError for a sampler that it does not have, or for guidance."""
        check_respaced(stage, settings.sampler)
        if settings.guidance != 1:
            raise SumiError("guided-diffusion is guided by a classifier alone, which is not used here: guidance is 1")
        try:
            TIMES[settings.sampler](settings.steps)
        except ValueError as error:
            raise SumiError(f"{settings.sampler} cannot take {settings.steps} steps: {error}") from None

    def check_task(self, task: Task) -> None:
        """Raise SumiError for a prompt that is no class."""
        self.class_of(task)

    @property
    def has_names(self) -> bool:
        """Whether its classes are ImageNet's, and so have names."""
        return self.classes == IMAGENET_CLASSES

    def class_of(self, task: Task) -> int | None:
        """Return the class that a prompt names; SumiError where it names none or several."""
        if self.classes is None:
            return None
        prompt = clean(task.prompt)
        found = self._classes_of(prompt)
        if len(found) > 1:
            raise SumiError(f"{prompt!r} is the name of several classes: say one of {', '.join(map(str, found))}")
        if found:
            return found[0]
        kind, near = "number of a class", []
        if self.has_names:
            kind, near = "number or the name of a class of ImageNet", close_names(prompt[:MOST_NAME])
        meant = f"; did you mean {' or '.join(near)}?" if near else ""
        raise SumiError(f"the prompt should be the {kind}, 0 to {self.classes - 1}, not {prompt!r:.60}{meant}")

    def _classes_of(self, prompt: str) -> tuple[int, ...]:
        """Return the classes that a prompt may mean."""
        if prompt.isdecimal() and len(prompt) < MOST_NAME:
            return (int(prompt),) if int(prompt) < (self.classes or 0) else ()
        return find_classes(prompt) if self.has_names else ()

    @cached_property
    def _stages(self) -> dict[str, tuple[Stage, PublishedScheduler]]:
        return respaced_stages(UNET, self.unet, self.size_px, self.noise_schedule, self.settings[UNET], TIMES)

    def encode(self, pictures: Tensor) -> Tensor:
        """Return premultiplied uint8 pictures (N, 4, S, S) as the network draws them, (N, 3, s, s)."""
        return resize(over_white(pictures), (self.size_px, self.size_px)).clamp(-1, 1)

    def draw(self, task: Task, batch: PictureBatch, settings: Mapping[str, Settings]) -> Work[Tensor]:
        """Draw some of a task's pictures, asking for every step: opaque uint8 (B, 4, H, W)."""
        number = self.class_of(task)
        cond = Cond() if number is None else Cond(tokens=torch.full((len(batch), 1), number))
        rngs = seeded_generators(batch.seeds, "")
        stage, scheduler = self._stages[settings[UNET].sampler]
        stage = stage.with_settings_of(settings[UNET])
        stage, x = yield from start_stage(stage, scheduler, task, batch, self.encode, None, rngs)
        return opaque((yield from run(stage, cond, batch.seeds, x=x, rngs=rngs)))

    def preview(self, progress: Progress) -> Tensor | None:
        """Return the picture that a step estimates, opaque uint8 (B, 4, h, w)."""
        return opaque(progress.mean)

"""What a published model's pipeline offers the artist, and what the pipelines share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Protocol

import torch
from torch import Tensor

from sumi.diffusion import LearnedVariance
from sumi.errors import SumiError
from sumi.imaging.pixels import over
from sumi.pipelines import Progress, Settings, Task
from sumi.pipelines.prompt import clean
from sumi.pipelines.steps import Work
from sumi.systems.published.framing import Frame
from sumi.systems.published.scheduler import PublishedScheduler

__all__ = [
    "RGB",
    "AnyPrompt",
    "OneSize",
    "PictureBatch",
    "PublishedPipeline",
    "opaque",
    "over_white",
    "read_scheduler",
    "require_prompt",
]

RGB: Final = 3


@dataclass(frozen=True)
class PictureBatch:
    """Some of the pictures of a task, which are drawn together.

    Args:
        seeds: one for each picture.
        frame: the sides of what is drawn.
        sources: the pictures that the task begins with, premultiplied uint8 (N, 4, H, W).
        redraw: of an edit, 1 where to draw and 0 where the picture stays, (1, H, W).
        amounts: of a blend, how far along each of the pictures is.
    """

    seeds: Sequence[int]
    frame: Frame
    sources: Tensor
    redraw: Tensor | None = None
    amounts: Sequence[float] = ()

    def __len__(self) -> int:
        """How many pictures."""
        return len(self.seeds)


class AnyPrompt:
    """A pipeline that draws any words, or none."""

    example: ClassVar[str] = "a red fox"

    def check_task(self, task: Task) -> None:
        """Accept it."""


class OneSize(ABC):
    """A pipeline that draws squares of one size."""

    @property
    @abstractmethod
    def size_px(self) -> int:
        """Pixels along a side of a picture."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """The one size that it draws."""
        return (self.size_px,)

    def check_size(self, size_px: int) -> None:
        """Raise SumiError for another size than its own."""
        if size_px != self.size_px:
            raise SumiError(f"size should be {self.size_px}, the one that this model draws, not {size_px}")

    def frame_of(self, size: tuple[int, int], longest_px: int) -> Frame:
        """A square."""
        return Frame(longest_px, longest_px)


class PublishedPipeline(Protocol):
    """The networks of a published folder, and how they draw."""

    @property
    def tasks(self) -> tuple[type[Task], ...]:
        """The kinds of task that it does."""

    @property
    def priors(self) -> tuple[str, ...]:
        """The kinds of prior that a task may choose."""

    @property
    def example(self) -> str:
        """A prompt that it draws."""

    @property
    def settings(self) -> Mapping[str, Settings]:
        """The default settings of each stage, in the order that they run."""

    @property
    def main_stage(self) -> str:
        """The stage whose sampler, steps and guidance a task sets."""

    @property
    def drawing_stages(self) -> Mapping[str, int]:
        """The stages that draw pictures, with the pixels a side of the picture that each draws."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Pixels a side of the pictures that it offers, smallest first."""

    @property
    def size_px(self) -> int:
        """Pixels a side of a picture by default."""

    @property
    def grid_places(self) -> int:
        """The number of positions of the grid that a picture is drawn on."""

    def stages_of(self, task: Task) -> tuple[str, ...]:
        """Return the names of the stages that a task runs."""

    def notes(self, task: Task) -> list[str]:
        """Return remarks on how a task's texts are read, a line each."""

    def check_task(self, task: Task) -> None:
        """Raise SumiError for a task whose words it cannot draw."""

    def check_size(self, size_px: int) -> None:
        """Raise SumiError for a size that it cannot draw."""

    def frame_of(self, size: tuple[int, int], longest_px: int) -> Frame:
        """Return the sides that a picture of some width and height is drawn at; (1, 1) stands for a square."""

    def check_settings(self, stage: str, settings: Settings) -> None:
        """Raise SumiError for a sampler that a stage cannot use, or steps that its chain does not have."""

    def draw(self, task: Task, batch: PictureBatch, settings: Mapping[str, Settings]) -> Work[Tensor]:
        """Draw some of a task's pictures, asking for every step: opaque uint8 (B, 4, H, W)."""

    def preview(self, progress: Progress) -> Tensor | None:
        """Return the estimate of a step as opaque uint8 (B, 4, h, w); None where it is not a picture."""


def require_prompt(task: Task) -> None:
    """Raise SumiError for a task without words, where a prior draws from nothing else."""
    if not clean(task.prompt):
        raise SumiError(f"{task.operation} needs a prompt here: say what the whole picture should show")


def read_scheduler(config: Mapping[str, Any], name: str, variance: bool = False) -> PublishedScheduler:
    """Return the scheduler of a configuration; SumiError for one that does not fit.

    name: as messages call it. variance: whether the network answers a variance, on as many channels again.
    """
    try:
        scheduler = PublishedScheduler.read(config, variance=variance)
    except ValueError as error:
        raise SumiError(f"{name} does not fit this model: {error}") from None
    if isinstance(scheduler.target, LearnedVariance) and not variance:
        raise SumiError(
            f"{name} does not fit this model: its variance_type is 'learned_range', and the network answers no variance"
        )
    return scheduler


def opaque(x: Tensor) -> Tensor:
    """Return pictures (B, 3, H, W) in [-1, 1] as uint8 (B, 4, H, W) with an alpha of 255."""
    levels = ((x.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return torch.cat([levels, torch.full_like(levels[:, :1], 255)], dim=1)


def over_white(levels: Tensor) -> Tensor:
    """Return premultiplied uint8 (B, 4, H, W) over white as signals (B, 3, H, W) in [-1, 1]."""
    return 2 * over(levels.float() / 255, torch.ones(RGB, 1, 1)) - 1

"""Pipelines of systems: trained networks, put together once, that draw a picture for each row of a request.

A pipeline keeps its stages, and they keep their denoisers, so that a server can take the steps of many requests with
one evaluation of a network.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from sumi.errors import SumiError
from sumi.nn import Cond
from sumi.pipelines import Progress, Stage, run
from sumi.pipelines.steps import Work
from sumi.systems.objectives import CHANNELS, to_picture

__all__ = ["Pipeline", "SampleRequest", "StagePipeline", "captions_of", "with_num_steps"]


@dataclass(frozen=True)
class SampleRequest:
    """Pictures to draw: one for each seed, with a caption or a label each where the system takes them.

    num_steps: steps of every stage, by default those of the system.
    """

    seeds: Sequence[int]
    size_px: int
    captions: Sequence[str] = ()
    labels: Sequence[int] = ()
    num_steps: int | None = None


class Pipeline(ABC):
    """What draws with the trained parts of a system. Every system gives one."""

    @abstractmethod
    def sample(self, request: SampleRequest) -> Work[Tensor]:
        """Draw pictures, uint8 (B, 4, S, S), asking for every step and reporting progress."""

    def preview(self, progress: Progress) -> Tensor | None:
        """Return the estimate of a step as pictures, uint8 (B, 4, H, W); None where it is none."""
        shape = progress.mean.shape
        return to_picture(progress.mean) if len(shape) == 4 and shape[1] == CHANNELS else None


def nothing(request: SampleRequest) -> Cond:
    """Return the condition of a system that takes none."""
    return Cond()


@dataclass(frozen=True)
class StagePipeline(Pipeline):
    """One stage that draws pictures, or latents that its `decode` makes pictures of.

    cond: the condition of a request, a row for each seed. factor: pixels along a side of what one place of the stage's
    grid becomes.
    """

    stage: Stage
    cond: Callable[[SampleRequest], Cond] = nothing
    channels: int = CHANNELS
    factor: int = 1

    def sample(self, request: SampleRequest) -> Work[Tensor]:
        """Draw from the numbers of each seed itself."""
        cond = self.cond(request)
        side = request.size_px // self.factor
        stage = with_num_steps(replace(self.stage, shape=(self.channels, side, side)), request.num_steps)
        x = yield from run(stage, cond, request.seeds, stream="")
        return to_picture(stage.decode(x))

    def preview(self, progress: Progress) -> Tensor | None:
        """Return the pictures that a step estimates."""
        return to_picture(self.stage.decode(progress.mean))


def with_num_steps(stage: Stage, num_steps: int | None) -> Stage:
    """Return a stage with so many steps; None leaves it as it is."""
    return stage if num_steps is None else replace(stage, settings=replace(stage.settings, steps=num_steps))


def captions_of(name: str, request: SampleRequest) -> list[str]:
    """Return one caption for each seed, all empty if none is given; SumiError for another number of them."""
    captions = list(request.captions) or [""] * len(request.seeds)
    if len(captions) != len(request.seeds):
        raise SumiError(f"{name} needs one caption a seed: {len(request.seeds)}, not {len(captions)}")
    return captions

"""The tiny model with every network call counted, and a scheduler that the test drives tick by tick."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import postgresql
import pytest
from PIL import Image
from torch import Tensor

from sumi.diffusion import Denoiser, Estimate
from sumi.nn import Cond
from sumi.pipelines import Picture, Stage, Task
from sumi.pipelines.prior import DiffusionPrior
from sumi.serving import FinishedPicture, JobHandle, SchedulerLimits, StepDone
from sumi.serving.metrics import EngineMeter
from sumi.serving.scheduler import ScheduledJob, Scheduler
from sumi.systems.unclip.artist import Sumi

CALM = SchedulerLimits(step_s=1e9)
"""No step limit in time, so that a slow machine changes nothing."""


@dataclass(frozen=True)
class Counted:
    """A denoiser that records the number of rows of every call."""

    denoiser: Denoiser[Cond]
    rows: list[int] = field(default_factory=list, compare=False)

    def __call__(self, x_t: Tensor, t: Tensor, cond: Cond, /) -> Estimate:
        self.rows.append(len(x_t))
        return self.denoiser(x_t, t, cond)


@dataclass
class SchedulerHarness:
    """A scheduler in this thread, with the batch sizes of each network's calls."""

    sumi: Sumi
    limits: SchedulerLimits = CALM
    meter: EngineMeter = field(default_factory=EngineMeter)

    def __post_init__(self) -> None:
        prior = self.sumi.pipeline.prior
        assert isinstance(prior, DiffusionPrior)
        counted = [counting(stage) for stage in (prior.stage, *self.sumi.pipeline.stages.values())]
        self.batch_rows: dict[str, list[int]] = {stage.name: rows for stage, rows in counted}
        first, decoder, *upsamplers = (stage for stage, _ in counted)
        pipeline = replace(
            self.sumi.pipeline, priors={"diffusion": DiffusionPrior(first)}, decoder=decoder,
            upsamplers=tuple(upsamplers), batch=self.limits.pictures,
        )  # fmt: skip
        self.sumi = replace(self.sumi, pipeline=pipeline)
        self.scheduler = Scheduler(pipeline.preview, self.limits, self.meter)

    def submit(self, task: Task, *images: Image.Image, **how: Any) -> JobHandle:
        handle = JobHandle()
        self.scheduler.add(ScheduledJob(self.sumi.work(task, *images), handle, how.pop("encode", Picture.png), **how))
        return handle

    def run(self, until: Callable[[], bool] | None = None) -> int:
        """Tick until a condition holds or no work is left; return the number of ticks."""
        ticks = 0
        while not (until and until()) and self.scheduler.tick():
            ticks += 1
            assert ticks < 10_000
        return ticks


def counting(stage: Stage) -> tuple[Stage, list[int]]:
    counted = Counted(stage.denoiser)
    return replace(stage, denoiser=counted), counted.rows


def images(handle: JobHandle) -> list[Image.Image]:
    return [report.picture.image for report in handle if isinstance(report, FinishedPicture)]


def steps(handle: JobHandle) -> list[StepDone]:
    return [report for report in handle if isinstance(report, StepDone)]


@pytest.fixture
def harness(tiny: Sumi) -> SchedulerHarness:
    return SchedulerHarness(tiny)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Callable[[], str | None]:
    """Return a function that gives the address of an empty database; None means the file in the store's folder."""
    if request.param == "sqlite":
        return lambda: None
    where = request.getfixturevalue("postgresql_server")
    return lambda: postgresql.empty(where)

"""Many requests on one model: an engine that takes the denoising steps of all of them together.

with Engine(sumi.load()) as engine:
    ticket = engine.submit(Request("a red fox"), key="ada")
    async for event in ticket: ...          # Started, Advanced with previews, Drawn
"""

from sumi.serving.engine import Engine, OverloadError
from sumi.serving.engine_metrics import EngineMetrics, StageFigures
from sumi.serving.job_handle import FinishedPicture, JobHandle, JobStarted, Report, Status, StepDone, StoppedError
from sumi.serving.scheduler import SchedulerLimits

__all__ = [
    "Engine",
    "EngineMetrics",
    "FinishedPicture",
    "JobHandle",
    "JobStarted",
    "OverloadError",
    "Report",
    "SchedulerLimits",
    "StageFigures",
    "Status",
    "StepDone",
    "StoppedError",
]

"""Many requests on one model: the engine runs the denoising steps of all of them in shared batches.

with Engine(sumi.load()) as engine:
    handle = engine.submit(Request("a red fox"), key="ada")
    async for report in handle: ...         # JobStarted, StepDone with previews, FinishedPicture
"""

from sumi.serving.engine import Engine, OverloadError
from sumi.serving.job_handle import FinishedPicture, JobHandle, JobStarted, Report, Status, StepDone, StoppedError
from sumi.serving.metrics import EngineMetrics, StageMetrics
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
    "StageMetrics",
    "Status",
    "StepDone",
    "StoppedError",
]

"""Many requests on one model: an engine that takes the denoising steps of all of them together.

with Engine(sumi.load()) as engine:
    ticket = engine.submit(Request("a red fox"), key="ada")
    async for event in ticket: ...          # Started, Advanced with previews, Drawn
"""

from sumi.serving.engine import Engine, OverloadError
from sumi.serving.engine_metrics import Metrics, StageFigures
from sumi.serving.job_handle import Advanced, Drawn, Report, Started, Status, StoppedError, Ticket
from sumi.serving.scheduler import Limits

__all__ = [
    "Advanced",
    "Drawn",
    "Engine",
    "Limits",
    "Metrics",
    "OverloadError",
    "Report",
    "StageFigures",
    "Started",
    "Status",
    "StoppedError",
    "Ticket",
]

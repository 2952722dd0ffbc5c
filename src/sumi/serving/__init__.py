"""Many requests on one model: an engine that takes the denoising steps of all of them together.

with Engine(sumi.load()) as engine:
    ticket = engine.submit(Request("a red fox"), key="ada")
    async for event in ticket: ...          # Started, Advanced with previews, Drawn
"""

from sumi.serving.engine import Engine, OverloadError
from sumi.serving.meter import Metrics, StageFigures
from sumi.serving.scheduler import Limits
from sumi.serving.ticket import Advanced, Drawn, Report, Started, Status, StoppedError, Ticket

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

"""A task in, an iterator of events out: generate, vary, edit, blend, restyle, upscale, rank, replay. Inference only.

Names are imported when they are asked for: checking a request needs no torch, and a bad one is refused at
once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sumi.explain.nearest_drawings import Near
    from sumi.explain.prompt_words import Explanation, Word
    from sumi.explain.trace import Frame, unfold
    from sumi.pipelines.artist import Artist
    from sumi.pipelines.events import Event, Picture, Pictures, Progress
    from sumi.pipelines.generate import Generate, Model, picture_and_words
    from sumi.pipelines.interpreted import UnknownPromptError
    from sumi.pipelines.prior import DiffusionPrior, Prior, Text, TokenPrior
    from sumi.pipelines.recipe import Recipe, Settings, read_recipe
    from sumi.pipelines.request import Request, Task
    from sumi.pipelines.source import Source
    from sumi.pipelines.stage import Stage, generators, run
    from sumi.pipelines.steps import Ask, Known, Pause, Rows, Work, answer, drive, finished, quiet
    from sumi.pipelines.tasks import Blend, Edit, Explore, Img2img, Restyle, Upscale, Vary
    from sumi.pipelines.unclip_model import Sumi

__all__ = [
    "Artist",
    "Ask",
    "Blend",
    "DiffusionPrior",
    "Edit",
    "Event",
    "Explanation",
    "Explore",
    "Frame",
    "Generate",
    "Img2img",
    "Known",
    "Model",
    "Near",
    "Pause",
    "Picture",
    "Pictures",
    "Prior",
    "Progress",
    "Recipe",
    "Request",
    "Restyle",
    "Rows",
    "Settings",
    "Source",
    "Stage",
    "Sumi",
    "Task",
    "Text",
    "TokenPrior",
    "UnknownPromptError",
    "Upscale",
    "Vary",
    "Word",
    "Work",
    "answer",
    "drive",
    "finished",
    "generators",
    "picture_and_words",
    "quiet",
    "read_recipe",
    "run",
    "unfold",
]

_MODULES = {
    "artist": ("Artist",),
    "events": ("Event", "Picture", "Pictures", "Progress"),
    "explain": ("Explanation", "Word"),
    "facade": ("Sumi",),
    "generate": ("Generate", "Model", "picture_and_words"),
    "interpreted": ("UnknownPromptError",),
    "nearest": ("Near",),
    "prior": ("DiffusionPrior", "Prior", "Text", "TokenPrior"),
    "recipe": ("Recipe", "Settings", "read_recipe"),
    "request": ("Request", "Task"),
    "source": ("Source",),
    "stage": ("Stage", "generators", "run"),
    "steps": ("Ask", "Known", "Pause", "Rows", "Work", "answer", "drive", "finished", "quiet"),
    "tasks": ("Blend", "Edit", "Explore", "Img2img", "Restyle", "Upscale", "Vary"),
    "unfold": ("Frame", "unfold"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name from the module that defines it."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

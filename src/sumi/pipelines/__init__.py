"""A task in, an iterator of events out: stages, the tasks made of them, and the artist that people call.

Inference only. Names are imported when they are used: checking a request needs no torch, and a bad one is refused at
once.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sumi.pipelines.artist import Artist
    from sumi.pipelines.events import Event, Picture, Pictures, Progress
    from sumi.pipelines.explanation import Explanation, Neighbor, WordAttribution
    from sumi.pipelines.interpreted import UnknownPromptError
    from sumi.pipelines.prior import DiffusionPrior, EncodedText, Prior, TokenPrior
    from sumi.pipelines.recipe import Recipe, Settings, read_recipe
    from sumi.pipelines.request import Request, Task
    from sumi.pipelines.source import Source
    from sumi.pipelines.stage import Stage, run, seeded_generators
    from sumi.pipelines.steps import (
        Inpainting,
        Pause,
        StepRequest,
        StepRows,
        Work,
        drive,
        drive_to_end,
        run_steps,
        without_progress,
    )
    from sumi.pipelines.tasks import Blend, Edit, Explore, Img2img, Restyle, Upscale, Vary
    from sumi.pipelines.unclip import Model, UnCLIPPipeline, picture_and_words

__all__ = [
    "Artist",
    "Blend",
    "DiffusionPrior",
    "Edit",
    "EncodedText",
    "Event",
    "Explanation",
    "Explore",
    "Img2img",
    "Inpainting",
    "Model",
    "Neighbor",
    "Pause",
    "Picture",
    "Pictures",
    "Prior",
    "Progress",
    "Recipe",
    "Request",
    "Restyle",
    "Settings",
    "Source",
    "Stage",
    "StepRequest",
    "StepRows",
    "Task",
    "TokenPrior",
    "UnCLIPPipeline",
    "UnknownPromptError",
    "Upscale",
    "Vary",
    "WordAttribution",
    "Work",
    "drive",
    "drive_to_end",
    "picture_and_words",
    "read_recipe",
    "run",
    "run_steps",
    "seeded_generators",
    "without_progress",
]

_MODULES = {
    "artist": ("Artist",),
    "events": ("Event", "Picture", "Pictures", "Progress"),
    "explanation": ("Explanation", "Neighbor", "WordAttribution"),
    "unclip": ("UnCLIPPipeline", "Model", "picture_and_words"),
    "interpreted": ("UnknownPromptError",),
    "prior": ("DiffusionPrior", "Prior", "EncodedText", "TokenPrior"),
    "recipe": ("Recipe", "Settings", "read_recipe"),
    "request": ("Request", "Task"),
    "source": ("Source",),
    "stage": ("Stage", "seeded_generators", "run"),
    "steps": (
        "StepRequest",
        "Inpainting",
        "Pause",
        "StepRows",
        "Work",
        "run_steps",
        "drive",
        "drive_to_end",
        "without_progress",
    ),
    "tasks": ("Blend", "Edit", "Explore", "Img2img", "Restyle", "Upscale", "Vary"),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name from the module that defines it."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

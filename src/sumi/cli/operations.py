"""The commands that draw: one for each kind of task, its arguments and options derived from the task's settings.

sumi OPERATION [IMAGE ...] [PROMPT] [OPTIONS]
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import click

from sumi.cli.model_choice import model_options
from sumi.cli.options import json_option, make_task_option, out_option, sign_option
from sumi.errors import SumiError
from sumi.pipelines.prompt import slug
from sumi.pipelines.request import Task
from sumi.pipelines.tasks import Blend, Edit, Explore, Restyle, Vary

if TYPE_CHECKING:
    from sumi.pipelines import Picture, UnCLIPPipeline

__all__ = ["make_command"]

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

MASK: Final = click.option("--mask", metavar="FILE", help="A picture of the same size, white where to draw.")
LAYERS: Final = click.option(
    "--layers", is_flag=True, help="Also write what is drawn in layers as OpenRaster, for painting programs."
)
FRAMES: Final = click.option(
    "--frames", is_flag=True, help="Also write how each picture came to be, as an animated WebP."
)
EXTRA_OPTIONS: Final[Mapping[str, tuple[Decorator, ...]]] = {"generate": (LAYERS, FRAMES), "edit": (MASK,)}
"""Options of a command besides the settings of its task."""
DEFAULTS: Final[Mapping[tuple[str, str], Any]] = {(Vary.operation, "n"): 4}
"""Defaults that differ from those in Python."""
NOTES: Final = {
    Blend.operation: "Both pictures have the same size. The pictures are also written one after another, animated.",
    Edit.operation: "White in the mask is drawn anew, and so are the added pixels. The rest stays the same to the bit.",
    Explore.operation: "The sheet names under each picture how many principal components of the embedding it was drawn "
    "from, and their share of the variance.",
    Restyle.operation: "The amount says how far, and guidance leads away from the picture as it was.",
}
"""A second paragraph for the help of a command."""


def make_command(kind: type[Task]) -> click.Command:
    """Return the command of a kind of task."""
    settings = {name: option for name, option in kind.schema().items() if name != "prompt"}
    names = name_images(kind.num_images)
    decorators: list[Decorator] = [click.argument(name.lower(), metavar=name) for name in names]
    if prompt := kind.schema().get("prompt"):
        metavar = "PROMPT" if prompt.required else "[PROMPT]"
        decorators.append(click.argument("prompt", nargs=-1, required=prompt.required, metavar=metavar))
    for name, option in settings.items():
        decorators.append(make_task_option(name, option, DEFAULTS.get((kind.operation, name), option.default)))
    decorators += [model_options, out_option, sign_option, json_option, *EXTRA_OPTIONS.get(kind.operation, ())]

    def run(**values: Any) -> None:
        images = [values.pop(name.lower()) for name in names]
        if "prompt" in values:
            values["prompt"] = " ".join(values["prompt"])
        chosen = {name: values.pop(name) for name in kind.schema()}
        run_task(kind(**chosen), images, **values)

    command: Callable[..., Any] = run
    for decorate in reversed(decorators):
        command = decorate(command)
    paragraphs = [kind.summary, NOTES.get(kind.operation, "")]
    return click.command(kind.operation, help="\n\n".join(filter(None, paragraphs)))(command)


def name_images(count: int) -> list[str]:
    """Return the names of the arguments for so many pictures."""
    return ["IMAGE"] if count == 1 else ["A", "B", "C", "D"][:count]


def run_task(task: Task, images: list[str], *, mask: str | None = None, **output: Any) -> None:
    """Draw a task.

    Args:
        task: the task.
        images: files of its pictures.
        mask: file of an edit's mask.
        output: where and how to write; see `sumi.cli.draw.draw`.
    """
    from sumi.cli.draw import draw

    if isinstance(task, Edit) and mask is None and not any(task.expand):
        raise SumiError("edit needs --mask FILE, white where to draw, or --expand L,T,R,B")
    stem = make_output_stem(task.operation, *images) if images else slug(task.prompt)
    files = images if mask is None else [*images, mask]
    caption = caption_components if isinstance(task, Explore) else None
    draw(task, files, stem=stem, animate=isinstance(task, Blend), caption=caption, **output)


def make_output_stem(operation: str, *images: str) -> str:
    """Return the stem of the files that an operation writes: fox-vary, fox-to-owl-blend."""
    from pathlib import Path

    return f"{'-to-'.join(slug(Path(image).stem) for image in images)}-{operation}"


def caption_components(pipeline: UnCLIPPipeline, picture: Picture) -> str:
    """Return a caption of an exploration: the number of principal components, and their share of the variance."""
    count = picture.recipe.options["dims"]
    assert pipeline.axes is not None
    return f"{count}: {pipeline.axes.explained(count):.1%}"

"""Progress of drawing: given to a function, or shown as a bar on stderr or in a notebook."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sumi.errors import SumiError
from sumi.pipelines.events import Progress

__all__ = ["ProgressLike", "open_progress"]

ProgressLike = bool | Callable[[Progress], object] | None
"""True for a bar, or a function that is called after each step; an error that it raises stops the drawing."""


@contextmanager
def open_progress(progress: ProgressLike) -> Iterator[Callable[[Progress], object]]:
    """Yield what is to be called after each step."""
    if callable(progress):
        yield progress
    elif progress is None or progress is False:
        yield lambda event: None
    elif progress is True:
        with _bar() as show:
            yield show
    else:
        raise SumiError(f"progress should be True or a function of one event, not {type(progress).__name__}")


@contextmanager
def _bar() -> Iterator[Callable[[Progress], object]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("waking up", total=None)
        yield lambda event: bar.update(task, description=event.stage, completed=event.step, total=event.of)

"""The live view on stderr: a progress bar, and the pictures taking shape in half-block characters.

In a pipe drawing is silent, and what takes minutes prints a line at every tenth. Pictures need a terminal that is wide
enough, has colours and can show half blocks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, TypeVar

import click
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBar
from rich.style import Style
from rich.text import Text

if TYPE_CHECKING:
    from torch import Tensor

    from sumi.pipelines import Artist, Event

Value = TypeVar("Value")

PREVIEW_PX, MAX_PREVIEWS = 24, 4
PREVIEW_SHARE = 0.1
"""Previews may take this share of the time at most."""


class Screen:
    """Shows the events of a pipeline. It is a context manager, so the terminal is always restored.

    waiting: show the title at once, before there is any progress.
    """

    def __init__(self, title: str, waiting: bool = True) -> None:
        self._waiting = waiting
        self._console = Console(stderr=True)
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        self._bar = ProgressBar(*columns, console=self._console)
        self._task = self._bar.add_task(title, total=None)
        self._preview = Text()
        self._live = Live(
            console=self._console, refresh_per_second=8, transient=True, get_renderable=self._view,
            redirect_stdout=False,
        )  # fmt: skip
        self._previewed_at, self._preview_s = time.perf_counter(), 0.0
        self._printed: set[tuple[str, int]] = set()

    def __enter__(self) -> Screen:
        if self._is_live and self._waiting:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()

    def say(self, line: str) -> None:
        """Print a line above the view."""
        if self._live.is_started:
            self._console.print(line, markup=False, highlight=False)
        else:
            click.echo(line, err=True)

    def progress(self, what: str, done: int, of: int) -> None:
        """Move the bar, and hide it at the end; without a terminal, print a line at every tenth."""
        tenth = (what, 10 * done // max(of, 1))
        if self._is_live:
            self._live.start()
            self._bar.update(self._task, description=what, completed=done, total=of)
            if done >= of:
                self._live.stop()
        elif tenth not in self._printed:
            self._printed.add(tenth)
            click.echo(f"{what}: {done} of {of}", err=True)

    def follow(self, events: Generator[Event, None, Value], artist: Artist) -> Value:
        """Show the events of a pipeline to its end, and return its result."""
        while True:
            try:
                self.show(next(events), artist)
            except StopIteration as end:
                value: Value = end.value
                return value

    def show(self, event: Event, artist: Artist) -> None:
        """Move the bar, and show the pictures where decoding them is cheap enough."""
        from sumi.pipelines.events import Progress

        if not self._live.is_started or not isinstance(event, Progress):
            return
        self._bar.update(self._task, description=event.stage, completed=event.step, total=event.of)
        now = time.perf_counter()
        if not shows_pictures(self._console):
            return
        if event.step < event.of and self._preview_s > PREVIEW_SHARE * (now - self._previewed_at):
            return
        some = replace(event, mean=event.mean[:MAX_PREVIEWS], seeds=event.seeds[:MAX_PREVIEWS])
        levels = artist.preview(some)
        if levels is not None:
            self._preview = render_half_blocks(levels, self._console.width)
            self._previewed_at, self._preview_s = now, time.perf_counter() - now

    @property
    def _is_live(self) -> bool:
        return self._console.is_terminal and not self._console.is_dumb_terminal

    def _view(self) -> Group:
        return Group(self._preview, self._bar)


def start_progress_bar() -> Callable[[str, int, int], None]:
    """Return the function that moves a bar of the running command: its arguments are a title, a count and the total."""
    return click.get_current_context().with_resource(Screen("", waiting=False)).progress


def shows_pictures(console: Console) -> bool:
    """Return whether a terminal is wide enough for a picture, and has the colours and the character that it needs."""
    colours = console.color_system in ("256", "truecolor") and not console.no_color
    return colours and console.encoding.startswith("utf") and console.width > PREVIEW_PX


def render_half_blocks(levels: Tensor, width: int) -> Text:
    """Return pictures, premultiplied uint8 (B, 4, H, W), side by side over white, two pixels in each character."""
    from sumi.imaging.pixels import from_levels, resize

    count = max(1, min(len(levels), (width - 1) // (PREVIEW_PX + 1)))
    unit = (resize(from_levels(levels[:count]), (PREVIEW_PX, PREVIEW_PX)).clamp(-1, 1) + 1) / 2
    over = ((unit[:, :3] + 1 - unit[:, 3:]).clamp(0, 1) * 255).round().int().permute(0, 2, 3, 1).tolist()
    text = Text()
    for row in range(0, PREVIEW_PX, 2):
        for picture in over:
            for above, below in zip(picture[row], picture[row + 1], strict=True):
                text.append("▀", Style.parse(f"{_hex(above)} on {_hex(below)}"))
            text.append(" ")
        text.append("\n")
    return text


def _hex(colour: list[int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)

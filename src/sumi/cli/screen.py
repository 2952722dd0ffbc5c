"""The live view on stderr: a progress bar, and the pictures sharpening in half blocks.

In a pipe drawing is silent, and what takes minutes prints a line every tenth. Pictures need a terminal that is wide
enough, has colours and can show a half block.
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
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.style import Style
from rich.text import Text

if TYPE_CHECKING:
    from torch import Tensor

    from sumi.pipelines import Artist, Event

Value = TypeVar("Value")

PREVIEW_PX, MAX_PREVIEWS = 24, 4
PREVIEW_SHARE = 0.1
"""Looking may cost this share of the time at most."""


class Screen:
    """Shows the events of a pipeline; a context manager, so that the terminal is always left as it was.

    waiting: show the title at once, before there is any progress.
    """

    def __init__(self, title: str, waiting: bool = True) -> None:
        self._waiting = waiting
        self._console = Console(stderr=True)
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        self._bar = Progress(*columns, console=self._console)
        self._task = self._bar.add_task(title, total=None)
        self._preview = Text()
        self._live = Live(
            console=self._console, refresh_per_second=8, transient=True, get_renderable=self._view,
            redirect_stdout=False,
        )  # fmt: skip
        self._looked_at, self._looking_s = time.perf_counter(), 0.0
        self._printed: set[tuple[str, int]] = set()

    def __enter__(self) -> Screen:
        if self._watched and self._waiting:
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
        """Move the bar, which goes when all is done; where nobody looks, print a line every tenth of the way."""
        tenth = (what, 10 * done // max(of, 1))
        if self._watched:
            self._live.start()
            self._bar.update(self._task, description=what, completed=done, total=of)
            if done >= of:
                self._live.stop()
        elif tenth not in self._printed:
            self._printed.add(tenth)
            click.echo(f"{what}: {done} of {of}", err=True)

    def follow(self, events: Generator[Event, None, Value], artist: Artist) -> Value:
        """Show the events of a pipeline to its end, and return what it returns."""
        while True:
            try:
                self.show(next(events), artist)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]

    def show(self, event: Event, artist: Artist) -> None:
        """Move the bar, and look at the pictures when looking is cheap enough."""
        from sumi.pipelines.events import Progress as StageProgress

        if not self._live.is_started or not isinstance(event, StageProgress):
            return
        self._bar.update(self._task, description=event.stage, completed=event.step, total=event.of)
        now = time.perf_counter()
        if not shows_pictures(self._console):
            return
        if event.step < event.of and self._looking_s > PREVIEW_SHARE * (now - self._looked_at):
            return
        some = replace(event, mean=event.mean[:MAX_PREVIEWS], seeds=event.seeds[:MAX_PREVIEWS])
        levels = artist.preview(some)
        if levels is not None:
            self._preview = half_blocks(levels, self._console.width)
            self._looked_at, self._looking_s = now, time.perf_counter() - now

    @property
    def _watched(self) -> bool:
        return self._console.is_terminal and not self._console.is_dumb_terminal

    def _view(self) -> Group:
        return Group(self._preview, self._bar)


def progress_bar() -> Callable[[str, int, int], None]:
    """Return what moves a bar of the running command: its arguments are what is done, how much, and of how much."""
    return click.get_current_context().with_resource(Screen("", waiting=False)).progress


def shows_pictures(console: Console) -> bool:
    """Whether a terminal is wide enough for a picture, and has the colours and the sign that it is made of."""
    colours = console.color_system in ("256", "truecolor") and not console.no_color
    return colours and console.encoding.startswith("utf") and console.width > PREVIEW_PX


def half_blocks(levels: Tensor, width: int) -> Text:
    """Return pictures, premultiplied uint8 (B, 4, H, W), side by side over white, two pixels a character."""
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

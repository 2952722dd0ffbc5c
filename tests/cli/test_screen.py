"""The progress of slow commands: a bar on a terminal, lines in a pipe, pictures where a terminal can show them."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from rich.console import Console

from sumi.cli import screen
from sumi.cli.screen import Screen, shows_pictures
from sumi.pipelines import Request
from sumi.systems.unclip.artist import Sumi


def on_terminal(monkeypatch: pytest.MonkeyPatch, **how: object) -> tuple[Screen, io.StringIO]:
    """A screen that writes to a string."""
    terminal = io.StringIO()
    console = Console(file=terminal, force_terminal=True, **{"width": 80, "color_system": "truecolor", **how})  # type: ignore[arg-type]
    monkeypatch.setattr(screen, "Console", lambda **_: console)
    return Screen("waking up"), terminal


def test_progress_in_a_pipe_prints_every_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    with Screen("waking up") as screen:
        for done in range(1, 101):
            screen.progress("drawn", done, 100)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 11 and lines[0] == "drawn: 1 of 100" and lines[-1] == "drawn: 100 of 100"


def test_progress_bar_hides_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    screen, terminal = on_terminal(monkeypatch)
    with screen:
        screen.progress("drawn", 1, 2)
        assert screen._live.is_started
        screen.progress("drawn", 2, 2)
        assert not screen._live.is_started, "results may be printed now"
        screen.progress("scenes", 1, 2)
        assert screen._live.is_started
    assert not screen._live.is_started and "drawn" in terminal.getvalue()


def test_follow_returns_the_pipelines_result(monkeypatch: pytest.MonkeyPatch, tiny: Sumi) -> None:
    screen, terminal = on_terminal(monkeypatch)

    def work() -> Iterator[object]:
        yield from tiny.stream(Request("fox", seed=1))
        return "result"

    with screen:
        assert screen.follow(work(), tiny) == "result"  # type: ignore[arg-type]
        screen._live.refresh()
    assert "▀" in terminal.getvalue()


@pytest.mark.parametrize(
    "how", [{"width": 20}, {"color_system": None}, {"color_system": "standard"}, {"no_color": True}]
)
def test_narrow_or_colourless_terminal_shows_only_the_bar(
    how: dict[str, object], monkeypatch: pytest.MonkeyPatch, tiny: Sumi
) -> None:
    screen, terminal = on_terminal(monkeypatch, **how)
    with screen:
        for event in tiny.stream(Request("fox", seed=1)):
            screen.show(event, tiny)
        screen._live.refresh()
    assert "▀" not in terminal.getvalue() and "upsampler"[:3] in terminal.getvalue()


def test_terminal_without_half_blocks_shows_no_picture() -> None:
    file = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    assert not shows_pictures(Console(file=file, force_terminal=True, color_system="truecolor", width=80))


def test_dumb_terminal_is_like_a_pipe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("TERM", "dumb")
    screen, terminal = on_terminal(monkeypatch)
    with screen:
        screen.progress("drawn", 1, 1)
    assert terminal.getvalue() == "" and capsys.readouterr().err == "drawn: 1 of 1\n"

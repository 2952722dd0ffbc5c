"""The studio in a real browser: Debian's chromium, driven by Playwright, on the tiny model."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from live_server import Live
from live_studio import Gate, Studio, furnished, gated, observe

from sumi import Sumi
from sumi.conditioning import Lexicon

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

WORDS = (
    "a", "and", "background", "blue", "car", "dog", "fox", "hat", "neon", "on", "red", "the", "transparent", "wearing",
)  # fmt: skip
LONG_MS = 180_000
"""Long enough for a busy machine."""


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("the studio is tried in chromium, and there is none here (Debian's package chromium)")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def gate() -> Gate:
    return Gate()


@pytest.fixture(scope="session")
def artist(arranging: Sumi, gate: Gate) -> Sumi:
    """The tiny model behind a gate; it knows one style of the menu."""
    return gated(replace(arranging, lexicon=Lexicon.of_words(WORDS)), gate)


@pytest.fixture(scope="session")
def live(artist: Sumi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with furnished(artist, tmp_path_factory.mktemp("studio")) as server:
        yield server


@pytest.fixture(scope="session")
def context(browser: Browser) -> Iterator[BrowserContext]:
    opened = browser.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    opened.set_default_timeout(LONG_MS)
    yield opened
    opened.close()


@pytest.fixture
def studio(context: BrowserContext, live: Live, gate: Gate) -> Iterator[Studio]:
    """The open page; after the test it has reported no error and no request to another host."""
    gate.open()
    studio = Studio(context.new_page(), live, gate)
    observe(studio)
    studio.open()
    yield studio
    gate.open()
    studio.page.close()
    assert studio.faults == []

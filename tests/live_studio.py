"""A page of the studio under test: what to click, what to wait for, and which errors to collect."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlparse

import live_server
from live_server import Live
from PIL import Image
from torch import Tensor

from sumi import Sumi
from sumi.diffusion import Denoiser, Estimate
from sumi.nn import Cond
from sumi.store import Job
from sumi.studio import PAGES, add_studio

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page


class Gate:
    """Holds up a model: shut, it lets a few evaluations through and then one a second, so that a server can stop.

    A drawing of 300 steps outlasts a shut gate for as long as a page may take.
    """

    def __init__(self) -> None:
        self._open, self._left = threading.Event(), 0
        self.open()

    def open(self) -> None:
        """Let everything through."""
        self._open.set()

    def shut(self, after: int = 40) -> None:
        """Let so many evaluations through, and hold up the others."""
        self._left = after
        self._open.clear()

    def __call__(self) -> None:
        """Be let through."""
        if not self._open.is_set() and self._left:
            self._left -= 1
        else:
            self._open.wait(1.0)


@dataclass(frozen=True)
class Gated:
    """A denoiser behind a gate."""

    denoiser: Denoiser[Cond]
    gate: Gate

    def __call__(self, x_t: Tensor, t: Tensor, cond: Cond, /) -> Estimate:
        self.gate()
        return self.denoiser(x_t, t, cond)


@dataclass
class Studio:
    """A page of the studio, and its errors."""

    page: Page
    live: Live
    gate: Gate
    faults: list[str] = field(default_factory=list)

    def open(self) -> None:
        """Load the page, and wait until it is ready."""
        self.page.goto(f"{self.live.url}/studio/")
        self.page.wait_for_selector("body[data-ready]")
        self.page.wait_for_selector("#feed:not([aria-busy])", state="attached")

    def draw(self, prompt: str, **settings: str) -> str:
        """Submit a prompt, and return its job's id."""
        for name, value in {"n": "2", "seed": "7", **settings}.items():
            self.page.locator(f"#{name} :is(textarea, input:not([type=range]))").fill(value)
        before = self.sheets()
        self.page.fill("#prompt textarea", prompt)
        self.page.press("#prompt textarea", "Enter")
        return self.next_sheet(before)

    def sheets(self) -> list[str]:
        """Return the jobs that the page shows, newest first."""
        found: list[str] = self.page.eval_on_selector_all(".sheet", "all => all.map(sheet => sheet.dataset.job)")
        return found

    def next_sheet(self, before: list[str]) -> str:
        """The job that is shown now and was not before."""
        self.page.wait_for_function(
            "known => known !== (document.querySelector('.sheet')?.dataset.job ?? null)", arg=(before or [None])[0]
        )
        return self.sheets()[0]

    def finished(self, job: str, status: str = "succeeded") -> Job:
        """Wait for a job to be shown as ended, and return it as it is kept."""
        self.page.wait_for_selector(f'.sheet[data-job="{job}"][data-status="{status}"]')
        kept = self.live.store.jobs.get("local", job)
        assert kept is not None and kept.status == status
        return kept

    def upload(self, folder: Path, size: tuple[int, int]) -> None:
        """Open a picture that is in no gallery."""
        Image.new("RGBA", size, "red").save(folder / "red.png")
        self.page.set_input_files("#upload input[type=file]", folder / "red.png")
        self.page.wait_for_selector("dialog[open] img.whole")

    def table(self, job: str) -> None:
        """Open the first picture of a job."""
        self.page.click(f'.sheet[data-job="{job}"] .frame >> nth=0')
        self.page.wait_for_selector("dialog[open] img.whole")


CONTRAST = """(element, pseudo) => {
    const parse = (text) => text.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map((one) => one / 255)
        .map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4))
        .reduce((sum, one, index) => sum + one * [0.2126, 0.7152, 0.0722][index], 0);
    let behind = element;
    while (parse(getComputedStyle(behind).backgroundColor)[3] === 0) behind = behind.parentElement;
    const pair = [getComputedStyle(element, pseudo || undefined).color, getComputedStyle(behind).backgroundColor];
    const [dim, bright] = pair.map(parse).map(light).sort((one, other) => one - other);
    return (bright + 0.05) / (dim + 0.05);
}"""
AA = 4.5


def is_readable(element: Locator, pseudo: str = "") -> bool:
    """Whether a text stands out from what is behind it as WCAG's level AA asks."""
    return float(element.evaluate(CONTRAST, pseudo)) >= AA


def gated(sumi: Sumi, gate: Gate) -> Sumi:
    """A model behind a gate."""
    decoder = replace(sumi.pipeline.decoder, denoiser=Gated(sumi.pipeline.decoder.denoiser, gate))
    return replace(sumi, pipeline=replace(sumi.pipeline, decoder=decoder))


def furnished(sumi: Sumi, folder: Path, **settings: Any) -> AbstractContextManager[Live]:
    """A server with the studio in it."""
    return live_server.serving(
        sumi, folder, furnish=add_studio, **{"require_keys": False, "public_paths": PAGES, **settings}
    )


def observe(studio: Studio) -> None:
    """Note whatever goes wrong, and every request that leaves this host."""
    studio.page.on(
        "console", lambda said: studio.faults.append(said.text) if said.type in ("error", "warning") else None
    )
    studio.page.on("pageerror", lambda error: studio.faults.append(str(error)))

    def asked(url: str) -> None:
        address = urlparse(url)
        if address.scheme not in ("data", "blob") and address.netloc != urlparse(studio.live.url).netloc:
            studio.faults.append(url)

    studio.page.on("request", lambda request: asked(request.url))

"""Accessibility: axe-core on every screen, visible focus, and the keyboard."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.sync_playwright import Axe
from live_studio import Studio

if TYPE_CHECKING:
    from playwright.sync_api import Page

LEVELS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
OPTIONS = {"runOnly": {"type": "tag", "values": LEVELS}, "resultTypes": ["violations"]}


def faults(page: Page) -> list[str]:
    """Return axe-core's violations: each rule, and the elements that break it."""
    axe = Axe()
    page.mouse.move(0, 0)
    found = axe.run(page, options=OPTIONS).response["violations"]
    return [f"{one['id']}: {node['html'][:160]} {node['failureSummary']}" for one in found for node in one["nodes"]]


def draw(studio: Studio) -> None:
    studio.page.wait_for_selector("figure.cell")


def gallery(studio: Studio) -> None:
    studio.page.click("#gallery-tab-button")
    studio.page.wait_for_selector("#gallery figure.cell")
    studio.page.click("#gallery button:text-is('Select')")
    studio.page.click("#gallery .frame >> nth=0")


def how(studio: Studio) -> None:
    studio.page.route("**/nearest*", lambda route: route.fulfill(json={"object": "list", "data": []}))
    studio.page.click("#how-tab-button")
    studio.page.wait_for_selector(".scrub input:enabled")


def panel(name: str) -> Callable[[Studio], None]:
    def show(studio: Studio) -> None:
        studio.page.click(".sheet .frame >> nth=0")
        studio.page.wait_for_selector("dialog img.whole")
        studio.page.click(f"dialog button:text-is('{name}')")
        studio.page.wait_for_selector("dialog .panel > *")

    return show


SCREENS = {"draw": draw, "gallery": gallery, "how it works": how} | {
    name: panel(name) for name in ("Vary", "Edit", "Restyle", "Blend with", "Layers")
}


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_page_passes_axe(studio: Studio, screen: str, dark: bool) -> None:
    studio.finished(studio.draw("a red fox", n="1"))
    if dark:
        studio.page.evaluate("document.body.classList.add('dark')")
    SCREENS[screen](studio)
    assert faults(studio.page) == []


def test_focus_is_visible_and_tab_reaches_every_control(studio: Studio) -> None:
    page = studio.page
    studio.finished(studio.draw("a red fox", n="1"))
    panel("Edit")(studio)
    page.focus("dialog .close")
    seen, unseen = set(), []
    for _ in range(60):
        page.keyboard.press("Tab")
        name, outline = page.evaluate(
            """() => { const one = document.activeElement, style = getComputedStyle(one);
                return [one.getAttribute('aria-label') ?? one.name ?? one.textContent, style.outlineStyle]; }"""
        )
        name = name or page.evaluate("document.activeElement.textContent")
        if name in seen:
            break
        seen.add(name)
        unseen += [name] if outline == "none" else []
    assert unseen == [] and seen >= {"Vary", "Edit", "Brush", "Eraser", "brush", "prompt", "Left", "Bottom", "Delete"}


def test_escape_closes_the_dialog_and_restores_focus(studio: Studio) -> None:
    page = studio.page
    job = studio.draw("a red fox", n="1")
    studio.finished(job)
    page.focus(f'.sheet[data-job="{job}"] .frame')
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog img.whole")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
    assert page.evaluate("document.activeElement.matches('.sheet .frame')")


def test_reduced_motion_disables_animation(studio: Studio) -> None:
    studio.gate.shut()
    job = studio.draw("a red fox", steps="300")
    moving = studio.page.evaluate("document.getAnimations().filter(one => one.playState === 'running').length")
    assert moving == 0
    studio.gate.open()
    studio.finished(job)

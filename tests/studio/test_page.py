"""The page's main paths: drawing, editing, and failures of the server."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from live_server import Live
from live_studio import Gate, Studio, furnished, observe
from PIL import Image

from sumi import Sumi

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Route

PICTURES = "figure.cell"


def pixels(studio: Studio, job: str, number: int = 0) -> np.ndarray:
    row = studio.live.store.jobs.pictures("local", job)[number]
    return np.asarray(Image.open(io.BytesIO(studio.live.store.gallery.read(row))).convert("RGBA")).astype(int)


def test_page_draws_with_the_keyboard_alone(studio: Studio) -> None:
    page = studio.page
    before = studio.sheets()
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('#prompt') !== null"):
            break
    page.keyboard.type("a red fox")
    assert page.input_value("#prompt textarea") == "a red fox", "the prompt is not within reach of the Tab key"
    page.keyboard.press("Enter")
    job = studio.finished(studio.next_sheet(before))
    assert job.request["task"]["prompt"] == "a red fox" and job.request["task"]["n"] == 4
    page.focus(f'.sheet[data-job="{job.id}"] .frame >> nth=0')
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")


def test_feed_shows_previews_while_drawing(studio: Studio) -> None:
    studio.gate.shut()
    job = studio.draw("a blue car", steps="300")
    sheet = f'.sheet[data-job="{job}"]'
    studio.page.wait_for_selector(f"{sheet} div.cell img[src^='data:image/png']")
    assert studio.page.locator(f"{sheet} div.cell").count() == 2
    studio.gate.open()
    studio.finished(job)
    assert studio.page.locator(f"{sheet} {PICTURES}").count() == 2


def test_vary_panel_draws_variations(studio: Studio) -> None:
    job = studio.draw("a red fox")
    studio.finished(job)
    studio.table(job)
    before = studio.sheets()
    studio.page.click("dialog button:text-is('Vary')")
    studio.page.click("dialog .panel button.primary")
    kept = studio.finished(studio.next_sheet(before))
    assert (kept.kind, kept.request["task"]["n"]) == ("vary", 4)


def test_edit_panel_draws_under_a_mask(studio: Studio) -> None:
    """Outside the mask the picture stays exactly as it is."""
    job = studio.draw("a red fox", n="1", seed="11")
    studio.finished(job)
    studio.table(job)
    before = studio.sheets()
    page = studio.page
    page.click("dialog button:text-is('Edit')")
    page.fill("dialog [name=prompt]", "a blue car")
    box = page.locator("canvas.mask").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 5, box["y"] + 5)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 4, steps=4)
    page.mouse.up()
    page.click("dialog .panel button.primary")
    edited = studio.next_sheet(before)
    kept = studio.finished(edited)
    assert kept.kind == "edit" and kept.request["task"]["prompt"] == "a blue car" and len(kept.request["images"]) == 2
    old, new = pixels(studio, job), pixels(studio, edited)
    far = old.shape[0] * 3 // 4
    changed = (old != new).any(axis=-1)
    assert changed[: old.shape[0] // 4, : old.shape[1] // 4].any() and not changed[far:].any()


def test_cancel_button_cancels_a_job(studio: Studio) -> None:
    studio.gate.shut()
    job = studio.draw("a red fox", steps="300")
    other = studio.draw("a blue car", steps="300")
    studio.page.click("#queue button[aria-label='Cancel a red fox']")
    studio.finished(job, "canceled")
    studio.page.click(f'.sheet[data-job="{other}"] button:text-is("Cancel")')
    studio.finished(other, "canceled")


def test_reloaded_page_shows_its_job(studio: Studio) -> None:
    studio.gate.shut()
    job = studio.draw("a red fox", steps="300")
    studio.page.wait_for_selector(f'.sheet[data-job="{job}"] img')
    studio.page.reload()
    studio.page.wait_for_selector(f'.sheet[data-job="{job}"]:not([data-status="succeeded"]) img')
    studio.gate.open()
    studio.finished(job)


def test_page_continues_after_a_server_restart(
    context: BrowserContext, artist: Sumi, gate: Gate, tmp_path: Path
) -> None:
    gate.shut()
    with furnished(artist, tmp_path) as first:
        studio = Studio(context.new_page(), first, gate)
        studio.open()
        job = studio.draw("a red fox", steps="300")
        studio.page.wait_for_selector(f'.sheet[data-job="{job}"] img')
    studio.page.wait_for_selector("body[data-offline]")
    gate.open()
    with furnished(artist, tmp_path, port=first.settings.port) as studio.live:
        studio.finished(job)
        studio.page.wait_for_selector("body:not([data-offline])")
        assert studio.page.locator(f'.sheet[data-job="{job}"] {PICTURES}').count() == 2


def test_page_shows_a_lost_server_within_two_seconds(context: BrowserContext, live: Live, gate: Gate) -> None:
    """Measured by the page's own clock, so a slow machine makes no difference."""
    studio = Studio(context.new_page(), live, gate)
    studio.page.clock.install()
    studio.page.goto(f"{live.url}/studio/")
    studio.page.wait_for_selector("body[data-ready]")
    for _ in range(3):
        studio.page.clock.run_for(1000)
    try:
        context.set_offline(True)
        for _ in range(4):
            studio.page.clock.run_for(500)
        studio.page.wait_for_selector("#away:popover-open")
        assert "Nothing is lost" in studio.page.inner_text("#away")
    finally:
        context.set_offline(False)
    studio.page.clock.resume()
    studio.page.wait_for_selector("#away", state="hidden")
    studio.page.close()


def test_broken_images_return_with_the_server(context: BrowserContext, live: Live, gate: Gate) -> None:
    gate.open()
    studio = Studio(context.new_page(), live, gate)
    studio.open()
    page = studio.page
    studio.finished(studio.draw("a red fox", n="2"))
    page.route("**/v1/files/**", lambda route: route.abort())
    page.click("#gallery-tab-button")
    page.wait_for_selector("#gallery img[data-lost]", state="attached")
    broken = """() => [...document.querySelectorAll('#gallery img')].filter(image => image.complete
        && !image.naturalWidth && getComputedStyle(image).visibility !== 'hidden').length"""
    page.wait_for_function(f"() => ({broken})() === 0")
    try:
        context.set_offline(True)
        page.wait_for_selector("body[data-offline]")
        page.unroute("**/v1/files/**")
    finally:
        context.set_offline(False)
    page.wait_for_selector("body:not([data-offline])")
    page.wait_for_selector("#gallery img[data-lost]", state="detached")
    assert page.evaluate("[...document.querySelectorAll('#gallery img')].every(image => image.naturalWidth)")
    page.close()


@pytest.mark.parametrize(
    ("control", "value", "words"),
    [
        ("seed", "-5", "Seed should be a whole number of 0 or more; leave it empty for a random one."),
        ("seed", "seven", "Seed should be a whole number of 0 or more; leave it empty for a random one."),
        ("seed", "1.5", "Seed should be a whole number of 0 or more; leave it empty for a random one."),
    ],
)
def test_invalid_setting_is_explained_beside_its_control(studio: Studio, control: str, value: str, words: str) -> None:
    page = studio.page
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if request.method == "POST" else None)
    page.fill("#prompt textarea", "a red fox")
    page.fill(f"#{control} :is(textarea, input:not([type=range]))", value)
    page.press("#prompt textarea", "Enter")
    page.wait_for_selector(f"#{control} .wrong:not([hidden])")
    assert page.inner_text(f"#{control} .wrong") == words
    assert page.evaluate("document.activeElement.getAttribute('aria-describedby')") == f"{control}-wrong"
    page.keyboard.press("Control+a")
    page.keyboard.type("5")
    page.wait_for_selector(f"#{control} .wrong", state="hidden")
    assert asked == []


def test_style_menu_adds_its_style_to_the_prompt(studio: Studio) -> None:
    page = studio.page
    page.select_option("#style select", label="Neon")
    job = studio.finished(studio.draw("a red fox", n="1"))
    assert job.request["task"]["prompt"] == "a red fox, neon"
    again = studio.finished(studio.draw("a blue car, neon", n="1"))
    assert again.request["task"]["prompt"] == "a blue car, neon"


def test_gallery_search_finds_by_words_and_meaning(studio: Studio) -> None:
    studio.finished(studio.draw("a dog wearing the hat", n="1"))
    studio.page.click("#gallery-tab-button")
    studio.page.fill("#gallery [name=search]", "dog hat")
    studio.page.wait_for_selector("#gallery figcaption:has-text('dog')")
    studio.page.wait_for_function(
        "() => [...document.querySelectorAll('#gallery figcaption')].every(a => a.textContent.includes('dog'))"
    )
    assert studio.page.locator(f"#gallery {PICTURES}").count() >= 1
    studio.page.fill("#gallery [name=search]", "nothing of the kind")
    studio.page.wait_for_selector("#gallery .empty:not([hidden])")
    with studio.page.expect_response(lambda reply: "meaning=" in reply.url) as reply:
        studio.page.click("#gallery .ways label:has-text('meaning')")
    nearness = [picture["nearness"] for picture in reply.value.json()["data"]]
    assert nearness and nearness == sorted(nearness, reverse=True)
    studio.page.wait_for_selector(f"#gallery {PICTURES}")


def test_how_it_works_shows_every_step(studio: Studio) -> None:
    none = {"object": "list", "data": []}  # the tiny model carries no drawings to be near to
    studio.page.route("**/nearest*", lambda route: route.fulfill(json=none))
    job = studio.draw("a red fox", n="1", steps="5")
    studio.finished(job)
    studio.table(job)
    studio.page.click("dialog button:text-is('How it works')")
    studio.page.wait_for_selector(".scrub input:enabled")
    slider = studio.page.locator(".scrub input")
    assert slider.get_attribute("max") == str(5 + 2)  # the decoder's steps, the upsampler's, and the picture
    slider.focus()
    studio.page.keyboard.press("Home")
    assert studio.page.inner_text(".where") == "Decoder, step 1 of 5, 100% noise"
    studio.page.keyboard.press("End")
    assert studio.page.inner_text(".where") == "The picture"


def test_picture_and_settings_are_downloaded_and_copied(studio: Studio) -> None:
    job = studio.draw("a blue dog", n="1", seed="99", steps="6")
    studio.finished(job)
    studio.table(job)
    with studio.page.expect_download() as png:
        studio.page.click("dialog button:text-is('PNG')")
    with Image.open(png.value.path()) as image:
        assert json.loads(image.info["sumi"])["seed"] == 99
    assert png.value.suggested_filename == "a-blue-dog-99.png"
    with studio.page.expect_download() as svg:
        studio.page.click("dialog button:text-is('SVG')")
    assert "<svg" in Path(svg.value.path()).read_text("utf-8") and svg.value.suggested_filename.endswith(".svg")
    studio.page.click("dialog button:text-is('Copy settings')")
    assert studio.page.input_value("#prompt textarea") == "a blue dog"
    assert studio.page.locator("#steps input[type=number]").input_value() == "6"
    before = studio.sheets()
    studio.page.click("#draw")
    again = studio.next_sheet(before)
    studio.finished(again)
    assert (pixels(studio, again) == pixels(studio, job)).all()


def test_page_asks_for_a_key_where_one_is_needed(
    context: BrowserContext, tiny: Sumi, gate: Gate, tmp_path: Path
) -> None:
    gate.open()
    with furnished(tiny, tmp_path, require_keys=True) as live:
        studio = Studio(context.new_page(), live, gate)
        observe(studio)
        studio.page.goto(f"{live.url}/studio/")
        studio.page.fill("dialog [name=key]", live.token)
        studio.page.press("dialog [name=key]", "Enter")
        studio.page.wait_for_selector("#feed:not([aria-busy])", state="attached")
        job = studio.draw("a red fox")
        studio.page.wait_for_selector(f'.sheet[data-job="{job}"][data-status="succeeded"] {PICTURES} img')
        refused = [fault for fault in studio.faults if "401" not in fault]
        assert refused == []


def test_page_asks_for_a_key_once_although_a_request_without_one_is_refused_late(
    context: BrowserContext, tiny: Sumi, gate: Gate, tmp_path: Path
) -> None:
    gate.open()
    with furnished(tiny, tmp_path, require_keys=True) as live:
        studio = Studio(context.new_page(), live, gate)
        page = studio.page
        late: list[Route] = []
        page.route("**/v1/jobs?*", lambda route: late.append(route) if not late else route.continue_())
        with page.expect_request("**/v1/jobs?*"):  # before the key is given
            page.goto(f"{live.url}/studio/")
        page.fill("dialog [name=key]", live.token)
        page.press("dialog [name=key]", "Enter")
        page.wait_for_selector("dialog [name=key]", state="detached")
        late[0].continue_()
        page.wait_for_selector("#feed:not([aria-busy])", state="attached")
        assert page.locator("dialog [name=key]").count() == 0


def test_unknown_prompt_offers_suggestions_that_draw(studio: Studio) -> None:
    page = studio.page
    page.fill("#n input >> nth=0", "1")

    def refused() -> list[str]:
        page.fill("#prompt textarea", "zzyzx")
        page.press("#prompt textarea", "Enter")
        page.wait_for_selector("#refusal [role=alert]")
        assert "zzyzx" in page.inner_text("#refusal")
        return page.locator("#refusal button.suggestion").all_inner_texts()

    before = studio.sheets()
    suggested = refused()
    assert suggested and studio.sheets() == before
    page.click("#refusal button.suggestion >> nth=0")
    job = studio.finished(studio.next_sheet(before))
    assert job.request["task"]["prompt"] == suggested[0] == page.input_value("#prompt textarea")
    assert page.locator("#refusal").count() == 0

    before = studio.sheets()
    refused()
    page.click("#anyway")
    job = studio.finished(studio.next_sheet(before))
    assert job.request["task"]["prompt"] == "zzyzx" and job.request["task"]["anyway"] is True
    assert page.locator("#refusal").count() == 0

    refused()
    page.type("#prompt textarea", " fox")
    page.wait_for_selector("#refusal", state="detached")
    studio.faults[:] = [fault for fault in studio.faults if "400" not in fault]

"""The viewer: its layout, its tools and their messages."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from live_studio import Studio, is_readable

PICTURES = "figure.cell"


def drawn(studio: Studio, prompt: str = "a red fox", **settings: str) -> str:
    """Draw a job to its end, and return it."""
    job = studio.draw(prompt, **settings)
    studio.finished(job)
    return job


@pytest.mark.parametrize("dark", [False, True])
def test_pressed_tool_is_readable_under_the_mouse(studio: Studio, dark: bool) -> None:
    page = studio.page
    studio.table(drawn(studio, n="1"))
    if dark:
        page.evaluate("document.body.classList.add('dark')")
    for name in ("Vary", "Edit", "Restyle", "Blend with"):
        button = page.locator(f"dialog .tools button:text-is('{name}')")
        button.click()
        button.hover()
        assert button.get_attribute("aria-expanded") == "true"
        assert is_readable(button), f"{name} cannot be read while it is chosen and under the mouse"


def test_opening_a_panel_moves_no_tool(studio: Studio) -> None:
    page = studio.page
    studio.table(drawn(studio, n="1"))
    dialog, tool = page.locator("dialog"), page.locator("dialog .tools button:text-is('Restyle')")
    before = dialog.bounding_box(), tool.bounding_box()
    for name in ("Vary", "Edit", "Restyle", "Blend with"):
        page.click(f"dialog .tools button:text-is('{name}')")
        page.wait_for_selector("dialog .panel form")
        assert (dialog.bounding_box(), tool.bounding_box()) == before, name


def test_arrow_keys_go_to_the_next_picture(studio: Studio) -> None:
    page = studio.page
    job = drawn(studio, n="3")
    ids = page.eval_on_selector_all(
        f'.sheet[data-job="{job}"] {PICTURES}', "all => all.map(one => one.dataset.picture)"
    )
    studio.table(job)
    page.wait_for_selector(f'dialog[data-shown="{ids[0]}"]')
    for key, number in (("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1)):
        page.keyboard.press(key)
        page.wait_for_selector(f'dialog[data-shown="{ids[number]}"]')
    page.click("dialog button[aria-label='Next picture']")
    page.wait_for_selector(f'dialog[data-shown="{ids[2]}"]')
    page.click("dialog button:text-is('Restyle')")
    page.fill("dialog [name=after]", "a blue fox")
    page.keyboard.press("ArrowLeft")  # moves the caret, and no picture
    assert page.locator("dialog").get_attribute("data-shown") == ids[2]
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")


def test_transparent_picture_has_a_checkerboard(studio: Studio) -> None:
    page = studio.page
    studio.table(drawn(studio, n="1"))
    assert "conic-gradient" in page.eval_on_selector("dialog .base", "base => getComputedStyle(base).backgroundImage")
    board, image = (page.locator(f"dialog {name}").bounding_box() for name in (".board", "img.whole"))
    assert board == image, "the checkerboard is not where the picture is"


def test_copy_settings_shows_a_notice(studio: Studio) -> None:
    page = studio.page
    studio.table(drawn(studio, n="1", seed="5"))
    page.click("dialog button:text-is('Copy settings')")
    page.wait_for_selector("#notice:popover-open")
    assert "Settings copied" in page.inner_text("#notice")
    assert page.input_value("#seed :is(input, textarea)") == "5"


def test_viewer_of_a_result_names_its_origins(studio: Studio) -> None:
    page = studio.page
    job = drawn(studio, "a blue dog", n="1")
    studio.table(job)
    before = studio.sheets()
    page.click("dialog button:text-is('Vary')")
    page.click("dialog .panel button.primary")
    varied = studio.next_sheet(before)
    studio.finished(varied)
    assert page.inner_text(f'.sheet[data-job="{varied}"] h3') == "Variations of a blue dog"
    studio.table(varied)
    assert page.inner_text("dialog h2").split("\n")[0].startswith("a blue dog")
    assert page.inner_text("dialog h2 .tag") == "variation"
    page.click("dialog .origins button[aria-label='Open a blue dog']")
    page.wait_for_selector("dialog h2:not(:has(.tag))")
    page.keyboard.press("Escape")
    page.click("#gallery-tab-button")
    page.wait_for_selector("#gallery figcaption:has-text('a blue dog') .tag:text-is('variation')")
    assert page.locator("text=A picture without words").count() == 0


def test_layers_are_shown_hidden_and_downloaded(studio: Studio) -> None:
    page = studio.page
    studio.table(drawn(studio, "a red fox and a blue dog", n="1"))
    page.click("dialog button:text-is('Layers')")
    page.wait_for_selector("dialog ol.layers")
    assert page.locator("dialog ol.layers .words").all_inner_texts() == ["a blue dog", "a red fox"]  # the topmost first
    page.uncheck("dialog ol.layers input >> nth=0")
    assert page.locator("dialog .over img:visible").count() == 1
    with page.expect_download() as file:
        page.click("dialog button:text-is('Download OpenRaster')")
    assert file.value.suggested_filename.endswith(".ora")
    with zipfile.ZipFile(file.value.path()) as archive:
        assert archive.read("mimetype") == b"image/openraster" and len(archive.namelist()) == 6


def test_layers_of_a_picture_in_one_piece_are_explained(studio: Studio) -> None:
    studio.table(drawn(studio, n="1"))
    studio.page.click("dialog button:text-is('Layers')")
    studio.page.wait_for_selector("dialog .panel:has-text('one piece')")


def test_edit_results_are_kept_or_discarded(studio: Studio) -> None:
    page = studio.page
    job = drawn(studio, n="1", seed="21")
    (row,) = studio.live.store.jobs.pictures("local", job)
    studio.table(job)
    page.click("dialog button:text-is('Edit')")
    page.click("canvas.mask")
    for action, left in (("Discard all", 0), ("Keep this one", 1)):
        before = studio.sheets()
        page.click("dialog .panel button:text-is('Edit')")
        page.wait_for_selector("dialog .results")
        edited = studio.next_sheet(before)
        assert page.locator("dialog .results button").count() == 3  # the picture as it was, and two results
        page.click("dialog .results button[aria-label='Before']")
        assert page.locator("dialog .over").is_hidden()
        page.click("dialog .results button[aria-label='Result 2']")
        assert page.locator("dialog .over img").get_attribute("alt") == "Result 2"
        chosen = studio.live.store.jobs.pictures("local", edited)[1]
        page.click(f"dialog button:text-is('{action}')")
        if left:
            page.wait_for_selector(f'dialog[data-shown="{chosen.id}"]')
        else:
            page.wait_for_selector("canvas.mask")  # with what was painted
            assert page.is_enabled("dialog button:text-is('Undo')")
        kept = [picture.id for picture in studio.live.store.jobs.pictures("local", edited)]
        assert kept == [chosen.id][:left]
    assert studio.live.store.gallery.get("local", row.id) is not None
    page.keyboard.press("Escape")


def test_how_it_works_explains_an_upscale(studio: Studio) -> None:
    page = studio.page
    studio.table(drawn(studio, n="1"))
    before = studio.sheets()
    page.click("dialog button:text-is('Upscale')")
    large = studio.next_sheet(before)
    studio.finished(large)
    page.route("**/nearest*", lambda route: route.fulfill(json={"object": "list", "data": []}))
    studio.table(large)
    page.click("dialog button:text-is('How it works')")
    page.wait_for_selector(".scrub input:enabled")
    assert page.locator("h3:text-is('Which word drew what')").count() == 0


def test_upscale_of_a_large_picture_is_explained(studio: Studio, tmp_path: Path) -> None:
    studio.upload(tmp_path, (300, 200))
    studio.page.click("dialog button:text-is('Upscale')")
    studio.page.wait_for_selector("dialog .wrong:has-text('up to 256 pixels')")

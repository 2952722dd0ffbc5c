"""The gallery's page: likes, selection and search."""

from __future__ import annotations

import zipfile

from live_studio import Studio, is_readable

FIGURES = "#gallery figure.cell"


def gallery(studio: Studio) -> list[str]:
    """Open the gallery, and return the pictures that it shows."""
    studio.page.click("#gallery-tab-button")
    studio.page.wait_for_selector(FIGURES)
    shown: list[str] = studio.page.eval_on_selector_all(FIGURES, "all => all.map(one => one.dataset.picture)")
    return shown


def test_gallery_liked_filter_shows_a_liked_picture(studio: Studio) -> None:
    page = studio.page
    studio.finished(studio.draw("a red fox", n="2"))
    first = gallery(studio)[0]
    page.hover(f'{FIGURES}[data-picture="{first}"]')
    page.click(f'{FIGURES}[data-picture="{first}"] .heart')
    page.wait_for_selector(f'{FIGURES}[data-picture="{first}"] .heart[aria-pressed="true"]')
    page.reload()
    page.wait_for_selector("body[data-ready]")
    gallery(studio)
    page.click("#gallery button:text-is('Liked')")
    page.wait_for_function("id => document.querySelectorAll('#gallery figure.cell').length === 1", arg=first)
    assert page.get_attribute(FIGURES, "data-picture") == first
    page.locator(f"{FIGURES} .heart").press("Space")  # in one move: the grid may be loaded again in between
    page.wait_for_selector("#gallery .empty:has-text('No likes yet')")


def test_selected_pictures_are_downloaded_and_deleted(studio: Studio) -> None:
    page = studio.page
    studio.finished(studio.draw("a blue dog", n="4", seed="40"))
    ids = gallery(studio)
    page.click("#gallery button:text-is('Select')")
    frames = page.locator(f"{FIGURES} .frame")
    frames.nth(0).click()
    frames.nth(2).click(modifiers=["Shift"])
    frames.nth(3).focus()
    page.keyboard.press("Enter")
    assert page.inner_text("#gallery .selection [role=status]") == "4 selected"
    frames.nth(3).click()
    assert page.inner_text("#gallery .selection [role=status]") == "3 selected"
    with page.expect_download() as file:
        page.click("#gallery .selection button:text-is('Download')")
    assert file.value.suggested_filename == "sumi-3-pictures.zip"
    with zipfile.ZipFile(file.value.path()) as archive:
        rows = [studio.live.store.gallery.get("local", name) for name in ids[:3]]
        kept = [studio.live.store.gallery.read(row) for row in rows if row is not None]
        assert [archive.read(name) for name in archive.namelist()] == kept
    delete = page.locator("#gallery .selection button:has-text('elete')")
    delete.click()
    delete.click()
    page.wait_for_selector(f'{FIGURES}[data-picture="{ids[0]}"]', state="detached")
    page.wait_for_selector("#notice:has-text('3 pictures deleted')")
    assert [studio.live.store.gallery.get("local", name) is None for name in ids[:4]] == [True, True, True, False]
    assert page.locator("dialog").count() == 0


def test_search_placeholder_is_fainter_than_text(studio: Studio) -> None:
    gallery(studio) if studio.sheets() else studio.page.click("#gallery-tab-button")
    colours = studio.page.eval_on_selector(
        "#gallery [name=search]",
        "input => [getComputedStyle(input).color, getComputedStyle(input, '::placeholder').color]",
    )
    assert colours[0] != colours[1]
    assert is_readable(studio.page.locator("#gallery [name=search]"), "::placeholder")


def test_how_it_works_pages_through_all_pictures(studio: Studio) -> None:
    page = studio.page
    none = {"object": "list", "data": []}
    page.route("**/nearest*", lambda route: route.fulfill(json=none))
    studio.finished(studio.draw("a red fox", n="12"))
    studio.finished(studio.draw("a blue dog", n="2"))
    page.click("#how-tab-button")
    page.wait_for_selector(".strip .frame")
    seen: list[str] = []
    while True:
        shown = page.eval_on_selector_all(".strip .frame", "all => all.map(one => one.dataset.choice)")
        seen += shown
        if page.is_disabled(".pages button:text-is('Older')"):
            break
        page.click(".pages button:text-is('Older')")
        page.wait_for_function("old => document.querySelector('.strip .frame').dataset.choice !== old", arg=shown[0])
    rows = studio.live.store.gallery.page("local", limit=100).items
    assert set(seen) >= {row.id for row in rows}
    page.click(".pages button:text-is('Newer')")

"""The user's own pictures: chosen, dropped or pasted, then worked on like any other."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from live_studio import Studio
from PIL import Image

DROP = """([data, kind]) => {
    const bytes = Uint8Array.from(atob(data), sign => sign.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], kind === 'paste' ? 'image.png' : 'my leaf.png', { type: 'image/png' }));
    const name = kind === 'paste' ? 'clipboardData' : 'dataTransfer';
    const event = kind === 'paste' ? new ClipboardEvent('paste', { bubbles: true, cancelable: true, [name]: transfer })
        : new DragEvent(kind, { bubbles: true, cancelable: true, [name]: transfer });
    document.body.dispatchEvent(event);
}"""


@pytest.fixture
def leaf_file(leaf: Image.Image, tmp_path: Path) -> Path:
    leaf.save(tmp_path / "my leaf.png")
    return tmp_path / "my leaf.png"


@pytest.mark.parametrize("way", ["button", "drop", "paste"])
def test_upload_by_dialog_drop_and_paste_opens_the_picture(studio: Studio, leaf_file: Path, way: str) -> None:
    page = studio.page
    if way == "button":
        with page.expect_file_chooser() as chooser:
            page.click("#upload button")
        chooser.value.set_files(leaf_file)
    else:  # a browser lets no program drop or paste a file, so the event is made here
        data = base64.b64encode(leaf_file.read_bytes()).decode()
        if way == "drop":
            page.evaluate(DROP, [data, "dragover"])
            assert page.locator(".veil").is_visible()
        page.evaluate(DROP, [data, way])
        page.wait_for_selector(".veil", state="hidden")
    page.wait_for_selector("dialog img.whole")
    before = studio.sheets()
    page.click("dialog button:text-is('Vary')")
    page.click("dialog .panel button.primary")
    kept = studio.finished(studio.next_sheet(before))
    assert kept.kind == "vary" and len(kept.request["images"]) == 1


def test_upload_is_edited_restyled_blended_and_upscaled(studio: Studio, leaf_file: Path, leaf: Image.Image) -> None:
    page = studio.page
    leaf.rotate(90).save(other := leaf_file.with_name("other.webp"))

    def begin() -> list[str]:
        page.set_input_files("#upload input[type=file]", leaf_file)
        page.wait_for_selector("dialog img.whole")
        assert page.locator("dialog button:text-is('PNG')").count() == 0  # it is in no gallery yet
        return studio.sheets()

    before = begin()
    page.click("dialog button:text-is('Upscale')")
    assert studio.finished(studio.next_sheet(before)).kind == "upscale"

    before = begin()
    page.click("dialog button:text-is('Restyle')")
    page.fill("dialog [name=before]", "a red fox")
    page.fill("dialog [name=after]", "a blue fox")
    page.click("dialog .panel button.primary")
    assert studio.finished(studio.next_sheet(before)).kind == "restyle"

    before = begin()
    page.click("dialog button:text-is('Blend with')")
    page.set_input_files("dialog input[type=file]", other)
    page.wait_for_selector("dialog .choice:first-child :checked", state="attached")
    page.click("dialog .panel button.primary")
    kept = studio.finished(studio.next_sheet(before))
    assert kept.kind == "blend" and len(kept.request["images"]) == 2

    before = begin()
    page.click("dialog button:text-is('Edit')")
    page.fill("dialog [name=prompt]", "a red fox")
    page.click("canvas.mask")
    page.click("dialog .panel button:text-is('Edit')")
    page.wait_for_selector("dialog .results")
    assert studio.finished(studio.next_sheet(before)).kind == "edit"
    page.click("dialog button:text-is('Keep this one')")
    page.wait_for_selector("dialog .origins:has-text('uploaded')")


def test_upload_of_no_picture_is_explained(studio: Studio, tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("no picture")
    studio.page.set_input_files("#upload input[type=file]", tmp_path / "notes.png")
    studio.page.wait_for_selector("#notice.error:popover-open")
    assert "cannot open notes.png as a picture" in studio.page.inner_text("#notice")
    assert studio.page.locator("dialog").count() == 0


def test_pasted_text_goes_to_the_focused_field(studio: Studio) -> None:
    page = studio.page
    page.fill("#prompt textarea", "")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=studio.live.url)
    page.evaluate("navigator.clipboard.writeText('a green dragon')")
    page.focus("#prompt textarea")
    page.keyboard.press("Control+v")
    page.wait_for_function("() => document.querySelector('#prompt textarea').value === 'a green dragon'")
    assert page.locator("dialog").count() == 0

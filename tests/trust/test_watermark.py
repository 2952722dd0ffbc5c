"""The watermark changes little, leaves what is transparent alone, and is found again after ordinary edits."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from sumi.trust.watermark import add_watermark, detect_watermark, is_on


@pytest.fixture(scope="module")
def sticker() -> Image.Image:
    """A flat drawing on a transparent background."""
    image = Image.new("RGBA", (256, 256), (0, 0, 0, 0))
    draw = ImageDraw.Draw(image)
    draw.ellipse((20, 20, 236, 236), fill=(230, 120, 40, 255))
    draw.ellipse((70, 90, 130, 150), fill=(250, 240, 220, 255))
    return image


@pytest.fixture(scope="module")
def marked(sticker: Image.Image) -> Image.Image:
    return add_watermark(sticker, "a key")


def resave(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    page = Image.new("RGBA", image.size, "white")
    Image.alpha_composite(page, image).convert("RGB").save(file, "JPEG", quality=quality)
    return Image.open(file)


def screenshot(image: Image.Image) -> Image.Image:
    page = Image.new("RGB", (500, 420), (40, 44, 52))
    shown = image.resize((320, 320), Image.Resampling.BICUBIC)
    page.paste(shown, (100, 60), shown)
    return page


EDITS = {
    "none": lambda image: image,
    "JPEG 75": lambda image: resave(image, 75),
    "half": lambda image: image.resize((128, 128), Image.Resampling.BICUBIC),
    "twice": lambda image: image.resize((512, 512), Image.Resampling.BICUBIC),
    "crop": lambda image: image.crop((37, 52, 197, 212)),
    "screenshot": screenshot,
}


def test_add_watermark_changes_few_levels_and_nothing_transparent(sticker: Image.Image, marked: Image.Image) -> None:
    before, after = (np.asarray(image, int) for image in (sticker, marked))
    changes = np.abs(after - before)
    assert tuple(changes.max(axis=(0, 1))) == (2, 2, 5, 0)
    assert not changes[before[..., 3] == 0].any()
    assert add_watermark(sticker, "a key").tobytes() == marked.tobytes()


@pytest.mark.parametrize("edit", EDITS)
def test_detect_watermark_finds_its_own_key_after_an_edit(marked: Image.Image, edit: str) -> None:
    assert detect_watermark(EDITS[edit](marked), "a key").detected


def test_detect_watermark_finds_no_other_key_and_nothing_in_a_bare_picture(
    sticker: Image.Image, marked: Image.Image
) -> None:
    scales = (1.0, 2.0, 0.5)
    assert not detect_watermark(marked, "another", scales).detected
    assert not detect_watermark(sticker, "a key", scales).detected
    assert detect_watermark(Image.new("RGB", (8, 8)), "a key").score == 0.0


def test_add_watermark_keeps_the_mode_and_marks_any_size() -> None:
    wide = add_watermark(Image.new("RGB", (700, 90), (128, 128, 128)))
    assert wide.mode == "RGB" and wide.size == (700, 90) and detect_watermark(wide).detected


def test_is_on_only_where_the_setting_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SUMI_WATERMARK", raising=False)
    assert not is_on()
    monkeypatch.setenv("SUMI_WATERMARK", "on")
    assert is_on()

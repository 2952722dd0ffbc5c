"""PNG files: every way to encode holds the same pixels."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sumi.errors import SumiError
from sumi.imaging.png import encode_png, save_png


@pytest.mark.parametrize("options", [{}, {"fast": True}, {"optimize": True}])
def test_encode_png_keeps_every_pixel(options: dict[str, Any]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 4), dtype=np.uint8)
    data = encode_png(Image.fromarray(pixels), **options)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(data))), pixels)


def test_encode_png_writes_text_chunks() -> None:
    info = PngInfo()
    info.add_text("sumi", "{}")
    with Image.open(io.BytesIO(encode_png(Image.new("RGB", (2, 2)), info))) as image:
        assert image.text == {"sumi": "{}"}


def test_save_png_names_a_folder_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SumiError, match=r"cannot write .*fox\.png: No such file"):
        save_png(tmp_path / "absent" / "fox.png", Image.new("RGB", (2, 2)))

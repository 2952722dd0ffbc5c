"""Premultiplied pictures: what they look like to a person, to a network and over a colour."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sumi import SumiError
from sumi.imaging.pixels import (
    HAZE,
    checkerboard,
    from_image,
    from_levels,
    open_image,
    resize,
    sheet,
    to_image,
    to_levels,
)


def painted(red: int, green: int, blue: int, alpha: int) -> torch.Tensor:
    return torch.tensor([red, green, blue, alpha], dtype=torch.uint8)[:, None, None].expand(4, 2, 2)


def test_levels_survive_the_way_to_the_network_and_back() -> None:
    alpha = torch.randint(0, 2, (3, 1, 8, 8)) * 255
    levels = torch.cat([torch.randint(0, 256, (3, 3, 8, 8)).minimum(alpha), alpha], dim=1).to(torch.uint8)
    assert torch.equal(to_levels(from_levels(levels)), levels)


def test_haze_is_cleared_and_colour_never_exceeds_alpha() -> None:
    x = torch.full((1, 4, 2, 2), HAZE) * 2 - 1
    assert to_levels(x).max() == 0, "a faint veil is nothing"
    x = torch.rand(1, 4, 16, 16) * 2.4 - 1.2
    levels = to_levels(x)
    assert (levels[:, :3] <= levels[:, 3:]).all()
    nearly = torch.ones(1, 4, 2, 2) - HAZE
    assert to_levels(nearly)[:, 3].min() == 255, "nearly opaque is opaque"


def test_a_picture_keeps_its_transparency_or_lies_on_a_colour() -> None:
    half_red = painted(128, 0, 0, 128)
    assert to_image(half_red).getpixel((0, 0)) == (255, 0, 0, 128)
    assert to_image(half_red, (255, 255, 255)).getpixel((0, 0)) == (255, 127, 127)
    assert to_image(half_red, (0, 0, 255)).getpixel((0, 0)) == (128, 0, 127)
    assert to_image(painted(0, 0, 0, 0)).getpixel((0, 0)) == (0, 0, 0, 0)
    assert to_image(painted(0, 0, 0, 0), (9, 8, 7)).getpixel((0, 0)) == (9, 8, 7)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_any_kind_of_picture_is_read_as_premultiplied_rgba(mode: str) -> None:
    grey = np.full((8, 16), 65535 if mode == "I;16" else 255, dtype=np.uint16 if mode == "I;16" else np.uint8)
    image = Image.fromarray(grey)
    levels = from_image(image if mode == "I;16" else image.convert(mode), 8)
    assert levels.shape == (4, 8, 8) and levels.dtype == torch.uint8
    assert levels[:, 4].min() == 255, "white inside"
    assert levels[:, 0].max() == levels[:, 7].max() == 0, "and nothing above and below a wide picture"


def test_sixteen_bit_grey_is_scaled_and_not_clipped() -> None:
    image = Image.fromarray(np.full((4, 4), 32768, dtype=np.uint16))
    assert from_image(image, 4)[0, 0, 0] in (127, 128)


def test_a_transparent_colour_is_not_seen() -> None:
    hidden = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert from_image(hidden, 4).max() == 0


def test_a_photograph_is_turned_upright(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 4), "white")
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    levels = from_image(open_image(tmp_path / "a.jpg"), 8)
    assert levels[3, :, 0].max() == 0 and levels[3, 0, 4] == 255


def test_resizing_to_the_same_size_changes_nothing() -> None:
    x = torch.rand(1, 4, 5, 5)
    assert resize(x, (5, 5)) is x
    flat = torch.full((1, 4, 64, 64), 0.25)
    assert torch.allclose(resize(flat, (16, 16)), flat[..., :16, :16], atol=1e-6)


def test_a_contact_sheet_shows_transparency_as_a_board() -> None:
    images = [Image.new("RGBA", (10, 10)), Image.new("RGB", (10, 10), "red"), Image.new("RGBA", (10, 10), "blue")]
    page = sheet(images, gap_px=2)
    assert page.size == (26, 26) and page.mode == "RGB"
    assert page.getpixel((2, 2)) == checkerboard(10, 10).getpixel((0, 0))
    assert page.getpixel((15, 5)) == (255, 0, 0)
    assert page.getpixel((5, 15)) == (0, 0, 255)


def encoded(kind: str, **more: object) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((24, 24), 50).convert("RGB").save(file, kind, **more)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"])
def test_a_truncated_picture_is_one_line_or_read(kind: str, tmp_path: Path) -> None:
    whole, path = encoded(kind), tmp_path / "cut"
    for cut in range(20):
        path.write_bytes(whole[: len(whole) * cut // 20])
        with pytest.raises(SumiError) as caught:
            open_image(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_a_picture_with_flipped_bits_is_one_line_or_read(kind: str, tmp_path: Path) -> None:
    whole, path = encoded(kind), tmp_path / "flipped"
    for place in range(0, min(len(whole), 400), 7):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            from_image(open_image(path), 8)
        except SumiError as error:
            assert "\n" not in str(error)


def chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def png(width: int, height: int, *extra: bytes) -> bytes:
    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    head = chunk(b"IHDR", size + b"\x08\x06\x00\x00\x00")
    rows = zlib.compress(bytes(5 * min(width * height, 1000)))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(extra) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_bombs_and_strangers_are_refused(tmp_path: Path) -> None:
    cases = {
        "pixels": (png(30_000, 30_000), "too large a picture"),
        "ribbon": (png(1, 65_000), "too large a picture"),
        "zero": (png(0, 0), "cannot read|too large"),
        "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "not one of PNG, JPEG, WEBP, GIF"),
        "html": (b"<html><script>alert(1)</script>", "not one of"),
        "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not one of"),
        "empty": (b"", "not one of"),
        "pickle": (b"\x80\x04.", "not one of"),
    }
    for name, (data, says) in cases.items():
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(SumiError, match=says):
            open_image(path)
    with pytest.raises(SumiError, match="No such file"):
        open_image(tmp_path / "absent.png")
    with pytest.raises(SumiError, match="Is a directory"):
        open_image(tmp_path)
    with pytest.raises(SumiError):
        open_image("a\0b.png")

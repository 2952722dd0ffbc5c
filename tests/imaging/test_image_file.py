"""Picture files from anywhere: damaged, too large or of another format, each is refused in one line."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import pytest
import torch
from PIL import Image

from sumi import SumiError
from sumi.imaging.image_file import FORMATS, open_image
from sumi.imaging.pixels import from_image


def test_open_image_keeps_orientation_for_from_image(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 4), "white")
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    levels = from_image(open_image(tmp_path / "a.jpg"), 8)
    assert levels[3, :, 0].max() == 0 and levels[3, 0, 4] == 255


def encoded(kind: str, **more: object) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((24, 24), 50).convert("RGB").save(file, kind, **more)
    return file.getvalue()


@pytest.mark.parametrize("kind", FORMATS)
def test_open_image_refuses_a_truncated_file_in_one_line(kind: str, tmp_path: Path) -> None:
    whole, path = encoded(kind), tmp_path / "cut"
    path.write_bytes(whole)
    assert open_image(path).size == (24, 24)
    for cut in range(20):
        path.write_bytes(whole[: len(whole) * cut // 20])
        with pytest.raises(SumiError) as caught:
            open_image(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["TIFF", "BMP"])
def test_open_image_refuses_other_formats(kind: str, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(encoded(kind))
    with pytest.raises(SumiError, match="not one of PNG, JPEG, WEBP, GIF"):
        open_image(tmp_path / "other")


@pytest.mark.parametrize("kind", FORMATS)
def test_open_image_reads_or_refuses_a_file_with_flipped_bits(kind: str, tmp_path: Path) -> None:
    """Each damaged file becomes a whole picture or one line that names it; no decoder's exception escapes."""
    whole, path = encoded(kind), tmp_path / "flipped"
    refusals = []
    for place in range(0, min(len(whole), 400), 7):
        damaged = bytearray(whole)
        damaged[place] ^= 0xFF
        path.write_bytes(damaged)
        try:
            image = open_image(path)
        except SumiError as error:
            refusals.append((place, str(error)))
        else:
            levels = from_image(image, 8)
            assert levels.shape == (4, 8, 8) and levels.dtype == torch.uint8
    assert refusals[0][0] == 0, "a file with a damaged signature was read"
    assert all(str(path) in message and "\n" not in message for _, message in refusals)


def chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def png(width: int, height: int, *extra: bytes) -> bytes:
    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    head = chunk(b"IHDR", size + b"\x08\x06\x00\x00\x00")
    rows = zlib.compress(bytes(5 * min(width * height, 1000)))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(extra) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_open_image_refuses_bombs_and_other_files(tmp_path: Path) -> None:
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

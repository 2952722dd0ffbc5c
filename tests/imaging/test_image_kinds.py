"""A picture in every form that people have it: any mode, profile and depth, a path, bytes, a file, an array."""

from __future__ import annotations

import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from sumi import SumiError
from sumi.imaging.image_file import as_image, open_image, read_image, rgba
from sumi.systems.unclip.artist import Sumi

SIZE = 9, 7


def saved(image: Image.Image, kind: str = "PNG", **how: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format=kind, **how)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")


def png(depth: int, colour: int, row: bytes, width: int, *more: bytes) -> bytes:
    """A PNG of one row; colour 0 is grey, 2 RGB."""
    head = chunk(b"IHDR", width.to_bytes(4, "big") + (1).to_bytes(4, "big") + bytes([depth, colour, 0, 0, 0]))
    body = b"".join(more) + chunk(b"IDAT", zlib.compress(b"\0" + row)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + head + body


def read(data: bytes) -> Image.Image:
    return rgba(read_image(io.BytesIO(data), "of a test"))


# Modes.

GREY: dict[str, object] = {
    "1": 255, "L": 200, "LA": (200, 100), "La": (78, 100), "RGB": (200, 200, 200), "RGBA": (200, 200, 200, 100),
    "RGBa": (78, 78, 78, 100), "RGBX": (200, 200, 200, 0), "CMYK": (55, 55, 55, 0), "YCbCr": (200, 128, 128),
    "HSV": (0, 0, 200), "LAB": (205, 128, 128), "I": 200, "I;16": 51400, "I;16L": 51400, "I;16B": 51400,
    "I;16N": 51400, "F": 200.0,
}  # fmt: skip


@pytest.mark.parametrize("mode", GREY)
def test_a_grey_is_the_same_grey_in_every_mode(mode: str) -> None:
    made = rgba(Image.new(mode, SIZE, GREY[mode]))  # type: ignore[arg-type]
    red, green, blue, alpha = made.getpixel((3, 3))  # type: ignore[misc]
    assert made.mode == "RGBA" and made.size == SIZE
    wanted = 255 if mode == "1" else 200
    assert all(abs(level - wanted) <= 2 for level in (red, green, blue)), made.getpixel((3, 3))
    assert alpha == (100 if mode in ("LA", "La", "RGBA", "RGBa") else 255)


def test_a_palette_keeps_its_alpha() -> None:
    image = Image.new("RGBA", SIZE, (10, 200, 30, 99))
    assert rgba(image.convert("PA")).getpixel((0, 0)) == (10, 200, 30, 99)
    assert rgba(image.convert("P")).getpixel((0, 0))[3] in (99, 255)  # type: ignore[index]


@pytest.mark.parametrize("mode", ["I", "F"])
def test_levels_past_white_are_white_as_in_pillow(mode: str) -> None:
    image = Image.new(mode, (2, 1), 70_000)
    image.putpixel((1, 0), -5)
    assert [rgba(image).getpixel((x, 0)) for x in (0, 1)] == [(255, 255, 255, 255), (0, 0, 0, 255)]


def test_32_bit_integers_that_hold_16_bit_grey_are_scaled() -> None:
    assert rgba(Image.new("I", SIZE, 32_896)).getpixel((0, 0)) == (128, 128, 128, 255)


# Transparent colours: one level of grey or one colour is clear, at every depth.


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_the_transparent_grey_of_a_png_is_clear_at_every_depth(depth: int) -> None:
    levels = [0, 1, 1, 0] if depth == 1 else [0, 1, 2, 3]
    bits = "".join(format(level, f"0{depth}b") for level in levels).ljust(8, "0")
    row = bytes(int(bits[place : place + 8], 2) for place in range(0, len(bits), 8))
    image = read(png(depth, 0, row, 4, chunk(b"tRNS", (1).to_bytes(2, "big"))))
    assert list(image.getchannel("A").tobytes()) == [0 if level == 1 else 255 for level in levels]


@pytest.mark.parametrize("depth", [8, 16])
def test_the_transparent_colour_of_a_png_is_clear_at_every_depth(depth: int) -> None:
    size = depth // 8
    high = 2 ** (depth - 8)
    colours = [(10, 20, 30), (10, 20, 40), (200, 100, 0)]
    row = b"".join((level * high).to_bytes(size, "big") for colour in colours for level in colour)
    clear = b"".join((level * high).to_bytes(2, "big") for level in colours[0])
    image = read(png(depth, 2, row, 3, chunk(b"tRNS", clear)))
    assert list(image.getchannel("A").tobytes()) == [0, 255, 255]
    assert image.getpixel((2, 0)) == (200, 100, 0, 255)


# Colour profiles.


def swapped() -> bytes:
    """A profile whose red and green primaries are exchanged, made from sRGB's own: no error can be missed."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = profile.index(b"rXYZ", 128), profile.index(b"gXYZ", 128)
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(profile)


def s15f16(*values: float) -> bytes:
    return b"".join(round(value * 65536).to_bytes(4, "big") for value in values)


def profile_of(kind: bytes, space: bytes, signature: bytes, body: bytes) -> bytes:
    """A profile with a name, a white point and one tag, as in ICC.1:2001-04."""
    white = s15f16(0.9642, 1.0, 0.8249)
    name = b"desc\0\0\0\0" + (5).to_bytes(4, "big") + b"test\0" + bytes(8 + 70 + 1)
    tags, data, place = b"", b"", 128 + 4 + 3 * 12
    for tag, value in ((b"desc", name), (b"wtpt", b"XYZ \0\0\0\0" + white), (signature, body)):
        tags += tag + (place + len(data)).to_bytes(4, "big") + len(value).to_bytes(4, "big")
        data += value + bytes(-len(value) % 4)
    head = bytearray(128)
    head[:4] = (place + len(data)).to_bytes(4, "big")
    head[8:12], head[12:24], head[36:40] = b"\x02\x40\0\0", kind + space, b"acsp"
    head[68:80] = white
    return bytes(head) + (3).to_bytes(4, "big") + tags + data


def grey_profile(gamma: float) -> bytes:
    """A profile of grey with a gamma curve."""
    curve = b"curv\0\0\0\0" + (1).to_bytes(4, "big") + round(gamma * 256).to_bytes(2, "big")
    return profile_of(b"mntr", b"GRAYXYZ ", b"kTRC", curve)


def cmyk_profile() -> bytes:
    """A profile of CMYK by a table of its corners: cyan is L* 50 without colour, everything else is white."""
    ramp = bytes(range(256))
    corners = b"".join(bytes([128 if corner == 8 else 255, 128, 128]) for corner in range(16))
    table = b"mft1\0\0\0\0\x04\x03\x02\0" + s15f16(1, 0, 0, 0, 1, 0, 0, 0, 1) + ramp * 4 + corners + ramp * 3
    return profile_of(b"prtr", b"CMYKLab ", b"A2B0", table)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_profile_is_read_into_srgb(kind: str, mode: str) -> None:
    if kind != "PNG" and mode != "RGB":
        pytest.skip("the mode is kept in PNG alone")
    image = Image.new("RGB", (16, 16), (220, 40, 30)).convert(mode, palette=Image.Palette.ADAPTIVE)
    how = {"lossless": True} if kind == "WEBP" else {"quality": 100} if kind == "JPEG" else {}
    seen = read(saved(image, kind, icc_profile=swapped(), **how))
    assert all(abs(a - b) < 4 for a, b in zip(seen.getpixel((8, 8)), (40, 220, 30, 255), strict=True))  # type: ignore[arg-type]
    assert "icc_profile" not in seen.info, "else it would be applied twice"
    assert np.array_equal(np.asarray(rgba(seen)), np.asarray(seen))


def test_transparency_survives_a_profile() -> None:
    image = Image.new("RGBA", (4, 4), (220, 40, 30, 77))
    assert read(saved(image, icc_profile=swapped())).getpixel((0, 0))[3] == 77  # type: ignore[index]


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_a_grey_profile_is_read(mode: str) -> None:
    image = Image.new("L", SIZE, 128).convert(mode)
    linear = read(saved(image, icc_profile=grey_profile(1.0))).getpixel((0, 0))
    assert all(abs(level - 188) <= 2 for level in linear[:3]), linear  # type: ignore[index]


@pytest.mark.parametrize("kind", ["JPEG", "Pillow"])
def test_a_cmyk_profile_is_read(kind: str) -> None:
    image = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    image.info["icc_profile"] = cmyk_profile()
    seen = rgba(image) if kind == "Pillow" else read(saved(image, "JPEG", quality=100, icc_profile=cmyk_profile()))
    assert all(abs(level - 119) <= 3 for level in seen.getpixel((8, 8))[:3]), seen.getpixel((8, 8))  # type: ignore[index]


def test_srgb_leaves_every_bit_as_it_is() -> None:
    levels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    seen = read(saved(Image.fromarray(levels), icc_profile=profile))
    assert np.array_equal(np.asarray(seen)[..., :3], levels)


@pytest.mark.parametrize(
    "profile", [b"no profile" * 20, b"", swapped()[:200], grey_profile(2.2)], ids=["junk", "empty", "cut", "of grey"]
)
def test_a_profile_that_is_broken_or_of_other_pixels_is_ignored(profile: bytes) -> None:
    image = Image.new("RGB", SIZE, (220, 40, 30))
    assert read(saved(image, icc_profile=profile)).getpixel((0, 0)) == (220, 40, 30, 255)
    cmyk = Image.new("CMYK", SIZE, (55, 55, 55, 0))
    cmyk.info["icc_profile"] = profile
    assert rgba(cmyk).getpixel((0, 0)) == (200, 200, 200, 255)


def test_an_edit_keeps_the_colours_that_are_seen(tiny: Sumi) -> None:
    image = Image.new("RGB", (16, 16), (220, 40, 30))
    data = saved(image, icc_profile=swapped())
    mask = np.zeros((16, 16), dtype=bool)
    mask[:4, :4] = True
    (edited,) = tiny.edit(data, "a fox", mask, seed=1, steps=1, rounds=1)
    after = Image.open(io.BytesIO(edited.png()))
    assert "icc_profile" not in after.info
    assert all(abs(a - b) < 4 for a, b in zip(after.convert("RGB").getpixel((12, 12)), (40, 220, 30), strict=True))  # type: ignore[arg-type]


# Text and damage beside the pixels.


def test_a_sound_picture_with_much_text_is_read() -> None:
    info = PngInfo()
    info.add_text("workflow", "{}" * 2_000_000, zip=True)
    info.add_itxt("XML:com.adobe.xmp", "<a/>" * 1_000_000, zip=True)
    info.add_text("sumi", "{}")
    opened = read_image(io.BytesIO(saved(Image.new("RGB", SIZE, "red"), pnginfo=info)), "of a test")
    assert rgba(opened).getpixel((0, 0)) == (255, 0, 0, 255) and opened.info["sumi"] == "{}"


def test_a_large_profile_is_applied() -> None:
    profile = swapped() + bytes(3_000_000)
    grown = len(profile).to_bytes(4, "big") + profile[4:]
    seen = read(saved(Image.new("RGB", SIZE, (220, 40, 30)), icc_profile=grown))
    assert seen.getpixel((0, 0))[1] > 200  # type: ignore[index]


def test_a_text_of_64_megabytes_is_never_unpacked() -> None:
    bomb = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**26), 9))
    assert read(png(8, 2, b"\xff\0\0", 1, bomb)).getpixel((0, 0)) == (255, 0, 0, 255)


@pytest.mark.parametrize("kind", [b"tEXt", b"eXIf", b"iCCP", b"pHYs", b"tIME"])
def test_a_damaged_chunk_beside_sound_pixels_is_left_out(kind: bytes) -> None:
    damaged = bytearray(chunk(kind, b"a\0" + bytes(7)))
    damaged[-1] ^= 0xFF
    assert read(png(8, 2, b"\xff\0\0", 1, bytes(damaged))).getpixel((0, 0)) == (255, 0, 0, 255)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "CMYK", "I", "I;16", "F"])
def test_every_mode_is_turned_upright(mode: str) -> None:
    image = Image.new(mode, SIZE)
    image.getexif()[0x0112] = 6
    assert rgba(image).size == SIZE[::-1]


# Forms.


def forms(tmp_path: Path) -> dict[str, Any]:
    image = Image.new("RGB", SIZE, (220, 40, 30))
    image.save(tmp_path / "a.png")
    data = saved(image)
    at_end = io.BytesIO(data)
    at_end.seek(0, io.SEEK_END)

    class Stream(io.RawIOBase):
        """A response from somewhere: it is read once."""

        def __init__(self) -> None:
            self.left = io.BytesIO(data)

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            return self.left.readinto(buffer)

    array = np.asarray(image)
    return {
        "text": str(tmp_path / "a.png"), "path": tmp_path / "a.png", "bytes": data, "bytearray": bytearray(data),
        "memoryview": memoryview(data), "file": (tmp_path / "a.png").open("rb"), "BytesIO": io.BytesIO(data),
        "BytesIO at its end": at_end, "stream": Stream(), "Pillow": image, "array": array, "view": array[::-1, ::-1],
        "floats": array.astype(np.float32) / 255, "16 bits": array.astype(np.uint16) * 257, "int64": array.astype(int),
        "RGBA": np.dstack([array, np.full(SIZE[::-1], 255, np.uint8)]),
    }  # fmt: skip


def test_every_form_of_a_picture_is_read_alike(tmp_path: Path) -> None:
    for name, form in forms(tmp_path).items():
        image = rgba(as_image(form))
        assert image.size == SIZE and image.getpixel((3, 3)) == (220, 40, 30, 255), name
        if hasattr(form, "close"):
            form.close()


def test_grey_and_boolean_arrays_are_read() -> None:
    for levels in (np.full((7, 9), 200, np.uint8), np.full((7, 9, 1), 200, np.uint8), np.full((7, 9), 200 / 255)):
        assert rgba(as_image(levels)).getpixel((0, 0)) == (200, 200, 200, 255)
    assert rgba(as_image(np.ones((7, 9), bool))).getpixel((0, 0)) == (255, 255, 255, 255)
    assert rgba(as_image(np.full((7, 9, 2), 100, np.uint8))).getpixel((0, 0)) == (100, 100, 100, 100)


REFUSED: dict[str, Any] = {
    "nothing": None, "number": 7, "object": object(), "set": {1}, "class": Image.Image, "one row": np.zeros(9),
    "channels first": np.zeros((3, 9, 9), np.uint8), "batch": np.zeros((2, 9, 9, 3), np.uint8),
    "no pixels": np.zeros((0, 9, 3), np.uint8), "texts": np.full((4, 4), "a"), "objects": np.full((4, 4), None),
    "complex": np.zeros((4, 4), complex), "too bright": np.full((4, 4), 300), "dark": np.full((4, 4), -1),
    "floats to 255": np.full((4, 4), 200.0), "not numbers": np.full((4, 4), np.nan), "0x0": Image.new("RGB", (0, 0)),
    "0x5": Image.new("RGB", (0, 5)), "no bytes": b"", "text bytes": b"a red fox", "empty file": io.BytesIO(b""),
    "text file": io.StringIO("a"), "closed file": None, "large": Image.new("1", (70_000, 1)), "no path": "a\0b.png",
    "empty path": "", "folder": ".", "absent": "absent.png", "list": [Image.new("RGB", (4, 4))], "pictures": [],
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_picture_is_refused_in_one_line_by_every_verb(name: str, tiny: Sumi) -> None:
    thing = REFUSED[name]
    if name == "closed file":
        thing = io.BytesIO(b"a")
        thing.close()
    white = Image.new("L", (4, 4), 255)
    calls = [
        lambda: tiny.vary(thing), lambda: tiny.edit(thing, "a fox", white), lambda: tiny.blend(thing, white),
        lambda: tiny.blend(white, thing), lambda: tiny.restyle(thing, "a fox", "a dog"), lambda: tiny.explore(thing),
        lambda: tiny.img2img(thing, "a fox"), lambda: tiny.upscale(thing), lambda: tiny.classify(thing, "fox,dog"),
        lambda: tiny.rank([thing], "a fox"), lambda: tiny.nearest(thing),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(SumiError) as caught:
            call()
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_a_damaged_file_that_pillow_opened_is_refused(tiny: Sumi) -> None:
    data = saved(Image.effect_noise((64, 64), 50))
    with pytest.raises(SumiError, match="cannot be read"):
        tiny.vary(Image.open(io.BytesIO(data[: len(data) // 2])), seed=1)


def test_a_drawn_picture_is_taken_by_every_verb(tiny: Sumi) -> None:
    drawn = tiny.generate("a fox", n=2, seed=1)
    assert tiny.vary(drawn[0], seed=1) and tiny.blend(*drawn, frames=2, seed=1) and tiny.upscale(drawn[0], seed=1)
    assert tiny.classify(drawn[0], ["fox", "dog"]).keys() == {"fox", "dog"}
    assert len(tiny.rank(drawn, "a fox")) == 2
    assert tiny.rank(drawn[0], "a fox") == tiny.rank([drawn[0].image], "a fox")


def test_one_picture_is_ranked_as_a_list_of_one_is(tiny: Sumi, tmp_path: Path) -> None:
    image = Image.new("RGB", SIZE, (220, 40, 30))
    image.save(tmp_path / "a.png")
    wanted = tiny.rank([image], "a fox")
    path = tmp_path / "a.png"
    for one in (image, path, str(path), path.read_bytes(), io.BytesIO(path.read_bytes()), np.asarray(image)):
        assert tiny.rank(one, "a fox") == wanted
    assert tiny.rank(iter([path, path]), "a fox") == pytest.approx(wanted * 2, abs=1e-5)
    assert tiny.rank(np.stack([np.asarray(image)] * 2), "a fox") == pytest.approx(wanted * 2, abs=1e-5)


def test_labels_in_one_text_are_split(tiny: Sumi) -> None:
    image = Image.new("RGB", SIZE, "red")
    wanted = tiny.classify(image, ["fox", "dog"])
    assert tiny.classify(image, "fox, dog") == tiny.classify(image, iter(["fox", "dog"])) == wanted
    assert tiny.classify(image, np.array(["fox", "dog"])) == wanted
    for labels in ("fox", "", "fox,fox", b"fox,dog", 7, None, ["fox", 7]):
        with pytest.raises(SumiError):
            tiny.classify(image, labels)  # type: ignore[arg-type]


def test_a_path_is_a_path_and_not_a_picture_of_letters() -> None:
    with pytest.raises(SumiError, match="No such file"):
        open_image("fox,dog")

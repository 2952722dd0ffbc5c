"""Copies are found whatever was done to them, and pictures that only look alike are not taken for copies."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from sumi.curation.duplicates import find_duplicates, find_pairs, join_pairs
from sumi.curation.fingerprint import hash_bits, make_view, mirrored_hash, perceptual_hash
from sumi.curation.scan import PictureScan, scan_record
from sumi.data.picture_dataset import PictureRecord, make_record


def draw(number: int, size: int = 128) -> Image.Image:
    """A picture of some shapes over a soft ground."""
    rng = np.random.default_rng(number)
    soft = Image.fromarray(rng.integers(0, 255, (5, 5, 3), dtype=np.uint8)).resize(
        (size, size), Image.Resampling.BICUBIC
    )
    canvas = ImageDraw.Draw(soft)
    for _ in range(4):
        x, y, w, h = (*rng.integers(0, size - 30, 2).tolist(), *rng.integers(15, 60, 2).tolist())
        canvas.ellipse((x, y, x + w, y + h), fill=tuple(rng.integers(0, 255, 3).tolist()))
    return soft


def face(mouth: tuple[int, int]) -> Image.Image:
    image = Image.new("RGBA", (128, 128))
    canvas = ImageDraw.Draw(image)
    canvas.ellipse((4, 4, 124, 124), fill="gold")
    for x in (40, 80):
        canvas.ellipse((x, 36, x + 12, 56), fill="black")
    canvas.arc((34, 50, 94, 104), *mouth, fill="black", width=8)
    return image


def as_jpeg(image: Image.Image) -> Image.Image:
    file = io.BytesIO()
    image.convert("RGB").save(file, "JPEG", quality=40)
    return Image.open(file)


COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "resize": lambda image: image.resize((50, 50)),
    "stretch": lambda image: image.resize((90, 140)),
    "jpeg": as_jpeg,
    "crop": lambda image: image.crop((6, 3, 122, 127)),
    "mirror": ImageOps.mirror,
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "border": lambda image: ImageOps.expand(image.convert("RGB"), 14, "navy"),
}


def scan(image: Image.Image, name: str = "a.png", text: str = "") -> tuple[PictureRecord, PictureScan]:
    file = io.BytesIO()
    image.save(file, "PNG")
    record = make_record(name, {"text": text}, file.getvalue, ("", 0))
    return record, scan_record(record)


@pytest.mark.parametrize("change", COPIES)
def test_duplicates_find_a_changed_copy_among_other_pictures(change: str) -> None:
    images = [*map(draw, range(5)), COPIES[change](draw(2))]
    pairs = find_pairs([scan(image)[1] for image in images], ("perceptual",), None)
    assert [(pair.kept, pair.other) for pair in pairs] == [(2, 5)]
    assert (pairs[0].kind == "mirrored copy") == (change == "mirror")


def test_duplicates_leave_pictures_that_differ_in_one_detail() -> None:
    scans = [scan(face(mouth))[1] for mouth in ((20, 160), (200, 340))]
    assert find_pairs(scans, ("perceptual",), None) == []


def test_duplicates_leave_a_recoloured_drawing() -> None:
    scans = []
    for colour in ("red", "blue"):
        image = Image.new("RGB", (64, 64), "white")
        ImageDraw.Draw(image).ellipse((8, 8, 56, 40), fill=colour)
        scans.append(scan(image)[1])
    assert find_pairs(scans, ("perceptual",), None) == []


def test_duplicates_name_the_same_file_and_the_same_pixels() -> None:
    one, other = io.BytesIO(), io.BytesIO()
    draw(0).save(one, "PNG")
    draw(0).save(other, "PNG", compress_level=1)
    records = [make_record("", {}, data.getvalue, ("", 0)) for data in (one, one, other)]
    pairs = find_pairs([scan_record(record) for record in records], ("exact",), None)
    assert [(pair.kept, pair.other, pair.kind) for pair in pairs] == [(0, 1, "same file"), (0, 2, "same pixels")]


def test_duplicates_keep_the_largest_picture_that_has_a_caption() -> None:
    images = [draw(1).resize((side, side)) for side in (64, 120, 96)]
    pairs = [scan(image, f"{n}.png", text) for n, (image, text) in enumerate(zip(images, ("", "", "a"), strict=True))]
    (group,) = find_duplicates([record for record, _ in pairs], [one for _, one in pairs], ("perceptual",))
    assert (group.kept, group.others) == (2, (0, 1))


def test_duplicates_pass_over_pictures_that_cannot_be_read() -> None:
    broken = scan_record(make_record("b.png", {}, lambda: b"no picture", ("", 0)))
    assert broken.fault and find_pairs([broken, broken, scan(draw(1))[1]], ("perceptual",), None) == []


def test_join_pairs_makes_groups_of_chains() -> None:
    assert join_pairs(6, [(3, 4), (0, 4), (1, 5)]) == [[0, 3, 4], [1, 5]]


def test_mirrored_hash_is_the_hash_of_the_mirrored_picture() -> None:
    image = draw(3).convert("RGBA")
    mirrored = perceptual_hash(make_view(ImageOps.mirror(image)))
    bits = hash_bits([mirrored, mirrored_hash(perceptual_hash(make_view(image)))])
    assert float(bits[0] @ bits[1]) > 0.98


def test_view_is_the_same_within_any_even_border() -> None:
    image = draw(4).convert("RGBA")
    bordered = ImageOps.expand(image.convert("RGB"), 20, "black").convert("RGBA")
    assert np.array_equal(make_view(image), make_view(bordered))

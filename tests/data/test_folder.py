"""Somebody's own folder of pictures: whatever they are and however they are described; each fault is one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sumi.data.folder import read_folder, squared
from sumi.errors import SumiError


def paint(path: Path, mode: str = "RGB", size: tuple[int, int] = (4, 4), colour: object = "red") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)  # type: ignore[arg-type]
    return path


def refuses(folder: Path, says: str) -> None:
    with pytest.raises(SumiError, match=says) as caught:
        read_folder(folder, 8)
    assert "\n" not in str(caught.value)


def test_any_format_mode_and_depth_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    paint(tmp_path / "b.JPG")
    paint(tmp_path / "a.png", "P", colour=0)
    paint(tmp_path / "deep" / "er" / "c.webp", "RGBA", colour=(0, 0, 0, 0))
    paint(tmp_path / "d.png", "I;16", colour=65535)
    paint(tmp_path / ".hidden" / "e.png")
    paint(tmp_path / "._b.png")
    seen = []
    album = read_folder(tmp_path, 8, lambda done, of: seen.append((done, of)))
    assert album.names == ("a.png", "b.JPG", "d.png", "deep/er/c.webp") and album.skipped == ()
    assert album.pictures.shape == (4, 4, 8, 8) and album.pictures.dtype == np.uint8
    assert (album.pictures[:, :3] <= album.pictures[:, 3:]).all()
    assert (album.pictures[2] == 255).all() and not album.pictures[3].any()
    assert seen[-1] == (4, 4)


def test_a_picture_is_whole_in_a_transparent_square_and_premultiplied() -> None:
    wide = Image.new("RGBA", (8, 4), (200, 100, 0, 128))
    square = squared(wide, 8)
    assert not square[:, :2].any() and not square[:, 6:].any()
    assert (square[3, 2:6] == 128).all()
    assert np.abs(square[:3, 2:6].astype(int) - np.array([100, 50, 0])[:, None, None]).max() <= 1


def test_what_cannot_be_seen_bleeds_into_nothing() -> None:
    image = Image.new("RGBA", (16, 16), (255, 0, 0, 0))  # red, but nowhere
    image.paste((0, 0, 255, 255), (0, 0, 8, 16))
    assert not squared(image, 4)[0].any()


def test_captions_are_taken_from_lists_then_texts_then_folders(tmp_path: Path) -> None:
    for name in ("red fox/a.png", "red_fox/b.png", "c.png", "d.png", "e.png"):
        paint(tmp_path / name)
    (tmp_path / "metadata.jsonl").write_text(
        json.dumps({"file_name": "c.png", "text": " a\u2028fox "}, ensure_ascii=False) + "\n\n", "utf-8"
    )
    (tmp_path / "captions.csv").write_bytes(
        b'\xef\xbb\xbffile_name,text\r\nc.png,another\r\nd.png,"a dog, ""asleep"""\r\n'
    )
    (tmp_path / "red_fox" / "b.txt").write_text("a very\nred fox\n")
    album = read_folder(tmp_path, 8)
    assert dict(zip(album.names, album.captions, strict=True)) == {
        "red fox/a.png": "red fox", "red_fox/b.png": "a very red fox", "c.png": "a fox", "d.png": 'a dog, "asleep"',
        "e.png": "",
    }  # fmt: skip
    assert album.labels == ("", "", "", "red fox", "red fox") and album.classes == ("", "red fox")
    with pytest.raises(
        SumiError, match=r"dalle1 learns from captions, and 1 of the 5 pictures .* have none: e.png; write"
    ):
        album.need("captions", "dalle1")
    with pytest.raises(
        SumiError, match=r"3 of the 5 .* have none: c.png, d.png, e.png; put the pictures of each label"
    ):
        album.need("labels", "classifier_free")


def test_what_cannot_be_read_is_left_out_and_named(tmp_path: Path) -> None:
    paint(tmp_path / "b.png")
    (tmp_path / "a.png").write_bytes(b"no picture")
    (tmp_path / "c.jpg").write_bytes(b"")
    album = read_folder(tmp_path, 8)
    assert album.names == ("b.png",) and len(album.pictures) == 1 and (album.pictures[0, 0] == 255).all()
    assert len(album.skipped) == 2 and "a.png" in album.skipped[0]
    (tmp_path / "b.png").unlink()
    refuses(tmp_path, r"none of the 2 pictures in .* can be read: .*a\.png")


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("metadata.jsonl", "{", "line 1: this is not JSON"),
        ("metadata.jsonl", "[]", "line 1: it should give a file_name and a text"),
        ("metadata.jsonl", '{"file_name": "a.png", "text": 3}', "should give a file_name and a text"),
        ("metadata.jsonl", '{"file_name": "z.png", "text": "z"}', "for z.png, and there is no such picture"),
        ("metadata.jsonl", '{"file_name": "a.png", "text": "x"}\n' * 2, "line 2: a.png has a caption already"),
        ("captions.csv", "a.png,a fox\n", "should begin with a line that names its columns: file_name,text"),
        ("captions.csv", "file_name,text\na.png\n", "line 2: it should give a file_name and a text"),
    ],
)
def test_a_damaged_list_is_named_with_its_line(name: str, text: str, says: str, tmp_path: Path) -> None:
    paint(tmp_path / "a.png")
    (tmp_path / name).write_text(text)
    refuses(tmp_path, says)


def test_a_text_that_is_none_is_named(tmp_path: Path) -> None:
    paint(tmp_path / "a.png")
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    refuses(tmp_path, "a.txt should be a text in UTF-8")


def test_a_folder_without_pictures_or_none_at_all(tmp_path: Path) -> None:
    refuses(tmp_path, "there are no pictures in")
    refuses(tmp_path / "absent", "there is no folder")
    refuses(Path("a\0b"), "there is no folder|cannot look into")
    refuses(paint(tmp_path / "a.png"), "there is no folder")

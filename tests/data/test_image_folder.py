"""Somebody's own folder of pictures: whatever they are and however they are described; each fault is one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sumi.data.picture_array import fit_square, read_pictures
from sumi.errors import SumiError


def paint(path: Path, mode: str = "RGB", size: tuple[int, int] = (4, 4), colour: object = "red") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)  # type: ignore[arg-type]
    return path


def refuses(folder: Path, says: str) -> None:
    with pytest.raises(SumiError, match=says) as caught:
        read_pictures(folder, 8)
    assert "\n" not in str(caught.value)


def test_any_format_mode_and_depth_is_read_in_the_order_of_names(tmp_path: Path) -> None:
    paint(tmp_path / "b.JPG")
    paint(tmp_path / "a.png", "P", colour=0)
    paint(tmp_path / "deep" / "er" / "c.webp", "RGBA", colour=(0, 0, 0, 0))
    paint(tmp_path / "d.png", "I;16", colour=65535)
    paint(tmp_path / ".hidden" / "e.png")
    paint(tmp_path / "._b.png")
    seen = []
    album = read_pictures(tmp_path, 8, lambda done, of: seen.append((done, of)))
    assert album.names == ("a.png", "b.JPG", "d.png", "deep/er/c.webp") and album.broken == ()
    assert album.pictures.shape == (4, 4, 8, 8) and album.pictures.dtype == np.uint8
    assert (album.pictures[:, :3] <= album.pictures[:, 3:]).all()
    assert (album.pictures[2] == 255).all() and not album.pictures[3].any()
    assert seen[-1] == (4, 4)


def test_a_picture_is_whole_in_a_transparent_square_and_premultiplied() -> None:
    wide = Image.new("RGBA", (8, 4), (200, 100, 0, 128))
    square = fit_square(wide, 8)
    assert not square[:, :2].any() and not square[:, 6:].any()
    assert (square[3, 2:6] == 128).all()
    assert np.abs(square[:3, 2:6].astype(int) - np.array([100, 50, 0])[:, None, None]).max() <= 1


def test_what_cannot_be_seen_bleeds_into_nothing() -> None:
    image = Image.new("RGBA", (16, 16), (255, 0, 0, 0))  # red, but nowhere
    image.paste((0, 0, 255, 255), (0, 0, 8, 16))
    assert not fit_square(image, 4)[0].any()


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
    album = read_pictures(tmp_path, 8)
    assert dict(zip(album.names, album.captions, strict=True)) == {
        "red fox/a.png": "red fox", "red_fox/b.png": "a very red fox", "c.png": "a fox", "d.png": 'a dog, "asleep"',
        "e.png": "",
    }  # fmt: skip
    assert album.labels == ("", "", "", "red fox", "red fox") and album.classes == ("", "red fox")
    captioned, labelled = album.having("captions", "dalle1"), album.having("labels", "classifier_free")
    assert captioned.names == ("c.png", "d.png", "red fox/a.png", "red_fox/b.png") and len(captioned.pictures) == 4
    assert len(captioned.left_out) == 1 and "e.png has no caption: write NAME.txt beside" in captioned.left_out[0]
    assert labelled.names == ("red fox/a.png", "red_fox/b.png") and len(labelled.left_out) == 3
    assert "c.png has no label: put the pictures of each label into a sub-folder" in labelled.left_out[0]
    assert captioned.content != album.content and album.having("captions", "x").content == captioned.content


def test_a_folder_in_which_nothing_is_described_is_refused_by_name(tmp_path: Path) -> None:
    paint(tmp_path / "a.png")
    album = read_pictures(tmp_path, 8)
    for what, how in (("captions", "write NAME.txt beside a picture"), ("labels", "into a sub-folder")):
        with pytest.raises(
            SumiError, match=f"dalle1 learns from {what}, and none of the 1 pictures .* has any: .*{how}"
        ):
            album.having(what, "dalle1")


def test_what_cannot_be_read_is_left_out_and_named(tmp_path: Path) -> None:
    paint(tmp_path / "b.png")
    (tmp_path / "a.png").write_bytes(b"no picture")
    (tmp_path / "c.jpg").write_bytes(b"")
    album = read_pictures(tmp_path, 8)
    assert album.names == ("b.png",) and len(album.pictures) == 1 and (album.pictures[0, 0] == 255).all()
    assert len(album.broken) == 2 and "a.png" in album.broken[0]
    (tmp_path / "b.png").unlink()
    refuses(tmp_path, r"none of the 2 pictures in .* can be read: .*a\.png")


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("metadata.jsonl", "{", "line 1: this is not JSON"),
        ("metadata.jsonl", "[]", "line 1: it should be a JSON object of fields, not a list"),
        (
            "metadata.jsonl",
            '{"file_name": "a.png", "text": 3}',
            "line 1: text should be a text or a list of texts, not 3",
        ),
        ("metadata.jsonl", '{"file_name": "z.png", "text": "z"}', "for z.png, and there is no such picture"),
        ("metadata.jsonl", '{"file_name": "a.png", "text": "x"}\n' * 2, "line 2: a.png has a row already, in line 1"),
        ("captions.csv", "a.png,a fox\n", "names its columns, such as file_name,text; it begins with 'a.png,a fox'"),
        (
            "captions.csv",
            "text,image\na fox,\n",
            "line 2: it should name its picture in file_name .*it has text, image",
        ),
        (
            "metadata.jsonl",
            '{"picture": "a.png", "text": "a"}',
            "should name its picture in file_name.*it has picture, text",
        ),
        (
            "captions.csv",
            "text,file_name\na cup, red,a.png\n",
            "line 2: it has 3 columns, and 2 are named; put a caption",
        ),
    ],
)
def test_a_damaged_list_is_named_with_its_line(name: str, text: str, says: str, tmp_path: Path) -> None:
    paint(tmp_path / "a.png")
    (tmp_path / name).write_text(text)
    refuses(tmp_path, says)


def test_a_text_that_is_none_is_named_and_costs_one_caption(tmp_path: Path) -> None:
    for name in "ab":
        paint(tmp_path / f"{name}.png")
    (tmp_path / "a.txt").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "b.txt").write_bytes("ein Fuchs, grün".encode("utf-16"))
    album = read_pictures(tmp_path, 8)
    assert album.captions == ("", "ein Fuchs, grün")
    assert len(album.notes) == 1 and "a.txt should be a text in UTF-8; its picture has no caption" in album.notes[0]


def written(folder: Path, content: bytes, name: str = "captions.csv") -> tuple[str, ...]:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    captions = read_pictures(folder, 8).captions
    path.unlink()
    return captions


def test_tables_as_people_write_them(tmp_path: Path) -> None:
    paint(tmp_path / "a.png")
    for content in (
        b"file_name,text\na.png,a cup, red, big\n",
        b'\xef\xbb\xbfFile_Name,Text\r\na.png,"a cup, red, big"\r\n\r\n',
        b"filename;caption\na.png;a cup, red, big\n",
        b"image\ttext\r./a.png\ta cup, red, big\r".replace(b"\r", b"\r\n"),
        "file_name,text\na.png,a cup, red, big\n".encode("utf-16"),
        b"id,file_name,prompt\n7,a,a cup, red, big\n",  # a name without its ending
    ):
        assert written(tmp_path, content) == ("a cup, red, big",), content
    assert written(tmp_path, b"file_name,text\na.png,a cup\n", "metadata.csv") == ("a cup",)


def test_lists_lie_in_any_folder_and_name_pictures_from_there(tmp_path: Path) -> None:
    for name in ("train/a.png", "train/deep/b.png", "test/c.png", "d.png"):
        paint(tmp_path / name)
    line = '{"file_name": "%s", "text": "%s"}\n'
    (tmp_path / "train/metadata.jsonl").write_text(line % ("a.png", "an apple") + line % ("deep/b.png", "a bee"))
    (tmp_path / "test/METADATA.JSONL").write_text(line % ("test/c.png", "a cat"))  # from the top
    (tmp_path / "captions.csv").write_text("file_name,text\ntrain\\a.png,not this one\nD.PNG,a dog\n")
    album = read_pictures(tmp_path, 8)
    assert dict(zip(album.names, album.captions, strict=True)) == {
        "train/a.png": "an apple", "train/deep/b.png": "a bee", "test/c.png": "a cat", "d.png": "a dog",
    }  # fmt: skip
    assert album.notes == () and album.broken == ()


def test_a_split_is_no_label_and_no_caption(tmp_path: Path) -> None:
    for name in ("train/cat/a.png", "cats/train/b.png", "train/c.png"):
        paint(tmp_path / name)
    album = read_pictures(tmp_path, 8)
    assert dict(zip(album.names, album.captions, strict=True)) == {
        "train/cat/a.png": "cat", "cats/train/b.png": "cats", "train/c.png": "",
    }  # fmt: skip
    assert album.labels == album.captions


def test_names_are_found_however_their_letters_are_composed(tmp_path: Path) -> None:
    composed, apart = "caf\u00e9.png", "cafe\u0301.png"
    paint(tmp_path / "one" / apart)
    paint(tmp_path / "two" / composed)
    (tmp_path / "one" / "captions.csv").write_text(f"file_name,text\n{composed},one\n", "utf-8")
    (tmp_path / "two" / apart.replace("png", "txt")).write_text("cafe\u0301", "utf-8")
    assert read_pictures(tmp_path, 8).captions == ("one", "caf\u00e9")


def test_text_files_of_other_tools(tmp_path: Path) -> None:
    for name in "abcdef":
        paint(tmp_path / f"{name}.png")
    for name, text in {"a.caption": "1", "b.TXT": "2", "c.png.txt": "3", "d.txt": "", "d.caption": "4"}.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "f.txt").mkdir()
    assert read_pictures(tmp_path, 8).captions == ("1", "2", "3", "4", "", "")


def test_one_caption_that_is_missing_is_no_folder_name(tmp_path: Path) -> None:
    for name in ("photos/a.png", "photos/b.png", "foxes/c.png"):
        paint(tmp_path / name)
    (tmp_path / "photos/a.txt").write_text("a bear")
    assert read_pictures(tmp_path, 8).captions == ("foxes", "a bear", "")
    assert read_pictures(tmp_path, 8).having("captions", "dalle1").names == ("foxes/c.png", "photos/a.png")


def test_links_are_followed_and_loops_are_named(tmp_path: Path) -> None:
    folder, other = tmp_path / "mine", tmp_path / "elsewhere"
    paint(other / "cats" / "a.png")
    paint(folder / "dogs" / "b.png")
    (folder / "cats").symlink_to(other / "cats")
    (folder / "dogs" / "again").symlink_to(folder)
    (folder / "gone.png").symlink_to(other / "gone.png")
    album = read_pictures(folder, 8)
    assert album.names == ("cats/a.png", "dogs/b.png") and album.labels == ("cats", "dogs")
    assert sorted("again is a link back" in line for line in album.broken) == [False, True]
    assert any("gone.png" in line for line in album.broken)


def test_everything_that_is_not_looked_at_is_named_once(tmp_path: Path) -> None:
    paint(tmp_path / "a.png")
    for name in ("b.gif", "c.bmp", "d.TIFF"):
        paint(tmp_path / name)
    for name in ("e.jfif", "f.heic", "notes.md", "stray.txt", ".DS_Store", "data.parquet"):
        (tmp_path / name).write_bytes(b"x")
    album = read_pictures(tmp_path, 8)
    assert album.names == ("a.png",) and len(album.broken) == 5
    assert any("e.jfif is a picture of a kind that is not read: rename it to .jpg" in line for line in album.broken)
    assert album.notes == ("not looked at: data.parquet, notes.md, stray.txt (1 .md, 1 .parquet, 1 .txt)",)
    (tmp_path / "captions.csv").write_text("file_name,text\na.png,a\nz.png,z\n")
    assert "captions are given for z.png, and there is no such picture" in read_pictures(tmp_path, 8).notes


def test_pictures_are_known_by_their_pixels_whatever_the_size(tmp_path: Path) -> None:
    paint(tmp_path / "a.png")
    before = read_pictures(tmp_path, 8).content
    assert read_pictures(tmp_path, 16).content == before
    Image.new("RGB", (4, 4), "red").save(tmp_path / "a.png", compress_level=0)  # other bytes, the same picture
    assert read_pictures(tmp_path, 8).content == before
    paint(tmp_path / "a.png", colour="#fe0000")
    assert read_pictures(tmp_path, 8).content != before


def test_more_pictures_than_memory_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paint(tmp_path / "a.png")
    monkeypatch.setattr("sumi.data.picture_array.free_memory", lambda: 1000)
    refuses_at_512 = pytest.raises(SumiError, match=r"1 pictures of 512 px take 0\.0 GB of memory, and 0\.0 GB")
    with refuses_at_512:
        read_pictures(tmp_path, 512)
    assert len(read_pictures(tmp_path, 8)) == 1


def test_a_folder_without_pictures_or_none_at_all(tmp_path: Path) -> None:
    refuses(tmp_path, "there are no pictures in")
    refuses(tmp_path / "absent", "there is no folder")
    refuses(Path("a\0b"), "there is no folder|cannot look into")
    refuses(paint(tmp_path / "a.png"), "there is no folder")

"""One data set stored in every way that people store pictures gives the same pictures, captions and rights."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image, ImageCms

from sumi.data.open_dataset import open_dataset
from sumi.data.picture_array import read_pictures
from sumi.errors import SumiError
from sumi.training import batch_indices

ROWS = [
    ("a-2.png", "an apple, upside down", "CC-BY-4.0"),
    ("a.png", "an apple", "CC0-1.0"),
    ("b c.JPG", "a café", "CC-BY-4.0"),
    ("deep/er/10.webp", "ten", "MIT"),
    ("deep/er/9.png", "nine", "MIT"),
]


def picture_bytes(number: int, suffix: str) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 255, (9, 7, 3), dtype=np.uint8)
    file = io.BytesIO()
    kind = {"jpg": "JPEG", "webp": "WEBP"}.get(suffix.lower().lstrip("."), "PNG")
    Image.fromarray(pixels).save(file, kind)
    return file.getvalue()


PICTURES = {name: picture_bytes(number, Path(name).suffix) for number, (name, _, _) in enumerate(ROWS)}


def write_pictures(folder: Path) -> Path:
    for name, data in PICTURES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def as_jsonl(folder: Path) -> str:
    write_pictures(folder)
    lines = [json.dumps({"file_name": name, "text": text, "license": terms}) for name, text, terms in ROWS]
    (folder / "metadata.jsonl").write_text("\ufeff" + "\r\n".join(lines), "utf-8")
    return str(folder)


def as_csv(folder: Path) -> str:
    write_pictures(folder)
    rows = [f'{name},"{text}",{terms}' for name, text, terms in ROWS]
    (folder / "metadata.csv").write_text("\n".join(["file_name,caption,licence", *rows]), "utf-8")
    return str(folder)


def as_metadata_parquet(folder: Path) -> str:
    write_pictures(folder)
    table = [{"file_name": name, "text": text, "license": terms} for name, text, terms in ROWS]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(table), folder / "metadata.parquet")
    return str(folder)


def as_sidecars(folder: Path) -> str:
    write_pictures(folder)
    for name, text, terms in ROWS:
        (folder / name).with_suffix(".txt").write_bytes(b"\xef\xbb\xbf" + text.encode() + b"\r\n")
        (folder / name).with_suffix(".json").write_text(json.dumps({"license": terms}))
    return str(folder)


def add_file(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def as_tar(folder: Path) -> str:
    """Two shards, in another order than that of the names, one with JSON and one with text files."""
    folder.mkdir()
    for shard, rows in {"1.tar": ROWS[3:][::-1], "0.tar": ROWS[:3][::-1]}.items():
        with tarfile.open(folder / shard, "w") as tar:
            for name, text, terms in rows:
                stem = str(Path(name).with_suffix(""))
                add_file(tar, f"{stem}.json", json.dumps({"caption": text, "license": terms}).encode())
                add_file(tar, name, PICTURES[name])
    return str(folder)


def as_tar_url(folder: Path) -> str:
    as_tar(folder)
    fsspec.filesystem("memory").put(f"{folder}/*.tar", f"{folder}/")
    return f"memory://{folder}/{{0..1}}.tar"


def as_parquet_url(folder: Path) -> str:
    as_parquet(folder)
    fsspec.filesystem("memory").put(f"{folder}/*.parquet", f"{folder}/")
    return f"memory://{folder}/*.parquet"


def as_parquet(folder: Path) -> str:
    folder.mkdir()
    table = [
        {"image": {"bytes": PICTURES[name], "path": name}, "text": text, "license": terms}
        for name, text, terms in ROWS[::-1]
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(table), folder / "train.parquet", row_group_size=2)
    return str(folder)


def as_flat_parquet(folder: Path) -> str:
    folder.mkdir()
    table = [{"file_name": n, "jpg": PICTURES[n], "caption": t, "license": r} for n, t, r in ROWS]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(table), folder / "pictures.parquet")
    return str(folder / "*.parquet")


def as_datasets_directory(folder: Path) -> str:
    (folder / "train").mkdir(parents=True)
    (folder / "dataset_dict.json").write_text('{"splits": ["train"]}')
    (folder / "train" / "state.json").write_text('{"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}')
    table = pyarrow.Table.from_pylist(
        [{"image": {"bytes": PICTURES[n], "path": n}, "text": t, "license": r} for n, t, r in ROWS]
    )
    path = str(folder / "train" / "data-00000-of-00001.arrow")
    with pyarrow.OSFile(path, "wb") as file, pyarrow.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return str(folder)


WAYS: list[Callable[[Path], str]] = [
    as_jsonl, as_csv, as_metadata_parquet, as_sidecars, as_tar, as_tar_url, as_parquet, as_parquet_url,
    as_flat_parquet, as_datasets_directory,
]  # fmt: skip


def batches(place: str) -> list[tuple[bytes, list[str]]]:
    album = read_pictures(place, 8)
    chosen = [batch_indices(step, 3, len(album), seed=5) for step in range(4)]
    return [(album.pictures[rows.numpy()].tobytes(), [album.captions[row] for row in rows]) for rows in chosen]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_open_dataset_gives_the_same_batches_whichever_way_it_is_stored(
    way: Callable[[Path], str], tmp_path: Path
) -> None:
    expected, place = as_jsonl(tmp_path / "expected"), way(tmp_path / "data")
    assert batches(place) == batches(expected)
    album, dataset = read_pictures(place, 8), open_dataset(place)
    assert album.content == read_pictures(expected, 8).content and album.broken == () and album.notes == ()
    assert album.captions == ("an apple", "an apple, upside down", "a café", "ten", "nine")
    assert [record.rights["licence"] for record in dataset] == ["CC0-1.0", "CC-BY-4.0", "CC-BY-4.0", "MIT", "MIT"]
    assert album.labels == ("", "", "", "er", "er")
    again = pickle.loads(pickle.dumps(dataset))
    assert [record.read() for record in again] == [record.read() for record in dataset]


def test_picture_record_keeps_all_captions_and_every_other_field(tmp_path: Path) -> None:
    write_pictures(tmp_path)
    row = {"file_name": "a.png", "text": ["one ", "two"], "artist": "Ada", "url": "u", "width": 7, "label": "fruit"}
    (tmp_path / "metadata.jsonl").write_text(json.dumps(row))
    record = next(record for record in open_dataset(tmp_path) if record.name == "a.png")
    assert record.captions == ("one", "two") and record.caption == "one" and record.label == "fruit"
    assert record.rights == {"url": "u", "author": "Ada"} and record.fields == {"width": 7}
    assert record.path == tmp_path / "a.png"


def test_a_list_without_captions_says_which_fields_it_has(tmp_path: Path) -> None:
    write_pictures(tmp_path)
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.png", "caption_text": "a"}')
    assert open_dataset(tmp_path).notes == ("metadata.jsonl gives no caption: its fields are caption_text",)


# Tar shards --------------------------------------------------------------------------------------------------


def test_tar_shards_read_regular_files_only(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        add_file(tar, "a.png", PICTURES["a.png"])
        for name, kind in (("b.png", tarfile.SYMTYPE), ("c.png", tarfile.LNKTYPE), ("d.png", tarfile.CHRTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "a.png"
            tar.addfile(member)
        add_file(tar, "e.gif", b"GIF89a")
        add_file(tar, "notes.md", b"x")
    dataset = open_dataset(tmp_path / "x.tar")
    assert [record.name for record in dataset] == ["a.png"] and len(dataset.broken) == 4
    assert sum("link or a device" in line for line in dataset.broken) == 3
    assert dataset.notes == (f"not looked at: {tmp_path / 'x.tar'}: notes.md",)


def test_tar_shards_take_one_picture_of_a_sample_with_several(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name in ("1.png", "1.mask.png", "photo.v2.png", "photo.v3.png"):
            add_file(tar, name, PICTURES["a.png"])
        add_file(tar, "1.txt", b"one")
        add_file(tar, "photo.v2.txt", b"two")
    dataset = open_dataset(tmp_path / "x.tar")
    assert {record.name: record.captions for record in dataset} == {
        "1.png": ("one",), "photo.v2.png": ("two",), "photo.v3.png": (),
    }  # fmt: skip
    assert len(dataset.broken) == 1 and "1.mask.png is a further picture" in dataset.broken[0]


def test_tar_shards_that_were_not_copied_whole_name_what_is_lost(tmp_path: Path) -> None:
    place = Path(as_tar(tmp_path / "data")) / "0.tar"
    whole = place.read_bytes()
    with tarfile.open(place) as tar:
        last = max(tar.getmembers(), key=lambda member: member.offset)
    place.write_bytes(whole[: last.offset_data + 10])
    album = read_pictures(place, 8)
    assert len(album) == 2 and len(album.broken) >= 1 and "0.tar" in album.broken[0]


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("x.tar", b"no tar", "is no tar file that can be read"),
        ("x.tar.gz", b"\x1f\x8b", "it is compressed, so unpack it with gunzip first"),
        ("x.parquet", b"PAR1", "is no parquet file that can be read"),
    ],
)
def test_open_dataset_names_a_file_that_is_damaged(name: str, data: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(SumiError, match=says):
        open_dataset(tmp_path / name)


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("absent/*.tar", "there is no file"),
        ("absent", "there is no folder 'absent': it should be a folder with pictures, tar shards"),
        ("https://example.org/pictures", "should name tar or parquet files"),
        ("nowhere://a/b.tar", "cannot open 'nowhere://a/b.tar': Protocol not known"),
        ("file:///absent/b.tar", "there is no file"),
    ],
)
def test_open_dataset_refuses_a_place_without_pictures(place: str, says: str) -> None:
    with pytest.raises(SumiError, match=says) as caught:
        open_dataset(place)
    assert "\n" not in str(caught.value)


# Tables ------------------------------------------------------------------------------------------------------


def write_table(path: Path, rows: list[dict[str, Any]], features: dict[str, Any] | None = None) -> Path:
    table = pyarrow.Table.from_pylist(rows)
    if features:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pyarrow.parquet.write_table(table, path)
    return path


def test_parquet_takes_the_names_of_classes_from_datasets(tmp_path: Path) -> None:
    rows = [{"img": PICTURES["a.png"], "label": number} for number in (1, 0)]
    path = write_table(tmp_path / "x.parquet", rows, {"label": {"_type": "ClassLabel", "names": ["cat", "dog"]}})
    assert [(record.label, record.captions) for record in open_dataset(path)] == [("dog", ("dog",)), ("cat", ("cat",))]


def test_parquet_without_pictures_names_its_columns(tmp_path: Path) -> None:
    path = write_table(tmp_path / "x.parquet", [{"text": "a", "embedding": 0.5}])
    with pytest.raises(
        SumiError, match=r"one column with the bytes of pictures.*text \(string\), embedding \(double\)"
    ):
        open_dataset(path)


def test_parquet_rows_without_bytes_are_named(tmp_path: Path) -> None:
    rows = [{"image": PICTURES["a.png"], "text": "a"}, {"image": None, "text": "b"}, {"image": b"x", "text": "c"}]
    album = read_pictures(write_table(tmp_path / "x.parquet", rows), 8)
    assert album.captions == ("a",) and len(album.broken) == 2
    assert any("row 1 of group 0: it has no bytes of a picture" in line for line in album.broken)


# Limits ------------------------------------------------------------------------------------------------------


def test_read_pictures_stops_past_the_limit_of_broken_samples(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number:02d}.png").write_bytes(PICTURES["a.png"] if number % 2 else b"x")
    assert len(read_pictures(tmp_path, 8, max_broken=0.5).broken) == 10
    with pytest.raises(SumiError, match=r"1 samples .* are broken after 2 of 20, and 0 are accepted \(--max-broken\)"):
        read_pictures(tmp_path, 8, max_broken=0)


def test_read_pictures_into_a_file_gives_the_same_array(tmp_path: Path) -> None:
    place = as_jsonl(tmp_path / "data")
    (tmp_path / "data" / "bad.png").write_bytes(b"x")
    mapped = read_pictures(place, 8, file=tmp_path / "kept" / "pictures.npy")
    assert isinstance(mapped.pictures, np.memmap) and len(mapped) == 5
    assert np.array_equal(mapped.pictures, read_pictures(place, 8).pictures)


# Pixels ------------------------------------------------------------------------------------------------------


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def wide_gamut_profile() -> bytes:
    """A matrix profile with red and green exchanged, so that a reader that ignores it shows the wrong colour."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = int.from_bytes(data[128:132], "big")
    tags = {bytes(data[132 + 12 * k : 136 + 12 * k]): 132 + 12 * k for k in range(count)}
    red, green = tags[b"rXYZ"], tags[b"gXYZ"]
    data[red : red + 4], data[green : green + 4] = data[green : green + 4], data[red : red + 4]
    return bytes(data)


def turned() -> bytes:
    image = Image.new("RGB", (8, 4), "red")
    image.paste("blue", (0, 0, 8, 2))  # the upper half
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to the right: what was above is on the right
    return saved(image, "PNG", exif=exif)


def palette_with_transparency() -> bytes:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 0, 255, 0])
    image.paste(0, (0, 0, 2, 4))
    return saved(image, "PNG", transparency=0)


@pytest.mark.parametrize(
    ("data", "at", "colour"),
    [
        (turned(), (5, 4), (0, 0, 255, 255)),
        (saved(Image.new("RGB", (4, 4), "red"), icc_profile=wide_gamut_profile()), (4, 4), (0, 255, 0, 255)),
        (saved(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "JPEG"), (4, 4), (255, 0, 0, 255)),
        (saved(Image.fromarray(np.full((4, 4), 32896, dtype=np.uint16))), (4, 4), (128, 128, 128, 255)),
        (palette_with_transparency(), (1, 4), (0, 0, 0, 0)),
        (palette_with_transparency(), (6, 4), (0, 255, 0, 255)),
        (saved(Image.new("LA", (4, 4), (200, 128))), (4, 4), (100, 100, 100, 128)),
        (saved(Image.new("1", (4, 4), 1)), (4, 4), (255, 255, 255, 255)),
    ],
    ids="exif profile cmyk sixteen-bit palette-transparent palette gray-alpha bilevel".split(),
)
def test_read_pictures_shows_each_kind_of_picture_as_a_viewer_does(
    data: bytes, at: tuple[int, int], colour: tuple[int, ...], tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes(data)
    pixel = read_pictures(tmp_path, 8).pictures[0][:, at[1], at[0]]
    assert np.abs(pixel.astype(int) - np.array(colour)).max() <= 2, pixel

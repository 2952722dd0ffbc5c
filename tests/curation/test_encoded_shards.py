"""Shards hold what the encoders say, go on where a build stopped, and are renewed exactly where something changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sumi.bundles import Bundle
from sumi.curation.encoded_shards import Build, build_shards, read_shards
from sumi.data.open_dataset import open_dataset
from sumi.errors import SumiError
from sumi.imaging.pixels import from_image, from_levels


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "own"
    folder.mkdir()
    for number in range(5):
        pixels = np.random.default_rng(number).integers(0, 255, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text("a red fox")
    return folder


def build(pictures: Path, bundle: Bundle) -> Build:
    return build_shards(open_dataset(pictures), bundle, pictures.parent / "shards", shard=2)


def test_shards_hold_embeddings_and_latents_of_each_picture(pictures: Path, tiny_folder: Path) -> None:
    bundle = Bundle.load(tiny_folder)
    made = build(pictures, bundle)
    rows = list(read_shards(made.folder))
    assert (made.pictures, made.shards, made.computed) == (5, 3, 3)
    assert [name for row, _ in rows for name in row["names"]] == [f"{n}.png" for n in range(5)]
    levels = from_image(Image.open(pictures / "3.png"), 16)[None]
    with torch.no_grad():
        z_i = bundle.part("clip").encode_image(from_levels(levels))  # type: ignore[operator]
        latents = bundle.part("codec").encode(from_levels(levels))  # type: ignore[operator]
    torch.testing.assert_close(rows[1][1]["z_i"][1].float(), z_i[0], atol=2e-3, rtol=1e-2)
    torch.testing.assert_close(rows[1][1]["latents"][1].float(), latents[0], atol=2e-3, rtol=1e-2)
    assert rows[2][1]["z_t"].shape == (1, 8)


def test_build_goes_on_and_renews_only_what_changed(pictures: Path, tiny_folder: Path) -> None:
    bundle = Bundle.load(tiny_folder)
    folder = build(pictures, bundle).folder
    assert build(pictures, bundle).computed == 0
    (folder / "00001.safetensors").unlink()
    assert build(pictures, bundle).computed == 1
    (folder / "00002.safetensors").write_bytes(b"cut")
    assert build(pictures, bundle).computed == 1
    (pictures / "4.txt").write_text("a blue car")
    assert build(pictures, bundle).computed == 1
    Image.new("RGB", (30, 30), "red").save(pictures / "0.png")
    assert build(pictures, bundle).computed == 1
    (pictures / "4.png").unlink()
    assert (build(pictures, bundle).shards, len(list(read_shards(folder)))) == (2, 2)


def test_build_renews_everything_for_another_encoder(pictures: Path, tiny_folder: Path) -> None:
    bundle = Bundle.load(tiny_folder)
    build(pictures, bundle)
    assert build(pictures, replace(bundle, hashes={**bundle.hashes, "codec": "another"})).computed == 3


def test_build_names_pictures_that_cannot_be_read(pictures: Path, tiny_folder: Path) -> None:
    (pictures / "2.png").write_bytes(b"no picture")
    made = build(pictures, Bundle.load(tiny_folder))
    assert made.pictures == 4 and len(made.faults) == 1 and "2.png" in made.faults[0]


def test_build_refuses_a_folder_of_something_else(pictures: Path, tiny_folder: Path) -> None:
    with pytest.raises(SumiError, match="not empty and holds no shards"):
        build_shards(open_dataset(pictures), Bundle.load(tiny_folder), pictures)


def test_shards_that_are_unfinished_are_refused(pictures: Path, tiny_folder: Path) -> None:
    folder = build(pictures, Bundle.load(tiny_folder)).folder
    (folder / "00000.json").unlink()
    with pytest.raises(SumiError, match="makes it again"):
        list(read_shards(folder))
    with pytest.raises(SumiError, match="make them with sumi data build"):
        list(read_shards(pictures))

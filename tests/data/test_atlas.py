"""The atlas: tight, deterministic, rebuilt only when it must be."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from sumi.data.artwork import load_artwork
from sumi.data.atlas import LEVELS_PX, SIZE_PX, Atlas, build_atlas, open_vocabulary, shrink
from sumi.data.people import Person
from sumi.data.vocabulary import Vocabulary
from sumi.errors import SumiError

pytest.importorskip("resvg_py")


@pytest.fixture
def atlas(artwork_folder: Path) -> Atlas:
    artworks = load_artwork(artwork_folder)
    return build_atlas(Vocabulary.everyday(artworks), artworks, artwork_folder / "cache")


def test_every_concept_variant_and_hand_has_a_row(atlas: Atlas) -> None:
    assert atlas.hands == ("fluent", "noto", "twemoji")
    assert len(atlas.indices("dog")) == 3 and len(atlas.indices("chef")) == 4 * 3
    row = atlas.rows[atlas.index("chef", "fluent", Person("chef", "woman", "dark"))]
    assert row.icon == "woman-cook-dark" and row.rights.licence == "MIT"
    assert atlas.rows[atlas.index("chef", "noto")].person == Person("chef")
    with pytest.raises(SumiError, match="griffin"):
        atlas.index("griffin", "noto")


def test_the_longest_side_fills_the_canvas(atlas: Atlas) -> None:
    for row in atlas.rows:
        left, top, right, bottom = row.box
        assert max(right - left, bottom - top) > 0.98
        assert left + right == pytest.approx(1, abs=0.02) and top + bottom == pytest.approx(1, abs=0.02)
    fish = atlas.rows[atlas.index("fish", "noto")]
    assert fish.aspect == pytest.approx(2, rel=0.03)
    assert fish.on_canvas((0.5, 0.5, 1, 1))[:2] == pytest.approx((0.5, 0.5), abs=0.01)


def test_pictures_are_premultiplied_and_transparent_outside(atlas: Atlas) -> None:
    assert atlas.pictures.shape == (len(atlas), 4, SIZE_PX, SIZE_PX)
    assert atlas.pictures.dtype == torch.uint8
    assert bool((atlas.pictures[:, :3] <= atlas.pictures[:, 3:]).all())
    fox = atlas.index("fox", "noto")
    left = int(atlas.boxes[fox, 0] * SIZE_PX)
    assert left > 0 and not bool(atlas.pictures[fox, :, :, :left].any())


def test_each_level_is_the_exact_box_average(atlas: Atlas) -> None:
    fine = atlas.pictures.double()
    for size in LEVELS_PX:
        mean = torch.nn.functional.avg_pool2d(fine, SIZE_PX // size)
        assert float((atlas.level(size).double() - mean).abs().max()) <= 0.5
    with pytest.raises(SumiError, match="48"):
        atlas.level(48)


def test_large_levels_are_drawn_when_they_are_first_asked_for(artwork_folder: Path, atlas: Atlas) -> None:
    assert {path.name for path in atlas.folder.glob("*.npy")} == {"64.npy", "32.npy"}
    large = atlas.level(256)
    assert torch.equal(torch.from_numpy(shrink(large.numpy(), 4)), atlas.level(64))
    assert (atlas.folder / "256.npy").is_file() and not list(atlas.folder.glob("*.part"))
    calls: list[tuple[int, int]] = []
    atlas.draw(progress=lambda *done: calls.append(done))
    assert calls[-1] == (len(atlas), len(atlas)) and torch.equal(Atlas.open(atlas.folder).level(256), large)
    (atlas.folder / "128.npy").unlink()
    (atlas.folder / "drawings.json").unlink()
    with pytest.raises(SumiError, match="has lost its drawings: delete it"):
        Atlas.open(atlas.folder).level(128)


def test_single_rows_of_a_large_level_are_drawn_without_it(atlas: Atlas) -> None:
    rows = torch.tensor([2, 0, 2])
    few = atlas.drawings(128, rows)
    assert not (atlas.folder / "128.npy").exists()
    assert torch.equal(few, atlas.level(128)[rows]) and torch.equal(few, atlas.drawings(128, rows))
    assert torch.equal(atlas.drawings(64, rows), atlas.level(64)[rows])


def test_atlas_that_the_disk_cannot_hold_is_refused(artwork_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(artwork_folder)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage._replace(free=10))
    with pytest.raises(SumiError, match=r"an atlas of \d+ drawings takes"):
        open_vocabulary("everyday", artwork_folder)


def test_shrinking_rounds_half_up() -> None:
    picture = np.array([[[0, 1], [1, 0]]], dtype=np.uint8)
    assert shrink(picture, 2).tolist() == [[[1]]]


def test_building_again_opens_the_same_bytes(artwork_folder: Path, atlas: Atlas) -> None:
    artworks = load_artwork(artwork_folder)
    vocabulary = Vocabulary.everyday(artworks)
    calls: list[tuple[int, int]] = []
    again = build_atlas(vocabulary, artworks, artwork_folder / "cache", lambda *done: calls.append(done))
    assert again.folder == atlas.folder and again.rows == atlas.rows and not calls
    other = build_atlas(vocabulary, artworks, artwork_folder / "other", lambda *done: calls.append(done))
    assert other.folder.name == atlas.folder.name and calls[-1] == (len(atlas), len(atlas))
    for size in LEVELS_PX:
        assert torch.equal(other.level(size), atlas.level(size))


def test_another_vocabulary_is_another_atlas(artwork_folder: Path, atlas: Atlas) -> None:
    artworks = load_artwork(artwork_folder)
    smaller = Vocabulary.everyday(artworks).subset(["fox", "dog"])
    other = build_atlas(smaller, artworks, artwork_folder / "cache")
    assert other.folder != atlas.folder and len(other) == 6


def test_an_interrupted_build_leaves_nothing(artwork_folder: Path) -> None:
    artworks = load_artwork(artwork_folder)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_atlas(Vocabulary.everyday(artworks), artworks, artwork_folder / "cache", interrupt)
    assert not list((artwork_folder / "cache").iterdir())


def test_what_is_no_atlas_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SumiError, match="no atlas"):
        Atlas.open(tmp_path)
    (tmp_path / "rows.json").write_text('{"format": 0, "rows": []}', "utf-8")
    with pytest.raises(SumiError, match="format"):
        Atlas.open(tmp_path)

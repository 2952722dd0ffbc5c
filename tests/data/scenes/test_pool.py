"""Pools: filled once, resumable at any block, and refused under another recipe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sumi.data import pool as pools
from sumi.data.atlas import Atlas
from sumi.data.generator import Mix, Scenes
from sumi.data.pool import Pool, fill_pool
from sumi.data.scene import KINDS
from sumi.data.vocabulary import Vocabulary
from sumi.errors import SumiError

COUNT = 40


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "BLOCK", 16)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_pool_holds_the_scenes_of_its_numbers(scenes: Scenes, tmp_path: Path) -> None:
    pool = fill_pool(scenes, COUNT, [16, 32], tmp_path / "p", start=100)
    drawn, captions, pictures = scenes.batch(100, COUNT, 32)
    assert len(pool) == COUNT and pool.sizes_px == (16, 32) and pool.captions == captions
    assert np.array_equal(pool.pictures(32), pictures.numpy())
    assert [KINDS[k] for k in pool.kinds] == [scene.kind for scene in drawn]
    assert pool.concept_ids.tolist() == [scenes.concept_id(scene) for scene in drawn]
    assert pool.scene(scenes, 5) == drawn[5]


def test_a_stopped_fill_goes_on_to_the_same_bytes(scenes: Scenes, tmp_path: Path) -> None:
    fill_pool(scenes, COUNT, [16], tmp_path / "whole")

    class StopError(Exception):
        pass

    def stop(done: int, total: int) -> None:
        if done >= 32:
            raise StopError

    with pytest.raises(StopError):
        fill_pool(scenes, COUNT, [16], tmp_path / "stopped", progress=stop)
    # A block that was being written when the machine went down.
    with open(tmp_path / "stopped" / "captions.txt", "a") as half:
        half.write("a half-writ")
    seen: list[int] = []
    fill_pool(scenes, COUNT, [16], tmp_path / "stopped", progress=lambda done, total: seen.append(done))
    assert seen == [40] and files(tmp_path / "stopped") == files(tmp_path / "whole")


def test_a_pool_can_grow(scenes: Scenes, tmp_path: Path) -> None:
    fill_pool(scenes, 10, [16], tmp_path / "grown")
    fill_pool(scenes, COUNT, [16], tmp_path / "grown")
    fill_pool(scenes, COUNT, [16], tmp_path / "whole")
    assert files(tmp_path / "grown") == files(tmp_path / "whole")


def test_several_workers_write_the_same_bytes(scenes: Scenes, tmp_path: Path) -> None:
    fill_pool(scenes, COUNT, [16], tmp_path / "one")
    fill_pool(scenes, COUNT, [16], tmp_path / "two", num_workers=2)
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_another_recipe_is_refused_by_name(
    scenes: Scenes, atlas: Atlas, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    fill_pool(scenes, 8, [16], tmp_path)
    others = {
        "seed": Scenes(atlas, vocabulary, Mix.sticker(), seed=2),
        "split": Scenes(atlas, vocabulary, Mix.sticker(), seed=1, split="held_out"),
        "mix": Scenes(atlas, vocabulary, Mix.cpu(), seed=1),
    }
    for name, other in others.items():
        with pytest.raises(SumiError, match=f"filled with {name}"):
            fill_pool(other, 8, [16], tmp_path)
        with pytest.raises(SumiError, match=f"filled with {name}"):
            Pool(tmp_path).scene(other, 0)
    with pytest.raises(SumiError, match="sizes_px"):
        fill_pool(scenes, 8, [32], tmp_path)


def test_a_missing_pool_or_size_is_named(scenes: Scenes, tmp_path: Path) -> None:
    with pytest.raises(SumiError, match="no pool in"):
        Pool(tmp_path / "nowhere")
    with pytest.raises(SumiError, match="not 64"):
        fill_pool(scenes, 4, [16], tmp_path).pictures(64)

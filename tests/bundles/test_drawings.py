"""The drawings that a model carries: written and read to the bit, and never believed where they do not belong."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from sumi import SumiError
from sumi.bundles import Bundle, TrainingDrawings
from sumi.bundles.drawings import EMBEDDINGS, RECORD, SHEET


def some(clip: str, count: int = 7) -> TrainingDrawings:
    rng = torch.Generator().manual_seed(0)
    alpha = torch.randint(0, 256, (count, 1, 12, 12), generator=rng)
    colour = torch.randint(0, 256, (count, 3, 12, 12), generator=rng)
    pictures = torch.cat([torch.minimum(colour, alpha), alpha], dim=1).to(torch.uint8)
    embeddings = torch.randn(count, 8, generator=rng).to(torch.bfloat16).float()
    rows = [
        {
            "concept": f"thing {number}", "person": "", "icon": "i", "source": f"@{number % 2}", "version": "1",
            "licence": "MIT", "author": "Ada", "url": "",
        }
        for number in range(count)
    ]  # fmt: skip
    return TrainingDrawings(embeddings, pictures, rows, clip)


@pytest.fixture
def bundle(tiny_folder: Path, tmp_path: Path) -> Bundle:
    shutil.copytree(tiny_folder, tmp_path / "tiny")
    return Bundle.load(tmp_path / "tiny")


def test_a_model_without_them_is_whole(tiny_bundle: Bundle) -> None:
    assert tiny_bundle.drawings is None


def test_they_come_back_to_the_bit(bundle: Bundle) -> None:
    kept = some(bundle.hashes["clip"])
    bundle.keep_drawings(kept)
    bundle.keep_drawings(kept)  # in place of those there
    read = Bundle.load(bundle.folder).drawings
    assert read is not None and read.rows == kept.rows and read.clip == kept.clip
    assert torch.equal(read.pictures, kept.pictures) and torch.equal(read.embeddings, kept.embeddings)


def test_rights_count_what_is_shown(bundle: Bundle) -> None:
    rights = [{"source": "@0", "pictures": 9}, {"source": "@2", "pictures": 1}]
    (bundle.folder / "rights.json").write_text(json.dumps(rights))
    bundle.keep_drawings(some(bundle.hashes["clip"]))
    assert [row["thumbnails"] for row in Bundle.load(bundle.folder).rights] == [4, 0]


def test_those_that_another_clip_saw_are_refused(bundle: Bundle) -> None:
    bundle.keep_drawings(some("0" * 64))
    with pytest.raises(SumiError, match="seen by another CLIP"):
        _ = bundle.drawings


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        (RECORD, b"{}", "does not describe drawings"),
        (RECORD, b'{"side_px": 12, "format": 1, "sources": [], "drawings": [[0, "a", "b", "c"]]}', "does not describe"),
        (RECORD, b'{"side_px": 12, "format": 9, "sources": [], "drawings": []}', "another format"),
        (EMBEDDINGS, b"12345678", "damaged|truncated"),
        (SHEET, b"no picture", "damaged"),
    ],
)
def test_damage_is_named(bundle: Bundle, name: str, content: bytes, fault: str) -> None:
    folder = bundle.keep_drawings(some(bundle.hashes["clip"]))
    (folder / name).write_bytes(content)
    with pytest.raises(SumiError, match=fault):
        _ = Bundle.load(bundle.folder).drawings


def test_files_that_do_not_belong_together_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    folder = bundle.keep_drawings(some(bundle.hashes["clip"]))
    some(bundle.hashes["clip"], 2).save(tmp_path / "other")
    for name, fault in ((EMBEDDINGS, "an embedding for each of 7"), (SHEET, "holds 2 drawings|holds 4 drawings")):
        before = (folder / name).read_bytes()
        (folder / name).write_bytes((tmp_path / "other" / name).read_bytes())
        with pytest.raises(SumiError, match=fault):
            _ = Bundle.load(bundle.folder).drawings
        (folder / name).write_bytes(before)

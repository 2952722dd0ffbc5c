"""`sumi data check`: each fault that is planted in a folder is found and named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sumi.conditioning import WordTokenizer
from sumi.curation.check import DataReport, check_pictures
from sumi.curation.scan import scan_pictures
from sumi.data.open_dataset import open_dataset

WORDS = ("a", "red", "fox", "blue", "car", "the", "dog")


def draw(number: int, size: tuple[int, int] = (80, 80)) -> Image.Image:
    small = np.random.default_rng(number).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def write(folder: Path, name: str, caption: str | None = "a red fox", image: Image.Image | None = None) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    (image or draw(len(name) + sum(map(ord, name)))).save(path)
    if caption is not None:
        path.with_suffix(".txt").write_text(caption, "utf-8")
    return path


def report_on(folder: Path, **settings: Any) -> DataReport:
    dataset = open_dataset(folder)
    return check_pictures(dataset, scan_pictures(dataset), WordTokenizer(WORDS, 12), **settings)


def findings(report: DataReport) -> dict[str, tuple[str, ...]]:
    return {finding.code: finding.pictures for finding in report.findings}


def test_check_of_a_sound_folder_finds_nothing(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        write(tmp_path, name)
    report = report_on(tmp_path)
    assert report.findings == () and not report.breaks_training
    assert (report.count, report.captioned, report.words, report.unknown_words) == (2, 2, 6, 0)


def test_check_names_the_picture_of_each_planted_fault(tmp_path: Path) -> None:
    write(tmp_path, "sound.png")
    same = write(tmp_path, "z-first.png", "a blue car")
    (tmp_path / "z-second.png").write_bytes(same.read_bytes())
    (tmp_path / "z-second.txt").write_text("the dog")
    write(tmp_path, "tiny.png", image=draw(1, (20, 90)))
    write(tmp_path, "blank.png", image=Image.new("RGB", (70, 70), "teal"))
    write(tmp_path, "long.png", "a red fox the dog a blue car a red fox the dog a car a dog a fox")
    write(tmp_path, "foreign.png", "ein roter Fuchs im Schnee unter der Brücke")
    write(tmp_path, "cyrillic.png", "рыжая лиса")
    write(tmp_path, "silent.png", None)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n but no picture")
    found = findings(report_on(tmp_path))
    assert found["tiny"] == found["shape"] == ("tiny.png",)
    assert found["blank"] == ("blank.png",)
    assert set(found["long_caption"]) >= {"long.png"} and "sound.png" not in found["long_caption"]
    assert set(found["language"]) == {"cyrillic.png", "foreign.png"}
    assert found["no_caption"] == ("silent.png",)
    assert found["unreadable"] == ("broken.png",)
    assert found["duplicate"] == ("z-second.png",)
    assert found["captions_differ"] == ("z-first.png", "z-second.png")
    assert "unknown_words" in found


def test_check_knows_english_words_that_the_model_was_not_taught(tmp_path: Path) -> None:
    write(tmp_path, "a.png", "elderly fisherman mending nets")
    report = report_on(tmp_path)
    assert "language" not in findings(report) and report.unknown_words == 4


def test_check_of_pictures_without_any_caption_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, "a.png", None)
    report = report_on(tmp_path)
    assert report.breaks_training and findings(report) == {"no_caption": ("a.png",)}


def test_check_names_the_field_that_holds_captions_under_another_name(tmp_path: Path) -> None:
    write(tmp_path, "a.png", None)
    row = {"file_name": "a.png", "alt": "a red fox in the snow"}
    (tmp_path / "metadata.jsonl").write_text(json.dumps(row))
    (mismatch,) = (finding for finding in report_on(tmp_path).findings if finding.code == "field_mismatch")
    assert mismatch.level == "error" and "rename the field 'alt' to 'text'" in mismatch.text


@pytest.mark.parametrize(("max_broken", "breaks"), [(0.05, False), (0.0, True)])
def test_check_counts_broken_samples_as_training_does(tmp_path: Path, max_broken: float, breaks: bool) -> None:
    write(tmp_path, "a.png")
    (tmp_path / "b.png").write_bytes(b"no picture")
    assert report_on(tmp_path, max_broken=max_broken).breaks_training is breaks

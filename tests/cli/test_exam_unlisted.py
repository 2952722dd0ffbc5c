"""`sumi exam unlisted` as a person runs it, by a vocabulary without a model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sumi.data.taught import record

Command = Callable[..., Any]


def test_exam_unlisted_counts_words_by_a_vocabulary(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "vocabulary.json"
    file.write_text(json.dumps(record({"dog": ["dog"], "cactus": ["cactus"]}, [], [], ["noto"])))
    ran = command("exam", "unlisted", "--vocabulary", str(file), "-n", "5", "--json")
    assert ran.status == 0, ran.err
    report = json.loads(ran.out)
    assert report["rows"]["unlisted word is understood"]["n"] == 5
    assert report["rows"]["nonsense is said to be unknown"]["share"] == 1.0
    saved = json.loads((tmp_path / "exams/unlisted/unlisted.json").read_text("utf-8"))
    assert saved == {key: report[key] for key in saved}


def test_exam_unlisted_refuses_a_file_that_is_no_vocabulary(command: Command, tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("[]")
    for name in ("other.json", "absent.json"):
        ran = command("exam", "unlisted", "--vocabulary", str(tmp_path / name))
        assert ran.status != 0 and ran.err.count("\n") == 1 and "is no vocabulary" in ran.err

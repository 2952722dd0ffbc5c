"""`sumi verify` says what is known of a file, and its status says whether the file was changed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

from sumi.cli import sumi

RUN = CliRunner()


@pytest.fixture
def drawn(tiny_folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "fox.png"
    drawn = RUN.invoke(sumi, ["generate", "a red fox", "--model", str(tiny_folder), "--out", str(path), "--seed", "3"])
    assert drawn.exit_code == 0, drawn.output
    return path


def test_verify_of_a_drawn_picture_names_signer_source_and_recipe(drawn: Path) -> None:
    result = RUN.invoke(sumi, ["verify", str(drawn)], standalone_mode=False)
    assert result.return_value == 0
    for part in ("unchanged since it was signed", "trainedAlgorithmicMedia", "tiny", "a red fox, seed 3, as signed"):
        assert part in result.output
    report = json.loads(RUN.invoke(sumi, ["verify", str(drawn), "--json"]).output)
    assert report["c2pa"]["state"] == "trusted" and report["recipe"]["signed"] is True


def test_verify_of_a_changed_picture_returns_status_1(drawn: Path) -> None:
    drawn.write_bytes(drawn.read_bytes() + b"text")
    result = RUN.invoke(sumi, ["verify", str(drawn)], standalone_mode=False)
    assert result.return_value == 1 and "changed after it was signed" in result.output


def test_verify_of_several_files_says_which_and_whether_one_was_changed(drawn: Path, tmp_path: Path) -> None:
    (changed := tmp_path / "changed.png").write_bytes(drawn.read_bytes() + b"text")
    result = RUN.invoke(sumi, ["verify", str(drawn), str(changed)], standalone_mode=False)
    assert result.return_value == 1
    assert result.output.index(str(drawn)) < result.output.index(str(changed)) < result.output.index("changed after")
    lines = RUN.invoke(sumi, ["verify", str(changed), str(drawn), "--json"]).output.splitlines()
    states = {one["path"]: one["c2pa"]["state"] for one in map(json.loads, lines)}
    assert states == {str(changed): "invalid", str(drawn): "trusted"}


def test_verify_of_several_files_goes_on_after_one_that_cannot_be_read(drawn: Path, tmp_path: Path) -> None:
    (broken := tmp_path / "broken.png").write_text("no picture")
    result = RUN.invoke(sumi, ["verify", str(broken), str(drawn)], standalone_mode=False)
    assert result.return_value == 2
    assert "broken.png" in result.stderr and "unchanged since it was signed" in result.stdout
    result = RUN.invoke(sumi, ["verify", str(broken), str(drawn), "--json"], standalone_mode=False)
    first, second = map(json.loads, result.stdout.splitlines())
    assert result.return_value == 2 and "damaged" in first["error"] and second["c2pa"]["state"] == "trusted"


def test_verify_of_a_resaved_picture_finds_no_marks(drawn: Path, tmp_path: Path) -> None:
    Image.open(drawn).convert("RGB").save(tmp_path / "fox.jpg")
    report = json.loads(RUN.invoke(sumi, ["verify", str(tmp_path / "fox.jpg"), "--json"]).output)
    assert report["c2pa"]["state"] == "absent" and report["recipe"] is None


def test_vary_names_its_source_and_no_sign_leaves_the_signature_out(
    drawn: Path, tiny_folder: Path, tmp_path: Path
) -> None:
    common = ["vary", str(drawn), "-n", "1", "--model", str(tiny_folder), "--out"]
    assert RUN.invoke(sumi, [*common, str(tmp_path / "one.png")]).exit_code == 0
    shown = RUN.invoke(sumi, ["verify", str(tmp_path / "one.png")]).output
    assert "made from     fox.png, whose marks are valid" in shown
    assert RUN.invoke(sumi, [*common, str(tmp_path / "two.png"), "--no-sign"]).exit_code == 0
    report = json.loads(RUN.invoke(sumi, ["verify", str(tmp_path / "two.png"), "--json"]).output)
    assert report["c2pa"]["state"] == "absent" and report["recipe"]["signed"] is None

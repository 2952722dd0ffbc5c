"""The tab *Teach*: pictures are chosen, a run is followed, and what was taught is drawn with."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_studio import Studio
from PIL import Image, ImageDraw

from sumi.bundles import Bundle
from sumi.serving import teaching_runs
from sumi.systems.unclip.teach import TeachSettings, teach_word

LEARNER = """
import json, time
print(json.dumps({"event": "training", "step": 3, "num_steps": 12, "loss": 0.5, "eta_s": 130.0}), flush=True)
time.sleep(600)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_bundle: Bundle) -> Iterator[Path]:
    """Three pictures, and a folder of adapters with the word zed; learning is a script that never ends."""
    monkeypatch.setenv("SUMI_ADAPTERS", str(tmp_path / "adapters"))
    script = tmp_path / "learner.py"
    script.write_text(LEARNER)
    monkeypatch.setattr(teaching_runs, "COMMAND", (sys.executable, str(script)))
    pictures = tmp_path / "wugs"
    pictures.mkdir()
    for number in range(3):
        page = Image.new("RGBA", (900, 900))
        ImageDraw.Draw(page).ellipse((90, 90, 800, 600 + 90 * number), fill=(200, 30, 90, 255))
        page.save(pictures / f"{number}.png")
    settings = TeachSettings(steps=1, rank=2, alpha=2.0, own=8)
    assert teach_word(pictures, "my zed", tiny_bundle, settings, folder=tmp_path / "adapters", quiet=True)
    yield pictures


def test_teach_tab_teaches_a_word_and_draws_with_another(studio: Studio, folder: Path) -> None:
    page = studio.page
    page.get_by_role("tab", name="Teach").click()
    page.wait_for_selector(".taught li:has-text('zed')")
    page.wait_for_function("() => document.querySelector('.taught .samples')?.naturalWidth > 0")
    page.get_by_role("button", name="Teach", exact=True).click()
    assert "Choose 2 to 200 pictures" in page.inner_text("#teach .wrong")
    page.set_input_files("#teach input[type=file]", [str(path) for path in sorted(folder.iterdir())])
    page.wait_for_selector("text=3 chosen")
    page.get_by_role("button", name="Remove 2.png").click()
    page.wait_for_selector("text=2 chosen")
    page.fill("#teach input[name=concept]", "my wug")
    page.get_by_role("button", name="Teach", exact=True).click()
    page.wait_for_selector(".taught li[data-status=learning]:has-text('about 2 min left')")
    page.get_by_role("button", name="Remove wug").click()
    page.wait_for_selector(".taught li:has-text('wug')", state="detached")
    page.get_by_role("button", name="Draw with zed").click()
    job = studio.finished(studio.draw("a zed", n="1"))
    assert job.request["task"]["prompt"] == "a zed" and job.request["task"]["adapters"] == "zed"

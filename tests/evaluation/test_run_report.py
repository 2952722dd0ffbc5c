"""The report on a run: its files are read whatever trained it, its figures are true, and the page is whole."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
import torch
from PIL import Image

from sumi.errors import SumiError
from sumi.evaluation.run_copies import CopiedPicture, RunCopies, distance_between
from sumi.evaluation.run_page import chart_of, run_page, tick_text, verdict_of
from sumi.evaluation.run_report import StageCurve, average, make_run_report, reasons_of
from sumi.systems.run_folder import is_run, open_run
from sumi.training import TrainConfig


def write_stage(folder: Path, steps: int, of: int, loss: float | None = 1.0) -> None:
    """A stage that reported every step, as the training loop writes it."""
    folder.mkdir(parents=True)
    (folder / "plan.json").write_text(json.dumps(TrainConfig(of, 16, lr=0.01).to_json()))
    rows = [
        {"step": k, "loss": None if loss is None else loss / k, "lr": 0.01, "images_per_s": 10.0, "seconds": 2.0 * k,
         "precision": "fp32"}
        for k in range(1, steps + 1)
    ]  # fmt: skip
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metrics.jsonl").write_text(text + '{"step": 9, "lo')  # and a line that is being written
    (folder / "pictures").mkdir()
    Image.new("RGBA", (8, 4), "red").save(folder / "pictures" / f"step-{steps:07d}.png")


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run of three stages, of which the second is unfinished and the third has not begun."""
    folder = tmp_path / "mine"
    write_stage(folder / "prior", 3, 5)
    write_stage(folder / "clip", 4, 4, loss=math.log(16))
    planned = {"parameters": 2_000_000, "num_steps": 5, "batch_size": 16, "seconds": 9.0}
    stages = dict.fromkeys(("clip", "prior", "decoder"), planned)
    record = {"system": "unclip", "data": {"size_px": 16, "count": 7}, "planned": stages, "took_s": {"clip": 8.0}}
    (folder / "run.json").write_text(json.dumps(record))
    left_out = ["a b/1.png names no licence (--licence)", "2.png names no licence (--licence)"]
    data = {"place": "pics", "pictures": 7, "broken": ["cannot read the picture <3>.png: it is empty"], "notes": []}
    rights = [{"source": "", "licence": "CC0-1.0", "author": "A & B", "pictures": 7}]
    (folder / "data.json").write_text(json.dumps({**data, "left_out": left_out, "rights": rights, "rights_note": ""}))
    return folder


def test_a_run_is_read_in_the_order_of_its_plan_and_says_how_far_it_came(run_folder: Path) -> None:
    assert is_run(run_folder) and not is_run(run_folder.parent)
    run = open_run(run_folder)
    assert [stage.name for stage in run.stages] == ["clip", "prior"] and run.kind == "unclip"
    clip, prior = run.stages
    assert clip.is_finished and not prior.is_finished and not run.is_finished and run.model is None
    assert (prior.step, prior.num_steps, len(prior.rows)) == (3, 5, 3)


def test_a_stage_alone_is_a_run_and_a_folder_without_one_is_refused(run_folder: Path, tmp_path: Path) -> None:
    (stage,) = open_run(run_folder / "clip").stages
    assert stage.name == "clip" and stage.is_finished
    (tmp_path / "empty").mkdir()
    with pytest.raises(SumiError, match=r"empty holds no training run: none of its folders"):
        open_run(tmp_path / "empty")
    with pytest.raises(SumiError, match="there is no run 'nowhere'"):
        open_run("nowhere")


def test_a_report_has_the_numbers_of_the_run(run_folder: Path) -> None:
    made = make_run_report(open_run(run_folder), 3).to_json()
    assert made["stages"]["prior"]["curves"]["loss"]["points"] == [[1, 1.0], [2, 0.5], [3, 0.333333]]
    assert made["stages"]["clip"]["curves"]["loss"]["guide"] == math.log(16)
    assert made["stages"]["prior"]["curves"]["loss"]["guide"] is None
    assert made["waiting"] == ["decoder"] and made["stages"]["prior"]["seconds"] == 6.0
    assert made["data"]["reasons"][0][:2] == ["… names no licence (--licence)", 2]
    assert made["rights"][0]["licence"] == "CC0-1.0"
    assert made["copies"] == "the run has no finished model yet, so nothing is drawn"


def test_a_page_loads_nothing_and_escapes_what_others_named(run_folder: Path) -> None:
    page = run_page(make_run_report(open_run(run_folder), 0))
    assert not re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?(?!data:)[a-z/.]""", page)
    assert "http" not in page and "<script" not in page
    assert "A &amp; B" in page and "&lt;3&gt;.png" in page and "<3>" not in page
    assert "Trained: clip; unfinished: prior at step 3 of 5; not begun: decoder." in page
    assert page.count("data:image/webp;base64,") == 2, "a sheet of each stage"


def test_a_loss_that_was_never_finite_leaves_no_curve_and_no_error(tmp_path: Path) -> None:
    write_stage(tmp_path / "run" / "network", 4, 4, loss=None)
    report = make_run_report(open_run(tmp_path / "run"), 0)
    assert "loss" not in {curve.name for curve in report.curves["network"]} and run_page(report)


def test_a_curve_of_many_reports_is_averaged_and_keeps_its_mean() -> None:
    points = [(k, float(k % 2)) for k in range(1, 1001)]
    few = average(points, 100)
    assert len(few) == 100 and {value for _, value in few} == {0.5} and few[0][0] == 5.5
    assert average([(1, 2.0)], 100) == ((1.0, 2.0),)


def test_a_chart_rises_where_its_values_do_and_shows_its_guide_inside() -> None:
    chart = chart_of(StageCurve("loss", ((1.0, 1.0), (2.0, 2.0), (3.0, 1.5)), guide=2.4))
    heights = [float(pair.split(",")[1]) for pair in chart.path.split()]
    assert heights[1] < heights[2] < heights[0], "up is a smaller y"
    assert chart.guide is not None and 0 <= chart.guide < heights[1]
    assert chart_of(StageCurve("loss", ((1.0, 3.0), (2.0, 3.0)))).path, "a flat curve has a height"
    steep = chart_of(StageCurve("loss", ((1.0, 100.0), (2.0, 10.0), (3.0, 1.0))))
    top, middle, bottom = (float(pair.split(",")[1]) for pair in steep.path.split())
    assert middle == pytest.approx((top + bottom) / 2), "such a fall is drawn on a logarithmic scale"


@pytest.mark.parametrize(("value", "text"), [(0, "0"), (0.000146, "1.5e-4"), (0.0052, "0.0052"), (5361.2, "5,361")])
def test_ticks_are_short(value: float, text: str) -> None:
    assert tick_text(value) == text


def test_reasons_are_counted_without_the_names_of_pictures() -> None:
    lines = ["a.png is opted out: its author is on the list", "b c.png is opted out: its author is on the list"]
    lines += ["d.jpg names no licence"]
    reasons = reasons_of([*lines, lines[2].replace("d", "e")])
    assert ("… names no licence", 2, "d.jpg names no licence") in reasons


def test_near_copies_are_those_below_what_true_copies_are() -> None:
    image = Image.new("RGBA", (4, 4))
    pictures = tuple(CopiedPicture("a fox", k, image, image, "fox.png", 0.1 * k) for k in range(1, 4))
    copies = RunCopies(pictures, 9, 0.3, 0.25)
    assert copies.near_copies == 2 and copies.median == pytest.approx(0.2)
    assert "2 of them are near copies" in verdict_of(copies)
    pixels = RunCopies(pictures, 9, math.nan, None)
    assert pixels.near_copies is None and pixels.to_json()["between_training_pictures"] is None
    assert "draws in pixels" in verdict_of(pixels)


def test_distance_between_training_pictures_ignores_each_picture_itself() -> None:
    black, white = torch.zeros(4, 4, 4, dtype=torch.uint8), torch.full((4, 4, 4), 255, dtype=torch.uint8)
    assert distance_between(torch.stack([black, white])) == pytest.approx(1.0, abs=1e-3)
    assert math.isnan(distance_between(black[None]))

"""What a run reports, and when it reports, draws and saves: on clocks that a test moves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import pytest
from torch import Tensor, nn

from sumi.training import Batch, TimeBudget, train
from sumi.training.budget import RECENT
from sumi.training.checkpoint import latest_checkpoint, step_of
from sumi.training.loop import Report
from sumi.training.report import ProgressBar
from sumi.training.run import trained_seconds

from .toys import Regress, exact_config, weights

NEVER_S = 1e9


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of the training loop. Its processor time runs half as fast."""
    made = Clock()
    clocks = SimpleNamespace(perf_counter=made, process_time=lambda: made.now / 2)
    monkeypatch.setattr("sumi.training.loop.time", clocks)
    return made


class OneSecondSteps(Regress):
    """An objective whose every step takes one second."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        self.clock.now += 1
        return super().loss(model, batch)


def test_train_saves_whenever_checkpoint_s_has_passed_since_the_last_checkpoint(clock: Clock, tmp_path: Path) -> None:
    config = exact_config(10, log_s=1.0, checkpoint_s=3.0, picture_s=NEVER_S)
    saved = []
    for _ in train(OneSecondSteps(clock), config, tmp_path):
        place = latest_checkpoint(tmp_path)  # a report comes before the checkpoint of its step
        assert place is not None
        saved.append(step_of(place))
    assert saved == [0, 0, 0, 3, 3, 3, 6, 6, 6, 9]
    assert weights(tmp_path)["step"] == b"step-0000010"


def test_train_draws_whenever_picture_s_has_passed_since_the_last_sheet(clock: Clock, tmp_path: Path) -> None:
    config = exact_config(10, log_s=1.0, checkpoint_s=NEVER_S, picture_s=4.0)
    drawn = [report.step for report in train(OneSecondSteps(clock), config, tmp_path) if report.picture]
    assert drawn == [4, 8, 10]


def test_train_reports_whenever_log_s_has_passed_and_at_the_last_step(clock: Clock, tmp_path: Path) -> None:
    config = exact_config(10, log_s=2.5, checkpoint_s=NEVER_S, picture_s=NEVER_S)
    assert [report.step for report in train(OneSecondSteps(clock), config, tmp_path)] == [3, 6, 9, 10]


def test_train_saves_its_last_step_however_long_checkpoint_s_is(tmp_path: Path) -> None:
    list(train(Regress(), exact_config(4, checkpoint_s=NEVER_S), tmp_path))
    assert weights(tmp_path)["step"] == b"step-0000004"


def test_report_of_one_second_steps_holds_their_time_pace_and_end(clock: Clock, tmp_path: Path) -> None:
    config = exact_config(10, batch_size=7, log_s=2.0, checkpoint_s=NEVER_S, picture_s=NEVER_S)
    reports = list(train(OneSecondSteps(clock), config, tmp_path))
    assert [report.seconds for report in reports] == [2, 4, 6, 8, 10]
    assert [report.processor_s for report in reports] == [1, 2, 3, 4, 5]
    assert [report.eta_s for report in reports] == [8, 6, 4, 2, 0]
    assert {report.images_per_s for report in reports} == {7.0}
    assert (trained_seconds(tmp_path), trained_seconds(tmp_path, processor=True)) == (10.0, 5.0)


def test_trained_seconds_of_a_folder_without_a_run_are_none(tmp_path: Path) -> None:
    assert trained_seconds(tmp_path) == trained_seconds(tmp_path, processor=True) == 0.0


def test_time_budget_of_even_steps_counts_those_that_fit() -> None:
    clock = Clock()
    budget = TimeBudget(100, clock=clock)
    clock.now = 10  # preparation, which is no step
    budget.start()
    counts = []
    for step in range(1, 6):
        clock.now += 2
        counts.append(budget.estimate_num_steps(step))
    assert counts == [45] * 5


def test_time_budget_follows_the_pace_of_the_latest_steps() -> None:
    clock = Clock()
    budget = TimeBudget(1000, clock=clock)
    for step in range(1, 101):
        clock.now += 1
        assert budget.estimate_num_steps(step) == 1000
    for step in range(101, 101 + RECENT):
        clock.now += 4
        count = budget.estimate_num_steps(step)
    assert count == 100 + RECENT + (900 - 4 * RECENT) // 4


def test_time_budget_leaves_a_pause_out_of_the_pace_and_keeps_as_much_for_the_end() -> None:
    clock = Clock()
    budget = TimeBudget(100, clock=clock)
    for step in range(1, 11):
        clock.now += 1
        assert budget.estimate_num_steps(step) == 100
    clock.now += 20
    budget.pause(20)
    clock.now += 1
    assert budget.estimate_num_steps(11) == 100 - 20 - 20


def test_time_budget_that_is_spent_holds_no_further_step() -> None:
    clock = Clock()
    budget = TimeBudget(5, reserve=2, clock=clock)
    clock.now = 3
    assert budget.estimate_num_steps(4) == 4
    clock.now = 2.5
    assert TimeBudget(0, clock=clock).estimate_num_steps(4) == 4


def test_progress_bar_on_a_terminal_shows_each_report_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # rich then takes its stream for a terminal
    monkeypatch.setenv("TERM", "xterm")
    with ProgressBar("toy") as bar:
        bar.show(Report(3, 9, 0.5, {}, 12.0, 1e-3, 60.0, 1.0, 1.0, "fp32"))
        shown = capsys.readouterr().err
    assert "3/9" in shown and "loss 0.5" in shown and "0:01:00 left" in shown
    assert "\x1b[?25h" in capsys.readouterr().err, "at the end the terminal has its cursor again"


def test_quiet_progress_bar_shows_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar("toy", quiet=True) as bar:
        bar.show(Report(3, 9, 0.5, {}, 12.0, 1e-3, 60.0, 1.0, 1.0, "fp32"))
    assert capsys.readouterr().err == ""

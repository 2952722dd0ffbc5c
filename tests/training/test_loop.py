from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from sumi.errors import SumiError
from sumi.training import Batch, TimeBudget, TrainConfig, is_finished, read_config, run, time_budget, train
from sumi.training.report import MetricsLog, ProgressBar, format_duration
from sumi.training.sample_sheet import write_sample_sheet
from sumi.training.trainer import MAX_SKIPPED_IN_A_ROW, Trainer

from .toys import Paint, Regress, exact_config, weights


@pytest.mark.parametrize("rule", ["adamw", "muon"])
def test_train_on_a_regression_lowers_the_loss(rule: str, tmp_path: Path) -> None:
    config = TrainConfig(300, batch_size=20, lr=1e-2, warmup_steps=10, optimiser=rule, precision="fp32", log_s=0)
    losses = [report.loss for report in train(Regress(), config, tmp_path)]
    assert sum(losses[-20:]) < 0.25 * sum(losses[:20])


def test_train_in_bf16_keeps_fp32_weights(tmp_path: Path) -> None:
    seen: set[torch.dtype] = set()

    class Watched(Regress):
        def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
            seen.add(model(self.x[batch.indices]).dtype)
            return super().loss(model, batch)

    objective = Watched()
    list(train(objective, exact_config(3, precision="bf16"), tmp_path))
    assert seen == {torch.bfloat16}
    assert {p.dtype for p in objective.model.parameters()} == {torch.float32}


def test_train_reports_means_and_progress(tmp_path: Path) -> None:
    each = list(train(Regress(), exact_config(6), tmp_path / "each"))
    (once,) = train(Regress(), exact_config(6, log_s=1e9, checkpoint_s=1e9), tmp_path / "once")
    assert [report.step for report in each] == [1, 2, 3, 4, 5, 6] and once.step == once.num_steps == 6
    assert once.loss == pytest.approx(sum(report.loss for report in each) / 6, rel=1e-5)
    assert once.metrics.keys() == {"worst", "grad_norm"}
    assert once.lr == each[-1].lr == exact_config(6).lr_at(5)
    assert once.eta_s == 0 and each[0].eta_s > 0
    assert once.images_per_s == pytest.approx(6 * 7 / once.seconds)


def test_trainer_noise_and_dropout_depend_on_seed_and_step_only() -> None:
    """The guard of the guards: the toys do draw at random, so that equal weights elsewhere mean something."""

    def loss(seed: int, step: int) -> float:
        trainer = Trainer(Regress(), Regress().model, exact_config(9, seed=seed), torch.device("cpu"))
        trainer.step = step
        metrics = trainer.advance()
        assert metrics is not None
        return float(metrics["loss"])

    losses = {(seed, step): loss(seed, step) for seed in (0, 1) for step in (0, 1)}
    assert len(set(losses.values())) == 4
    assert loss(1, 1) == losses[1, 1]


class Broken(Regress):
    """Its gradient is not finite in the steps named."""

    bad: tuple[int, ...] = ()

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        metrics = super().loss(model, batch)
        return {"loss": metrics["loss"] * (math.nan if batch.step in self.bad else 1)}


def test_train_with_a_step_without_finite_gradient_skips_and_counts_it(tmp_path: Path) -> None:
    objective = Broken()
    objective.bad = (2, 3)
    reports = list(train(objective, exact_config(6), tmp_path))
    assert [math.isnan(report.loss) for report in reports] == [False, False, True, True, False, False]
    assert [report.metrics.get("skipped", 0) for report in reports] == [0, 0, 1, 2, 2, 2]
    assert all(p.isfinite().all() for p in objective.model.parameters())


def test_train_with_no_finite_gradients_raises_with_advice(tmp_path: Path) -> None:
    objective = Broken()
    objective.bad = tuple(range(5, 1000))
    reports = train(objective, exact_config(1000, checkpoint_s=1e9), tmp_path)
    with pytest.raises(
        SumiError, match=f"{MAX_SKIPPED_IN_A_ROW} steps in a row, up to step {5 + MAX_SKIPPED_IN_A_ROW}.*lower lr"
    ):
        list(reports)
    assert weights(tmp_path)["step"] == b"step-0000000"  # what is lost is not saved over what is not


def test_trainer_with_grad_clip_scales_the_gradient_to_that_norm() -> None:
    class Slope:
        name, model = "slope", nn.Linear(1, 1, bias=False)

        def __len__(self) -> int:
            return 1

        def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
            return {"loss": 1000 * model(torch.ones(1, 1)).sum()}

        def picture(self, model: nn.Module) -> None:
            return None

    seen = []

    def catch(trainer: Trainer) -> None:
        gradient = trainer.model.get_parameter("weight").grad
        assert gradient is not None
        seen.append(gradient.item())

    for clip, expected in ((1.0, 1.0), (0.0, 1000.0)):
        objective = Slope()
        trainer = Trainer(objective, objective.model, exact_config(3, grad_clip=clip), torch.device("cpu"))
        trainer.optimiser.step = lambda lr: catch(trainer)  # noqa: B023
        metrics = trainer.advance()
        assert metrics is not None and float(metrics["grad_norm"]) == 1000
        assert seen[-1] == pytest.approx(expected, rel=1e-4)


def test_run_writes_metrics_pictures_and_tensorboard(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    config = exact_config(5, picture_s=0.0)
    assert run(Regress(), config, tmp_path) is True
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5]
    figures = {"step", "loss", "lr", "images_per_s", "seconds", "processor_s", "precision", "worst", "grad_norm"}
    assert lines[0].keys() == figures
    pictures = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert pictures == [f"step-{k:07d}.png" for k in range(1, 6)]
    assert list((tmp_path / "tensorboard").glob("events.*"))
    told = capfd.readouterr()
    assert not told.out
    assert "5/5" in told.err and "images/s" in told.err and "trained for 5 steps" in told.err


def test_run_without_tensorboard_installed_trains(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert run(Regress(), exact_config(2), tmp_path, quiet=True) is True
    assert (tmp_path / "metrics.jsonl").exists() and not (tmp_path / "tensorboard").exists()


def test_metrics_log_of_a_resumed_run_drops_later_lines(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 3, "loss": 1}\n{"step": 7, "loss": 1}\n{"step": 1')
    with MetricsLog(tmp_path, step=5):
        pass
    assert path.read_text() == '{"step": 3, "loss": 1}\n'


def test_metrics_log_writes_a_figure_that_is_not_finite_as_null(tmp_path: Path) -> None:
    objective = Broken()
    objective.bad = (0,)
    run(objective, exact_config(2), tmp_path, quiet=True)
    first = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0])
    assert first["loss"] is None and first["skipped"] == 1


def test_write_sample_sheet_of_premultiplied_rgba_writes_straight_alpha(tmp_path: Path) -> None:
    sheet = torch.zeros(4, 1, 4, dtype=torch.uint8)
    sheet[:, 0, 1] = torch.tensor([64, 0, 128, 128])  # premultiplied: half a purple
    sheet[:, 0, 2] = torch.tensor([9, 8, 7, 255])
    sheet[:, 0, 3] = torch.tensor([200, 1, 2, 250])
    path = write_sample_sheet(tmp_path / "new" / "a.png", sheet)
    assert np.asarray(Image.open(path)).tolist() == [
        [[0, 0, 0, 0], [128, 0, 255, 128], [9, 8, 7, 255], [204, 1, 2, 250]]
    ]
    assert [p.name for p in path.parent.iterdir()] == ["a.png"]
    with pytest.raises(SumiError, match="uint8"):
        write_sample_sheet(tmp_path / "b.png", sheet.float())


class Clock:
    """A clock that stands still unless it is told, and a objective whose every step takes time on it."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Slow(Regress):
    def __init__(self, clock: Clock, pace: Callable[[int], float], drawing: float = 0.0) -> None:
        super().__init__()
        self.clock, self.pace, self.drawing = clock, pace, drawing

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        self.clock.now += self.pace(batch.step)
        return super().loss(model, batch)

    def picture(self, model: nn.Module) -> Tensor | None:
        self.clock.now += self.drawing
        return super().picture(model)


def slow_first(step: int) -> float:
    return 5.0 if step == 0 else 1.0


def slower_later(step: int) -> float:
    return 1.0 if step < 50 else 3.0


@pytest.mark.parametrize("pace", [lambda step: 1.0, slow_first, slower_later])
def test_train_with_a_time_budget_ends_in_time_at_any_pace(pace: Callable[[int], float], tmp_path: Path) -> None:
    spent = Clock()
    objective = Slow(spent, pace, drawing=4.0)
    reports = list(
        train(objective, exact_config(1, picture_s=1e9), tmp_path, budget=TimeBudget(150, reserve=4, clock=spent))
    )
    assert 140 <= spent.now <= 155
    assert reports[-1].step == reports[-1].num_steps and reports[-1].picture is not None
    begun = read_config(tmp_path)
    assert begun is not None and begun.num_steps == reports[-1].step
    assert reports[-1].lr < 0.05 * max(report.lr for report in reports)  # the rate fell as if that had been planned


def test_train_with_a_spent_budget_takes_no_step_and_else_at_least_one(tmp_path: Path) -> None:
    spent = Clock()
    objective = Slow(spent, lambda step: 100.0)
    assert len(list(train(objective, exact_config(1), tmp_path, budget=TimeBudget(1, clock=spent)))) == 1
    assert not list(train(objective, exact_config(1), tmp_path, budget=TimeBudget(0, clock=spent)))
    assert is_finished(tmp_path)


def test_train_with_a_time_budget_after_a_stop_resumes(tmp_path: Path) -> None:
    spent, stopping = Clock(), [False]
    objective = Slow(spent, lambda step: 1.0)
    for report in train(
        objective, exact_config(1), tmp_path, stop=lambda: stopping[0], budget=TimeBudget(50, clock=spent)
    ):
        stopping[0] = report.step == 20
    assert spent.now == 21 and not is_finished(tmp_path)
    config = read_config(tmp_path)
    assert config is not None and config.num_steps == pytest.approx(50, abs=1), "what the budget would hold"
    list(train(objective, exact_config(1), tmp_path, budget=TimeBudget(29, clock=spent)))
    assert spent.now == pytest.approx(50, abs=1) and is_finished(tmp_path)


def test_time_budget_of_a_trained_run_subtracts_its_seconds(tmp_path: Path) -> None:
    assert time_budget(tmp_path, 60).left == pytest.approx(60, abs=1)
    list(train(Regress(), exact_config(3), tmp_path))
    assert time_budget(tmp_path, 60).left <= 0 and 50 < time_budget(tmp_path, 60, extend=True).left < 60


@pytest.mark.parametrize("fast", [True, False])
def test_train_with_auto_precision_resolves_it_once_and_records_it(
    fast: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sumi.hardware.cpu_has_fast_bf16", lambda: fast)
    config, chosen = exact_config(2, precision="auto"), "bf16" if fast else "fp32"
    assert run(Regress(), config, tmp_path)
    begun = read_config(tmp_path)
    assert begun is not None and begun.precision == chosen
    assert json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0])["precision"] == chosen
    assert f"images/s in {chosen}" in capsys.readouterr().err
    monkeypatch.setattr("sumi.hardware.cpu_has_fast_bf16", lambda: not fast)  # another machine goes on as it was begun
    (*_, last) = train(Regress(), replace(config, num_steps=4), tmp_path, extend=True)
    assert last.precision == chosen


def test_trainer_of_an_objective_without_examples_raises(tmp_path: Path) -> None:
    with pytest.raises(SumiError, match="'regress': the objective has no examples"):
        train(Regress(examples=0), exact_config(1), tmp_path)


def test_format_duration_writes_hours_minutes_seconds() -> None:
    assert format_duration(3 * 3600 + 62.4) == "3:01:02" and format_duration(0) == "0:00:00"


def test_train_of_an_objective_without_picture_writes_no_file(tmp_path: Path) -> None:
    (*_, last) = train(Paint(), exact_config(2, picture_s=0.0), tmp_path)
    assert last.picture is None and not (tmp_path / "pictures").exists()


def test_progress_bar_print_line_prints_markup_unchanged(capsys: pytest.CaptureFixture[str]) -> None:
    line = "[bold]a word and 7 more[/bold] " * 20 + "end"
    ProgressBar("toy").print_line(line)
    assert capsys.readouterr().err == line + "\n"

"""The doctor of training runs: what is normal at which point, where NaN begins, and which stage is to blame."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sumi.systems.reopened_run import OpenedStage
from sumi.systems.run_diagnosis import RunFinding, check_clip, check_finite, check_loss, check_weights
from sumi.systems.run_doctor import diagnose_run, excuse
from sumi.systems.run_folder import StageRun, is_run, open_run, read_stage
from sumi.systems.run_trial import few_examples, try_stages
from sumi.systems.unclip.blame import Likeness, judge_drawings, judge_enlarged
from sumi.training import Batch, TrainConfig, run


def stage(losses: Sequence[float | None], of: int = 1000, name: str = "network", **columns: Any) -> StageRun:
    """A stage with a report every 100 steps."""
    rows = tuple({"step": 100 * k, "loss": loss, **columns} for k, loss in enumerate(losses, 1))
    return StageRun(name, Path(), TrainConfig(of, 64), 100 * len(losses), rows, (), {})


def level(findings: Sequence[RunFinding]) -> str:
    (found,) = findings
    return found.level


def test_clip_at_ln_batch_is_normal_at_first_and_wrong_later() -> None:
    guess = math.log(64)
    early = check_clip(stage([guess], of=10_000, name="clip"))
    assert level(early) == "ok" and "normal after 100 steps" in early[0].text and "ln(64) = 4.16" in early[0].text
    late = check_clip(stage([guess] * 8, name="clip"))
    assert level(late) == "wrong" and "still guesses after 800 steps" in late[0].text
    assert level(check_clip(stage([4.1, 3.0, 2.0, 1.5, 1.2], name="clip"))) == "ok"
    assert level(check_clip(stage([8.0] * 5, name="clip", named=0.1, matched=1 / 64))) == "wrong"
    assert level(check_clip(stage([8.0] * 5, name="clip", named=0.1, matched=0.5))) == "ok"


def test_a_loss_that_falls_stays_or_rises_is_told_apart() -> None:
    assert level(check_loss(stage([1.0, 0.8, 0.6, 0.5, 0.4]))) == "ok"
    rose = check_loss(stage([1.0, 0.5, 0.6, 1.5, 3.0]))
    assert level(rose) == "wrong" and "rose from 0.5 to 3" in rose[0].text
    assert level(check_loss(stage([1.0] * 5))) == "note"
    assert level(check_loss(stage([1.0] * 5, of=100_000))) == "ok", "nothing need have moved yet"
    assert level(check_loss(stage([1.0]))) == "note" and level(check_loss(stage([1, 9, 9, 9], loss_d=1.0))) == "note"


def test_the_first_step_that_is_not_finite_is_named_and_few_do_no_harm() -> None:
    assert check_finite(stage([1.0] * 3)).level == "ok"
    bad = stage([1.0, None, 1.0])
    rows = (bad.rows[0], {**bad.rows[1], "skipped": 1}, {**bad.rows[2], "skipped": 1})
    few = check_finite(replace(bad, rows=rows))
    assert few.level == "note" and few.values["first"] == "between steps 101 and 200"
    assert check_finite(replace(bad, rows=rows[:2])).level == "wrong", "its newest report has no loss"
    rows = tuple({**row, "skipped": 30} for row in stage([1.0] * 3).rows)
    assert check_finite(replace(bad, rows=rows)).level == "wrong"


@dataclass
class Numbers:
    """Learn a number for each example, or, with `deaf`, a loss that no weight changes."""

    deaf: bool = False
    name: str = "network"
    model: nn.Module = field(default_factory=lambda: nn.Sequential(nn.Linear(1, 16), nn.Tanh(), nn.Linear(16, 1)))

    def __len__(self) -> int:
        return 40

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        x = batch.indices[:, None] / 40
        loss = (model(x) - (6 * x).sin()).square().mean()
        return {"loss": 1 + 0 * loss if self.deaf else loss}

    def picture(self, model: nn.Module) -> None:
        return None


def trained(folder: Path, objective: Numbers) -> OpenedStage:
    config = TrainConfig(3, 8, lr=0.02, warmup_steps=1, precision="fp32")
    beginning = {name: tensor.clone() for name, tensor in objective.model.state_dict().items()}
    assert run(objective, config, folder, quiet=True)
    return OpenedStage(read_stage(folder, "network"), objective, beginning)


def test_a_sound_stage_learns_by_heart_and_a_deaf_one_does_not(tmp_path: Path) -> None:
    torch.manual_seed(0)
    opened = trained(tmp_path / "sound", Numbers())
    before = {name: tensor.clone() for name, tensor in opened.model.state_dict().items()}
    forward, heart = try_stages({"network": opened}, seconds=600)
    assert (forward.level, heart.level) == ("ok", "ok"), heart
    assert heart.values["after"] < 0.5 * heart.values["before"] and heart.values["pictures"] == 32
    assert all(torch.equal(tensor, before[name]) for name, tensor in opened.model.state_dict().items())
    _, heart = try_stages({"network": trained(tmp_path / "deaf", Numbers(deaf=True))}, seconds=600)
    assert heart.level == "wrong" and "does not learn even these" in heart.text


def test_the_first_layer_with_nan_is_named(tmp_path: Path) -> None:
    opened = trained(tmp_path / "run", Numbers())
    with torch.no_grad():
        opened.model[2].weight[0, 0] = math.nan  # type: ignore[index]
    (found,) = try_stages({"network": opened}, seconds=600)
    assert (found.level, found.values["first"]) == ("wrong", "network.2") and "NaN" in found.text


def test_weights_that_are_not_finite_are_named_and_the_run_is_not_working(tmp_path: Path) -> None:
    trained(tmp_path / "run" / "network", Numbers())
    good = diagnose_run(open_run(tmp_path / "run"), quick=True)
    assert good.working and json.dumps(good.to_json())
    (place,) = (tmp_path / "run" / "network" / "checkpoints").glob("step-0000003")
    tensors = load_file(place / "ema.safetensors")
    tensors["0.bias"][0] = math.inf
    save_file(tensors, place / "ema.safetensors")
    (found,) = check_weights(read_stage(tmp_path / "run" / "network", "network"))
    assert found.level == "wrong" and found.values["tensors"] == ["ema.0.bias"]
    assert not diagnose_run(open_run(tmp_path / "run"), quick=True).working


def test_a_run_that_has_only_begun_to_prepare_is_said_to_have_trained_nothing(tmp_path: Path) -> None:
    (run := tmp_path / "run").mkdir()
    (run / "teach.json").write_text('{"concept": "my wug"}')
    assert is_run(run) and not is_run(tmp_path)
    found = diagnose_run(open_run(run))
    assert found.working and [one.text for one in found.findings] == ["nothing has been trained yet"]


def test_few_examples_are_spread_over_all() -> None:
    few = few_examples(Numbers())
    assert len(few) == 32 and few.rows[0] == 0 and few.rows[-1] == 39


def test_the_stage_that_loses_most_is_blamed() -> None:
    sound = judge_drawings(Likeness(true_z_i=0.9, prior_z_i=0.8, itself=1.0, another=0.2))
    assert [(one.stage, one.level) for one in sound] == [("decoder", "ok"), ("prior", "ok")]
    prior = judge_drawings(Likeness(true_z_i=0.9, prior_z_i=0.3, itself=1.0, another=0.2))
    assert [(one.stage, one.level) for one in prior] == [("decoder", "ok"), ("prior", "wrong")]
    decoder = judge_drawings(Likeness(true_z_i=0.3, prior_z_i=0.3, itself=1.0, another=0.2))
    assert [(one.stage, one.level) for one in decoder] == [("decoder", "wrong")]
    clip = judge_drawings(Likeness(true_z_i=0.9, prior_z_i=None, itself=0.91, another=0.9))
    assert [(one.stage, one.level) for one in clip] == [("clip", "wrong")]
    assert judge_enlarged("upsampler", 20.0, 28.0).level == "wrong"
    assert judge_enlarged("upsampler", 27.0, 28.0).level == "ok"


def test_a_stage_that_is_not_half_trained_is_excused() -> None:
    bad = RunFinding("decoder", "decoder", "wrong", "it draws badly")
    opened = {k: OpenedStage(stage([1.0] * k, name="decoder"), Numbers(), {}) for k in (2, 6)}
    assert excuse(bad, {"decoder": opened[2]}).level == "note"
    assert excuse(bad, {"decoder": opened[6]}).level == "wrong"

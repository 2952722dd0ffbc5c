"""Several processes train the weights that one trains, and stop, fail and resume together."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sumi.errors import SumiError
from sumi.training import Processes, TrainConfig, join_processes, processes, read_config, train
from sumi.training.checkpoint import latest_checkpoint, load_notes, lock_run

from .toys import Regress, exact_config, weights
from .workers import Poisoned, Sometimes, train_together

STEPS = 12


def shared_config(num_steps: int = STEPS, **changes: object) -> TrainConfig:
    return exact_config(num_steps, **({"batch_size": 12, "microbatches": 4} | changes))


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    """All tensors of the newest checkpoint: weights, averages and moments."""
    place = latest_checkpoint(folder)
    assert place is not None
    return {f"{f.stem}/{k}": v for f in place.glob("*.safetensors") for k, v in load_file(f).items()}


def assert_same_run(one: Path, other: Path) -> None:
    assert weights(one)["step"] == weights(other)["step"]
    first, second = tensors(one), tensors(other)
    assert first.keys() == second.keys()
    for name, value in first.items():
        close = torch.allclose(second[name], value, rtol=1e-4, atol=1e-6)
        assert close, f"{name} differs by {(second[name] - value).abs().max()}"


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process trains in four micro-batches."""
    folder = tmp_path_factory.mktemp("alone")
    list(train(Regress(), shared_config(), folder))
    return folder


@pytest.mark.parametrize("count", [2, 4])
def test_train_by_several_processes_ends_in_the_weights_of_one(count: int, alone: Path, tmp_path: Path) -> None:
    result = train_together(count, "regress", tmp_path / "run", shared_config())
    assert result.returncode == 0, result.stderr
    assert_same_run(alone, tmp_path / "run")
    ends = [json.loads((tmp_path / "run" / f"rank-{rank}.json").read_text()) for rank in range(count)]
    assert ends[0]["finished"] is True and all(end == ends[0] for end in ends)
    figures = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    expected = [report.loss for report in train(Regress(), shared_config(), tmp_path / "again")]
    assert [line["step"] for line in figures] == list(range(1, STEPS + 1))
    assert [line["loss"] for line in figures] == pytest.approx(expected, rel=1e-4)
    assert result.stderr.count("trained for 12 steps") == 1


def test_train_resumed_by_other_numbers_of_processes_ends_in_the_same_weights(alone: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    assert train_together(2, "signalled", folder, shared_config()).returncode == 0
    assert weights(folder)["step"] == b"step-0000006"
    stop = iter([False] * 2 + [True]).__next__
    list(train(Regress(), shared_config(), folder, stop=stop))
    assert weights(folder)["step"] == b"step-0000009"
    assert train_together(2, "regress", folder, shared_config()).returncode == 0
    assert_same_run(alone, folder)


def test_train_without_a_number_of_microbatches_keeps_that_of_its_first_processes(tmp_path: Path) -> None:
    config = shared_config(microbatches=0)
    list(train(Regress(), shared_config(microbatches=2), tmp_path / "alone"))
    folder = tmp_path / "run"
    assert train_together(2, "signalled", folder, config).returncode == 0
    begun = read_config(folder)
    assert begun is not None and begun.microbatches == 2
    list(train(Regress(), config, folder))
    assert_same_run(tmp_path / "alone", folder)
    with pytest.raises(SumiError, match="microbatches was 2 and is 1"):
        train(Regress(), replace(config, microbatches=1), folder)


def test_train_with_parameters_without_gradients_on_one_process_is_that_of_one(tmp_path: Path) -> None:
    list(train(Sometimes(), shared_config(), tmp_path / "alone"))
    result = train_together(2, "sometimes", tmp_path / "run", shared_config())
    assert result.returncode == 0, result.stderr
    assert_same_run(tmp_path / "alone", tmp_path / "run")


def test_train_with_a_killed_process_leaves_with_one_line_and_resumes(alone: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    result = train_together(2, "killed", folder, shared_config())
    assert result.returncode == 137
    lines = [line for line in result.stderr.splitlines() if line.startswith("rank")]
    assert len(lines) == 1 and lines[0].startswith("rank 0: another process of this training ended")
    assert "Traceback" not in result.stderr
    assert weights(folder)["step"] == b"step-0000005"
    assert train_together(2, "regress", folder, shared_config()).returncode == 0
    assert_same_run(alone, folder)


def test_run_with_a_signal_to_one_process_stops_all_and_saves_once(tmp_path: Path) -> None:
    result = train_together(2, "signalled", tmp_path, shared_config(checkpoint_s=1e9))
    assert result.returncode == 0, result.stderr
    assert [json.loads((tmp_path / f"rank-{rank}.json").read_text())["finished"] for rank in (0, 1)] == [False] * 2
    assert weights(tmp_path)["step"] == b"step-0000006"
    assert result.stderr.count("stopped, saved at step 6 of 12") == 1


def test_train_with_a_loss_that_is_not_finite_on_one_process_is_skipped_by_all(tmp_path: Path) -> None:
    reports = list(train(Poisoned(), shared_config(), tmp_path / "alone"))
    faults = [report.fault for report in reports if report.fault]
    assert len(faults) == 1 and "17" in faults[0] and faults[0].count(",") == 3  # one micro-batch of three
    result = train_together(2, "poisoned", tmp_path / "run", shared_config())
    assert result.returncode == 0, result.stderr
    assert f"no weight changed, in {faults[0]}" in result.stderr
    assert_same_run(tmp_path / "alone", tmp_path / "run")
    place = latest_checkpoint(tmp_path / "run")
    assert place is not None and load_notes(place)["skipped"] == 1


def test_train_in_a_locked_folder_is_refused_on_every_process(tmp_path: Path) -> None:
    with lock_run(tmp_path):
        result = train_together(2, "regress", tmp_path, shared_config())
    assert result.returncode == 2
    lines = sorted(line for line in result.stderr.splitlines() if line.startswith("rank"))
    assert len(lines) == 2 and "Traceback" not in result.stderr
    assert lines[0].endswith("another process is training in this folder; wait for it or stop it")
    assert lines[1] == "rank 1: stopped, because the first process could not go on: see its message"


def test_train_with_a_time_budget_follows_the_first_process(tmp_path: Path) -> None:
    result = train_together(2, "budget", tmp_path, shared_config())
    assert result.returncode == 0, result.stderr
    ends = [json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in (0, 1)]
    assert ends[0] == ends[1] and ends[0]["finished"]


def test_train_averages_batch_norms_over_processes(tmp_path: Path) -> None:
    result = train_together(2, "paint", tmp_path, shared_config())
    assert result.returncode == 0, result.stderr
    ends = [json.loads((tmp_path / f"rank-{rank}.json").read_text())["weights"] for rank in (0, 1)]
    assert ends[0] == ends[1] and "norm.running_mean" in ends[0]


def test_train_stage_lets_the_first_process_make_what_all_read(tmp_path: Path) -> None:
    result = train_together(2, "product", tmp_path, shared_config())
    assert result.returncode == 0, result.stderr


def test_processes_share_microbatches_in_order() -> None:
    assert [list(Processes(rank, 2).share(6)) for rank in (0, 1)] == [[0, 1, 2], [3, 4, 5]]


def test_config_that_processes_cannot_share_is_refused() -> None:
    with pytest.raises(SumiError, match="2 processes cannot share a batch of 7 in 2 micro-batches"):
        exact_config(3, microbatches=0).resolve("cpu", 2)
    with pytest.raises(SumiError, match="2 processes cannot share a batch of 12 in 3 micro-batches"):
        shared_config(microbatches=3).resolve("cpu", 2)
    with pytest.raises(SumiError, match="microbatches must be a divisor of the batch size 12"):
        shared_config(microbatches=5)


def test_join_processes_without_torchrun_is_one_process() -> None:
    with join_processes() as group:
        assert group == processes() == Processes() and group.is_first

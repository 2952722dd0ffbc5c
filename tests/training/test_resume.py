"""A run that was stopped, killed or cut off anywhere goes on to byte-identical weights."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import sumi
from sumi.errors import SumiError
from sumi.nn import MLP, Cond, old_tensor_names
from sumi.training import Batch, TrainConfig, checkpoint, load_ema, read_config, run, train
from sumi.training.checkpoint import latest_checkpoint

from .toys import OBJECTIVES, Regress, exact_config, weights

STEPS = 24
KINDS = [(name, rule) for name in OBJECTIVES for rule in ("adamw", "muon")]


@pytest.fixture(scope="module", params=KINDS, ids="-".join)
def whole(request: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, TrainConfig, dict[str, bytes]]:
    """An uninterrupted run: its objective's name, its config, and the bytes it ends with."""
    name, rule = request.param
    folder, config = tmp_path_factory.mktemp("whole"), exact_config(STEPS, optimiser=rule)
    list(train(OBJECTIVES[name](), config, folder))
    return name, config, weights(folder)


def test_train_twice_ends_in_the_same_bytes(whole: tuple[str, TrainConfig, dict[str, bytes]], tmp_path: Path) -> None:
    name, config, end = whole
    list(train(OBJECTIVES[name](), replace(config, checkpoint_s=1e9, log_s=1e9), tmp_path))
    assert weights(tmp_path) == end


def test_train_after_stops_ends_in_the_bytes_of_an_uninterrupted_run(
    whole: tuple[str, TrainConfig, dict[str, bytes]], tmp_path: Path
) -> None:
    name, config, end = whole
    rarely = replace(config, checkpoint_s=1e9)
    for session, length in enumerate((1, 2, 5, 9)):
        stop = iter([False] * (length - 1) + [True]).__next__
        # Other initial weights each time: only those of step 0 may count.
        reports = list(train(OBJECTIVES[name](seed=session), rarely, tmp_path, stop=stop))
        assert len(reports) == length
    assert weights(tmp_path)["step"] == b"step-0000017"
    list(train(OBJECTIVES[name](seed=9), rarely, tmp_path))
    assert weights(tmp_path) == end


def test_train_after_its_iterator_was_closed_resumes_exactly(
    whole: tuple[str, TrainConfig, dict[str, bytes]], tmp_path: Path
) -> None:
    name, config, end = whole
    for report in train(OBJECTIVES[name](), replace(config, checkpoint_s=1e9), tmp_path):
        if report.step == 5:
            break
    assert weights(tmp_path)["step"] == b"step-0000005"
    list(train(OBJECTIVES[name](), config, tmp_path))
    assert weights(tmp_path) == end


@pytest.mark.parametrize(("name", "rule"), [("regress", "adamw"), ("paint", "muon")])
def test_train_killed_again_and_again_ends_in_the_same_bytes(name: str, rule: str, tmp_path: Path) -> None:
    """SIGKILL in child processes at random moments, most of them in the midst of writing a checkpoint."""
    steps, deaths = 60, 5
    list(train(OBJECTIVES[name](), exact_config(steps, optimiser=rule, checkpoint_s=1e9), tmp_path / "whole"))
    program = Path(__file__).with_name("toys.py")
    home = str(Path(sumi.__file__).parents[1])
    result = subprocess.run(
        [sys.executable, str(program), name, rule, str(tmp_path / "killed"), str(steps), str(deaths)],
        env={**os.environ, "PYTHONPATH": home, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) >= 2
    assert weights(tmp_path / "killed") == weights(tmp_path / "whole")
    lines = [json.loads(line) for line in (tmp_path / "killed" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, steps + 1))  # nothing lost, nothing twice


class PowerCutError(BaseException):
    """Nothing in the code may catch this, as nothing catches a power cut."""


def test_train_cut_off_at_every_write_leaves_a_complete_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The power fails before or after each single act on the disk; no other way to fail exists for long."""
    config = exact_config(3)
    list(train(Regress(), config, tmp_path / "whole"))
    acts_left = [0]

    def fragile(act: Callable[..., Any], *, before: bool) -> Callable[..., Any]:
        def wrapped(*args: Any, **settings: Any) -> Any:
            acts_left[0] -= 1
            if before and acts_left[0] == 0:
                raise PowerCutError
            outcome = act(*args, **settings)
            if acts_left[0] == 0:
                raise PowerCutError
            return outcome

        return wrapped

    places = [
        (os, "fsync"),
        (shutil, "rmtree"),
        (Path, "rename"),
        (Path, "replace"),
        (checkpoint, "save_file"),
    ]
    for before in (True, False):
        for act in count(1):
            folder = tmp_path / f"{before}-{act}"
            acts_left[0] = act
            with monkeypatch.context() as patch:
                for owner, name in places:
                    patch.setattr(owner, name, fragile(getattr(owner, name), before=before))
                try:
                    list(train(Regress(), config, folder))
                except PowerCutError:
                    cut = True
                else:
                    cut = False
            list(train(Regress(), config, folder))
            assert weights(folder) == weights(tmp_path / "whole"), f"cut at act {act}, before={before}"
            if not cut:
                break
        assert act > 20


@pytest.fixture
def default_signals() -> Iterator[None]:
    """Signals act as at a terminal: a process in the background or under nohup inherits some of them ignored."""
    usual = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    for number in usual:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number, handler in usual.items():
        signal.signal(number, handler)


class Interrupted(Regress):
    """Sends a signal to its own process during the sixth step."""

    number = signal.SIGTERM

    def loss(self, model: nn.Module, batch: Any) -> Any:
        if batch.step == 5:
            os.kill(os.getpid(), self.number)
        return super().loss(model, batch)


@pytest.mark.usefixtures("default_signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_on_a_signal_finishes_the_step_and_saves(
    number: signal.Signals, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config, usual = exact_config(STEPS, checkpoint_s=1e9, log_s=1e9), signal.getsignal(number)
    objective = Interrupted()
    objective.number = number
    assert run(objective, config, tmp_path / "cut") is False
    assert signal.getsignal(number) is usual
    assert weights(tmp_path / "cut")["step"] == b"step-0000006"
    captured = capfd.readouterr()
    assert "saved at step 6 of 24" in captured.err and not captured.out
    assert run(Regress(), config, tmp_path / "cut", quiet=True) is True
    list(train(Regress(), config, tmp_path / "whole"))
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")


@pytest.mark.usefixtures("default_signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_run_on_a_signal_at_the_last_step_returns_false(number: signal.Signals, tmp_path: Path) -> None:
    objective = Interrupted()
    objective.number = number
    assert run(objective, exact_config(6), tmp_path / "step", quiet=True) is False

    class Drawing(Regress):
        def picture(self, model: nn.Module) -> None:
            os.kill(os.getpid(), number)

    assert run(Drawing(), exact_config(6, picture_s=1e9), tmp_path / "picture", quiet=True) is False
    for folder in ("step", "picture"):  # the weights of the last step are there, and a second call says so
        assert weights(tmp_path / folder)["step"] == b"step-0000006"
        assert run(Regress(), exact_config(6), tmp_path / folder, quiet=True) is True


def test_run_with_an_ignored_signal_leaves_it_ignored(tmp_path: Path) -> None:
    usual = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as nohup does with SIGHUP
    try:
        assert run(Interrupted(), exact_config(8), tmp_path, quiet=True) is True
    finally:
        signal.signal(signal.SIGTERM, usual)


def test_train_of_a_finished_run_changes_nothing(tmp_path: Path) -> None:
    config = exact_config(4)
    list(train(Regress(), config, tmp_path))
    end = weights(tmp_path)
    assert list(train(Regress(), config, tmp_path)) == []
    assert weights(tmp_path) == end


def test_train_with_another_config_names_the_changed_field(tmp_path: Path) -> None:
    config = exact_config(4)
    list(train(Regress(), config, tmp_path))
    with pytest.raises(SumiError, match=r"lr was 0\.001 and is 0\.002, seed was 0 and is 7$"):
        train(Regress(), replace(config, lr=2e-3, seed=7), tmp_path)
    with pytest.raises(SumiError, match="num_steps was 4 and is 8"):
        train(Regress(), replace(config, num_steps=8), tmp_path)
    with pytest.raises(SumiError, match="num_steps was 4 and is 2"):
        train(Regress(), replace(config, num_steps=2), tmp_path, extend=True)
    with pytest.raises(SumiError, match="trained on 100 examples, and there are 101 now"):
        train(Regress(examples=101), config, tmp_path)
    with pytest.raises(SumiError, match="belongs to objective 'regress', not 'paint'"):
        train(OBJECTIVES["paint"](), config, tmp_path)
    with pytest.raises(SumiError, match="holds a run already"):
        train(Regress(), config, tmp_path, resume=False)
    assert read_config(tmp_path) == config
    assert list(train(Regress(), replace(config, checkpoint_s=5.0, picture_s=1.0, log_s=1.0), tmp_path)) == []


def test_train_with_extend_continues_exactly_and_without_it_raises(tmp_path: Path) -> None:
    longer = exact_config(12, checkpoint_s=1e9)
    for folder in (tmp_path / "a", tmp_path / "b"):
        list(train(Regress(), exact_config(6), folder))
    list(train(Regress(examples=120), longer, tmp_path / "a", extend=True))
    for report in train(Regress(examples=120), longer, tmp_path / "b", extend=True):
        if report.step == 9:
            break
    assert read_config(tmp_path / "b") == longer
    list(train(Regress(examples=120), longer, tmp_path / "b"))
    assert weights(tmp_path / "a") == weights(tmp_path / "b")


def test_train_resuming_with_another_model_raises(tmp_path: Path) -> None:
    list(train(Regress(), exact_config(2), tmp_path))
    objective = Regress()
    objective.model = nn.Linear(8, 1)
    with pytest.raises(SumiError, match="does not fit the model"):
        train(objective, exact_config(2), tmp_path)


class RegressByMLP(Regress):
    """Regress with a network whose tensors had other names in earlier versions."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.model = MLP(8, 1, width=16, depth=1)

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        x = self.x[batch.indices]
        return {"loss": (model(x, torch.zeros(len(x)), Cond()) - self.y[batch.indices]).square().mean()}

    def picture(self, model: nn.Module) -> None:
        return None


def test_checkpoint_with_old_tensor_names_resumes_to_the_same_weights(tmp_path: Path) -> None:
    config = exact_config(6, optimiser="muon")
    list(train(RegressByMLP(), config, tmp_path / "straight"))
    reports = train(RegressByMLP(), config, tmp_path / "old", stop=lambda: True)
    list(reports)
    place, model = latest_checkpoint(tmp_path / "old"), RegressByMLP().model
    assert place is not None and place.name == "step-0000001"
    old = {name: was for was, name in old_tensor_names(model).items()}
    for part in ("model", "ema", "optimiser"):
        tensors = load_file(place / f"{part}.safetensors")
        paths = [name.rpartition("/") for name in tensors]
        names = ["".join((*path[:2], old.get(path[2], path[2]))) for path in paths]
        assert names != list(tensors)
        save_file(dict(zip(names, tensors.values(), strict=True)), place / f"{part}.safetensors")
    list(train(RegressByMLP(), config, tmp_path / "old"))
    resumed, straight = load_ema(tmp_path / "old"), load_ema(tmp_path / "straight")
    assert all(torch.equal(value, resumed[name]) for name, value in straight.items())


def test_train_in_a_locked_folder_raises(tmp_path: Path) -> None:
    reports = train(Regress(), exact_config(9), tmp_path)
    next(reports)
    with pytest.raises(SumiError, match="another process is training in this folder"):
        train(Regress(), exact_config(9), tmp_path)
    list(reports)
    list(train(Regress(), exact_config(9), tmp_path))

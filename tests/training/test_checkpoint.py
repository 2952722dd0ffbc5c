from __future__ import annotations

from pathlib import Path

import pytest
import torch

from sumi.errors import SumiError
from sumi.training import load_ema, read_config, train
from sumi.training.checkpoint import Checkpoint, latest_checkpoint, load_checkpoint, save_checkpoint

from .toys import Regress, exact_config


def made(step: int) -> Checkpoint:
    kernel = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    tied = torch.randn(5)
    moments = {"step/a": torch.tensor(3.0)}
    return Checkpoint(step, {"a": kernel, "b": tied, "c": tied}, {"a": kernel * 2}, moments, {"objective": "x"})


def test_checkpoint_of_tied_strided_and_scalar_tensors_loads_as_saved(tmp_path: Path) -> None:
    written = made(5)
    read = load_checkpoint(save_checkpoint(tmp_path, written))
    assert read.step == 5 and read.notes == {"objective": "x"}
    for part in ("model", "ema", "optimiser"):
        mine, theirs = getattr(written, part), getattr(read, part)
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_save_checkpoint_of_a_third_step_keeps_the_two_newest(tmp_path: Path) -> None:
    for step in (0, 5, 40, 300, 12_345_678):
        save_checkpoint(tmp_path, made(step))
    names = sorted(place.name for place in (tmp_path / "checkpoints").iterdir())
    assert names == ["step-0000300", "step-12345678"]
    place = latest_checkpoint(tmp_path)
    assert place is not None and place.name == "step-12345678"


def test_checkpoint_folder_holds_only_safetensors_and_json(tmp_path: Path) -> None:
    list(train(Regress(), exact_config(2), tmp_path))
    kinds = {path.suffix for path in tmp_path.rglob("*") if path.is_file() and path.name != ".lock"}
    assert kinds == {".safetensors", ".json", ".png"}


def test_load_checkpoint_with_a_damaged_file_names_it(tmp_path: Path) -> None:
    place = save_checkpoint(tmp_path, made(1))
    (place / "ema.safetensors").write_bytes(b"half a fi")
    with pytest.raises(SumiError, match=r"step-0000001/ema\.safetensors: cannot be read"):
        load_checkpoint(place)
    (place / "state.json").write_text("{")
    with pytest.raises(SumiError, match=r"state\.json: cannot be read"):
        load_checkpoint(place)
    (place / "state.json").write_text('{"step": 1, "format": 99}')
    with pytest.raises(SumiError, match="format 99, and this version of Sumi reads format 1"):
        load_checkpoint(place)
    (tmp_path / "plan.json").write_text("[1, 2")
    with pytest.raises(SumiError, match=r"plan\.json: is not a training config"):
        read_config(tmp_path)


def test_train_in_a_folder_that_cannot_be_written_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SumiError, match="file/run: cannot be written"):
        train(Regress(), exact_config(2), tmp_path / "file" / "run")


def test_load_ema_returns_averaged_weights_that_fit_the_model(tmp_path: Path) -> None:
    with pytest.raises(SumiError, match="holds no checkpoint"):
        load_ema(tmp_path)
    list(train(Regress(), exact_config(20, ema=0.9), tmp_path))
    average, fresh = load_ema(tmp_path), Regress().model
    fresh.load_state_dict(average)
    place = latest_checkpoint(tmp_path)
    assert place is not None
    weights = load_checkpoint(place).model
    assert not torch.equal(average["0.weight"], weights["0.weight"])

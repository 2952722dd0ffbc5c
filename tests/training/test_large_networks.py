"""A network that is sharded, recomputed or compiled learns what it learns otherwise."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from sumi.training import train

from .test_distributed import assert_same_run, shared_config, tensors
from .toys import weights
from .workers import Deep, train_together


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process trains."""
    folder = tmp_path_factory.mktemp("alone")
    list(train(Deep(), shared_config(), folder))
    return folder


def test_train_with_fsdp_by_4_2_1_and_4_processes_ends_in_the_weights_of_one(alone: Path, tmp_path: Path) -> None:
    for session, count in enumerate((4, 2, 1, 4), 1):
        result = train_together(count, "stopping", tmp_path, shared_config(fsdp=True))
        assert result.returncode == 0, result.stderr
        assert weights(tmp_path)["step"] == f"step-{3 * session:07d}".encode()
        ended = json.loads((tmp_path / "rank-0.json").read_text())
        assert ended["class"] == ("Blocks" if count == 1 else "FSDPBlocks")
    assert_same_run(alone, tmp_path)
    assert list((tmp_path / "pictures").iterdir())


def test_train_with_fsdp_and_muon_is_refused(tmp_path: Path) -> None:
    result = train_together(2, "deep", tmp_path, shared_config(fsdp=True, optimiser="muon"))
    assert result.returncode == 2
    assert "Muon needs whole matrices" in result.stderr and "Traceback" not in result.stderr


def test_train_with_recompute_ends_in_the_same_weights_and_keeps_fewer_activations(alone: Path, tmp_path: Path) -> None:
    def count_kept(recompute: bool) -> int:
        kept: list[torch.Tensor] = []

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            kept.append(tensor)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            list(train(Deep(), shared_config(1, recompute=recompute), tmp_path / str(recompute)))
        return len(kept)

    assert count_kept(recompute=True) < count_kept(recompute=False)
    list(train(Deep(), shared_config(recompute=True), tmp_path / "run"))
    first, second = tensors(alone), tensors(tmp_path / "run")
    assert all(torch.equal(second[name], value) for name, value in first.items())


def test_train_with_compile_compiles_each_block_of_the_network_and_not_its_average(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda module: compiled.append(module))
    objective = Deep()
    list(train(objective, shared_config(1, compile=True), tmp_path))
    assert compiled == list(objective.model.blocks)  # type: ignore[arg-type]

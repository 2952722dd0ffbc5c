"""Features of frozen networks are computed once for the same weights and pictures, in batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from sumi.systems.sticker import features
from sumi.systems.sticker.features import compute_features

CPU = torch.device("cpu")
EXAMPLES = np.arange(14, dtype=np.float32).reshape(7, 2)


class Network:
    """Twice its input, and what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, x: Tensor) -> Tensor:
        self.asked.append(len(x))
        return 2 * x


def test_features_are_computed_in_batches_with_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "BATCH", 3)
    network, done = Network(), list[tuple[str, int, int]]()
    made = compute_features(tmp_path / "run", "z", "a", EXAMPLES, network, CPU, lambda *now: done.append(now))
    assert network.asked == [3, 3, 1] and done == [("z", 3, 7), ("z", 6, 7), ("z", 7, 7)]
    assert made.dtype == np.float16 and np.array_equal(made, 2 * EXAMPLES)


def test_features_of_the_same_weights_and_pictures_are_not_computed_again(tmp_path: Path) -> None:
    first, again = Network(), Network()
    for network in (first, again):
        made = compute_features(tmp_path, "z", "a", EXAMPLES, network, CPU, lambda *_: None)
        assert np.array_equal(made, 2 * EXAMPLES)
    assert first.asked == [7] and again.asked == []


@pytest.mark.parametrize("changed", ["weights", "count", "note", "array"])
def test_features_of_other_weights_or_pictures_or_half_written_ones_are_computed_again(
    changed: str, tmp_path: Path
) -> None:
    compute_features(tmp_path, "z", "a", EXAMPLES, Network(), CPU, lambda *_: None)
    if changed in ("note", "array"):
        (tmp_path / {"note": "z.json", "array": "z.npy"}[changed]).unlink()
    network = Network()
    examples = EXAMPLES[:5] if changed == "count" else EXAMPLES
    made = compute_features(
        tmp_path, "z", "b" if changed == "weights" else "a", examples, network, CPU, lambda *_: None
    )
    assert network.asked == [len(examples)] and np.array_equal(made, 2 * examples)

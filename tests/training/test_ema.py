from __future__ import annotations

import pytest
import torch
from torch import nn

from sumi.training.ema import Ema


def test_ema_of_constant_weights_equals_them_from_the_first_step() -> None:
    """Weights that jump from 0 to 1 and stay: average after n updates is 1 - prod(decay)."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    ema, left = Ema(model, decay=0.999), 1.0
    nn.init.ones_(model.weight)
    for k in range(200):
        ema.update(k)
        left *= min(0.999, (1 + k) / (10 + k))
        assert ema.average.weight.item() == pytest.approx(1 - left, abs=1e-5)
    assert left < 1e-6  # a plain decay of .999 would still hold .82 of the initial weights


def test_ema_window_grows_up_to_the_decay() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    ema = Ema(model, decay=0.9)
    nn.init.ones_(model.weight)
    ema.update(10**6)
    assert ema.average.weight.item() == pytest.approx(0.1, abs=1e-6)


def test_ema_averages_float_buffers_and_copies_counters() -> None:
    model = nn.Sequential(nn.Conv2d(2, 3, 1).to(memory_format=torch.channels_last), nn.BatchNorm2d(3))
    ema = Ema(model, decay=0.5)
    for k in range(5):
        model(torch.randn(4, 2, 5, 5, generator=torch.Generator().manual_seed(k)) * 3 + 1)
        ema.update(k + 100)
    mine, average = model[1], ema.average.get_submodule("1")
    assert isinstance(average, nn.BatchNorm2d) and average.running_mean is not None
    assert average.num_batches_tracked == 5  # counters are copied
    assert not torch.equal(average.running_mean, mine.running_mean)
    assert torch.allclose(average.running_mean, mine.running_mean, atol=0.2)


def test_ema_average_is_in_eval_mode_without_gradients() -> None:
    ema = Ema(nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)).train(), decay=0.9)
    assert not ema.average.training
    assert not any(p.requires_grad for p in ema.average.parameters())

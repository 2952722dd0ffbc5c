from __future__ import annotations

import torch
from torch import Tensor, nn

from sumi.nn import Cond
from sumi.systems.published.conditions import KarloSuperResolution, karlo_super_resolution


class Constant(nn.Module):
    """Answers one number everywhere."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        return torch.full_like(x, self.value)


def test_karlo_super_resolution_takes_its_last_step_by_the_last_network_row_by_row() -> None:
    network = KarloSuperResolution(Constant(1.0), Constant(2.0))  # type: ignore[arg-type]
    x = torch.zeros(3, 3, 2, 2)
    for times, expected in (([0.5, 0.3, 1.0], [1, 1, 1]), ([0.001] * 3, [2, 2, 2]), ([0.5, 0.001, 1.0], [1, 2, 1])):
        out = network(x, torch.tensor(times), Cond(concat=x))
        assert out[:, 0, 0, 0].tolist() == expected


def test_karlo_super_resolution_condition_is_the_clamped_picture_enlarged() -> None:
    small = torch.full((1, 3, 4, 4), 3.0)
    concat = karlo_super_resolution(small, 8).concat
    assert concat is not None and concat.shape == (1, 3, 8, 8)
    torch.testing.assert_close(concat, torch.ones_like(concat))

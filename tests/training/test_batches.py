from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sumi.training import batch_indices, step_rng
from sumi.training.batches import stable_seed

sizes = st.integers(1, 50)


@settings(max_examples=50, deadline=None)
@given(size=sizes, batch_size=sizes, seed=st.integers(0, 2**40))
def test_batch_indices_over_an_epoch_visit_every_example_once(size: int, batch_size: int, seed: int) -> None:
    steps = -(-3 * size // batch_size)
    stream = torch.cat([batch_indices(k, batch_size, size, seed) for k in range(steps)])
    for epoch in range(3):
        assert sorted(stream[epoch * size : (epoch + 1) * size].tolist()) == list(range(size))


def test_batch_indices_of_a_step_do_not_depend_on_earlier_calls() -> None:
    forwards = [batch_indices(k, 7, 30, seed=1) for k in range(20)]
    backwards = [batch_indices(k, 7, 30, seed=1) for k in reversed(range(20))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(forwards, backwards, strict=True))


def test_batch_indices_of_any_batch_size_cut_the_same_stream() -> None:
    fine = torch.cat([batch_indices(k, 5, 33, seed=2) for k in range(12)])
    coarse = torch.cat([batch_indices(k, 20, 33, seed=2) for k in range(3)])
    assert torch.equal(fine, coarse)


def test_batch_indices_with_another_epoch_or_seed_have_another_order() -> None:
    orders = [batch_indices(epoch, 100, 100, seed).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4


def test_step_rng_of_every_step_differs() -> None:
    draws = {(seed, k): torch.randn(4, generator=step_rng(seed, k)) for seed in (0, 1) for k in (0, 1, 10)}
    assert len({tuple(draw.tolist()) for draw in draws.values()}) == 6
    assert torch.equal(draws[1, 10], torch.randn(4, generator=step_rng(1, 10)))


def test_stable_seed_of_known_inputs_is_the_recorded_one() -> None:
    assert stable_seed(0, "step", 0) == 4433896974232160741
    assert 0 <= stable_seed(-5, "epoch", 10**12) < 2**63

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sumi.training import indices, step_rng
from sumi.training.batches import stable_seed

sizes = st.integers(1, 50)


@settings(max_examples=50, deadline=None)
@given(size=sizes, batch_size=sizes, seed=st.integers(0, 2**40))
def test_every_epoch_sees_every_example_once(size: int, batch_size: int, seed: int) -> None:
    steps = -(-3 * size // batch_size)
    stream = torch.cat([indices(k, batch_size, size, seed) for k in range(steps)])
    for epoch in range(3):
        assert sorted(stream[epoch * size : (epoch + 1) * size].tolist()) == list(range(size))


def test_a_step_does_not_remember_the_one_before() -> None:
    forwards = [indices(k, 7, 30, seed=1) for k in range(20)]
    backwards = [indices(k, 7, 30, seed=1) for k in reversed(range(20))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(forwards, backwards, strict=True))


def test_batch_size_cuts_the_same_stream() -> None:
    fine = torch.cat([indices(k, 5, 33, seed=2) for k in range(12)])
    coarse = torch.cat([indices(k, 20, 33, seed=2) for k in range(3)])
    assert torch.equal(fine, coarse)


def test_order_changes_with_epoch_and_seed() -> None:
    orders = [indices(epoch, 100, 100, seed).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4


def test_the_generator_of_a_step_is_its_own() -> None:
    draws = {(seed, k): torch.randn(4, generator=step_rng(seed, k)) for seed in (0, 1) for k in (0, 1, 10)}
    assert len({tuple(draw.tolist()) for draw in draws.values()}) == 6
    assert torch.equal(draws[1, 10], torch.randn(4, generator=step_rng(1, 10)))


def test_seeds_are_the_same_on_every_machine() -> None:
    assert stable_seed(0, "step", 0) == 4433896974232160741
    assert 0 <= stable_seed(-5, "epoch", 10**12) < 2**63

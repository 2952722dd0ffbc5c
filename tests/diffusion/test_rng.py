"""Randomness: seed k draws the same numbers in any batch."""

from __future__ import annotations

import pytest
import torch

from sumi.diffusion import normal, seeded, uniform


def test_normal_with_one_generator_per_sample_does_not_depend_on_the_batch() -> None:
    batch = normal(torch.empty(3, 2, 4), seeded([7, 8, 9]))
    for k, seed in enumerate([7, 8, 9]):
        assert torch.equal(normal(torch.empty(1, 2, 4), seeded([seed]))[0], batch[k])
    assert torch.equal(normal(torch.empty(2, 2, 4), seeded([9, 7])), batch[[2, 0]])


def test_normal_in_every_dtype_draws_the_same_numbers() -> None:
    single = normal(torch.empty(2, 5), seeded([1, 2]))
    assert torch.equal(normal(torch.empty(2, 5, dtype=torch.float64), seeded([1, 2])), single.double())
    assert torch.equal(normal(torch.empty(2, 5, dtype=torch.bfloat16), seeded([1, 2])), single.bfloat16())


def test_normal_with_a_single_generator_draws_the_batch_at_once() -> None:
    generator = torch.Generator().manual_seed(3)
    first, second = normal(torch.empty(4, 6), generator), normal(torch.empty(4, 6), generator)
    assert first.shape == (4, 6) and not torch.equal(first, second)
    assert torch.equal(normal(torch.empty(4, 6), torch.Generator().manual_seed(3)), first)


def test_normal_of_scalars_has_shape_b() -> None:
    assert normal(torch.empty(3), seeded([1, 2, 3])).shape == (3,)
    u = uniform(1000, torch.Generator().manual_seed(0))
    assert u.shape == (1000,) and 0 <= float(u.min()) < 0.01 and 0.99 < float(u.max()) < 1


def test_normal_with_too_few_generators_raises() -> None:
    with pytest.raises(ValueError, match="2 generators for 3 samples"):
        normal(torch.empty(3, 1), seeded([1, 2]))

import pytest
import torch

from sumi.nn import Cond, drop_condition


def some() -> Cond:
    return Cond(vector=torch.randn(3, 2), tokens=torch.randint(1, 9, (3, 4)), concat=torch.randn(3, 1, 2, 2))


def test_cond_null_is_zeros_in_the_filled_slots_only() -> None:
    null = some().null()
    assert null.mask is None and null.vector is not None and null.tokens is not None
    assert not null.vector.any() and not null.tokens.any() and null.tokens.dtype == torch.int64


def test_cond_cat_of_its_parts_is_the_cond() -> None:
    cond = some()
    joined = Cond.cat([cond[:1], cond[1:]])
    for name in ("vector", "tokens", "concat"):
        torch.testing.assert_close(getattr(joined, name), getattr(cond, name))


def test_cond_repeat_keeps_the_copies_of_an_example_together() -> None:
    cond = some()
    assert cond.vector is not None
    twice = cond.repeat(2).vector
    assert twice is not None
    torch.testing.assert_close(twice, cond.vector[torch.tensor([0, 0, 1, 1, 2, 2])])


def test_drop_condition_with_probability_p_zeroes_vector_and_tokens_together() -> None:
    ones = Cond(vector=torch.ones(4000, 2), tokens=torch.ones(4000, 3, dtype=torch.int64), concat=torch.ones(4000, 1))
    dropped = drop_condition(ones, 0.25, torch.Generator().manual_seed(0))
    assert dropped.vector is not None and dropped.tokens is not None and dropped.concat is not None
    kept = dropped.vector[:, 0]
    assert kept.mean().item() == pytest.approx(0.75, abs=0.03)  # four standard errors
    assert torch.equal(dropped.vector, kept[:, None].expand(-1, 2))
    assert torch.equal(dropped.tokens, kept[:, None].expand(-1, 3).long())
    assert torch.equal(dropped.concat, ones.concat)


@pytest.mark.parametrize(("p", "kept"), [(0.0, 1.0), (1.0, 0.0)])
def test_drop_condition_at_either_end_keeps_all_or_nothing(p: float, kept: float) -> None:
    dropped = drop_condition(Cond(tokens=torch.ones(9, 2, 3)), p, torch.Generator().manual_seed(0))
    assert dropped.tokens is not None and bool((dropped.tokens == kept).all()) and dropped.vector is None

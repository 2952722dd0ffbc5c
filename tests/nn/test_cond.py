import torch

from sumi.nn import Cond


def some() -> Cond:
    return Cond(vector=torch.randn(3, 2), tokens=torch.randint(1, 9, (3, 4)), concat=torch.randn(3, 1, 2, 2))


def test_null_is_zeros_in_the_filled_slots_only() -> None:
    null = some().null()
    assert null.mask is None and null.vector is not None and null.tokens is not None
    assert not null.vector.any() and not null.tokens.any() and null.tokens.dtype == torch.int64


def test_cat_undoes_indexing() -> None:
    cond = some()
    joined = Cond.cat([cond[:1], cond[1:]])
    for name in ("vector", "tokens", "concat"):
        torch.testing.assert_close(getattr(joined, name), getattr(cond, name))


def test_repeat_keeps_examples_together() -> None:
    cond = some()
    assert cond.vector is not None
    twice = cond.repeat(2).vector
    assert twice is not None
    torch.testing.assert_close(twice, cond.vector[torch.tensor([0, 0, 1, 1, 2, 2])])

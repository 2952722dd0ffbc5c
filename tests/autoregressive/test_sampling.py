"""Throws follow the chances they are given, in any batch, and a stream goes on as it would have by itself."""

import math

import pytest
import torch
from torch import Tensor

from sumi.autoregressive import TokenSampling, sample_tokens
from sumi.diffusion import seeded
from sumi.errors import SumiError

LOGITS = torch.tensor([0.5, 0.2, 0.15, 0.1, 0.05]).log()


class Chain:
    """A Markov chain as a token model: the next token depends on the last one and on the condition."""

    length = 12

    def __init__(self, size: int = 7) -> None:
        self.table = torch.randn(size + 1, size, generator=torch.Generator().manual_seed(0)) * 2
        self.evaluations = 0

    def begin(self, cond: Tensor, known: Tensor) -> tuple[Tensor, tuple[tuple[Tensor, Tensor], ...]]:
        self.evaluations += 1
        last = known[:, -1] if known.shape[1] else torch.full((len(cond),), len(self.table) - 1)
        return self.table[last] + cond, ((cond, cond),)

    def step(
        self, token: Tensor, past: tuple[tuple[Tensor, Tensor], ...]
    ) -> tuple[Tensor, tuple[tuple[Tensor, Tensor], ...]]:
        self.evaluations += 1
        return self.table[token] + past[0][0], past


def nothing(count: int) -> Tensor:
    return torch.zeros(count, 0, dtype=torch.int64)


def test_token_sampling_by_default_keeps_the_model_s_probabilities() -> None:
    torch.testing.assert_close(
        TokenSampling().probabilities(LOGITS[None])[0], LOGITS.double().exp(), atol=1e-7, rtol=1e-6
    )


def test_token_sampling_temperature_divides_the_logits_and_0_takes_the_likeliest() -> None:
    sharp = TokenSampling(temperature=0.5).probabilities(LOGITS[None])[0]
    squares = LOGITS.double().exp().square()
    torch.testing.assert_close(sharp, squares / squares.sum(), atol=1e-7, rtol=1e-6)
    assert TokenSampling(temperature=0).probabilities(LOGITS[None])[0].tolist() == [1, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("sampling", "kept"),
    [
        (TokenSampling(top_k=1), [0]),
        (TokenSampling(top_k=3), [0, 1, 2]),
        (TokenSampling(top_k=99), [0, 1, 2, 3, 4]),
        (TokenSampling(top_p=0.4), [0]),
        (TokenSampling(top_p=0.6), [0, 1]),
        (TokenSampling(top_p=0.8), [0, 1, 2]),
        (TokenSampling(top_p=0.86), [0, 1, 2, 3]),
        (TokenSampling(top_k=2, top_p=0.8), [0, 1]),
    ],
)
def test_token_sampling_top_k_and_top_p_keep_the_fewest_and_renormalise(
    sampling: TokenSampling, kept: list[int]
) -> None:
    order = torch.tensor([3, 0, 4, 1, 2])  # not sorted, as logits never are
    chances = sampling.probabilities(LOGITS[order][None])[0]
    expected = torch.zeros(5, dtype=torch.float64)
    expected[kept] = LOGITS.double().exp()[kept]
    torch.testing.assert_close(chances, (expected / expected.sum())[order], atol=1e-7, rtol=1e-6)


def test_token_sampling_sample_frequencies_match_the_probabilities() -> None:
    count = 20_000
    thrown = TokenSampling().sample(LOGITS.expand(count, -1), [torch.Generator().manual_seed(3)] * count)
    share = torch.bincount(thrown, minlength=5) / count
    deviation = (LOGITS.exp() * (1 - LOGITS.exp()) / count).sqrt()
    assert ((share - LOGITS.exp()).abs() < 4 * deviation).all()


def test_token_sampling_sample_never_returns_a_token_of_probability_0() -> None:
    logits = torch.tensor([[-math.inf, 0.0, -math.inf, 0.0, -math.inf]]).expand(2_000, -1)
    thrown = TokenSampling().sample(logits, [torch.Generator().manual_seed(4)] * 2_000)
    assert set(thrown.tolist()) == {1, 3}


def test_sample_tokens_with_a_seed_is_the_same_alone_and_in_a_batch() -> None:
    cond = torch.zeros(5, 7)
    together = sample_tokens(Chain(), cond, nothing(5), seeded(range(5)))
    alone = torch.cat([sample_tokens(Chain(), cond[:1], nothing(1), seeded([seed])) for seed in range(5)])
    assert torch.equal(together, alone) and together.shape == (5, 12) and len(together.unique(dim=0)) == 5


@pytest.mark.parametrize("given", [1, 6, 12])
def test_sample_tokens_with_known_tokens_continues_as_it_would_have(given: int) -> None:
    whole = sample_tokens(Chain(), torch.zeros(4, 7), nothing(4), seeded(range(4)))
    assert torch.equal(sample_tokens(Chain(), torch.zeros(4, 7), whole[:, :given], seeded(range(4))), whole)


def test_sample_tokens_with_guidance_extrapolates_and_at_scale_1_evaluates_once() -> None:
    said = torch.zeros(400, 7)
    said[:, 2] = 1.0
    shares = []
    for scale in (0.0, 1.0, 3.0):
        model = Chain()
        drawn = sample_tokens(model, said, nothing(400), seeded(range(400)), null=torch.zeros(400, 7), scale=scale)
        shares.append(float((drawn == 2).float().mean()))
        assert model.evaluations == (12 if scale == 1 else 24)
    assert shares[0] < shares[1] < shares[2]
    silent = sample_tokens(Chain(), torch.zeros(400, 7), nothing(400), seeded(range(400)))
    assert shares[0] == pytest.approx(float((silent == 2).float().mean()), abs=1e-3)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"temperature": -1.0}, "temperature must be at least 0, not -1.0"),
        ({"temperature": math.nan}, "temperature must be at least 0"),
        ({"top_k": -1}, "top_k must be at least 1"),
        ({"top_p": 0.0}, "top_p must be above 0 and at most 1, not 0.0"),
        ({"top_p": 1.5}, "top_p must be above 0"),
    ],
)
def test_token_sampling_with_a_wrong_setting_names_it(wrong: dict[str, float], said: str) -> None:
    with pytest.raises(SumiError, match=said):
        TokenSampling(**wrong)  # type: ignore[arg-type]

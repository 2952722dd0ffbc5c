"""Times: a sampler's fall from 1 to 0, and training's are distributed as they say."""

from __future__ import annotations

import pytest
import torch

from sumi.diffusion import (
    BetaSchedule,
    EDMSchedule,
    FlowSchedule,
    LogitNormalTimes,
    Schedule,
    Times,
    UniformTimes,
    VESchedule,
    VPSchedule,
    karras_times,
    logsnr_times,
    seeded,
    spaced_steps,
    uniform_times,
)


@pytest.mark.parametrize(
    "schedule",
    [FlowSchedule(), VPSchedule(), VESchedule(), EDMSchedule(), BetaSchedule.cosine()],
    ids=lambda s: type(s).__name__,
)
def test_times_of_every_kind_fall_from_1_to_0(schedule: Schedule) -> None:
    functions: list[Times] = [uniform_times, logsnr_times(schedule, -4, 6), karras_times(schedule, 0.02, 10)]
    for function in functions:
        for num_steps in (1, 2, 3, 17):
            times = function(num_steps)
            assert times.shape == (num_steps + 1,) and times.dtype == torch.float32
            assert times[0] == 1 and times[-1] == 0 and (times.diff() < 0).all()


def test_uniform_times_are_evenly_spaced() -> None:
    torch.testing.assert_close(uniform_times(4), torch.tensor([1, 0.75, 0.5, 0.25, 0]))
    with pytest.raises(ValueError, match="at least one step"):
        uniform_times(0)


def test_logsnr_times_are_evenly_spaced_in_logsnr() -> None:
    logsnr = VPSchedule()(logsnr_times(VPSchedule(), -6, 6)(13)[1:-1]).logsnr
    torch.testing.assert_close(logsnr, torch.linspace(-5, 6, 12), atol=1e-4, rtol=0)


def test_karras_times_on_edm_are_the_paper_s_sigmas() -> None:
    """Karras et al. 2022, eq. 5, which are also even steps of the EDM schedule's own clock."""
    ramp = torch.linspace(0, 1, 10)
    expected = (80 ** (1 / 7) + ramp * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    times = karras_times(EDMSchedule())(10)
    torch.testing.assert_close(EDMSchedule()(times[:-1]).sigma, expected, rtol=1e-4, atol=1e-6)
    gaps = times[:-1].diff()
    torch.testing.assert_close(gaps, gaps[:1].expand(9), atol=1e-5, rtol=0)


def test_uniform_times_stratified_draws_one_time_per_slice() -> None:
    times, rng = UniformTimes(), torch.Generator().manual_seed(0)
    for _ in range(5):
        drawn = times(64, rng)
        assert torch.equal((drawn * 64).floor().long().sort().values, torch.arange(64))
    alone = UniformTimes(stratified=False)(4000, rng)
    assert float(alone.mean()) == pytest.approx(0.5, abs=0.02)
    assert UniformTimes()(3, seeded([1, 2, 3])).shape == (3,)


def test_uniform_times_of_a_chain_draws_its_nodes() -> None:
    drawn = UniformTimes(num_steps=10)(1000, torch.Generator().manual_seed(0))
    assert torch.equal((drawn * 10).round().unique(), torch.arange(1, 11.0))
    torch.testing.assert_close(drawn * 10, (drawn * 10).round())


def test_logit_normal_times_on_flow_have_a_normal_logit() -> None:
    drawn = LogitNormalTimes(0.8, 0.5)(4000, torch.Generator().manual_seed(0))
    logits = torch.logit(drawn.double())
    assert (float(logits.mean()), float(logits.std())) == pytest.approx((0.8, 0.5), abs=0.01)


def test_logit_normal_times_on_edm_are_log_normal_in_sigma() -> None:
    """P_mean = -1.2 and P_std = 1.2 of Karras et al. 2022, table 1."""
    drawn = LogitNormalTimes(-1.2, 1.2, EDMSchedule())(4000, torch.Generator().manual_seed(0))
    logs = EDMSchedule()(drawn).sigma.double().log()
    assert (float(logs.mean()), float(logs.std())) == pytest.approx((-1.2, 1.2), abs=0.02)


def test_time_samplers_draw_times_in_0_1() -> None:
    for times in (UniformTimes(), LogitNormalTimes(0, 5), LogitNormalTimes(0, 5, VPSchedule())):
        drawn = times(2000, torch.Generator().manual_seed(1))
        assert drawn.min() >= 0 and drawn.max() <= 1


def test_spaced_steps_are_those_of_each_custom() -> None:
    assert spaced_steps("leading", 4, offset=1).tolist() == [751, 501, 251, 1]
    assert spaced_steps("trailing", 4).tolist() == [999, 749, 499, 249]
    assert spaced_steps("trailing", 3).tolist() == [999, 666, 332]
    assert spaced_steps("linspace", 4).tolist() == [999, 666, 333, 0]


@pytest.mark.parametrize(
    ("num_steps", "offset", "fault"),
    [(0, 0, "1 to 1000 steps"), (1001, 0, "not 1001"), (1000, 1, "past a chain of 1000")],
)
def test_spaced_steps_that_leave_the_chain_raise(num_steps: int, offset: int, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        spaced_steps("leading", num_steps, offset=offset)

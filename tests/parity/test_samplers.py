"""Our schedules and samplers against those of diffusers, with the same model and the same noise, step by step.

The model is a formula of x and sigma / alpha, so that both sides evaluate it at the same noise level whatever they call
the time. States of diffusers that are scaled as x / alpha are compared with ours on a schedule whose alpha is 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from sumi.diffusion import (
    BetaSchedule,
    DDIMSampler,
    DDPMSampler,
    DPMSolver2MSampler,
    EDMPrediction,
    EDMSchedule,
    EpsPrediction,
    EulerSampler,
    FlowPrediction,
    FlowSchedule,
    HeunSampler,
    NetworkDenoiser,
    Sampler,
    Schedule,
    Target,
    UniPCSampler,
    VESchedule,
    karras_times,
    trajectory,
)

diffusers = pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of theirs, on NumPy 2

SHAPE = (2, 3, 4, 5)
CHAIN: dict[str, Any] = {"num_train_timesteps": 1000, "beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}
NUM_STEPS = [1, 2, 7, 20]


def noise(seed: int) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def answer(x: Tensor, sigma: Tensor) -> Tensor:
    """A smooth network of x (B, ...) and sigma / alpha, as large as noise is."""
    strength = 0.8 + 0.3 * torch.sin(sigma.double().log()).to(x.dtype)
    return strength * torch.tanh(1.3 * x.roll(1, dims=-1) - 0.4 * x) + 0.1


class Network:
    """`answer` as one of our networks on a schedule."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def __call__(self, x: Tensor, t: Tensor, cond: None) -> Tensor:
        level = self.schedule(t).like(x)
        return answer(x, level.sigma / level.alpha)


def our_states(sampler: Sampler[Any], target: Target, schedule: Schedule, x: Tensor, times: Tensor) -> list[Tensor]:
    denoise = NetworkDenoiser(Network(schedule), target, schedule)
    rng = torch.Generator().manual_seed(1)
    return [step.x for step in trajectory(sampler, denoise, x.double(), times.double(), None, rng)]


def assert_states_equal(ours: list[Tensor], theirs: list[Tensor]) -> None:
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other.double(), rtol=2e-4, atol=2e-4)


def nodes(steps: Tensor) -> Tensor:
    """Our times of their steps k of a chain of 1000, and the data at the end."""
    return torch.cat([(steps.double() + 1) / 1000, torch.zeros(1, dtype=torch.float64)])


@pytest.mark.parametrize(
    ("ours", "name", "more"),
    [
        (BetaSchedule.linear, "linear", {}),
        (BetaSchedule.scaled_linear, "scaled_linear", {"beta_start": 0.00085, "beta_end": 0.012}),
        (BetaSchedule.cosine, "squaredcos_cap_v2", {}),
    ],
    ids=["linear", "scaled_linear", "cosine"],
)
def test_beta_schedule_at_every_node_equals_diffusers(
    ours: Callable[[], BetaSchedule], name: str, more: dict[str, float]
) -> None:
    theirs = diffusers.DDPMScheduler(**CHAIN | {"beta_schedule": name} | more).alphas_cumprod.double()
    alpha, sigma = ours()(torch.arange(1, 1001, dtype=torch.float64) / 1000)
    torch.testing.assert_close(alpha**2, theirs, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(sigma**2, 1 - theirs, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("num_steps", NUM_STEPS[1:])
def test_karras_times_on_edm_equal_the_sigmas_of_diffusers(num_steps: int) -> None:
    theirs = diffusers.EDMEulerScheduler(sigma_min=0.002, sigma_max=80.0, rho=7.0)
    theirs.set_timesteps(num_steps)
    schedule = EDMSchedule()
    sigma = schedule(karras_times(schedule)(num_steps).double()).sigma
    torch.testing.assert_close(sigma, theirs.sigmas.double(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("num_steps", NUM_STEPS)
@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_ddim_sampler_with_any_eta_equals_diffusers(
    eta: float, num_steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, schedule = diffusers.DDIMScheduler(**CHAIN, clip_sample=False), BetaSchedule.linear()
    theirs.set_timesteps(num_steps)
    sigmas = ((1 - theirs.alphas_cumprod) / theirs.alphas_cumprod).sqrt()
    draws, x, states = [noise(10 + k) for k in range(num_steps)], noise(0), []
    for step, z in zip(theirs.timesteps, draws, strict=True):
        x = theirs.step(answer(x, sigmas[step]), step, x, eta=eta, variance_noise=z).prev_sample
        states.append(x)
    source = iter(draws)
    monkeypatch.setattr("sumi.diffusion.ancestral.normal", lambda like, rng: next(source).to(like))
    sampler = DDIMSampler(schedule, eta)
    assert_states_equal(our_states(sampler, EpsPrediction(), schedule, noise(0), nodes(theirs.timesteps)), states)


@pytest.mark.parametrize("num_steps", NUM_STEPS)
@pytest.mark.parametrize(("var_interp", "name"), [(0.0, "fixed_small"), (1.0, "fixed_large")])
def test_ddpm_sampler_with_either_variance_equals_diffusers(
    var_interp: float, name: str, num_steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, schedule = diffusers.DDPMScheduler(**CHAIN, clip_sample=False, variance_type=name), BetaSchedule.linear()
    theirs.set_timesteps(num_steps)
    sigmas = ((1 - theirs.alphas_cumprod) / theirs.alphas_cumprod).sqrt()
    draws, x, states = [noise(10 + k) for k in range(num_steps)], noise(0), []
    their_source, our_source = iter(draws), iter(draws)
    monkeypatch.setattr("diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda *args, **kwargs: next(their_source))
    for step in theirs.timesteps:
        x = theirs.step(answer(x, sigmas[step]), step, x).prev_sample
        states.append(x)
    monkeypatch.setattr("sumi.diffusion.ancestral.normal", lambda like, rng: next(our_source).to(like))
    sampler = DDPMSampler(schedule, var_interp)
    ours = our_states(sampler, EpsPrediction(), schedule, noise(0), nodes(theirs.timesteps))
    assert_states_equal(ours[:-1], states[:-1])  # at the data theirs keeps the variance of the last node


@pytest.mark.parametrize("karras", [False, True], ids=["spaced", "karras"])
@pytest.mark.parametrize("num_steps", NUM_STEPS[1:])
def test_heun_sampler_equals_diffusers(karras: bool, num_steps: int) -> None:
    theirs = diffusers.HeunDiscreteScheduler(**CHAIN, use_karras_sigmas=karras)
    theirs.set_timesteps(num_steps)
    x, states = noise(0).double() * theirs.sigmas[0], []
    for index, step in enumerate(theirs.timesteps):
        theirs.scale_model_input(x, step)
        x = theirs.step(answer(x, theirs.sigmas[index]), step, x).prev_sample
        states.append(x)
    schedule = VESchedule(1e-3, 200.0)
    sigmas = theirs.sigmas.double()[[*range(0, 2 * num_steps - 1, 2)]]  # each but the first is there for both stages
    times = torch.cat([schedule.time(-2 * sigmas.log()), torch.zeros(1, dtype=torch.float64)])
    x_1 = noise(0).double() * sigmas[0]
    denoise = NetworkDenoiser(Network(schedule), EpsPrediction(), schedule)
    ours = [step.x for step in trajectory(HeunSampler(schedule), denoise, x_1, times, None, [])]
    assert_states_equal(ours, [*states[1::2], states[-1]])


@pytest.mark.parametrize("num_steps", NUM_STEPS)
@pytest.mark.parametrize(
    ("make", "kind", "more"),
    [
        (DPMSolver2MSampler, "DPMSolverMultistepScheduler", {"algorithm_type": "dpmsolver++", "solver_order": 2}),
        (UniPCSampler, "UniPCMultistepScheduler", {"solver_type": "bh2", "solver_order": 2}),
    ],
    ids=["dpmpp-2m", "unipc"],
)
def test_multistep_sampler_equals_diffusers(make: Any, kind: str, more: dict[str, Any], num_steps: int) -> None:
    theirs, schedule = getattr(diffusers, kind)(**CHAIN | more), BetaSchedule.linear()
    theirs.set_timesteps(num_steps)
    x, states = noise(0), []
    for index, step in enumerate(theirs.timesteps):
        x = theirs.step(answer(x, theirs.sigmas[index]), step, x).prev_sample
        states.append(x)
    times = torch.cat([schedule.time(-2 * theirs.sigmas[:-1].double().log()), torch.zeros(1, dtype=torch.float64)])
    assert_states_equal(our_states(make(schedule), EpsPrediction(), schedule, noise(0), times), states)


@pytest.mark.parametrize("num_steps", NUM_STEPS[1:])
@pytest.mark.parametrize(
    ("make", "kind"),
    [(EulerSampler, "EDMEulerScheduler"), (DPMSolver2MSampler, "EDMDPMSolverMultistepScheduler")],
    ids=["euler", "dpmpp-2m"],
)
def test_edm_prediction_with_karras_times_equals_diffusers(make: Any, kind: str, num_steps: int) -> None:
    theirs, schedule = getattr(diffusers, kind)(), EDMSchedule()
    theirs.set_timesteps(num_steps)
    x, states = noise(0) * 80, []
    for index, step in enumerate(theirs.timesteps):
        x_in = theirs.scale_model_input(x, step)
        x = theirs.step(answer(x_in, theirs.sigmas[index]), step, x).prev_sample
        states.append(x)
    times = karras_times(schedule, *_sigma_range(theirs))(num_steps)
    denoise = NetworkDenoiser(_scaled(schedule), EDMPrediction(0.5), schedule)
    ours = [step.x for step in trajectory(make(schedule), denoise, noise(0).double() * 80, times.double(), None, [])]
    assert_states_equal(ours, states)


def _sigma_range(theirs: Any) -> tuple[float, float]:
    return theirs.config.sigma_min, theirs.config.sigma_max


def _scaled(schedule: Schedule) -> Callable[[Tensor, Tensor, None], Tensor]:
    """`answer` as a preconditioned network, which gets c_noise = log(sigma) / 4 for a time."""
    return lambda x, c_noise, cond: answer(x, (4 * c_noise).exp().view(-1, *[1] * (x.ndim - 1)))


@pytest.mark.parametrize("num_steps", NUM_STEPS[1:])
def test_euler_sampler_on_a_flow_equals_diffusers(num_steps: int) -> None:
    theirs, schedule = diffusers.FlowMatchEulerDiscreteScheduler(), FlowSchedule()
    theirs.set_timesteps(num_steps)
    x, states = noise(0), []
    for index, step in enumerate(theirs.timesteps):
        t = theirs.sigmas[index].double().clamp(max=1 - 1e-6)
        x = theirs.step(answer(x, t / (1 - t)), step, x).prev_sample
        states.append(x)

    def network(x: Tensor, t: Tensor, cond: None) -> Tensor:
        t = t.clamp(max=1 - 1e-6).view(-1, *[1] * (x.ndim - 1))
        return answer(x, t / (1 - t))

    denoise = NetworkDenoiser(network, FlowPrediction(), schedule)
    steps = trajectory(EulerSampler(schedule), denoise, noise(0).double(), theirs.sigmas.double(), None, [])
    assert_states_equal([step.x for step in steps], states)
    assert math.isclose(float(theirs.sigmas[0]), 1.0)

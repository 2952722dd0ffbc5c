"""Whole trajectories against diffusers, with the same network and the same noise."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from parity.reference import PUBLISHED, assert_equal
from torch import Tensor

from sumi.diffusion import NetworkDenoiser, WholeSteps, trajectory
from sumi.systems.published import METHODS, PublishedScheduler, with_method

diffusers = pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of theirs, on NumPy 2

SHAPE = (2, 4, 6, 5)
SD: dict[str, Any] = {
    "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "steps_offset": 1, "clip_sample": False,
}  # fmt: skip
V = {"prediction_type": "v_prediction"}
ZERO_SNR = V | {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}


def answer(x: Tensor, step: Tensor) -> Tensor:
    """A network of a kind: smooth in x and in the step that it hears, and as large as an answer is."""
    return torch.tanh(1.3 * x.roll(1, dims=-1) - 0.4 * x) * (0.8 + 0.3 * torch.sin(step / 150)) + 0.1


class Network:
    """`answer`, which hears times as the published networks do, with a share of the variance beside it."""

    def __init__(self, variance: bool) -> None:
        self.variance = variance

    def __call__(self, x: Tensor, t: Tensor, cond: None) -> Tensor:
        steps = (1000 * t.double() - 1).float().view(-1, *[1] * (x.ndim - 1))
        out = answer(x, steps)
        return torch.cat([out, share(out)], dim=1) if self.variance else out


def share(out: Tensor) -> Tensor:
    return torch.tanh(out - 0.5)


def reference_noise(count: int) -> list[Tensor]:
    rng = torch.Generator().manual_seed(3)
    return [torch.randn(SHAPE, generator=rng) for _ in range(count)]


class NoiseInTurn:
    """Hands the same noise to both sides, in the order it is asked for."""

    def __init__(self, noise: list[Tensor]) -> None:
        self.noise = iter(noise)

    def __call__(self, *args: object, **kwargs: object) -> Tensor:
        return next(self.noise)


def in_double_precision(scheduler: Any) -> None:
    """The tables of karlo's scheduler, less their rounding: in single precision it scales the last answer by 1.0005."""
    betas = torch.tensor(PublishedScheduler.read({"_class_name": "UnCLIPScheduler"}).schedule.betas).double()
    torch.testing.assert_close(scheduler.betas.double(), betas, rtol=1e-6, atol=1e-9)
    scheduler.betas, scheduler.alphas = betas, 1 - betas
    scheduler.alphas_cumprod = scheduler.alphas.cumprod(dim=0)


def their_trajectory(
    kind: str, config: dict[str, Any], num_steps: int, noise: list[Tensor], monkeypatch: pytest.MonkeyPatch
) -> list[Tensor]:
    scheduler = getattr(diffusers, kind)(**config)
    module = __import__(type(scheduler).__module__, fromlist=["randn_tensor"])
    if kind == "UnCLIPScheduler":
        in_double_precision(scheduler)
    z, *rest = noise
    if hasattr(module, "randn_tensor"):
        monkeypatch.setattr(module, "randn_tensor", NoiseInTurn(rest))
    scheduler.set_timesteps(num_steps)
    x, steps, states = z * scheduler.init_noise_sigma, scheduler.timesteps, []
    for index, step in enumerate(steps):
        scaled = scheduler.scale_model_input(x, step)
        out = answer(scaled, step)
        if config.get("variance_type") == "learned_range":
            out = torch.cat([out, share(out)], dim=1)
        more = {}
        if kind == "UnCLIPScheduler" and index + 1 < len(steps):
            more = {"prev_timestep": steps[index + 1]}
        x = scheduler.step(out, step, x, **more).prev_sample
        states.append(x)
    sigmas = getattr(scheduler, "sigmas", None)
    if kind.startswith("Euler") and sigmas is not None:  # x / alpha, where ours is x
        states = [state / (1 + sigma**2).sqrt() for state, sigma in zip(states, sigmas[1:], strict=True)]
    return states[1:] if kind == "PNDMScheduler" else states  # whose first two are one step


@torch.no_grad()
def assert_same_trajectory(kind: str, config: dict[str, Any], num_steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = reference_noise(num_steps + 2)
    theirs = their_trajectory(kind, config, num_steps, noise, monkeypatch)
    scheduler = PublishedScheduler.read(config | {"_class_name": kind})
    network = Network(variance=config.get("variance_type") == "learned_range")
    denoise = NetworkDenoiser(network, scheduler.target, scheduler.schedule)
    monkeypatch.setattr("sumi.diffusion.ancestral.normal", NoiseInTurn(noise[1:]))
    monkeypatch.setattr("sumi.diffusion.multistep.normal", NoiseInTurn(noise[1:]))
    monkeypatch.setattr("sumi.systems.published.lcm.normal", NoiseInTurn(noise[1:]))
    times = scheduler.times(num_steps)
    x = scheduler.initial_x(noise[0], times)
    ours = [step.x for step in trajectory(scheduler.sampler, denoise, x, times, None, [])]
    assert len(ours) == len(theirs) == num_steps
    for one, other in zip(ours, theirs, strict=True):
        assert_equal(one, other)


@pytest.mark.parametrize("num_steps", [2, 7, 25])
@pytest.mark.parametrize(
    "config",
    [
        {"variance_type": "fixed_small_log", "prediction_type": "sample", "clip_sample_range": 0.6},
        {"variance_type": "learned_range"},
        {"variance_type": "fixed_small_log"},
    ],
    ids=["prior", "decoder", "super-resolution"],
)
def test_unclip_trajectories_equal_diffusers(
    config: dict[str, Any], num_steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_same_trajectory("UnCLIPScheduler", config | {"num_train_timesteps": 1000}, num_steps, monkeypatch)


@pytest.mark.parametrize("more", [{}, {"variance_type": "learned_range"}, {"variance_type": "fixed_large"},
                                  {"thresholding": True, "sample_max_value": 2.0}, {"clip_sample": True},
                                  ZERO_SNR], ids=str)  # fmt: skip
def test_ddpm_trajectories_equal_diffusers(more: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert_same_trajectory("DDPMScheduler", SD | {"steps_offset": 0} | more, 20, monkeypatch)


@pytest.mark.parametrize("num_steps", [7, 50])
@pytest.mark.parametrize("more", [{}, V, {"set_alpha_to_one": False}, {"prediction_type": "sample"}], ids=str)
def test_ddim_trajectories_equal_diffusers(
    more: dict[str, Any], num_steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_same_trajectory("DDIMScheduler", SD | more, num_steps, monkeypatch)


def test_ddim_with_zero_terminal_snr_equals_diffusers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert_same_trajectory("DDIMScheduler", SD | ZERO_SNR, 20, monkeypatch)


@pytest.mark.parametrize("num_steps", [2, 5, 50])
@pytest.mark.parametrize("more", [{}, V, {"timestep_spacing": "trailing"}], ids=str)
def test_plms_trajectories_equal_diffusers(
    more: dict[str, Any], num_steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = SD | {"skip_prk_steps": True} | more
    del config["clip_sample"]
    assert_same_trajectory("PNDMScheduler", config, num_steps, monkeypatch)


EULER = {key: value for key, value in SD.items() if key != "clip_sample"}


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("kind", ["EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler"])
@pytest.mark.parametrize("more", [{}, V], ids=["eps", "v"])
@pytest.mark.parametrize("num_steps", [7, 20, 50])
def test_euler_trajectories_equal_diffusers(
    kind: str, spacing: str, more: dict[str, Any], num_steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_same_trajectory(kind, EULER | {"timestep_spacing": spacing} | more, num_steps, monkeypatch)


@pytest.mark.parametrize("more", [{"use_karras_sigmas": True}, {"final_sigmas_type": "sigma_min"}, ZERO_SNR], ids=str)
def test_euler_options_equal_diffusers(more: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert_same_trajectory("EulerDiscreteScheduler", EULER | more, 20, monkeypatch)


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("algorithm", ["dpmsolver++", "sde-dpmsolver++"])
@pytest.mark.parametrize("karras", [False, True], ids=["spaced", "karras"])
@pytest.mark.parametrize("num_steps", [7, 20])
def test_dpm_solver_trajectories_equal_diffusers(
    spacing: str, algorithm: str, karras: bool, num_steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = EULER | {"timestep_spacing": spacing, "algorithm_type": algorithm, "use_karras_sigmas": karras}
    assert_same_trajectory("DPMSolverMultistepScheduler", config, num_steps, monkeypatch)


@pytest.mark.parametrize("more", [V, ZERO_SNR, {"thresholding": True}], ids=str)
def test_dpm_solver_options_equal_diffusers(more: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert_same_trajectory("DPMSolverMultistepScheduler", EULER | more, 20, monkeypatch)


def schedulers() -> dict[str, dict[str, Any]]:
    found = {}
    for path in sorted(PUBLISHED.glob("*.json")):
        for part, config in json.loads(path.read_text("utf-8")).items():
            if "scheduler" in part:
                found[f"{path.stem}/{part}"] = config
    return found


@pytest.mark.parametrize("part", schedulers())
def test_published_scheduler_is_read(part: str) -> None:
    config = schedulers()[part]
    times = PublishedScheduler.read(config).times(10)
    assert len(times) == 11 and bool((times.diff() < 0).all())


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("spacing", [None, "trailing"])
def test_method_by_name_visits_the_steps_of_from_config(method: str, spacing: str | None) -> None:
    config: dict[str, Any] = schedulers()["stable-diffusion-v1-5/scheduler"]
    if spacing:
        config = config | {"timestep_spacing": spacing}
    changes = dict(METHODS[method])
    theirs = getattr(diffusers, changes.pop("_class_name")).from_config(config, **changes)
    theirs.set_timesteps(20)
    steps = theirs.timesteps.unique().flip(0).float()  # PLMS visits its second one twice
    scheduler = PublishedScheduler.read(with_method(config, method))
    times = scheduler.times(20)[:-1]
    if isinstance(scheduler.target, WholeSteps):
        times = (times * 1000).round() / 1000
    torch.testing.assert_close(1000 * times.unique().flip(0) - 1, steps, atol=2e-2, rtol=0)


def test_method_that_is_unknown_names_those_known() -> None:
    with pytest.raises(ValueError, match="'lms' is unknown; those known are ddim, ddpm"):
        with_method({}, "lms")


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        (
            {"_class_name": "KDPM2DiscreteScheduler"},
            "'KDPM2DiscreteScheduler' is not supported; those supported are DDPM",
        ),
        ({"_class_name": "DDIMScheduler"} | SD | {"clip_sample": True}, "where clip_sample and thresholding are false"),
        ({"_class_name": "PNDMScheduler"} | SD, "where skip_prk_steps is true"),
        ({"_class_name": "DDPMScheduler", "num_train_timesteps": 100}, "num_train_timesteps is 100, and only 1000"),
        ({"_class_name": "DDPMScheduler", "beta_shedule": "linear"}, "unknown beta_shedule"),
        ({"_class_name": "DDPMScheduler", "beta_schedule": "linear"}, "needs beta_schedule, beta_start and beta_end"),
        ({"_class_name": "UnCLIPScheduler", "beta_schedule": "linear"}, "'squaredcos_cap_v2', not 'linear'"),
    ],
)
def test_scheduler_that_does_not_fit_is_one_clear_line(config: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        PublishedScheduler.read(config)


@pytest.mark.parametrize("num_steps", [1, 4, 7])
@pytest.mark.parametrize("more", [{}, V, {"original_inference_steps": 40}], ids=str)
def test_lcm_trajectories_equal_diffusers(
    more: dict[str, Any], num_steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_same_trajectory("LCMScheduler", SD | more, num_steps, monkeypatch)

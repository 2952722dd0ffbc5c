"""The `scheduler_config.json` of a published model as schedule, target, sampler and times.

diffusers' schedulers are a table of betas, a kind of prediction, a method and a custom of spacing its steps, in one
object that remembers where it is. Here each is a value, and the loop is that of every other model:

    scheduler = PublishedScheduler.read(config)
    times = scheduler.times(num_steps)
    denoise = NetworkDenoiser(network, scheduler.target, scheduler.schedule)
    steps = trajectory(scheduler.sampler, denoise, scheduler.initial_x(noise, times), times, cond, rng)

Every class has its own defaults, and a configuration may be read as another class than its own, as
`{"_class_name": "EulerDiscreteScheduler", ...}`: keys of other classes are known, and unused.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from sumi.diffusion import (
    BetaSchedule,
    DDIMSampler,
    DDPMSampler,
    DPMSolver2MSampler,
    DPMSolver2MSDESampler,
    EpsPrediction,
    EulerSampler,
    LearnedVariance,
    PLMSSampler,
    Sampler,
    Spacing,
    Target,
    ThresholdedSampler,
    Times,
    VPrediction,
    WholeSteps,
    X0Prediction,
    spaced_steps,
)
from sumi.nn.published import PublishedConfig
from sumi.systems.published.lcm import LCMSampler, lcm_steps

__all__ = ["METHODS", "PublishedScheduler", "method_name", "with_method"]

TRAIN_STEPS = 1000

# What sigma-based schedulers of diffusers leave of alpha_bar at the last node of a chain of zero terminal SNR.
LAST_ALPHA_BAR = 2.0**-24

_TARGETS: dict[str, Target] = {
    "epsilon": EpsPrediction(),
    "sample": X0Prediction(),
    "v_prediction": VPrediction(),
}


@dataclass(frozen=True, kw_only=True)
class SchedulerConfig(PublishedConfig):
    """The keys of every scheduler that is supported. None: the default of its class."""

    beta_schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2"] | None = None
    beta_start: float | None = None
    beta_end: float | None = None
    prediction_type: Literal["epsilon", "sample", "v_prediction"] = "epsilon"
    timestep_spacing: Spacing | None = None
    steps_offset: int = 0
    set_alpha_to_one: bool | None = None
    clip_sample: bool = True
    clip_sample_range: float = 1.0
    thresholding: bool = False
    dynamic_thresholding_ratio: float = 0.995
    sample_max_value: float = 1.0
    variance_type: Literal["fixed_small", "fixed_small_log", "fixed_large", "learned_range"] | None = None
    rescale_betas_zero_snr: bool = False
    use_karras_sigmas: bool | None = False
    final_sigmas_type: Literal["zero", "sigma_min"] = "zero"
    skip_prk_steps: bool = False
    original_inference_steps: int = 50
    timestep_scaling: float = 10.0
    algorithm_type: Literal["dpmsolver++", "sde-dpmsolver++"] = "dpmsolver++"
    neutral: ClassVar[dict[str, tuple[object, ...]]] = {
        "num_train_timesteps": (TRAIN_STEPS,), "trained_betas": (None,), "interpolation_type": ("linear",),
        "lambda_min_clipped": (-math.inf, "-Infinity"), "sigma_max": (None,), "sigma_min": (None,),
        "solver_order": (2,), "solver_type": ("midpoint",), "timestep_type": ("discrete",),
        "use_beta_sigmas": (False, None), "use_dynamic_shifting": (False,), "use_exponential_sigmas": (False, None),
        "use_flow_sigmas": (False,), "use_lu_lambdas": (False, None),
    }  # fmt: skip
    unused: ClassVar[frozenset[str]] = frozenset(
        {"euler_at_final", "flow_shift", "lower_order_final", "time_shift_type"}
    )


@dataclass(frozen=True)
class UnusedVariance(LearnedVariance):
    """Another target, whose network answers a variance that the sampler has no use for."""

    def split(self, out: Tensor) -> tuple[Tensor, Tensor | None]:
        """(first half, None)."""
        return super().split(out)[0], None


@dataclass(frozen=True)
class PublishedScheduler:
    """How a published model is sampled.

    sampler: for means after guidance, since it also clips them where the configuration says so. times: steps to times
    that need neither begin at 1 nor end at 0. unit_noise: whether x begins as z and not as sigma z.
    """

    schedule: BetaSchedule
    target: Target
    sampler: Sampler[Any]
    times: Times
    unit_noise: bool = True

    @staticmethod
    def read(config: Mapping[str, Any], variance: bool = False) -> PublishedScheduler:
        """Return the scheduler that `_class_name` names.

        Args:
            config: The keys of `scheduler_config.json`.
            variance: Whether the network answers a variance too, on as many channels again. A method or a configuration
                that has no use for it leaves it out.

        Raises:
            ValueError: The class is not supported, or the configuration does not fit it.
        """
        name = config.get("_class_name")
        if name not in SCHEDULERS:
            raise ValueError(f"the scheduler {name!r} is not supported; those supported are {', '.join(SCHEDULERS)}")
        scheduler = SCHEDULERS[name](SchedulerConfig.read(config))
        if variance and not isinstance(scheduler.target, LearnedVariance):
            return replace(scheduler, target=UnusedVariance(scheduler.target))
        return scheduler

    def initial_x(self, noise: Tensor, times: Tensor) -> Tensor:
        """Return x at the first of the times from z ~ N(0, I), (B, ...)."""
        return noise if self.unit_noise else float(self.schedule(times[:1]).sigma) * noise


def beta_schedule(config: SchedulerConfig, last_alpha_bar: float = 1e-14) -> BetaSchedule:
    """Return the chain, whose times between nodes are k-diffusion's; ValueError where it is left open."""
    if config.beta_schedule == "squaredcos_cap_v2":
        chain = BetaSchedule.cosine(TRAIN_STEPS)
    elif config.beta_schedule is None or config.beta_start is None or config.beta_end is None:
        raise ValueError("the configuration of a scheduler needs beta_schedule, beta_start and beta_end")
    elif config.beta_schedule == "linear":
        chain = BetaSchedule.linear(TRAIN_STEPS, config.beta_start, config.beta_end)
    else:
        chain = BetaSchedule.scaled_linear(TRAIN_STEPS, config.beta_start, config.beta_end)
    chain = replace(chain, between="logsnr")
    return chain.zero_terminal_snr(last_alpha_bar) if config.rescale_betas_zero_snr else chain


def times_of(steps: Tensor, last: float) -> Tensor:
    """Return the times of falling steps (n,), and `last` after them, (n + 1,) float32."""
    return torch.cat([(steps + 1) / TRAIN_STEPS, steps.new_tensor([last])]).float()


def thresholded(config: SchedulerConfig, sampler: Sampler[Any], clips: bool = True) -> Sampler[Any]:
    """Return the sampler with the means that the configuration asks for: clipped, thresholded or as they are."""
    if config.thresholding:
        return ThresholdedSampler(sampler, 1.0, config.dynamic_thresholding_ratio, max(1.0, config.sample_max_value))
    return ThresholdedSampler(sampler, config.clip_sample_range) if clips and config.clip_sample else sampler


def _ancestral(config: SchedulerConfig, times: Times) -> PublishedScheduler:
    chain, target = beta_schedule(config), _TARGETS[config.prediction_type]
    if config.variance_type == "learned_range":
        target = LearnedVariance(target)
    sampler = DDPMSampler(chain, var_interp=float(config.variance_type == "fixed_large"))
    return PublishedScheduler(chain, target, thresholded(config, sampler), times)


def ddpm(config: SchedulerConfig) -> PublishedScheduler:
    """DDPM: Kandinsky 2.2's decoder."""
    spacing, offset = config.timestep_spacing or "leading", config.steps_offset
    return _ancestral(config, lambda n: times_of(spaced_steps(spacing, n, TRAIN_STEPS, offset).round(), last=0.0))


def unclip(config: SchedulerConfig) -> PublishedScheduler:
    """DDPM on steps that begin at the last one and end at the first: karlo, and Kandinsky's prior."""
    if config.beta_schedule not in (None, "squaredcos_cap_v2"):
        raise ValueError(f"an UnCLIPScheduler has the beta_schedule 'squaredcos_cap_v2', not {config.beta_schedule!r}")
    config = replace(config, beta_schedule="squaredcos_cap_v2")
    return _ancestral(config, lambda n: times_of(spaced_steps("linspace", n).round(), last=0.0))


def _last(config: SchedulerConfig, default: bool) -> float:
    """Where DDIM and PLMS end: at the data, or at the first node, where Stable Diffusion leaves its latents."""
    to_data = default if config.set_alpha_to_one is None else config.set_alpha_to_one
    return 0.0 if to_data else 1 / TRAIN_STEPS


def ddim(config: SchedulerConfig) -> PublishedScheduler:
    """DDIM: Stable Diffusion 2.1."""
    if config.clip_sample or config.thresholding:
        raise ValueError("a DDIMScheduler is supported where clip_sample and thresholding are false")
    chain, spacing, last = beta_schedule(config), config.timestep_spacing or "leading", _last(config, default=True)

    def times(n: int) -> Tensor:
        return times_of(spaced_steps(spacing, n, TRAIN_STEPS, config.steps_offset).round(), last)

    return PublishedScheduler(chain, _TARGETS[config.prediction_type], DDIMSampler(chain), times)


def pndm(config: SchedulerConfig) -> PublishedScheduler:
    """PLMS: Stable Diffusion 1.x."""
    if not config.skip_prk_steps:
        raise ValueError("a PNDMScheduler is supported where skip_prk_steps is true")
    chain, target, last = beta_schedule(config), _TARGETS[config.prediction_type], _last(config, default=False)
    spacing = config.timestep_spacing or "leading"

    def times(n: int) -> Tensor:
        return times_of(spaced_steps(spacing, n, TRAIN_STEPS, config.steps_offset).round(), last)

    return PublishedScheduler(chain, target, PLMSSampler(chain, target), times)


def _sigmas(chain: BetaSchedule, steps: Tensor) -> Tensor:
    """sigma / alpha at steps, those between two nodes by a straight line in sigma / alpha, as diffusers draws it."""
    below, above = ((-chain((end + 1) / TRAIN_STEPS).logsnr / 2).exp() for end in (steps.floor(), steps.ceil()))
    return torch.lerp(below, above, steps - steps.floor())


def _karras(first: Tensor, last: Tensor, count: int, rho: float = 7.0) -> Tensor:
    """`count` sigmas from the first to the last. Karras et al. 2022, arXiv 2206.00364, equation 5."""
    ramp = torch.linspace(0, 1, count, dtype=first.dtype)
    return torch.lerp(first ** (1 / rho), last ** (1 / rho), ramp) ** rho


def _euler_times(chain: BetaSchedule, config: SchedulerConfig) -> Times:
    spacing = config.timestep_spacing or "linspace"
    last = 0.0 if config.final_sigmas_type == "zero" else 1 / TRAIN_STEPS

    def times(n: int) -> Tensor:
        sigmas = _sigmas(chain, spaced_steps(spacing, n, TRAIN_STEPS, config.steps_offset))
        if config.use_karras_sigmas:
            sigmas = _karras(sigmas[0], sigmas[-1], n)
        return times_of(chain.time(-2 * sigmas.log()) * TRAIN_STEPS - 1, last)

    return times


def _euler(config: SchedulerConfig,
           sampler: Callable[[BetaSchedule], Sampler[Any]]) -> PublishedScheduler:  # fmt: skip
    chain = beta_schedule(config, LAST_ALPHA_BAR)
    unit_noise = config.timestep_spacing == "leading"
    return PublishedScheduler(
        chain, _TARGETS[config.prediction_type], sampler(chain), _euler_times(chain, config), unit_noise
    )


def euler(config: SchedulerConfig) -> PublishedScheduler:
    """Euler: SDXL."""
    return _euler(config, EulerSampler)


def euler_ancestral(config: SchedulerConfig) -> PublishedScheduler:
    """Euler's step down to sigma_down, then noise of sigma_up: that is DDIM's with eta = 1."""
    return _euler(replace(config, use_karras_sigmas=False), lambda chain: DDIMSampler(chain, eta=1.0))


def dpm_solver(config: SchedulerConfig) -> PublishedScheduler:
    """DPM-Solver++ 2M, deterministic or SDE, on spaced steps or on Karras's sigmas."""
    if config.final_sigmas_type != "zero":
        raise ValueError("a DPMSolverMultistepScheduler is supported where final_sigmas_type is 'zero'")
    chain, target = beta_schedule(config, LAST_ALPHA_BAR), _TARGETS[config.prediction_type]
    spacing = config.timestep_spacing or "linspace"
    if config.use_karras_sigmas and config.beta_schedule != "squaredcos_cap_v2":
        target = WholeSteps(target, TRAIN_STEPS)

    def times(n: int) -> Tensor:
        if config.use_karras_sigmas:
            first, last = _sigmas(chain, torch.tensor([TRAIN_STEPS - 1.0, 0.0], dtype=torch.float64))
            return times_of(chain.time(-2 * _karras(first, last, n).log()) * TRAIN_STEPS - 1, last=0.0)
        more = spacing != "trailing"  # one more step is laid out than is taken: the one to the data
        steps = spaced_steps(spacing, n + more, TRAIN_STEPS, config.steps_offset)
        return times_of(steps[:n].round(), last=0.0)

    solver = DPMSolver2MSDESampler if config.algorithm_type == "sde-dpmsolver++" else DPMSolver2MSampler
    return PublishedScheduler(chain, target, thresholded(config, solver(chain), clips=False), times)


def lcm(config: SchedulerConfig) -> PublishedScheduler:
    """Latent consistency models: Stable Diffusion with an LCM-LoRA."""
    if config.thresholding:
        raise ValueError("an LCMScheduler is supported where thresholding is false")
    chain, target = beta_schedule(config), _TARGETS[config.prediction_type]
    sampler = LCMSampler(chain, config.timestep_scaling)
    return PublishedScheduler(
        chain,
        target,
        thresholded(config, sampler),
        lambda n: times_of(lcm_steps(n, config.original_inference_steps), 0.0),
    )


SCHEDULERS: dict[str, Callable[[SchedulerConfig], PublishedScheduler]] = {
    "DDPMScheduler": ddpm,
    "UnCLIPScheduler": unclip,
    "DDIMScheduler": ddim,
    "PNDMScheduler": pndm,
    "EulerDiscreteScheduler": euler,
    "EulerAncestralDiscreteScheduler": euler_ancestral,
    "DPMSolverMultistepScheduler": dpm_solver,
    "LCMScheduler": lcm,
}

METHODS: dict[str, dict[str, Any]] = {
    "ddim": {"_class_name": "DDIMScheduler"},
    "ddpm": {"_class_name": "DDPMScheduler"},
    "plms": {"_class_name": "PNDMScheduler", "skip_prk_steps": True},
    "euler": {"_class_name": "EulerDiscreteScheduler"},
    "euler-karras": {"_class_name": "EulerDiscreteScheduler", "use_karras_sigmas": True},
    "lcm": {"_class_name": "LCMScheduler"},
    "euler-a": {"_class_name": "EulerAncestralDiscreteScheduler"},
    "dpmpp-2m": {"_class_name": "DPMSolverMultistepScheduler"},
    "dpmpp-2m-karras": {"_class_name": "DPMSolverMultistepScheduler", "use_karras_sigmas": True},
    "dpmpp-2m-sde": {"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "sde-dpmsolver++"},
    "dpmpp-2m-sde-karras": {
        "_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "sde-dpmsolver++", "use_karras_sigmas": True,
    },
}  # fmt: skip
"""The methods that people ask for by name, as changes to a configuration."""


def method_name(name: str) -> str:
    """Return a method's name as METHODS spells it, from how other tools do: dpmpp-2m-karras for DPM++ 2M Karras."""
    return "-".join(name.casefold().replace("++", "pp").replace("_", " ").replace("-", " ").split())


def with_method(config: Mapping[str, Any], method: str) -> dict[str, Any]:
    """Return a latent model's configuration with another method on the same chain, as diffusers' `from_config` does.

    What the configuration says of spacing and prediction stays; what it does not say is the default of the new class.
    ValueError for an unknown method.
    """
    if method not in METHODS:
        raise ValueError(f"the method {method!r} is unknown; those known are {', '.join(METHODS)}")
    plain = {"use_karras_sigmas": False, "algorithm_type": "dpmsolver++", "clip_sample": False}
    return {**config, **plain, **METHODS[method]}

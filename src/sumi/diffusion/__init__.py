"""The mathematics of diffusion, and nothing else: no picture, no network, no file.

    x_t = alpha(t) x + sigma(t) eps

A `Schedule` gives (alpha, sigma) at t; a `Target` says what a network is asked for there; with both, a
network becomes a `Denoiser`, (x_t, t) -> E[x | x_t]; `guide` and `threshold` wrap one denoiser into another;
a `Sampler` walks it from t = 1 to t = 0; `DenoisingLoss` trains it. Signals are (B, ...) of any rank, t is
(B,), and a condition is whatever the network takes.
"""

from collections.abc import Callable
from typing import Any

from sumi.diffusion.ancestral import DDIM, DDPM
from sumi.diffusion.batching import cat_rows, pick_rows, split_rows
from sumi.diffusion.bound import VariationalBound
from sumi.diffusion.denoise import Denoiser, Estimate, Network, NetworkDenoiser, threshold
from sumi.diffusion.guidance import autoguide, classifier_guide, guide, guide_rows
from sumi.diffusion.inversion import Inversion, invert
from sumi.diffusion.langevin import AnnealedLangevin
from sumi.diffusion.likelihood import bound_bits, flow_bits
from sumi.diffusion.loss import DenoisingLoss, Loss, RegressionLoss, min_snr_weight, sigmoid_weight, snr_weight
from sumi.diffusion.multistep import DPMSolver2M, DPMSolver2MSDE, UniPC
from sumi.diffusion.ode import Euler, Heun
from sumi.diffusion.rng import Rng, normal, seeded, uniform
from sumi.diffusion.sampler import Sampler, Step, pure_noise, sample, trajectory
from sumi.diffusion.schedule import EDM, VE, VP, DiscreteBetas, Flow, Level, Schedule
from sumi.diffusion.target import X0, EDMTarget, Eps, LearnedVariance, Score, Target, V, Velocity
from sumi.diffusion.times import (
    LogitNormalTimes,
    Times,
    TimeSampler,
    UniformTimes,
    karras_times,
    logsnr_times,
    uniform_times,
)

SAMPLERS: dict[str, Callable[[Schedule], Sampler[Any]]] = {
    "ddpm": DDPM,
    "ddim": DDIM,
    "euler": Euler,
    "heun": Heun,
    "dpmpp-2m": DPMSolver2M,
    "dpmpp-2m-sde": DPMSolver2MSDE,
    "unipc": UniPC,
    "langevin": AnnealedLangevin,
}

__all__ = [
    "DDIM",
    "DDPM",
    "EDM",
    "SAMPLERS",
    "VE",
    "VP",
    "X0",
    "AnnealedLangevin",
    "DPMSolver2M",
    "DPMSolver2MSDE",
    "Denoiser",
    "DenoisingLoss",
    "DiscreteBetas",
    "EDMTarget",
    "Eps",
    "Estimate",
    "Euler",
    "Flow",
    "Heun",
    "Inversion",
    "LearnedVariance",
    "Level",
    "LogitNormalTimes",
    "Loss",
    "Network",
    "NetworkDenoiser",
    "RegressionLoss",
    "Rng",
    "Sampler",
    "Schedule",
    "Score",
    "Step",
    "Target",
    "TimeSampler",
    "Times",
    "UniPC",
    "UniformTimes",
    "V",
    "VariationalBound",
    "Velocity",
    "autoguide",
    "bound_bits",
    "cat_rows",
    "classifier_guide",
    "flow_bits",
    "guide",
    "guide_rows",
    "invert",
    "karras_times",
    "logsnr_times",
    "min_snr_weight",
    "normal",
    "pick_rows",
    "pure_noise",
    "sample",
    "seeded",
    "sigmoid_weight",
    "snr_weight",
    "split_rows",
    "threshold",
    "trajectory",
    "uniform",
    "uniform_times",
]

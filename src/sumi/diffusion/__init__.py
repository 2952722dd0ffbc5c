"""The mathematics of diffusion: schedules, targets, denoisers, guidance, samplers and losses.

    x_t = alpha(t) x + sigma(t) eps

A `Schedule` gives (alpha, sigma) at t. A `Target` is what a network predicts there. With both, a network becomes a
`Denoiser`, (x_t, t) -> E[x | x_t]. `guide` and `threshold` wrap one denoiser into another. A `Sampler` goes from t = 1
to t = 0. `DenoisingLoss` trains the network. Signals have shape (B, ...) of any rank, t has shape (B,), and a condition
is whatever the network takes. docs/equations.md puts these beside the equations of the papers.
"""

from collections.abc import Callable
from typing import Any

from sumi.diffusion.adjusted import AdjustedSampler, ThresholdedSampler
from sumi.diffusion.ancestral import DDIMSampler, DDPMSampler
from sumi.diffusion.batching import cat_rows, pick_rows, split_rows
from sumi.diffusion.bound import VariationalBound
from sumi.diffusion.denoise import Denoiser, Estimate, Network, NetworkDenoiser, threshold
from sumi.diffusion.guidance import autoguide, classifier_guide, guide, guide_rows
from sumi.diffusion.inversion import DDIMInversion, invert
from sumi.diffusion.langevin import AnnealedLangevinSampler
from sumi.diffusion.likelihood import bound_bits_per_dim, flow_bits_per_dim
from sumi.diffusion.loss import DenoisingLoss, Loss, RegressionLoss, min_snr_weight, sigmoid_weight, snr_weight
from sumi.diffusion.multistep import DPMSolver2MSampler, DPMSolver2MSDESampler, UniPCSampler
from sumi.diffusion.ode import EulerSampler, HeunSampler
from sumi.diffusion.plms import PLMSSampler
from sumi.diffusion.rng import Rng, normal, seeded, uniform
from sumi.diffusion.sampler import Sampler, StatelessSampler, Step, pure_noise, sample, step_to, trajectory
from sumi.diffusion.schedule import (
    BetaSchedule,
    EDMSchedule,
    FlowSchedule,
    Level,
    Schedule,
    VESchedule,
    VPSchedule,
    per_sample,
    snr_drop,
)
from sumi.diffusion.spacing import Spacing, spaced_steps
from sumi.diffusion.target import (
    EDMPrediction,
    EpsPrediction,
    FlowPrediction,
    LearnedVariance,
    ScorePrediction,
    Target,
    VPrediction,
    WholeSteps,
    X0Prediction,
)
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
    "ddpm": DDPMSampler,
    "ddim": DDIMSampler,
    "euler": EulerSampler,
    "heun": HeunSampler,
    "dpmpp-2m": DPMSolver2MSampler,
    "dpmpp-2m-sde": DPMSolver2MSDESampler,
    "unipc": UniPCSampler,
    "langevin": AnnealedLangevinSampler,
}

__all__ = [
    "SAMPLERS",
    "AdjustedSampler",
    "AnnealedLangevinSampler",
    "BetaSchedule",
    "DDIMInversion",
    "DDIMSampler",
    "DDPMSampler",
    "DPMSolver2MSDESampler",
    "DPMSolver2MSampler",
    "Denoiser",
    "DenoisingLoss",
    "EDMPrediction",
    "EDMSchedule",
    "EpsPrediction",
    "Estimate",
    "EulerSampler",
    "FlowPrediction",
    "FlowSchedule",
    "HeunSampler",
    "LearnedVariance",
    "Level",
    "LogitNormalTimes",
    "Loss",
    "Network",
    "NetworkDenoiser",
    "PLMSSampler",
    "RegressionLoss",
    "Rng",
    "Sampler",
    "Schedule",
    "ScorePrediction",
    "Spacing",
    "StatelessSampler",
    "Step",
    "Target",
    "ThresholdedSampler",
    "TimeSampler",
    "Times",
    "UniPCSampler",
    "UniformTimes",
    "VESchedule",
    "VPSchedule",
    "VPrediction",
    "VariationalBound",
    "WholeSteps",
    "X0Prediction",
    "autoguide",
    "bound_bits_per_dim",
    "cat_rows",
    "classifier_guide",
    "flow_bits_per_dim",
    "guide",
    "guide_rows",
    "invert",
    "karras_times",
    "logsnr_times",
    "min_snr_weight",
    "normal",
    "per_sample",
    "pick_rows",
    "pure_noise",
    "sample",
    "seeded",
    "sigmoid_weight",
    "snr_drop",
    "snr_weight",
    "spaced_steps",
    "split_rows",
    "step_to",
    "threshold",
    "trajectory",
    "uniform",
    "uniform_times",
]

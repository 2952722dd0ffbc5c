"""DDPM predicts the noise with a squared error; DDIM and Improved DDPM sample from it in far fewer steps.

Ho et al. 2020, Denoising Diffusion Probabilistic Models, arXiv 2006.11239.
Song et al. 2021, Denoising Diffusion Implicit Models, arXiv 2010.02502.
Nichol and Dhariwal 2021, Improved Denoising Diffusion Probabilistic Models, arXiv 2102.09672.

    L_simple = |eps - network(x_t, t)|^2                                                             (2020, eq. 14)
    x_s ~ q(x_s | x_t, x = mean)                                                                      (2020, eq. 7)
    x_s = alpha_s mean + sigma_s eps                                                   (DDIM, eq. 12 with eta = 0)
    alpha_bar = cos^2, log variance between beta_tilde and beta, L_hybrid = L_simple + 0.001 L_vlb  (2021, eq. 14-17)

DDIM is the same network with a deterministic sampler: the initial noise determines the picture, and 50 steps suffice.
`bits` is the variational bound, which L_simple does not optimise and the learned variance improves.
Known deviations: the U-Net is ours.
"""

from __future__ import annotations

from torch import Tensor, nn

from sumi.diffusion import (
    BetaSchedule,
    DDIMSampler,
    DDPMSampler,
    DenoisingLoss,
    EpsPrediction,
    LearnedVariance,
    Rng,
    UniformTimes,
    VariationalBound,
    bound_bits_per_dim,
)
from sumi.systems.diffusion_spec import NOTHING, DiffusionSpec

__all__ = ["DDIM_2020", "DDPM_2020", "IMPROVED", "bits", "ddim", "ddpm", "improved_ddpm"]


def ddpm(num_steps: int = 1000, variance: float = 1.0) -> DiffusionSpec:
    """Return DDPM: linear betas, noise prediction, fixed variance (theirs for pictures is "fixed large", beta)."""
    chain = BetaSchedule.linear(num_steps)
    loss = DenoisingLoss(EpsPrediction(), chain, UniformTimes(num_steps))
    return DiffusionSpec("ddpm", chain, EpsPrediction(), loss, DDPMSampler(chain, variance), num_steps=num_steps)


def ddim(num_steps: int = 50, eta: float = 0.0) -> DiffusionSpec:
    """Return DDPM's loss and chain of 1,000, sampled in fewer steps; eta = 1 adds as much noise as DDPM."""
    trained = ddpm()
    return DiffusionSpec(
        "ddim", trained.schedule, trained.target, trained.loss, DDIMSampler(trained.schedule, eta), num_steps=num_steps
    )


def improved_ddpm(chain_steps: int = 1000, num_steps: int = 100) -> DiffusionSpec:
    """Return Improved DDPM: cosine schedule, and a learned variance between the bounds of each step."""
    chain, target = BetaSchedule.cosine(chain_steps), LearnedVariance(EpsPrediction())
    loss = DenoisingLoss(target, chain, UniformTimes(chain_steps), bound=VariationalBound(chain_steps))
    return DiffusionSpec("improved_ddpm", chain, target, loss, DDPMSampler(chain), num_steps=num_steps)


def bits(
    spec: DiffusionSpec, network: nn.Module, x: Tensor, rng: Rng, num_steps: int = 1000, variance: float = 1
) -> Tensor:
    """Return the bound on -log2 p(x) in bits per dimension, for values of eight bits, shape (B,)."""
    return bound_bits_per_dim(spec.denoiser(network), x, spec.schedule, NOTHING, rng, num_steps, variance)


DDPM_2020 = ddpm()
DDIM_2020 = ddim()
IMPROVED = improved_ddpm()

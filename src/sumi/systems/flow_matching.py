"""Flow matching: learn the average direction of the straight lines from noise to pictures, and follow it.

Lipman et al. 2023, Flow Matching for Generative Modeling, arXiv 2210.02747.
Liu et al. 2023, Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow, arXiv 2209.03003.

    x_t = (1 - t) x + t eps,    loss = |network(x_t, t) - (eps - x)|^2                    (Lipman, eq. 23; Liu, eq. 1)
    dx / dt = E[eps - x | x_t]

It is a diffusion model: `FlowSchedule` is its schedule, `FlowPrediction` its target, and the loss differs from DDPM's
by a weight. The lines cross, so the average path is curved. Rectified flow straightens it: it pairs each noise with the
picture that the flow makes of it, and learns the lines of these pairs, which cross less (Liu, section 2.2); a straight
flow takes one step. The second network starts from the weights of the first.
Known deviations: sigma_min = 0; t = 1 is noise here and data in the papers.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, TypeVar

import torch
from torch import Tensor, nn

from sumi.diffusion import (
    DenoisingLoss,
    FlowPrediction,
    FlowSchedule,
    HeunSampler,
    Network,
    Rng,
    Schedule,
    Target,
    TimeSampler,
    UniformTimes,
    pure_noise,
    sample,
    seeded,
)
from sumi.hardware import autocast
from sumi.systems import Examples
from sumi.systems.diffusion_spec import NOTHING, DiffusionObjective, DiffusionSpec

__all__ = ["RECTIFIED", "STRAIGHT", "CoupledLoss", "couples", "flow_matching", "rectified_flow"]

C = TypeVar("C")


@dataclass(frozen=True)
class CoupledLoss:
    """The flow-matching loss for given pairs: x is (B, 2, ...), a signal and its noise."""

    target: Target
    schedule: Schedule
    times: TimeSampler

    def __call__(self, network: Network[C], x: Tensor, cond: C, rng: Rng) -> Tensor:
        """Return the loss of each pair, (B,)."""
        signal, eps = x.unbind(1)
        t = self.times(len(x), rng).to(x)
        level = self.schedule(t)
        answer = network(*self.target.scale_inputs(level.add_noise(signal, eps), t, level), cond)
        return (answer - self.target.of(signal, eps, level)).square().reshape(len(x), -1).mean(1)


@dataclass(frozen=True)
class Straightened(DiffusionSpec):
    """A second network, trained on the couples that the first one makes. Stages: network, straight."""

    num_couples: int = 2048
    shares: ClassVar[Mapping[str, float]] = {"network": 3.0, "straight": 2.0}  # of the time there is

    def num_made(self) -> int:
        """Return how many couples the first network makes."""
        return self.num_couples

    def making(self, count: int) -> Straightened:
        """Return the method with so many couples."""
        return replace(self, num_couples=count)

    def objective(self, stage: str, examples: Examples, parts: Mapping[str, nn.Module]) -> DiffusionObjective:
        """Train the flow of the pictures first, then the flow of its couples."""
        if stage == "network":
            return flow_matching().objective(stage, examples, parts)
        teacher, shape = flow_matching(num_steps=8), examples.pictures.shape[1:]
        pairs = couples(teacher, parts["network"], shape, range(self.num_couples))
        network = parts.get(stage) or copy.deepcopy(parts["network"]).requires_grad_()
        return DiffusionObjective(self.name, network, self, pairs)


def couples(
    spec: DiffusionSpec, network: nn.Module, shape: Sequence[int], seeds: Sequence[int], batch: int = 128
) -> Tensor:
    """Return pairs (N, 2, *shape) of the picture that the flow makes of a noise, and the noise; one for each seed."""
    made = []
    for start in range(0, len(seeds), batch):
        some = seeds[start : start + batch]
        eps = pure_noise(spec.schedule, torch.empty(len(some), *shape, dtype=torch.float32), seeded(some))
        rngs = seeded(some)
        with autocast("cpu"):
            denoise, times = spec.denoiser(network), spec.times(spec.num_steps)
            made.append(torch.stack([sample(spec.sampler, denoise, eps, times, NOTHING, rngs), eps], dim=1))
    return torch.cat(made)


def flow_matching(num_steps: int = 20) -> DiffusionSpec:
    """Return flow matching on the straight path, sampled by Heun."""
    path = FlowSchedule()
    return DiffusionSpec(
        "flow_matching",
        path,
        FlowPrediction(),
        DenoisingLoss(FlowPrediction(), path),
        HeunSampler(path),
        num_steps=num_steps,
    )


def rectified_flow(num_steps: int = 1, num_couples: int = 2048) -> Straightened:
    """Return the flow rectified once, sampled in one step."""
    path = FlowSchedule()
    loss = CoupledLoss(FlowPrediction(), path, UniformTimes())
    method = Straightened("rectified_flow", path, FlowPrediction(), loss, HeunSampler(path), num_steps=num_steps)
    return replace(method, stages=("network", "straight"), num_couples=num_couples)


STRAIGHT = flow_matching()
RECTIFIED = rectified_flow()

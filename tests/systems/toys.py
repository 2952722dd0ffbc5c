"""Toys: examples of which everything is known, and the shortest training there is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sumi.diffusion import Denoiser, pure_noise, sample
from sumi.nn import Cond
from sumi.pipelines import Stage, StepRequest, run
from sumi.pipelines.steps import denoiser_of
from sumi.systems.diffusion_spec import DiffusionObjective, DiffusionSpec
from sumi.training import Batch, Objective


def taught(lesson: Objective, num_steps: int, batch_size: int = 256, lr: float = 2e-3) -> float:
    """Train the lesson's model where it stands, the rate falling to zero; the mean loss of the last quarter."""
    rule = torch.optim.AdamW(lesson.model.parameters(), lr, betas=(0.9, 0.99), weight_decay=0)
    late = []
    for step in range(num_steps):
        rng = torch.Generator().manual_seed(step)
        batch = Batch(step, num_steps, torch.randint(len(lesson), (batch_size,), generator=rng), rng)
        loss = lesson.loss(lesson.model, batch)["loss"]
        rule.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(lesson.model.parameters(), 1.0)
        for group in rule.param_groups:
            group["lr"] = lr * (1 - step / num_steps)
        rule.step()
        late += [loss.item()] * (4 * step >= 3 * num_steps)
    lesson.model.eval()
    return sum(late) / len(late)


def halve(parts: Mapping[str, nn.Module]) -> None:
    """Round weights to the sixteen bits that a bundle keeps of them."""
    with torch.no_grad():
        for part in parts.values():
            for weight in part.parameters():
                weight.copy_(weight.bfloat16().float())


def toy(design: DiffusionSpec, network: nn.Module, examples: Tensor) -> DiffusionObjective:
    """A lesson of these examples."""
    return DiffusionObjective("toy", network, design, examples)


def drawn(
    design: DiffusionSpec, denoise: Denoiser[Any], count: int, size: int = 1, num_steps: int | None = None
) -> Tensor:
    """Rows (count, size) by the spec's sampler and times, all from one generator, which is quicker."""
    rng = coins(99)
    x = pure_noise(design.schedule, torch.empty(count, size), rng)
    return sample(design.sampler, denoise, x, design.times(num_steps or design.num_steps), Cond(), rng)


def stepping(stage: Stage, cond: Cond, null: Cond | None = None) -> Denoiser[Cond]:
    """The denoiser that a stage steps by under a condition: guided, and held to its threshold."""
    shape = (len(next(slot for slot in (cond.vector, cond.tokens, cond.concat) if slot is not None)), *stage.shape)
    work = run(stage, cond, range(shape[0]), null, x=torch.zeros(shape))
    request = next(work)
    assert isinstance(request, StepRequest)
    return denoiser_of(request)


def coins(seed: int = 0) -> torch.Generator:
    """A generator."""
    return torch.Generator().manual_seed(seed)


def moments(x: Tensor) -> tuple[Any, Any]:
    """Mean and variance of everything."""
    return x.mean().item(), x.var().item()

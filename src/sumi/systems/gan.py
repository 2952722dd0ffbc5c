"""GAN: a generator makes pictures of noise, and a discriminator learns to tell them from true ones.

Goodfellow et al. 2014, Generative Adversarial Nets, arXiv 1406.2661.
Mescheder et al. 2018, Which Training Methods for GANs do actually Converge?, arXiv 1801.04406.
Huang et al. 2025, The GAN is dead; long live the GAN! A Modern Baseline GAN (R3GAN), arXiv 2501.05441.

    lead = D(x) - D(G(z))                       a true picture against a generated one        (Huang, eq. 2)
    loss of D = softplus(-lead) + gamma/2 (|grad D(x)|^2 + |grad D(G(z))|^2)                  (R1 and R2: eq. 3, 4)
    loss of G = softplus(lead)

Both networks take one step in the same loop, and each loss moves its own network only. D sees the generated pictures
detached. G needs only the gradient of D at its pictures, which the penalty R2 computes anyway: by the chain rule

    grad loss of G = sum_i slope_i grad G(z_i),    slope_i = -sigmoid(lead_i) grad D(G(z_i)) / B

with the slopes held fixed is the whole gradient of G. So one number is the loss of both and nothing is evaluated twice;
a test compares it with two separate backward passes. G's loss is the non-saturating one (2014, section 3).
Known deviations: RGBA; small, with plain blocks of two 3 x 3 convolutions; gamma is constant; G's weights are averaged;
both networks step together. The gradient of a gradient is computed in float32 whatever the precision of the config.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sumi.diffusion import normal, seeded
from sumi.diffusion.schedule import per_sample
from sumi.errors import SumiError
from sumi.nn import GAN
from sumi.pipelines.steps import Pause, Work
from sumi.systems import Examples, Method
from sumi.systems.diffusion_spec import signals
from sumi.systems.objectives import sheet, to_picture
from sumi.systems.pipeline import Pipeline, SampleRequest
from sumi.training import Batch, TrainConfig

__all__ = ["GAN_2014", "GANObjective", "adversarial_losses"]


def adversarial_losses(model: Any, x: Tensor, z: Tensor, gamma: float) -> dict[str, Tensor]:
    """Return the losses of both networks on true signals x (B, ...) and noises z (B, noise_width).

    loss: its value is D's loss, its gradient that of D's loss in D's weights and of G's loss in G's. loss_d and loss_g:
    softplus(-lead) and softplus(lead), both log 2 where D cannot tell. penalty: R1 + R2.
    """
    made = model.generator(z)
    shown = torch.cat([x, made.detach()]).requires_grad_()
    scores = model.discriminator(shown)
    (slopes,) = torch.autograd.grad(scores.sum(), shown, create_graph=True)
    penalty = 2 * slopes.square().flatten(1).sum(1).mean()
    true, false = scores.chunk(2)
    lead = true - false
    loss_d, loss_g = F.softplus(-lead).mean(), F.softplus(lead).mean()
    slope = per_sample(-torch.sigmoid(lead) / len(x), x) * slopes[len(x) :]
    pull = (slope.detach() * made).sum()
    loss = loss_d + gamma / 2 * penalty + (pull - pull.detach())
    return {"loss": loss, "loss_d": loss_d, "loss_g": loss_g, "penalty": penalty}


@dataclass(frozen=True)
class GANObjective:
    """Train the `generator` and the `discriminator` of a model against each other."""

    name: str
    model: nn.Module
    examples: Any
    gamma: float

    def __len__(self) -> int:
        """How many examples."""
        return len(self.examples)

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """Return the losses of one step of both networks."""
        x = signals(self.examples, batch.indices, batch.rng.device)
        z = normal(x.new_empty(len(x), int(model.noise_width)), batch.rng)  # type: ignore[arg-type]
        with torch.autocast(x.device.type, enabled=False):
            return adversarial_losses(model, x, z, self.gamma)

    def picture(self, model: nn.Module) -> Tensor:
        """Return sixteen pictures, always of the same noises."""
        some = to_picture(generate_signals(model, range(16)))
        return sheet(some.chunk(2))


@torch.no_grad()
def generate_signals(model: Any, seeds: Any) -> Tensor:
    """Return one signal for each seed."""
    like = next(model.parameters())
    return model.generator(normal(like.new_empty(len(seeds), model.noise_width), seeded(seeds)))  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Adversarial(Method):
    """A generator and a discriminator that grow with the size of the pictures; both are the part of one stage.

    width: channels of the finest level, doubled at each coarser one up to `widest`, down to a grid of 4 or less.
    """

    name: str = "gan"
    noise_width: int = 64
    width: int = 24
    widest: int = 96
    gamma: float = 10.0
    stages: tuple[str, ...] = ("network",)
    #: No momentum, as in R3GAN: earlier gradients belong to another opponent.
    plans: ClassVar[Mapping[str, TrainConfig]] = {
        "network": TrainConfig(
            2000, 32, lr=5e-4, betas=(0.0, 0.99), weight_decay=0.0, decay_fraction=0.3, precision="fp32"
        )
    }

    def objective(self, stage: str, examples: Examples, parts: Mapping[str, nn.Module]) -> GANObjective:
        """Train both networks on the pictures."""
        channels, side = [self.width], int(examples.pictures.shape[-1])
        while side > 4 and side % 2 == 0:
            side, channels = side // 2, [*channels, min(self.widest, 2 * channels[-1])]
        model = parts.get(stage) or GAN(4, int(examples.pictures.shape[-1]), self.noise_width, channels)
        return GANObjective(self.name, model, examples.pictures, self.gamma)

    def pipeline(self, parts: Mapping[str, nn.Module]) -> Pipeline:
        """Draw pictures in one evaluation."""
        return GANPipeline(self.name, parts["network"])


@dataclass(frozen=True)
class GANPipeline(Pipeline):
    """A trained generator."""

    name: str
    model: Any

    def sample(self, request: SampleRequest) -> Work[Tensor]:
        """Draw pictures in one evaluation: there are no steps to count."""
        if request.size_px != self.model.size_px:
            raise SumiError(f"this {self.name} draws {self.model.size_px} px, not {request.size_px}")
        yield Pause()
        return to_picture(generate_signals(self.model, request.seeds))


GAN_2014 = Adversarial()

"""Guidance: four ways to follow a condition more closely, with one and the same diffusion model.

    by a classifier   mean + scale sigma^2 / alpha grad log p(label | x_t), with p trained on noisy pictures
    by a noised CLIP  the same with z_i(x_t) . z_t for log p: its labels are captions
    classifier-free   mean(null) + scale (mean(label) - mean(null)): by Bayes' rule the difference is a classifier
    by a weaker self  mean(weak) + scale (mean(strong) - mean(weak)): both make the same kind of error

Dhariwal and Nichol 2021, Diffusion Models Beat GANs on Image Synthesis, arXiv 2105.05233, section 4 (classifier).
Nichol et al. 2021, GLIDE, arXiv 2112.10741 (noised CLIP). Ho and Salimans 2022, arXiv 2207.12598 (free).
Karras et al. 2024, arXiv 2406.02507 (weaker). Kynkaanniemi et al. 2024, arXiv 2404.07724 (in an interval only).

Known deviations: all four guide a DDPM whose time embedding includes the label; the weaker network is smaller, and
trained for as long; labels are dropped for a tenth of the pictures in every case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from sumi.conditioning import softmax_loss
from sumi.diffusion import Schedule, UniformTimes, autoguide, classifier_guide, normal
from sumi.errors import SumiError
from sumi.nn import Classifier, Cond, UNet, drop_condition
from sumi.pipelines import Stage
from sumi.pipelines.steps import Threshold
from sumi.systems import Examples, Method
from sumi.systems.ddpm import ddpm
from sumi.systems.diffusion_spec import DiffusionObjective, DiffusionSpec, one_hot, signals
from sumi.systems.pipeline import Pipeline, SampleRequest, StagePipeline
from sumi.training import Batch, Objective

__all__ = ["BY_CLASSIFIER", "BY_WEAKER", "FREE", "NoisedClassifierObjective", "log_caption", "log_label"]

_DDPM = ddpm()


def log_label(tower: nn.Module) -> Callable[[Tensor, Tensor, Cond], Tensor]:
    """Return log p(label | x_t) by a classifier, the label one-hot in cond.vector; zeros have probability one."""
    return lambda x_t, t, cond: (F.log_softmax(tower(x_t, t, cond), dim=1) * label_vector(cond)).sum(1)


def log_caption(tower: nn.Module, sharpness: float = 100.0) -> Callable[[Tensor, Tensor, Cond], Tensor]:
    """Return sharpness z_i(x_t) . z_t by a noised CLIP, with z_t in cond.vector: log p up to a constant."""
    return lambda x_t, t, cond: sharpness * (F.normalize(tower(x_t, t, cond), dim=1) * label_vector(cond)).sum(1)


def label_vector(cond: Cond) -> Tensor:
    """Return the vector of a condition that must have one."""
    if cond.vector is None:
        raise ValueError("guidance needs cond.vector: a one-hot label, or a caption's embedding")
    return cond.vector


@dataclass(frozen=True)
class NoisedClassifierObjective:
    """Train a network on noisy signals to predict labels (one-hot vectors), or CLIP's embeddings of captions.

    vectors: (N, K) one-hot, or (N, D) unit z_t. Times are uniform.
    """

    name: str
    model: nn.Module
    schedule: Schedule
    examples: Any
    vectors: Tensor
    captions: bool = False
    sharpness: float = 20.0

    def __len__(self) -> int:
        """How many examples."""
        return len(self.examples)

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """Return the cross-entropy of the label, or CLIP's loss within the batch."""
        x, rng = signals(self.examples, batch.indices, batch.rng.device), batch.rng
        y = self.vectors[batch.indices].to(x)
        t = UniformTimes()(len(x), rng).to(x)
        answer = model(self.schedule(t).add_noise(x, normal(x, rng)), t, Cond())
        if self.captions:
            return {"loss": softmax_loss(self.sharpness * y @ F.normalize(answer, dim=1).T)}
        right = (answer.argmax(1) == y.argmax(1)).float().mean()
        return {"loss": F.cross_entropy(answer, y), "right": right}

    def picture(self, model: nn.Module) -> None:
        """Return nothing: a classifier draws no pictures."""


@dataclass(frozen=True)
class Guided(Method):
    """A labelled diffusion model and its guidance; by: "classifier", "free" or "weaker"."""

    name: str
    by: str
    scale: float
    interval: tuple[float, float] = (0.0, 1.0)
    drop: float = 0.1
    spec: DiffusionSpec = _DDPM

    @property
    def stages(self) -> tuple[str, ...]:
        """The network, then whatever guides it."""
        return ("network",) if self.by == "free" else ("network", self.by)

    def diffusion(self) -> DiffusionSpec:
        """Return the diffusion model of the network."""
        return self.spec

    def objective(self, stage: str, examples: Examples, parts: Mapping[str, nn.Module]) -> Objective:
        """Train a labelled diffusion model, a smaller one, or a noised classifier."""
        if examples.labels is None:
            raise SumiError(f"{self.name} learns from labelled pictures: these have no labels")
        known = label_vector(one_hot(examples.labels, examples.num_labels))
        if stage == "classifier":
            tower = Classifier(4, examples.num_labels, [32, 64])
            return NoisedClassifierObjective(self.name, tower, self.spec.schedule, examples.pictures, known)

        def cond(batch: Batch) -> Cond:
            labels = known[batch.indices].to(batch.rng.device)
            return drop_condition(Cond(vector=labels), self.drop, batch.rng)

        weaker = UNet(4, 4, [16, 32], [1, 1], [False, False], vector_width=examples.num_labels, middle=1)
        network = weaker if stage == "weaker" else self.spec.network(examples.num_labels)
        return DiffusionObjective(self.name, network, self.spec, examples.pictures, cond)

    def stage(self, parts: Mapping[str, nn.Module]) -> Stage:
        """Return the guided model as a stage; classifier-free guidance is a setting of the stage itself."""
        denoise = self.spec.denoiser(parts["network"])
        if self.by == "free":
            return self.spec.stage(denoise, threshold=Threshold(), guidance=self.scale, interval=self.interval)
        if self.by == "weaker":
            denoise = autoguide(denoise, self.spec.denoiser(parts["weaker"]), self.scale, self.interval)
        else:
            log_p = log_label(parts["classifier"])
            denoise = classifier_guide(denoise, log_p, self.spec.schedule, self.scale, self.interval)
        return self.spec.stage(denoise, threshold=Threshold())

    def pipeline(self, parts: Mapping[str, nn.Module]) -> Pipeline:
        """Draw pictures of labels."""

        def cond(request: SampleRequest) -> Cond:
            if len(request.labels) != len(request.seeds):
                raise SumiError(f"{self.name} needs one label a seed: {len(request.seeds)}, not {len(request.labels)}")
            network = parts["network"]
            assert isinstance(network, UNet)
            return one_hot(request.labels, network.config["vector_width"])

        return StagePipeline(self.stage(parts), cond)


BY_CLASSIFIER = Guided("classifier_guidance", "classifier", scale=2.0)
FREE = Guided("classifier_free", "free", scale=2.5)
BY_WEAKER = Guided("autoguidance", "weaker", scale=2.0)

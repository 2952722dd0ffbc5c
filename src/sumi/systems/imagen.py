"""Imagen: a cascade conditioned on the features of a frozen language model.

Saharia et al. 2022, Photorealistic Text-to-Image Diffusion Models with Deep Language Understanding, arXiv 2205.11487.

    words = encoder(caption), frozen                                                        (its text encoder)
    mean = mean(x_t | nothing) + scale (mean(x_t | words) - mean(x_t | nothing))    (classifier-free guidance)
    r = max(1, the p-quantile of |mean|),    mean = clip(mean, -r, r) / r               (dynamic thresholding)
    p(x | low, words):  shown alpha_l low + sigma_l eps, and told l ~ U(0, 1)  (noise conditioning augmentation)
    skips scaled by 1 / sqrt(2), blocks mostly where the picture is small                    (efficient U-Net)

Strong guidance drives the estimate out of the range of pictures, hence r. An upsampler trained on noisy inputs corrects
errors of the base; `level` is l when sampling. Known deviations: RGBA; small, with one upsampler that doubles a side
where the paper has two that quadruple it; a sentence encoder in place of T5-XXL (any folder may be named); both
networks are efficient U-Nets with attention at low resolution; the chain of 1,000 in fewer steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sumi.conditioning import LanguageModel, LanguageUNet
from sumi.diffusion import (
    BetaSchedule,
    DDPMSampler,
    DenoisingLoss,
    EpsPrediction,
    Rng,
    UniformTimes,
    normal,
    uniform,
)
from sumi.errors import SumiError
from sumi.nn import Cond, drop_condition
from sumi.pipelines import Stage, run, seeded_generators
from sumi.pipelines.steps import Threshold, Work
from sumi.systems import Examples, Method
from sumi.systems.cascade import captioned, drawable_captions, larger, sized, smaller, thumbnails
from sumi.systems.diffusion_spec import DiffusionObjective, DiffusionSpec, signals
from sumi.systems.objectives import to_picture
from sumi.systems.pipeline import Pipeline, SampleRequest
from sumi.training import Batch

__all__ = ["IMAGEN"]


def cosine(num_steps: int = 50) -> DiffusionSpec:
    """Return noise prediction on a cosine chain, sampled with the smaller posterior variance."""
    chain = BetaSchedule.cosine()
    return DiffusionSpec(
        "imagen",
        chain,
        EpsPrediction(),
        DenoisingLoss(EpsPrediction(), chain, UniformTimes(1000)),
        DDPMSampler(chain),
        num_steps=num_steps,
    )


@dataclass(frozen=True)
class Imagen(Method):
    """scale: of guidance, in both stages. quantile: of the dynamic threshold. level: of noise on what is enlarged."""

    language: LanguageModel = LanguageModel()  # noqa: RUF009 - it is never changed
    scale: tuple[float, float] = (5.0, 2.0)
    quantile: float = 0.95
    level: float = 0.2
    drop: float = 0.1
    spec: DiffusionSpec = cosine()  # noqa: RUF009
    stages: tuple[str, ...] = ("base", "upsampler")
    shares: ClassVar[Mapping[str, float]] = {"base": 1.0, "upsampler": 1.0}  # of the time there is

    def __post_init__(self) -> None:
        if not 0 <= self.level <= 1:
            raise SumiError(f"the level of noise on what is enlarged lies in [0, 1]: {self.level} does not")

    def network(self, stage: str) -> LanguageUNet:
        """Return a fresh network, bound to the language model that is installed."""
        language = self.language.pin()
        sizes: dict[str, Any] = {"in_channels": 4, "out_channels": 4, "head_width": 32, "skip_scale": 0.5**0.5}
        if stage == "base":
            sizes |= {"channels": [32, 64], "blocks": [1, 2], "attention": [False, True], "middle": 1}
        else:  # none at full size on the way down: a convolution, then half
            sizes |= {"channels": [16, 32, 64], "blocks": [0, 1, 3], "attention": [False, False, True], "middle": 1}
            sizes |= {"concat_channels": 4}
        return LanguageUNet(asdict(language), language.width, sizes)

    def diffusion(self) -> DiffusionSpec:
        """Return the diffusion model of the network."""
        return self.spec

    def objective(self, stage: str, examples: Examples, parts: Mapping[str, nn.Module]) -> DiffusionObjective:
        """Train on small pictures, or on small and large ones; equal captions are encoded once."""
        network = parts.get(stage) or self.network(stage)
        assert isinstance(network, LanguageUNet)
        captions = captioned("imagen", examples)
        unique = {caption: row for row, caption in enumerate(dict.fromkeys(captions))}
        features = network.language.encode(list(unique)).half()
        which = torch.tensor([unique[caption] for caption in captions])
        x0 = thumbnails(examples) if stage == "base" else examples.pictures

        def cond(batch: Batch) -> Cond:
            rng = batch.rng
            text = Cond(tokens=features[which[batch.indices]].to(rng.device).float())
            text = drop_condition(text, self.drop, rng)
            if stage == "base" or text.tokens is None:
                return text
            low = smaller(signals(x0, batch.indices, rng.device))
            return self.augmented(low, uniform(len(low), rng), text.tokens, rng)

        return DiffusionObjective(f"imagen-{stage}", network, self.spec, x0, cond)

    def augmented(self, low: Tensor, level: Tensor, words: Tensor, rng: Rng) -> Cond:
        """Return the upsampler's condition: low (B, 4, S/2, S/2) with noise of this level (B,), enlarged; level; words.

        This is noise conditioning augmentation; at level 0 the picture has no noise.
        """
        noisy = self.spec.schedule(level).add_noise(low, normal(low, rng))
        return Cond(vector=level[:, None], tokens=words, concat=larger(noisy))

    def stage(self, network: nn.Module, name: str = "base") -> Stage:
        """Return one network of the cascade as a stage, guided, its estimates held among pictures."""
        scale = self.scale[0 if name == "base" else 1]
        held = Threshold(quantile=self.quantile)
        return self.spec.stage(self.spec.denoiser(network), name=name, threshold=held, guidance=scale)

    def pipeline(self, parts: Mapping[str, nn.Module]) -> Pipeline:
        """Draw pictures of captions, read by the language model of the base."""
        base = parts["base"]
        assert isinstance(base, LanguageUNet)
        return ImagenPipeline(self, base.language, self.stage(base), self.stage(parts["upsampler"], "upsampler"))


@dataclass(frozen=True)
class ImagenPipeline(Pipeline):
    """The two stages of Imagen, and the language model that reads for both."""

    system: Imagen
    language: LanguageModel
    base: Stage
    upsampler: Stage

    def sample(self, request: SampleRequest) -> Work[Tensor]:
        """Draw small pictures, add noise of the level to them, and draw them at twice the side."""
        words = self.language.encode(drawable_captions("imagen", request))
        base = sized(self.base, request.size_px // 2, request.num_steps)
        low = yield from run(base, Cond(tokens=words), request.seeds, stream="")
        level = torch.full((len(low),), self.system.level, dtype=torch.float32)
        rngs = seeded_generators(request.seeds, "augmentation")
        cond = self.system.augmented(low.clamp(-1, 1), level, words, rngs)
        upsampler = sized(self.upsampler, request.size_px, request.num_steps)
        return to_picture((yield from run(upsampler, cond, request.seeds, without_words(cond))))


def without_words(cond: Cond) -> Cond:
    """Return a condition that says nothing in words, and is the same in all else."""
    assert cond.tokens is not None
    return replace(cond, tokens=torch.zeros_like(cond.tokens))


IMAGEN = Imagen()

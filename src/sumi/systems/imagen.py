"""Imagen: a language model that has never seen a picture reads the caption, and is not trained at all.

Saharia et al. 2022, Photorealistic Text-to-Image Diffusion Models with Deep Language Understanding, arXiv 2205.11487.

    words = encoder(caption), frozen                                                        (its text encoder)
    mean = mean(x_t | nothing) + scale (mean(x_t | words) - mean(x_t | nothing))    (classifier-free guidance)
    r = max(1, the p-quantile of |mean|),    mean = clip(mean, -r, r) / r               (dynamic thresholding)
    p(x | low, words):  shown alpha_l low + sigma_l eps, and told l ~ U(0, 1)  (noise conditioning augmentation)
    skips scaled by 1 / sqrt(2), blocks mostly where the picture is small                    (efficient U-Net)

Strong guidance drives the estimate out of the range of pictures, hence r; an upsampler that has learned to doubt what
it is shown mends it, hence l, which is chosen when drawing: `level`. Known deviations: RGBA; small, with one upsampler
that doubles a side where the paper has two that quadruple it; a sentence encoder in place of T5-XXL (any folder may be
named); both networks are efficient U-Nets with attention at low resolution; the chain of 1000 in fewer steps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sumi.conditioning import LanguageModel, LanguageUNet
from sumi.diffusion import (
    BetaSchedule,
    DDPMSampler,
    Denoiser,
    DenoisingLoss,
    EpsPrediction,
    Rng,
    UniformTimes,
    guide,
    normal,
    seeded,
    threshold,
    uniform,
)
from sumi.errors import SumiError
from sumi.nn import Cond, drop_condition
from sumi.pipelines.steps import Work
from sumi.systems import Examples, Method, Wish
from sumi.systems.cascade import captioned, larger, smaller, streams, thumbnails, wished
from sumi.systems.design import Design, DesignLesson, signals
from sumi.systems.objectives import to_picture
from sumi.training import Batch

__all__ = ["IMAGEN"]


def cosine(num_steps: int = 50) -> Design:
    """The noise, on a cosine chain; a step renews what the posterior of one point would."""
    chain = BetaSchedule.cosine()
    return Design(
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
    design: Design = cosine()  # noqa: RUF009
    stages: tuple[str, ...] = ("base", "upsampler")
    shares: ClassVar[Mapping[str, float]] = {"base": 1.0, "upsampler": 1.0}  # of the time there is

    def __post_init__(self) -> None:
        if not 0 <= self.level <= 1:
            raise SumiError(f"the level of noise on what is enlarged lies in [0, 1]: {self.level} does not")

    def network(self, stage: str) -> LanguageUNet:
        """A fresh network, bound to the language model that is found now."""
        language = self.language.pin()
        sizes: dict[str, Any] = {"in_channels": 4, "out_channels": 4, "head_width": 32, "skip_scale": 0.5**0.5}
        if stage == "base":
            sizes |= {"channels": [32, 64], "blocks": [1, 2], "attention": [False, True], "middle": 1}
        else:  # none at full size on the way down: a convolution, then half
            sizes |= {"channels": [16, 32, 64], "blocks": [0, 1, 3], "attention": [False, False, True], "middle": 1}
            sizes |= {"concat_channels": 4}
        return LanguageUNet(asdict(language), language.width, sizes)

    @property
    def num_steps(self) -> int:
        """Steps of a stage."""
        return self.design.num_steps

    def lesson(self, stage: str, examples: Examples, parts: Mapping[str, nn.Module]) -> DesignLesson:
        """Small pictures, or small and large ones; every caption is read once, whoever it belongs to."""
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
            return self.shown(low, uniform(len(low), rng), text.tokens, rng)

        return DesignLesson(f"imagen-{stage}", network, self.design, x0, cond)

    def shown(self, low: Tensor, level: Tensor, words: Tensor, rng: Rng) -> Cond:
        """What an upsampler is told: low (B, 4, S/2, S/2) under noise of this level (B,), enlarged; the level; words.

        At level 0 the picture is shown as it is. This is noise conditioning augmentation.
        """
        noisy = self.design.schedule(level).add_noise(low, normal(low, rng))
        return Cond(vector=level[:, None], tokens=words, concat=larger(noisy))

    def denoiser(self, network: nn.Module, cond: Cond, scale: float) -> Denoiser[Cond]:
        """The estimate, guided away from silence, then brought back among pictures."""
        silent = Cond(cond.vector, torch.zeros_like(text_features(cond)), concat=cond.concat)
        return threshold(guide(self.design.denoiser(network), silent, scale), quantile=self.quantile)

    @torch.no_grad()
    def draw(self, parts: Mapping[str, nn.Module], wish: Wish) -> Work[Tensor]:
        """Draw pictures of the captions, uint8 (B, 4, S, S), read by the language model of the base."""
        base, upsampler, captions = parts["base"], parts["upsampler"], wished("imagen", wish)
        assert isinstance(base, LanguageUNet)
        cond = Cond(tokens=base.language.encode(captions))
        size_px, num_steps = wish.size_px, wish.num_steps
        low = yield from self.sample(base, cond, self.scale[0], size_px // 2, wish.seeds, num_steps, "base")
        low = low.clamp(-1, 1)
        rngs = seeded(streams(wish.seeds, "augmentation"))
        cond = self.shown(low, torch.full((len(low),), self.level, dtype=torch.float32), text_features(cond), rngs)
        seeds = streams(wish.seeds, "upsampler")
        large = yield from self.sample(upsampler, cond, self.scale[1], size_px, seeds, num_steps, "upsampler")
        return to_picture(large)

    def sample(
        self,
        network: nn.Module,
        cond: Cond,
        scale: float,
        size_px: int,
        seeds: Sequence[int],
        num_steps: int | None,
        stage: str,
    ) -> Work[Tensor]:
        """Run one stage of the cascade."""
        denoise = self.denoiser(network, cond, scale)
        return (yield from self.design.sample(denoise, (4, size_px, size_px), seeds, cond, num_steps, stage))


def text_features(cond: Cond) -> Tensor:
    """The features of a condition that has them."""
    assert cond.tokens is not None
    return cond.tokens


IMAGEN = Imagen()

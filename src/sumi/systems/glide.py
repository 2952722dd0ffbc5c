"""GLIDE: diffusion under a caption, read by a text transformer that is trained along with it; and holes filled in.

Nichol et al. 2021, GLIDE: Towards Photorealistic Image Generation and Editing with Text-Guided Diffusion Models,
arXiv 2112.10741.

    mean = mean(x_t | nothing) + scale (mean(x_t | caption) - mean(x_t | nothing))            (classifier-free guidance)
    mean = mean(x_t | caption) + scale (sigma^2 / alpha) grad z_i(x_t) . z_t                         (CLIP guidance)
    p(x | caption) = p(x | low, caption) p(low | caption)                                              (an upsampler)

`inpaint` is the base fine-tuned with more channels at its mouth, at first unheard: the picture with a hole in it, and
where it is whole. `guided_by` is the dial: "free", or "clip", which adds a stage. Known deviations: RGBA;
small, and a side is doubled where the paper quadruples it; captions are read by words and bytes, and dropped from the
start; the estimate is clamped while drawing, as in their code; holes are rectangles; the upsampler answers no variance,
and its estimate is held to what is known by hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sumi.conditioning import NoisedCLIP, WordTokenizer
from sumi.diffusion import Denoiser, Rng, Schedule, UniformTimes, classifier_guide, guide, normal, threshold
from sumi.errors import SumiError
from sumi.nn import Cond, TextUNet, drop_condition
from sumi.pipelines.steps import Inpainting, Work, inpaint
from sumi.systems import Examples, Method, Wish
from sumi.systems.cascade import captioned, larger, smaller, streams, thumbnails, wished
from sumi.systems.ddpm import ddim, improved_ddpm
from sumi.systems.design import Design, DesignLesson, signals
from sumi.systems.guidance import log_caption
from sumi.systems.inpainting import check_hole, mask_out, random_masks
from sumi.systems.objectives import to_picture
from sumi.training import Batch

__all__ = ["GLIDE", "Glide", "NoisedPairs"]

SHARPNESS = 20.0


@dataclass(frozen=True)
class NoisedPairs:
    """CLIP's loss on noisy pictures, one value an example: which caption of the batch is its own, and whose is it."""

    schedule: Schedule

    def __call__(self, network: Any, x: Tensor, cond: Any, rng: Rng) -> Tensor:
        """The loss of a `NoisedCLIP` on x (B, C, H, W) with ids in cond.tokens, shape (B,)."""
        t = UniformTimes()(len(x), rng).to(x)
        z_i = network(self.schedule(t).add_noise(x, normal(x, rng)), t, Cond())
        logits, pairs = SHARPNESS * network.encode_text(cond.tokens) @ z_i.T, torch.arange(len(x), device=x.device)
        own, whose = (F.cross_entropy(table, pairs, reduction="none") for table in (logits, logits.T))
        return (own + whose) / 2


@dataclass(frozen=True)
class Glide(Method):
    """scale: of guidance; hole_scale where a hole is filled. drop: the share of captions silenced in training."""

    guided_by: str = "free"
    scale: float = 3.0
    hole_scale: float = 5.0
    drop: float = 0.2
    tokenizer: WordTokenizer = WordTokenizer((), context=48)  # noqa: RUF009 - it is never changed
    base: Design = improved_ddpm()  # noqa: RUF009
    upsampler: Design = ddim(27)  # noqa: RUF009
    shares: ClassVar[Mapping[str, float]] = {"base": 5.0, "inpaint": 1.0, "upsampler": 4.0}  # of the time there is
    not_drawing: ClassVar[tuple[str, ...]] = ("inpaint",)
    """Stages that `draw` does not use."""

    def __post_init__(self) -> None:
        if self.guided_by not in ("free", "clip"):
            raise SumiError(f"glide is guided by 'free' or 'clip', not {self.guided_by!r}")

    @property
    def reads_with(self) -> WordTokenizer:
        """The tokenizer of its captions."""
        return self.tokenizer

    @property
    def stages(self) -> tuple[str, ...]:
        """What draws, and what guides if that is another."""
        return ("base", "inpaint", "upsampler", *(["clip"] if self.guided_by == "clip" else []))

    def network(self, stage: str, parts: Mapping[str, Any]) -> nn.Module:
        """A fresh network; the one for holes begins as the base."""
        if stage == "inpaint":
            return parts["base"].widened(concat_channels=5)  # type: ignore[no-any-return]
        text = {"vocabulary_size": self.tokenizer.size, "context": self.tokenizer.context}
        text |= {"width": 96, "depth": 2, "heads": 3}
        if stage == "clip":
            return NoisedCLIP(64, 4, [32, 64], text)
        sizes = {"channels": [32, 64], "blocks": [1, 1], "attention": [False, True], "head_width": 32, "middle": 1}
        ends = {"out_channels": 8} if stage == "base" else {"out_channels": 4, "concat_channels": 4, "patch": 2}
        return TextUNet(text, {"in_channels": 4, **sizes, **ends})

    @property
    def num_steps(self) -> int:
        """Steps of a stage."""
        return self.base.num_steps

    def lesson(self, stage: str, examples: Examples, parts: Mapping[str, nn.Module]) -> DesignLesson:
        """The base learns from small pictures, so do its copy for holes and CLIP; the upsampler from both sizes."""
        ids = self.tokenizer.encode(captioned("glide", examples))
        x0 = examples.pictures if stage == "upsampler" else thumbnails(examples)

        def cond(batch: Batch) -> Cond:
            text = Cond(tokens=ids[batch.indices].to(batch.rng.device))
            if stage == "clip":
                return text
            text = drop_condition(text, self.drop, batch.rng)
            if stage == "base":
                return text
            x = signals(x0, batch.indices, batch.rng.device)
            if stage == "upsampler":
                return replace(text, concat=larger(smaller(x)))
            return replace(text, concat=mask_out(x, random_masks(len(x), x.shape[-1], batch.rng)))

        design = self.upsampler if stage == "upsampler" else self.base
        design = replace(design, loss=NoisedPairs(design.schedule)) if stage == "clip" else design
        return DesignLesson(f"glide-{stage}", parts.get(stage) or self.network(stage, parts), design, x0, cond)

    def told(self, parts: Mapping[str, Any], captions: Sequence[str], concat: Tensor | None = None) -> Cond:
        """Captions as ids, and as what CLIP makes of them if it guides."""
        ids = self.tokenizer.encode(captions)
        return Cond(parts["clip"].encode_text(ids) if self.guided_by == "clip" else None, ids, concat=concat)

    def denoiser(self, parts: Mapping[str, Any], cond: Cond, stage: str = "base") -> Denoiser[Cond]:
        """The guided estimate at the small size, by the base or by its copy for holes."""
        denoise, scale = self.base.denoiser(parts[stage]), self.scale if stage == "base" else self.hole_scale
        if self.guided_by == "clip":
            return classifier_guide(denoise, log_caption(parts["clip"], SHARPNESS), self.base.schedule, scale)
        return guide(denoise, replace(cond.null(), concat=cond.concat), scale)

    @torch.no_grad()
    def draw(self, parts: Mapping[str, nn.Module], wish: Wish) -> Work[Tensor]:
        """Draw pictures of the captions, uint8 (B, 4, S, S)."""
        cond = self.told(parts, wished("glide", wish))
        shape = (4, wish.size_px // 2, wish.size_px // 2)
        denoise = threshold(self.denoiser(parts, cond))
        low = yield from self.base.sample(denoise, shape, wish.seeds, cond, wish.num_steps, "base")
        large = yield from self.enlarged(self.upsampler.denoiser(parts["upsampler"]), low, cond, wish)
        return to_picture(large)

    @torch.no_grad()
    def fill(self, parts: Mapping[str, nn.Module], wish: Wish, picture: Tensor, redraw: Tensor) -> Work[Tensor]:
        """Redraw a picture (4, S, S), once for each seed, where redraw (S, S) is True; the rest stays to the bit."""
        captions = wished("glide", wish)
        check_hole(picture, redraw, wish.size_px)
        x, mask = signals(picture[None], torch.arange(1)), redraw[None, None].float()
        low, hole = smaller(x), F.max_pool2d(mask, 2)  # what is known in part is drawn
        cond = self.told(parts, captions, mask_out(low, 1 - hole).expand(len(captions), -1, -1, -1))
        denoise = inpaint(threshold(self.denoiser(parts, cond, "inpaint")), Inpainting(low, 1 - hole))
        drawn = yield from self.base.sample(denoise, low.shape[1:], wish.seeds, cond, wish.num_steps, "inpaint")
        denoise = inpaint(self.upsampler.denoiser(parts["upsampler"]), Inpainting(x, 1 - mask))
        return torch.where(redraw, to_picture((yield from self.enlarged(denoise, drawn, cond, wish))), picture)

    def enlarged(self, denoise: Denoiser[Cond], low: Tensor, cond: Cond, wish: Wish) -> Work[Tensor]:
        """Draw the larger picture (B, 4, S, S) of a smaller one."""
        cond, shape = replace(cond, concat=larger(low.clamp(-1, 1))), (4, wish.size_px, wish.size_px)
        seeds = streams(wish.seeds, "upsampler")
        return (yield from self.upsampler.sample(threshold(denoise), shape, seeds, cond, wish.num_steps, "upsampler"))


GLIDE = Glide()

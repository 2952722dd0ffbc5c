"""GLIDE: text-conditional diffusion with a text transformer trained along with it, an upsampler, and inpainting.

Nichol et al. 2021, GLIDE: Towards Photorealistic Image Generation and Editing with Text-Guided Diffusion Models,
arXiv 2112.10741.

    mean = mean(x_t | nothing) + scale (mean(x_t | caption) - mean(x_t | nothing))            (classifier-free guidance)
    mean = mean(x_t | caption) + scale (sigma^2 / alpha) grad z_i(x_t) . z_t                         (CLIP guidance)
    p(x | caption) = p(x | low, caption) p(low | caption)                                              (an upsampler)

`inpaint` is the base fine-tuned with more input channels, zero at first: the picture with a hole in it, and the mask of
what is kept. `guided_by` is "free", or "clip", which adds a stage. Known deviations: RGBA; small, and a side is doubled
where the paper quadruples it; captions are tokenized by words and bytes, and dropped from the start; the estimate is
clamped while sampling, as in their code; holes are rectangles; the upsampler learns no variance, and keeps the known
part by `Inpainting`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sumi.conditioning import NoisedCLIP, WordTokenizer
from sumi.diffusion import Rng, Schedule, UniformTimes, classifier_guide, normal
from sumi.errors import SumiError
from sumi.nn import Cond, TextUNet, drop_condition
from sumi.pipelines import Stage, run
from sumi.pipelines.steps import Inpainting, Threshold, Work
from sumi.systems import Examples, Method
from sumi.systems.cascade import captioned, drawable_captions, larger, sized, smaller, thumbnails
from sumi.systems.ddpm import ddim, improved_ddpm
from sumi.systems.diffusion_spec import DiffusionObjective, DiffusionSpec, signals
from sumi.systems.guidance import log_caption
from sumi.systems.inpainting import check_hole, mask_out, random_masks
from sumi.systems.objectives import to_picture
from sumi.systems.pipeline import Pipeline, SampleRequest
from sumi.training import Batch

__all__ = ["GLIDE", "Glide", "NoisedPairs"]

SHARPNESS = 20.0


@dataclass(frozen=True)
class NoisedPairs:
    """CLIP's loss on noisy pictures, one value an example: picture to caption and caption to picture."""

    schedule: Schedule

    def __call__(self, network: Any, x: Tensor, cond: Any, rng: Rng) -> Tensor:
        """Return the loss of a `NoisedCLIP` on x (B, C, H, W) with ids in cond.tokens, shape (B,)."""
        t = UniformTimes()(len(x), rng).to(x)
        z_i = network(self.schedule(t).add_noise(x, normal(x, rng)), t, Cond())
        logits, pairs = SHARPNESS * network.encode_text(cond.tokens) @ z_i.T, torch.arange(len(x), device=x.device)
        own, whose = (F.cross_entropy(table, pairs, reduction="none") for table in (logits, logits.T))
        return (own + whose) / 2


@dataclass(frozen=True)
class Glide(Method):
    """scale: of guidance; hole_scale: where a hole is filled. drop: the share of captions dropped in training."""

    guided_by: str = "free"
    scale: float = 3.0
    hole_scale: float = 5.0
    drop: float = 0.2
    tokenizer: WordTokenizer = WordTokenizer((), context=48)  # noqa: RUF009 - it is never changed
    base: DiffusionSpec = improved_ddpm()  # noqa: RUF009
    upsampler: DiffusionSpec = ddim(27)  # noqa: RUF009
    shares: ClassVar[Mapping[str, float]] = {"base": 5.0, "inpaint": 1.0, "upsampler": 4.0}  # of the time there is
    not_drawing: ClassVar[tuple[str, ...]] = ("inpaint",)

    def __post_init__(self) -> None:
        if self.guided_by not in ("free", "clip"):
            raise SumiError(f"glide is guided by 'free' or 'clip', not {self.guided_by!r}")

    @property
    def stages(self) -> tuple[str, ...]:
        """The networks that draw, and the CLIP that guides if one does."""
        return ("base", "inpaint", "upsampler", *(["clip"] if self.guided_by == "clip" else []))

    def network(self, stage: str, parts: Mapping[str, Any]) -> nn.Module:
        """Return a fresh network; the one for holes starts from the weights of the base."""
        if stage == "inpaint":
            return parts["base"].widened(concat_channels=5)  # type: ignore[no-any-return]
        text = {"vocabulary_size": self.tokenizer.size, "context": self.tokenizer.context}
        text |= {"width": 96, "depth": 2, "heads": 3}
        if stage == "clip":
            return NoisedCLIP(64, 4, [32, 64], text)
        sizes = {"channels": [32, 64], "blocks": [1, 1], "attention": [False, True], "head_width": 32, "middle": 1}
        ends = {"out_channels": 8} if stage == "base" else {"out_channels": 4, "concat_channels": 4, "patch": 2}
        return TextUNet(text, {"in_channels": 4, **sizes, **ends})

    def diffusion(self) -> DiffusionSpec:
        """Return the base."""
        return self.base

    def caption_tokenizer(self) -> WordTokenizer:
        """Return the tokenizer of its captions."""
        return self.tokenizer

    def objective(self, stage: str, examples: Examples, parts: Mapping[str, nn.Module]) -> DiffusionObjective:
        """Train the base, its copy for holes and CLIP on small pictures, and the upsampler on both sizes."""
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

        spec = self.upsampler if stage == "upsampler" else self.base
        spec = replace(spec, loss=NoisedPairs(spec.schedule)) if stage == "clip" else spec
        return DiffusionObjective(f"glide-{stage}", parts.get(stage) or self.network(stage, parts), spec, x0, cond)

    def stage(self, parts: Mapping[str, Any], name: str = "base") -> Stage:
        """Return the base, its copy for holes ("inpaint") or the upsampler as a stage; the first two are guided."""
        if name == "upsampler":
            return self.upsampler.stage(self.upsampler.denoiser(parts[name]), name=name, threshold=Threshold())
        scale = self.scale if name == "base" else self.hole_scale
        denoise = self.base.denoiser(parts[name])
        if self.guided_by == "free":
            return self.base.stage(denoise, name=name, threshold=Threshold(), guidance=scale)
        denoise = classifier_guide(denoise, log_caption(parts["clip"], SHARPNESS), self.base.schedule, scale)
        return self.base.stage(denoise, name=name, threshold=Threshold())

    def cond(self, parts: Mapping[str, Any], captions: Sequence[str], concat: Tensor | None = None) -> Cond:
        """Return captions as ids, and as what CLIP makes of them if it guides."""
        ids = self.tokenizer.encode(captions)
        return Cond(parts["clip"].encode_text(ids) if self.guided_by == "clip" else None, ids, concat=concat)

    def pipeline(self, parts: Mapping[str, nn.Module]) -> GlidePipeline:
        """Draw pictures of captions, small and then at twice the side."""
        inpaint = self.stage(parts, "inpaint") if "inpaint" in parts else None
        return GlidePipeline(self.stage(parts), self.stage(parts, "upsampler"), partial(self.cond, parts), inpaint)


@dataclass(frozen=True)
class GlidePipeline(Pipeline):
    """The stages of GLIDE. cond: captions, and what the network is shown besides, to a condition."""

    base: Stage
    upsampler: Stage
    cond: Callable[..., Cond]
    inpaint: Stage | None = None

    def sample(self, request: SampleRequest) -> Work[Tensor]:
        """Draw pictures of the captions."""
        cond = self.cond(drawable_captions("glide", request))
        base = sized(self.base, request.size_px // 2, request.num_steps)
        low = yield from run(base, cond, request.seeds, stream="")
        return to_picture((yield from self.enlarge(low, cond, request)))

    def fill(self, request: SampleRequest, picture: Tensor, redraw: Tensor) -> Work[Tensor]:
        """Redraw a picture (4, S, S), once for each seed, where redraw (S, S) is True; the rest stays to the bit."""
        if self.inpaint is None:
            raise SumiError("this glide model has no network that fills holes")
        captions = drawable_captions("glide", request)
        check_hole(picture, redraw, request.size_px)
        x, hole = signals(picture[None], torch.arange(1)), redraw[None, None].float()
        low, keep = smaller(x), 1 - F.max_pool2d(hole, 2)  # what is known in part is drawn
        cond = self.cond(captions, mask_out(low, keep).expand(len(captions), -1, -1, -1))
        stage = sized(self.inpaint, request.size_px // 2, request.num_steps)
        stage, null = replace(stage, inpainting=Inpainting(low, keep)), replace(cond.null(), concat=cond.concat)
        drawn = yield from run(stage, cond, request.seeds, null, stream="")
        large = yield from self.enlarge(drawn, cond, request, Inpainting(x, 1 - hole))
        return torch.where(redraw, to_picture(large), picture)

    def enlarge(self, low: Tensor, cond: Cond, request: SampleRequest, known: Inpainting | None = None) -> Work[Tensor]:
        """Draw the larger picture (B, 4, S, S) of a smaller one; known: what stays of the larger."""
        stage = replace(sized(self.upsampler, request.size_px, request.num_steps), inpainting=known)
        return (yield from run(stage, replace(cond, concat=larger(low.clamp(-1, 1))), request.seeds))


GLIDE = Glide()

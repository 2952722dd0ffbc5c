"""From trained parts to a model that draws: the parameterization, the condition and the settings of each network.

    read -> z_t -> prior -> z_i -> decoder_condition(z_i, z_t, tokens) -> decoder -> upsamplers

A bundle has a CLIP, either prior or both, a decoder, at most two upsamplers, perhaps a codec and the principal axes of
z_i. Known deviations of the sticker model: pictures are RGBA with premultiplied alpha, so backgrounds may be
transparent; its decoder draws in the latents of a codec (Rombach et al. 2022) rather than in pixels; decoder and
upsampler follow a straight path (flow matching) where the paper has a cosine chain; and the upsampler is a regressor,
which ignores the noise and needs one step (decision 17); the shipped weights have a diffusion upsampler still.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor, nn

from sumi.autoregressive import PrincipalAxes
from sumi.bundles import Adapter, Bundle, open_adapter
from sumi.codecs import Codec, Pixels
from sumi.conditioning import CLIP, Lexicon, WordTokenizer
from sumi.diffusion import (
    BetaSchedule,
    FlowPrediction,
    FlowSchedule,
    NetworkDenoiser,
    Schedule,
    Target,
    VPrediction,
    X0Prediction,
    uniform_times,
)
from sumi.errors import SumiError
from sumi.imaging.pixels import resize
from sumi.layout import SceneReader
from sumi.nn import ARPriorNetwork, Cond, EmbeddingDenoiser, LayoutPlannerNetwork
from sumi.pipelines import DiffusionPrior, EncodedText, Model, Prior, Settings, Stage, TokenPrior, UnCLIPPipeline
from sumi.pipelines.adapters import parse_adapters
from sumi.systems.unclip.adapted import AdaptedPipeline, Extended, StandInPlanner, merge_adapters
from sumi.systems.unclip.artist import Sumi
from sumi.systems.unclip.layout import LayoutPlanner

__all__ = [
    "ASKED",
    "SETTINGS",
    "SMALL",
    "artist",
    "assemble",
    "decoder_condition",
    "extended_artist",
    "parameterization",
    "stage_settings",
]

MOST_ADAPTED = 4
"""Sets of adapters whose merged networks are kept in memory."""

TARGETS: Mapping[str, Target] = {"x0": X0Prediction(), "v": VPrediction(), "velocity": FlowPrediction()}
SCHEDULES: Mapping[str, Callable[[], Schedule]] = {
    "cosine": BetaSchedule.cosine,
    "linear": BetaSchedule.linear,
    "flow": FlowSchedule,
}

#: The target and the schedule of each diffusion model, by the names that a bundle keeps.
ASKED: Mapping[str, tuple[str, str]] = {
    "prior": ("x0", "cosine"),
    "decoder": ("velocity", "flow"),
    "upsampler": ("x0", "flow"),
}

#: How each stage is run by default.
SETTINGS: Mapping[str, Any] = {
    "prior": {"sampler": "dpmpp-2m", "steps": 16, "guidance": 2.0},
    "decoder": {"sampler": "dpmpp-2m", "steps": 20, "guidance": 4.0, "interval": [0.3, 1.0]},
    "upsampler": {"sampler": "ddim", "steps": 1},
    "asked": ASKED,
    "growth": 4,
}

#: The same for the small unCLIP that is trained on pictures of one size, whose last upsampler ends at CLIP's size.
SMALL: Mapping[str, Any] = {
    "prior": {"sampler": "dpmpp-2m", "steps": 16, "guidance": 2.0},
    "ar_prior": {"guidance": 1.5},
    "decoder": {"sampler": "dpmpp-2m", "steps": 20, "guidance": 3.0},
    "upsampler": {"sampler": "ddim", "steps": 27},
    "upsampler2": {"sampler": "ddim", "steps": 15},
    "asked": {
        "prior": ("x0", "cosine"),
        "decoder": ("x0", "cosine"),
        "upsampler": ("x0", "cosine"),
        "upsampler2": ("x0", "linear"),
    },
    "growth": 2,
    "enlarged_to_clip": True,
}


def parameterization(names: Sequence[str]) -> tuple[Target, Schedule]:
    """Return the target and the schedule of those names; SumiError for others."""
    target, schedule = names
    if target not in TARGETS or schedule not in SCHEDULES:
        known = f"{', '.join(TARGETS)} and {', '.join(SCHEDULES)}"
        raise SumiError(f"there is no target {target!r} on a schedule {schedule!r}: known are {known}")
    return TARGETS[target], SCHEDULES[schedule]()


def decoder_condition(text: EncodedText, z_i: Tensor) -> Cond:
    """Return the decoder's condition: both embeddings and CLIP's token features; zeros for an empty text."""
    speaks = (text.ids != 0).any(dim=1, keepdim=True)
    return Cond(torch.cat([z_i, text.z_t * speaks], dim=1), text.hidden * speaks[:, :, None])


def assemble(bundle: Bundle, tokenizer: WordTokenizer | None = None) -> Sumi:
    """Put the parts of a bundle together (SumiError). Its settings say how each stage is parameterized and run.

    tokenizer: of a bundle that keeps none.
    """
    parts = {name: bundle.part(name) for name in bundle.parts}
    reader = tokenizer or bundle.tokenizer()
    merged = lru_cache(maxsize=MOST_ADAPTED)(partial(_adapted, bundle, reader))

    def adapt(adapters: str) -> Sumi:
        chosen = [(open_adapter(choice.name), choice.weight) for choice in parse_adapters(adapters)]
        return merged(adapters, tuple(AdapterKey(adapter, weight) for adapter, weight in chosen))

    model = Model(bundle.name, bundle.hashes, bundle.rights_summary)
    return replace(
        understanding(artist(parts, stage_settings(bundle), reader, model), Lexicon.of_record(bundle.vocabulary)),
        drawings=lambda: bundle.drawings,
        adapt=adapt,
        folder=bundle.folder,
    )


@dataclass(frozen=True)
class AdapterKey:
    """An opened adapter and its weight, compared by content."""

    adapter: Adapter = field(compare=False)
    weight: float
    sha256: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha256", self.adapter.sha256)


def _adapted(bundle: Bundle, tokenizer: WordTokenizer, adapters: str, chosen: tuple[AdapterKey, ...]) -> Sumi:
    """Return the model of a bundle with adapters merged into copies of its networks."""
    made = merge_adapters(bundle, tokenizer, [(one.adapter, one.weight) for one in chosen])
    hashes = {**bundle.hashes, **{f"adapter {one.adapter.path.stem}": one.sha256 for one in chosen}}
    records = [one.adapter.record for one in chosen]
    own = [f"{len(record.pictures)} pictures of {record.concept!r} in the adapter {record.name}" for record in records]
    model = Model(bundle.name, hashes, "; ".join(filter(None, [bundle.rights_summary, *own])))
    drawing = extended_artist(bundle, made, tokenizer, model)
    plain = artist(
        {name: bundle.part(name) for name in bundle.parts}, stage_settings(bundle), tokenizer, model
    ).pipeline
    stages = [plain.decoder, *(prior.stage for prior in plain.priors.values() if isinstance(prior, DiffusionPrior))]
    gated = AdaptedPipeline(
        **vars(drawing.pipeline), plain={stage.name: stage.denoiser for stage in stages}, first_new=tokenizer.size
    )
    return replace(drawing, pipeline=gated, adapters=adapters)


def extended_artist(bundle: Bundle, made: Extended, tokenizer: WordTokenizer, model: Model) -> Sumi:
    """Put together a model with new words. tokenizer: the one without them, which its layout planner reads with."""
    drawing = artist(made.parts, stage_settings(bundle), made.tokenizer, model)
    layout_planner = made.parts.get("layout_planner")
    if isinstance(layout_planner, LayoutPlannerNetwork):
        planner = LayoutPlanner(layout_planner, tokenizer)
        planner_of_new = StandInPlanner(planner, made.clip, made.tokenizer, made.words, made.planned_as)
        drawing = replace(drawing, pipeline=replace(drawing.pipeline, arrange=planner_of_new))
    return replace(understanding(drawing, made.lexicon), drawings=lambda: bundle.drawings)


def understanding(drawing: Sumi, lexicon: Lexicon) -> Sumi:
    """Return a model that reads prompts by a lexicon."""
    scenes = SceneReader(lexicon) if lexicon.structured else None
    return replace(drawing, lexicon=lexicon, pipeline=replace(drawing.pipeline, scenes=scenes))


def stage_settings(bundle: Bundle) -> Mapping[str, Any]:
    """Return how the stages of a bundle are parameterized and run; a small unCLIP keeps only what differs."""
    return bundle.settings if "decoder" in bundle.settings else {**SMALL, **bundle.settings}


def artist(parts: Mapping[str, nn.Module], settings: Mapping[str, Any], tokenizer: WordTokenizer, model: Model) -> Sumi:
    """Put trained parts together.

    Args:
        parts: clip, prior or ar_prior or both, decoder, and perhaps codec, upsampler, upsampler2, layout_planner, pca.
        settings: as `SETTINGS`: of each stage; asked: the names of its target and schedule; growth: by how much each
            upsampler enlarges; enlarged_to_clip: whether CLIP sees what the last upsampler draws, and not the decoder;
            best_of: candidates for each picture, of which CLIP chooses one where a request does not say how many.
        tokenizer: reads prompts.
        model: whose weights they are.
    """
    clip, codec, axes = parts.get("clip"), parts.get("codec", Pixels()), parts.get("pca")
    planner = parts.get("layout_planner")
    if not (isinstance(clip, CLIP) and isinstance(codec, Codec) and "decoder" in parts):
        raise SumiError(f"{model.name} is no unCLIP model: it needs a CLIP and a decoder, and its codec must be one")
    growth = int(settings.get("growth", 4))
    upsamplers = [name for name in ("upsampler", "upsampler2") if name in parts]
    size_px = clip.size_px // growth ** len(upsamplers) if settings.get("enlarged_to_clip") else clip.size_px
    side = size_px // codec.factor

    def read(prompts: Sequence[str]) -> EncodedText:
        ids = tokenizer.encode(list(prompts))
        z_t, hidden = clip.encode_text(ids)
        return EncodedText(z_t, hidden, ids)

    def see(pictures: Tensor) -> Tensor:
        return clip.encode_image(resize(pictures, (clip.size_px, clip.size_px)))

    def stage(name: str, shape: tuple[int, ...], **more: Any) -> Stage:
        said, names = settings.get(name), settings.get("asked", {}).get(name)
        if said is None or names is None:
            raise SumiError(f"the model {model.name} does not say how its {name} is asked and run")
        target, schedule = parameterization(names)
        denoiser = NetworkDenoiser(parts[name], target, schedule)
        return Stage(name, denoiser, schedule, uniform_times, shape, Settings.from_json(said), **more)

    priors: dict[str, Prior] = {}
    if isinstance(prior := parts.get("prior"), EmbeddingDenoiser):
        priors["diffusion"] = DiffusionPrior(stage("prior", (clip.size,), decode=prior.denormalise))
    if isinstance(writer := parts.get("ar_prior"), ARPriorNetwork):
        how = {"sampler": "tokens", "steps": writer.length, **settings["ar_prior"]}
        priors["ar"] = TokenPrior(writer, Settings.from_json(how))
    if not priors:
        raise SumiError(f"{model.name} is no unCLIP model: it needs a prior, an ar_prior, or both")
    return Sumi(
        UnCLIPPipeline(
            read=read,
            see=see,
            priors=priors,
            decoder=stage("decoder", (codec.latent_channels, side, side), decode=codec.decode, encode=codec.encode),
            upsamplers=tuple(
                stage(name, (4, side_px, side_px))
                for name, side_px in zip(upsamplers, (growth * size_px, growth**2 * size_px), strict=False)
            ),
            size_px=size_px,
            model=model,
            decoder_cond=decoder_condition,
            best_of=int(settings.get("best_of", 1)),
            axes=axes if isinstance(axes, PrincipalAxes) else None,
            arrange=LayoutPlanner(planner, tokenizer) if isinstance(planner, LayoutPlannerNetwork) else None,
        ),
        reader=tokenizer,
        sharpness=float(clip.log_scale.exp()),
    )

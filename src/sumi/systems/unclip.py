"""unCLIP, the system of DALL-E 2: words -> z_t -> prior -> z_i -> decoder -> upsampler -> picture.

Ramesh et al. 2022, Hierarchical Text-Conditional Image Generation with CLIP Latents, arXiv 2204.06125.

    P(x | y) = P(x | z_i, y) P(z_i | y)                                                        (section 2)

The prior denoises z_i under the caption (section 2.2, predicting x directly), the decoder draws under z_i and the
caption (section 2.1), the upsampler enlarges. Known deviations: the pictures are RGBA with premultiplied alpha, so
backgrounds may be transparent; the decoder draws in the latents of a codec (Rombach et al. 2022) rather than in
pixels; decoder and upsampler follow a straight path (flow matching) where the paper has a cosine chain, and the
upsampler answers the clean picture, since its 4 x 4 patches leave no room to carry the noise through.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sumi.bundles import Bundle
from sumi.codecs import Codec
from sumi.conditioning import CLIP
from sumi.diffusion import X0, DiscreteBetas, Flow, NetworkDenoiser, Schedule, Target, Velocity, uniform_times
from sumi.errors import SumiError
from sumi.nn import Cond, PriorNetwork
from sumi.pipelines import Generate, Model, Settings, Stage, Sumi, Text

TARGETS: Mapping[str, Target] = {"x0": X0(), "velocity": Velocity()}
SCHEDULES: Mapping[str, Callable[[], Schedule]] = {"cosine": DiscreteBetas.cosine, "flow": Flow}

#: What each diffusion model is asked for, and on which schedule: names that its bundle keeps.
ASKED: Mapping[str, tuple[str, str]] = {
    "prior": ("x0", "cosine"),
    "decoder": ("velocity", "flow"),
    "upsampler": ("x0", "flow"),
}

#: How each stage is run when nobody says otherwise.
SETTINGS: Mapping[str, Any] = {
    "prior": {"sampler": "dpmpp-2m", "steps": 16, "guidance": 2.0},
    "decoder": {"sampler": "dpmpp-2m", "steps": 20, "guidance": 4.0, "interval": [0.3, 1.0]},
    "upsampler": {"sampler": "dpmpp-2m", "steps": 4, "guidance": 1.0},
    "asked": ASKED,
}


def asked(names: Sequence[str]) -> tuple[Target, Schedule]:
    """The target and the schedule of those names; SumiError for others."""
    target, schedule = names
    if target not in TARGETS or schedule not in SCHEDULES:
        known = f"{', '.join(TARGETS)} and {', '.join(SCHEDULES)}"
        raise SumiError(f"there is no target {target!r} on a schedule {schedule!r}: known are {known}")
    return TARGETS[target], SCHEDULES[schedule]()


def told(text: Text, z_i: Tensor) -> Cond:
    """What a decoder is told: both embeddings, and the words; an empty text says nothing."""
    speaks = (text.ids != 0).any(dim=1, keepdim=True)
    return Cond(torch.cat([z_i, text.z_t * speaks], dim=1), text.ids)


def assemble(bundle: Bundle) -> Sumi:
    """Make a model that draws from its bundle."""
    clip, codec, prior = bundle.part("clip"), bundle.part("codec"), bundle.part("prior")
    tokenizer = bundle.tokenizer()
    if not (isinstance(clip, CLIP) and isinstance(codec, Codec) and isinstance(prior, PriorNetwork)):
        raise SumiError(f"{bundle.folder} is no unCLIP model: it needs a CLIP, a codec and a PriorNetwork")
    size_px, latent = clip.size_px, codec.latent_channels
    side = size_px // codec.factor

    def read(prompts: Sequence[str]) -> Text:
        ids = tokenizer.encode(list(prompts))
        z_t, hidden = clip.encode_text(ids)
        return Text(z_t, hidden, ids)

    def stage(name: str, shape: tuple[int, ...], **more: Any) -> Stage:
        said, names = bundle.settings.get(name), bundle.settings.get("asked", {}).get(name)
        if said is None or names is None:
            raise SumiError(f"{bundle.folder}: model_index.json does not say how its {name} is asked and run")
        target, schedule = asked(names)
        denoiser, settings = NetworkDenoiser(bundle.part(name), target, schedule), Settings.from_json(said)
        return Stage(name, denoiser, schedule, uniform_times, shape, settings, **more)

    return Sumi(
        Generate(
            read=read,
            see=clip.encode_image,
            prior=stage("prior", (clip.size,), decode=prior.denormalise),
            decoder=stage("decoder", (latent, side, side), decode=codec.decode, encode=codec.encode),
            upsampler=stage("upsampler", (4, 4 * size_px, 4 * size_px)) if "upsampler" in bundle.parts else None,
            size_px=size_px,
            model=Model(bundle.name, bundle.hashes),
            decoder_cond=told,
        ),
        reader=tokenizer,
        sharpness=float(clip.log_scale.exp()),
    )

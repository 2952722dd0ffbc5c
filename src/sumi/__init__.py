"""Sumi: words in, pictures out, drawn on your own machine by CLIP, a prior, a decoder and an upsampler.

>>> import sumi
>>> sumi.load().generate("a red fox").save("fox.png")  # doctest: +SKIP
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sumi.errors import SumiError

if TYPE_CHECKING:
    import torch

    from sumi.pipelines import (
        Artist,
        Blend,
        Edit,
        Event,
        Explanation,
        Explore,
        Img2img,
        Neighbor,
        Picture,
        Pictures,
        Progress,
        Recipe,
        Request,
        Restyle,
        Task,
        UnknownPromptError,
        Upscale,
        Vary,
        read_recipe,
    )
    from sumi.systems.unclip.artist import Sumi
    from sumi.trust import ContentPolicyError

__version__ = "0.1.0"
__all__ = [
    "Artist",
    "Blend",
    "ContentPolicyError",
    "Edit",
    "Event",
    "Explanation",
    "Explore",
    "Img2img",
    "Neighbor",
    "Picture",
    "Pictures",
    "Progress",
    "Recipe",
    "Request",
    "Restyle",
    "Sumi",
    "SumiError",
    "Task",
    "UnknownPromptError",
    "Upscale",
    "Vary",
    "__version__",
    "load",
    "read_recipe",
]

_HERE = ("SumiError", "__version__", "load")
_HOMES = {"ContentPolicyError": "sumi.trust", "Sumi": "sumi.systems.unclip.artist"}
"""Where the names are defined that do not come from `sumi.pipelines`."""


def load(
    model: str | Path | None = None,
    *,
    device: str | torch.device | None = None,
    dtype: str | None = None,
    loras: Sequence[str | Path | tuple[str | Path, float]] = (),
    tokenizer: str | Path | None = None,
    prior_model: str | Path | None = None,
    prediction: str | None = None,
    model_flags: str | None = None,
) -> Artist:
    """Open a model; no network is used.

    Args:
        model: its folder, or a file of published weights; by default $SUMI_MODEL, or the model that comes with the
            package.
        device: where its networks compute, such as "cuda" or "mps"; by default the CPU. A seed draws the same picture
            on every device, to rounding.
        dtype: of published weights, "fp32" (the default) or "bf16", where the device is fast in it.
        loras: LoRA files for Stable Diffusion, each perhaps with its weight: "style.safetensors", ("style.pt", 0.8).
        tokenizer: for a single file of Stable Diffusion or GLIDE, a folder that holds the tokenizer.
        prior_model: for Kandinsky's decoder, the folder of its prior, by default the one beside it; for karlo, a prior
            of DALLE2-pytorch in place of its own.
        prediction: for a single file of Stable Diffusion 2.x, epsilon (a base model of 512 px) or v_prediction (768).
        model_flags: for a file of guided-diffusion, the flags of its training: "--num_head_channels 64".

    Raises:
        SumiError: when there is no model or no such device, when the model is damaged, or when this version cannot run
            its kind.
    """
    from sumi.bundles import Bundle, default_bundle, is_published
    from sumi.bundles.device import usable_device
    from sumi.pipelines.torch_state import own_torch_state
    from sumi.systems import SYSTEMS

    chosen, path = usable_device(device), default_bundle() if model is None else Path(model)
    if is_published(path):
        from sumi.systems.published.artist import published_artist
        from sumi.systems.published.loading import read_lora, usable_dtype

        words, prior = (None if place is None else Path(place) for place in (tokenizer, prior_model))
        with own_torch_state():
            adapters = [read_lora(lora) for lora in loras]
            kind = usable_dtype(dtype, chosen)
            return published_artist(path, chosen, kind, adapters, words, prior, prediction, model_flags)
    given = {"dtype": dtype, "loras": loras, "tokenizer": tokenizer, "prior_model": prior_model}
    given |= {"prediction": prediction, "model_flags": model_flags}
    if foreign := [name for name, value in given.items() if value]:
        raise SumiError(f"{foreign[0]} is for weights that others published, and {path} is a model of Sumi's own")
    bundle = replace(Bundle.load(path), device=chosen)
    if bundle.system not in SYSTEMS:
        raise SumiError(f"{bundle.folder} is a model of the kind {bundle.system!r}, unknown to Sumi {__version__}")
    try:
        with own_torch_state():
            return SYSTEMS[bundle.system].method().artist(bundle)
    except SumiError as error:
        if str(bundle.folder) in str(error):
            raise
        raise SumiError(f"{bundle.folder}: {error}") from None


def __getattr__(name: str) -> Any:
    """Import a public name of a room when it is asked for."""
    if name in __all__ and name not in _HERE:
        module = _HOMES.get(name, "sumi.pipelines")
        return getattr(importlib.import_module(module), name)
    raise AttributeError(f"module 'sumi' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

"""How much a training run writes, product by product, known before any of it is made.

pools + features + checkpoints.   The atlas lies beside the artwork and checks for itself when it is built.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sumi.data.pool import scene_bytes
from sumi.systems.sticker.presets import CONTEXT, EMBEDDING, Preset

__all__ = ["disk_plan"]

HALF = 2
"""Bytes of a float16 and of an int16."""
CHECKPOINTS = 3 * 10**9
"""Bytes of all stages' checkpoints, about: weights, average and moments of some 30M parameters, three times each."""


def disk_plan(preset: Preset, accelerated: bool = False) -> Mapping[str, int]:
    """Return the bytes that a run of a preset writes, by product.

    accelerated: what CLIP makes of the words is sooner computed than read there, and is not kept.
    """
    captions = preset.num_scenes + preset.num_contrasts + 2 * preset.num_briefs
    return {
        "scenes": preset.num_scenes * scene_bytes([64]),
        "contrasts": preset.num_contrasts * scene_bytes([64]),
        "pairs": preset.num_pairs * scene_bytes([64, 256]),
        "captions": captions * CONTEXT * HALF,
        "latents": preset.num_scenes * _latents(preset.networks["codec"]) * HALF,
        "embeddings": preset.num_scenes * EMBEDDING * HALF,
        "tower": (preset.num_scenes + preset.num_contrasts) * EMBEDDING * HALF if "tower" in preset.plans else 0,
        "words": 0 if accelerated else preset.num_scenes * CONTEXT * preset.networks["clip"]["text"]["width"] * HALF,
        "checkpoints": CHECKPOINTS,
    }


def _latents(codec: Mapping[str, Any]) -> int:
    """How many numbers the codec makes of a picture of 64 px."""
    factor = int(codec["factor"] if "factor" in codec else codec["patch"] * 2 ** (len(codec["channels"]) - 1))
    side = 64 // factor
    return int(codec["latent_channels"]) * side * side

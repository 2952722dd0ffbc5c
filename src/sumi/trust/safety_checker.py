"""Stable Diffusion's safety checker, from a local folder: CLIP's vision tower and the embeddings of 20 concepts.

    flagged  =  cos(picture, concept) > the concept's own threshold,    all thresholds 0.01 lower
                where one of the 3 special-care concepts is found

The folder holds `config.json` and `model.safetensors`, as the repositories of Stable Diffusion have it under
`safety_checker`. Nothing is fetched. It needs transformers (the extra `language`). What the concepts are was never
published, and Rando et al. 2022 show how much it misses.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PIL import Image

from sumi.errors import SumiError
from sumi.trust.policy import Reason

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["VARIABLE", "SafetyChecker", "load_safety_checker"]

VARIABLE: Final = "SUMI_SAFETY_CHECKER"
MEAN: Final = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
DEVIATION: Final = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
SPECIAL_CARE_SHIFT: Final = 0.01
_BUFFERS: Final = ("concept_embeds", "concept_embeds_weights", "special_care_embeds", "special_care_embeds_weights")


@dataclass(frozen=True)
class SafetyChecker:
    """The checker: a vision tower, its projection, and the embeddings and thresholds of its concepts."""

    tower: nn.Module
    projection: Tensor
    concepts: dict[str, Tensor]
    size_px: int

    def check(self, image: Image.Image, side: str) -> Sequence[Reason]:
        """Return a reason where a concept is found."""
        import torch

        with torch.inference_mode():
            pooled = self.tower(pixel_values=self._pixels(image)).pooler_output
            embedding = torch.nn.functional.normalize(pooled @ self.projection.T, dim=-1)[0]
            special = self._margins(embedding, "special_care_embeds")
            shift = SPECIAL_CARE_SHIFT if bool((special > 0).any()) else 0.0
            margins = self._margins(embedding, "concept_embeds") + shift
        worst = float(margins.max())
        if not np.isfinite(worst):
            raise ValueError("the safety checker answered with no number")
        return [Reason("safety-checker", "sexual", "block", min(1.0, round(worst, 4)))] if worst > 0 else []

    def _margins(self, embedding: Tensor, name: str) -> Tensor:
        import torch

        concepts = torch.nn.functional.normalize(self.concepts[name], dim=-1)
        return concepts @ embedding - self.concepts[f"{name}_weights"]

    def _pixels(self, image: Image.Image) -> Tensor:
        import torch

        page = Image.new("RGBA", image.size, (255, 255, 255, 255))
        flat = Image.alpha_composite(page, image.convert("RGBA")).convert("RGB")
        levels = np.asarray(flat.resize((self.size_px, self.size_px), Image.Resampling.BICUBIC), np.float32) / 255
        return torch.from_numpy((levels - MEAN) / DEVIATION).permute(2, 0, 1)[None]


def load_safety_checker(folder: str | Path | None = None) -> SafetyChecker:
    """Return the checker of a folder, by default that of $SUMI_SAFETY_CHECKER.

    Raises:
        SumiError: the folder is none, is damaged or holds no safetensors, or transformers is not installed.
    """
    place = folder or os.environ.get(VARIABLE)
    if not place:
        raise SumiError(f"the policy names the safety checker: set {VARIABLE} to its folder")
    path = Path(place).expanduser()
    try:
        from transformers import CLIPVisionConfig, CLIPVisionModel
    except ModuleNotFoundError:
        raise SumiError('the safety checker needs transformers: pip install -e ".[language]"') from None
    from safetensors.torch import load_file

    if not (path / "model.safetensors").is_file() or not (path / "config.json").is_file():
        raise SumiError(f"{path} is no safety checker: it needs config.json and model.safetensors (no pickle is read)")
    try:
        config: Any = json.loads((path / "config.json").read_text("utf-8"))
        vision = CLIPVisionConfig(**config["vision_config"])
        tensors = {name: tensor.float() for name, tensor in load_file(path / "model.safetensors").items()}
        tower = CLIPVisionModel(vision)
        own = {name.removeprefix("vision_model."): tensor for name, tensor in tensors.items() if "." in name}
        expected = tower.state_dict()
        known = {name: own[name] for name in expected if name in own}
        missing = [name for name in expected if name not in own and not name.endswith("position_ids")]
        if missing:
            raise SumiError(f"{path}: the safety checker has no {missing[0]}")
        tower.load_state_dict(known, strict=False)
        concepts = {name: tensors[name] for name in _BUFFERS}
        tower.train(False)
        return SafetyChecker(tower, tensors["visual_projection.weight"], concepts, int(str(vision.image_size)))
    except (KeyError, TypeError, ValueError, RuntimeError, OSError) as error:
        raise SumiError(f"{path} is no safety checker: {type(error).__name__} at {str(error)[:80]}") from None

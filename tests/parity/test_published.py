"""The published configurations, full size, on the meta device: the same tensors by the same names, not one more."""

from __future__ import annotations

import importlib
from typing import Any

import pytest
import torch
from parity.reference import published_parts, shapes
from torch import nn

from sumi.nn import published

pytest.importorskip("diffusers")

PARTS = {f"{system}/{part}": config for system, part, config in published_parts()}

# How many parameters the publishers state, or their files hold.
PARAMETERS = {
    "stable-diffusion-v1-5/unet": 859_520_964,
    "stable-diffusion-v1-5/vae": 83_653_863,
    "stable-diffusion-v1-5/text_encoder": 123_060_480,
    "stable-diffusion-2-1/unet": 865_910_724,
    "stable-diffusion-2-1/text_encoder": 340_387_840,
    "stable-diffusion-2-1-unclip/image_encoder": 632_076_800,
    "stable-diffusion-xl-base-1.0/unet": 2_567_463_684,
    "stable-diffusion-xl-base-1.0/text_encoder_2": 694_659_840,
}


def theirs(config: dict[str, Any]) -> nn.Module:
    name, arguments = config["_class_name"], {k: v for k, v in config.items() if not k.startswith("_")}
    if not name.startswith("CLIP"):
        where = {
            "UnCLIPTextProjModel": "diffusers.pipelines.deprecated.unclip.text_proj",
            "StableUnCLIPImageNormalizer": "diffusers.pipelines.stable_diffusion.stable_unclip_image_normalizer",
        }
        return getattr(importlib.import_module(where.get(name, "diffusers")), name)(**arguments)  # type: ignore[no-any-return]
    transformers = importlib.import_module("transformers")
    kind = getattr(transformers, name)
    return kind(kind.config_class(**arguments))  # type: ignore[no-any-return]


@pytest.mark.parametrize("part", PARTS)
def test_published_network_has_the_reference_tensors(part: str) -> None:
    config = PARTS[part]
    with torch.device("meta"):
        network, reference = getattr(published, config["_class_name"])(**config), theirs(config)
    expected = shapes(reference)
    if config["_class_name"] == "CLIPTextModel":  # transformers 5 leaves the prefix of this one out
        expected = {f"text_model.{name}": shape for name, shape in expected.items()}
    assert shapes(network) == expected


@pytest.mark.parametrize("part", PARAMETERS)
def test_published_network_has_the_stated_number_of_parameters(part: str) -> None:
    with torch.device("meta"):
        network = getattr(published, PARTS[part]["_class_name"])(**PARTS[part])
    assert sum(weight.numel() for weight in network.parameters()) == PARAMETERS[part]

"""A whole model small enough to draw in milliseconds: every part of a real one, with random weights."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import postgresql
import pytest
import torch
from far_device import bring_back
from hypothesis import HealthCheck, settings
from PIL import Image
from torch import nn

from sumi.autoregressive import LayoutBox, PrincipalAxes
from sumi.bundles import Bundle, save_bundle, weight_hash
from sumi.codecs import Autoencoder
from sumi.conditioning import CLIP, WordTokenizer
from sumi.nn import DecoderNetwork, PriorNetwork, UNet
from sumi.pipelines import EncodedText
from sumi.pipelines.layered_image import Composition, LayerSpec
from sumi.systems.unclip import assemble
from sumi.systems.unclip.artist import Sumi

WORDS = ("a", "and", "blue", "car", "dog", "fox", "hat", "red", "the", "wearing")
BACKGROUND = ("on", "transparent", "background")
SIZE_PX, CONTEXT = 16, 12

os.environ["SUMI_SIGNING"] = tempfile.mkdtemp(prefix="sumi-signing-")  # tests never touch the user's certificate

settings.register_profile("no clock", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no clock")  # a slow machine is no fault of the code


def tiny_parts() -> tuple[dict[str, nn.Module], WordTokenizer]:
    """Random networks of the shapes that a real model has, far smaller."""
    torch.manual_seed(0)
    tokenizer = WordTokenizer(WORDS, CONTEXT)
    words = {"vocabulary_size": tokenizer.size, "context": CONTEXT, "width": 16, "depth": 1, "heads": 2}
    image = {"in_channels": 4, "size_px": SIZE_PX, "patch": 2, "channels": [16], "blocks": [1]}
    clip = CLIP(8, image | {"width": 16, "depth": 1, "heads": 2}, words)
    prior = PriorNetwork(size=8, token_width=16, context=CONTEXT, width=16, depth=1, heads=2)
    unet = {"channels": [16], "blocks": [1], "attention": [True], "head_width": 16, "middle": 1}
    parts = {
        "clip": clip,
        "prior": prior,
        "codec": Autoencoder(4, 2, [16], [1], [1]),
        "decoder": DecoderNetwork(2 * 8, 16, unet | {"in_channels": 2, "out_channels": 2}),
        "upsampler": UNet(4, 4, [16], [1], [False], patch=2, concat_channels=4, middle=1),
        "pca": PrincipalAxes.fit(torch.nn.functional.normalize(torch.randn(64, 8), dim=1), dims=5),
    }
    for part in parts.values():  # layers that start at zero would make every picture the same
        for weight in part.parameters():
            nn.init.normal_(weight, std=0.03) if weight.count_nonzero() == 0 else None
    return parts, tokenizer


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model's folder; copy it before damaging it."""
    parts, tokenizer = tiny_parts()
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_bundle(
        folder,
        system="unclip",
        parts=parts,
        tokenizer=tokenizer,
        vocabulary={
            "concepts": {"fox": ["fox"], "dog": ["dog", "puppy"]},
            "words": [*WORDS, "on", "transparent", "background"],
        },
        rights=[{"source": "drawn by hand", "version": "1", "licence": "CC0-1.0", "author": "A|B", "url": ""}],
        settings={
            "prior": {"sampler": "ddim", "steps": 3, "guidance": 1.5},
            "decoder": {"sampler": "dpmpp-2m", "steps": 4, "guidance": 2.0, "interval": [0.2, 0.9]},
            "upsampler": {"sampler": "ddpm", "steps": 2},
            "asked": dict.fromkeys(("prior", "decoder", "upsampler"), ("x0", "flow")),
            "growth": 2,
        },
        trained_on={"prior": {"clip": weight_hash(parts["clip"])}},
    )
    return folder


@pytest.fixture(scope="session")
def tiny_bundle(tiny_folder: Path) -> Bundle:
    """The tiny model, opened."""
    return Bundle.load(tiny_folder)


@pytest.fixture(scope="session")
def tiny(tiny_bundle: Bundle) -> Sumi:
    """The tiny model, ready to draw."""
    return assemble(tiny_bundle).batched(3)


PAIR = Composition(
    (LayerSpec("a red fox", (LayoutBox(0.25, 0.5, 0.5),)), LayerSpec("a blue dog", (LayoutBox(0.75, 0.5, 0.5),)))
)


@pytest.fixture(scope="session")
def arranging(tiny: Sumi) -> Sumi:
    """The tiny model with a layout planner that makes a pair of whatever has 'and' in it."""
    word = tiny.pipeline.read(["and"]).ids[0, 0]

    def arrange(text: EncodedText, seeds: Sequence[int]) -> list[Composition]:
        pairs = [bool((ids == word).any()) for ids in text.each(len(seeds)).ids]
        return [PAIR if pair else Composition((PAIR.layers[0],)) for pair in pairs]

    return replace(tiny, pipeline=replace(tiny.pipeline, arrange=arrange))


@pytest.fixture(scope="session")
def leaf() -> Image.Image:
    """A picture of the tiny model's own size: a gradient that fades out."""
    y, x = np.mgrid[:16, :16] * 16
    return Image.fromarray(np.stack([x, y, 255 - x, 255 - y], axis=-1).astype(np.uint8))


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """A real PostgreSQL, where its server is installed; `postgresql.empty` makes a database of it."""
    if postgresql.binaries() is None:
        pytest.skip(postgresql.ABSENT)
    with postgresql.server() as where:
        yield where


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How each tensor went between the CPU and `far_device.META`, from where it comes back with random numbers."""
    return bring_back(monkeypatch)

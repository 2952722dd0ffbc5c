"""Tiny text towers and tokenizers of random weights for whole pipelines, and when pictures are equal."""

from __future__ import annotations

import base64
import io
import json
import sys
from pathlib import Path
from typing import Any

import live_server
import numpy as np
import numpy.typing as npt
import torch
from parity.reference import randomised
from PIL import Image

import sumi

PX = 32
MERGES = [("r", "e"), ("re", "d</w>"), ("f", "o"), ("fo", "x</w>"), ("c", "a"), ("ca", "t</w>"), ("a", "n")]
CHAIN = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1}
PROMPT, NEGATIVE = "A red fox, and  a cat's 12 hats!", "blue"


def byte_signs() -> list[str]:
    """The sign that stands for each byte in CLIP's vocabulary: itself where it is printable, else one from 256 on."""
    own = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [chr(256 + number) for number in range(256 - len(own))]
    return [chr(byte) for byte in own] + others


def write_tokenizer(folder: Path) -> None:
    signs = byte_signs()
    tokens = [*signs, *(f"{sign}</w>" for sign in signs), *("".join(pair) for pair in MERGES)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps({token: number for number, token in enumerate(tokens)}), "utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *map(" ".join, MERGES)]) + "\n", "utf-8")


def tokenizer_of(folder: Path, **settings: Any) -> Any:
    """The tokenizer of transformers from tiny files that are written to a folder."""
    if not folder.exists():
        write_tokenizer(folder)
    return sys.modules["transformers"].CLIPTokenizer.from_pretrained(folder, model_max_length=77, **settings)


def text_config(tokenizer: Any, width: int, **more: Any) -> Any:
    """The configuration of a text tower of two layers."""
    end = len(tokenizer) - 1
    return sys.modules["transformers"].CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2,
        num_attention_heads=2, bos_token_id=end - 1, eos_token_id=end, pad_token_id=end, **more,
    )  # fmt: skip


def image_tower(width: int, size_px: int = 8) -> Any:
    """An image tower of one layer whose embeddings have a width."""
    transformers = sys.modules["transformers"]
    config = transformers.CLIPVisionConfig(
        hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, image_size=size_px,
        patch_size=4, projection_dim=width,
    )  # fmt: skip
    return transformers.CLIPVisionModelWithProjection(config).eval()


def image_processor(size_px: int = 8) -> Any:
    """What prepares pictures for an image tower."""
    transformers = sys.modules["transformers"]
    return transformers.CLIPImageProcessor(
        size={"shortest_edge": size_px}, crop_size={"height": size_px, "width": size_px}
    )


def quiet(pipeline: Any) -> Any:
    """The pipeline without its progress bar."""
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def seeded(seed: int) -> torch.Generator:
    """The generator that diffusers is given for a seed of Sumi's."""
    return torch.Generator().manual_seed(seed)


def striped(size_px: int, seed: int = 0) -> Image.Image:
    """A picture of random soft stripes."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 255, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(rows).resize((size_px, size_px), Image.Resampling.BICUBIC)


def assert_same_picture(image: Image.Image, theirs: npt.NDArray[np.float32]) -> None:
    """Ours is rounded to whole levels of 255, so half a level apart is equal."""
    ours = np.asarray(image.convert("RGB"), dtype=np.float32)
    assert ours.shape == theirs.shape and theirs.std() > 0.05
    apart = float(np.abs(ours - 255 * theirs).max())
    assert apart < 0.6, f"{apart:.2f} levels of 255 apart"


def stable_diffusion(root: Path) -> Any:
    """diffusers' pipeline of a tiny Stable Diffusion 1.x, saved as the folder tiny-sd."""
    from parity.test_autoencoder import KL
    from parity.test_unet import SD

    diffusers, transformers = sys.modules["diffusers"], sys.modules["transformers"]
    tokenizer = tokenizer_of(root / "words")
    torch.manual_seed(0)
    pipeline = diffusers.StableDiffusionPipeline(
        randomised(diffusers.AutoencoderKL(**KL | {"scaling_factor": 0.3})),
        transformers.CLIPTextModel(text_config(tokenizer, SD["cross_attention_dim"])).eval(), tokenizer,
        randomised(diffusers.UNet2DConditionModel(**SD | {"sample_size": PX // 4})),
        diffusers.PNDMScheduler(**CHAIN, skip_prk_steps=True, set_alpha_to_one=False),
        None, None, requires_safety_checker=False,
    )  # fmt: skip
    quiet(pipeline).save_pretrained(root / "tiny-sd")
    return pipeline


def assert_served(live: live_server.Live, artist: sumi.Artist, name: str) -> None:
    """Assert that a server of a model hands out the picture that Python draws, to the pixel."""
    with live.client() as http:
        assert http.get("/v1/models").json()["data"][0]["id"] == name
        reply = http.post("/v1/images/generations", json={"prompt": "a cat", "seed": 4, "steps": 2,
                                                          "response_format": "b64_json"})  # fmt: skip
        assert reply.status_code == 200, reply.text
        image = Image.open(io.BytesIO(base64.b64decode(reply.json()["data"][0]["b64_json"])))
    ours = artist.generate("a cat", seed=4, steps=2)[0].image
    assert np.array_equal(np.asarray(image.convert("RGB")), np.asarray(ours.convert("RGB")))

"""OpenAI's discrete VAE from its files answers what its authors' code answered (`originals.py`)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from parity.originals import picture, read_answers, write_dvae
from parity.reference import assert_equal
from PIL import Image

import sumi
from sumi import SumiError
from sumi.bundles.published import open_model
from sumi.cli import main
from sumi.codecs.dvae import map_pixels, unmap_pixels

_, ANSWERS = read_answers()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dvae(tmp_path_factory.mktemp("dvae"))


def photo() -> Image.Image:
    levels = ((picture(32)[0] + 1) * 127.5).round().to(torch.uint8)
    return Image.fromarray(levels.permute(1, 2, 0).numpy())


def pixels(picture: sumi.Picture) -> Any:
    return np.asarray(picture.image.convert("RGB")).astype(int)


@torch.no_grad()
def test_dvae_halves_answer_as_the_authors_code(folder: Path) -> None:
    parts = open_model(folder).parts
    logits = parts["encoder"].load()(map_pixels((picture(32) + 1) / 2))
    assert_equal(logits, ANSWERS["dvae/logits"])
    mu = parts["decoder"].load()(ANSWERS["dvae/tokens"])[:, :3]
    assert_equal(2 * unmap_pixels(torch.sigmoid(mu)) - 1, ANSWERS["dvae/picture"])


def test_dvae_reconstructs_a_picture_at_eta_0_and_draws_others_above(folder: Path) -> None:
    artist = sumi.load(folder)
    (same,) = artist.vary(photo(), eta=0, size=32)
    expected = ((ANSWERS["dvae/picture"][0] + 1) * 127.5).permute(1, 2, 0).numpy()
    assert np.mean(np.abs(pixels(same) - expected) <= 0.6) > 0.95, "tokens at the rounding of a level may differ"
    assert same.recipe.stages == {} and same.recipe.hashes.keys() == {"encoder", "decoder"}
    one, two = artist.vary(photo(), eta=1, size=32, n=2, seed=5)
    assert np.abs(pixels(one) - pixels(two)).max() > 2
    (again,) = (event for event in artist.replay(two.recipe) if isinstance(event, sumi.Picture))
    assert np.array_equal(pixels(again), pixels(two))


def test_dvae_draws_by_the_command_and_is_examined(folder: Path, tmp_path: Path) -> None:
    photo().save(tmp_path / "photo.png")
    out = tmp_path / "again.png"
    for command in (
        [
            "vary",
            str(tmp_path / "photo.png"),
            "-n",
            "1",
            "--eta",
            "0",
            "--size",
            "32",
            "--model",
            str(folder),
            "--out",
            str(out),
        ],
        ["doctor", str(folder)],
    ):
        with pytest.raises(SystemExit) as ended:
            main(command)
        assert ended.value.code == 0
    assert sumi.read_recipe(out)[0].size == (32, 32)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"size": 36}, "size should be a multiple of 8"), ({"steps": 9}, "takes no steps: it has no sampler, steps or")],
)
def test_dvae_refuses_what_it_cannot_do(settings: dict[str, Any], message: str, folder: Path) -> None:
    artist = sumi.load(folder)
    with pytest.raises(SumiError, match=message):
        artist.vary(photo(), **settings)
    with pytest.raises(SumiError, match="discrete VAE draws and cannot generate; it can vary"):
        artist.generate("a cat")

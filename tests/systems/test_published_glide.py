"""GLIDE from its original files does what the product does: generate, img2img, edit, replay, serve, refuse."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import live_server
import numpy as np
import pytest
import torch
from parity.originals import SIDE, write_glide
from parity.tiny_pipelines import assert_served
from PIL import Image

import sumi
from sumi import SumiError
from sumi.cli import main
from sumi.systems.published.gpt2_tokenizer import GPT2Tokenizer

pytest.importorskip("tokenizers")

FAST: dict[str, Any] = {"steps": 2, "seed": 4}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    names = ("base", "upsample", "base_inpaint", "upsample_inpaint")
    return write_glide(tmp_path_factory.mktemp("glide"), *names)


@pytest.fixture(scope="module")
def artist(folder: Path) -> sumi.Artist:
    return sumi.load(folder)


def pixels(picture: sumi.Picture) -> Any:
    return np.asarray(picture.image).astype(int)


def photo() -> Image.Image:
    shades = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    return Image.fromarray(shades)


def lower_half() -> Image.Image:
    shades = np.zeros((SIDE, SIDE), dtype=np.uint8)
    shades[SIDE // 2 :] = 255
    return Image.fromarray(shades)


def test_glide_draws_a_prompt_in_two_stages_and_again_from_its_recipe(artist: sumi.Artist) -> None:
    (drawn,) = artist.generate("a cat", **FAST)
    stages = drawn.recipe.stages
    assert (stages["base"].sampler, stages["base"].steps, stages["base"].guidance) == ("ddpm", 2, 3.0)
    assert (stages["upsampler"].sampler, stages["upsampler"].steps, stages["upsampler"].guidance) == ("ddim", 27, 1.0)
    assert drawn.recipe.hashes.keys() == {"base", "base_text_encoder", "upsampler", "upsampler_text_encoder"}
    (again,) = (event for event in artist.replay(drawn.recipe) if isinstance(event, sumi.Picture))
    assert np.array_equal(pixels(again), pixels(drawn))
    others = [artist.generate("a dog", **FAST)[0], artist.generate("a cat", negative="a dog", **FAST)[0],
              artist.generate("a cat", guidance=1, **FAST)[0]]  # fmt: skip
    assert all(np.abs(pixels(other) - pixels(drawn)).max() > 2 for other in others)


def test_glide_draws_a_seed_the_same_in_any_batch(artist: sumi.Artist) -> None:
    together = artist.generate("a cat", n=2, **FAST)
    alone = artist.generate("a cat", **FAST | {"seed": together[1].seed})[0]
    assert np.abs(pixels(together[1]) - pixels(alone)).max() <= 1


def test_glide_base_alone_draws_the_small_picture(tmp_path: Path) -> None:
    write_glide(tmp_path, "base")
    (drawn,) = sumi.load(tmp_path / "base.pt").generate("a cat", **FAST)
    assert drawn.recipe.stages.keys() == {"base"} and drawn.image.size == (SIDE, SIDE)


@pytest.mark.parametrize("name", ["base.pt", "base_inpaint.pt"])
def test_glide_edit_keeps_what_the_mask_leaves_out_to_the_bit(name: str, folder: Path) -> None:
    given = photo()
    (drawn,) = sumi.load(folder / name).edit(given, "a cat", mask=lower_half(), **FAST)
    old, new = np.asarray(given), np.asarray(drawn.image.convert("RGB"))
    assert np.array_equal(new[: SIDE // 2], old[: SIDE // 2])
    assert not np.array_equal(new[SIDE // 2 :], old[SIDE // 2 :])


def test_glide_for_inpainting_is_told_what_is_known(folder: Path) -> None:
    artist = sumi.load(folder / "base_inpaint.pt")
    one, other = (artist.edit(given, "a cat", mask=lower_half(), **FAST)[0] for given in (photo(), photo().rotate(90)))
    assert np.abs(pixels(one)[SIDE // 2 :] - pixels(other)[SIDE // 2 :]).max() > 2
    assert one.recipe.stages["base"].guidance == 5 and one.recipe.stages["upsampler"].sampler == "ddpm"


def test_glide_img2img_keeps_more_of_the_picture_the_weaker_it_is(folder: Path, tmp_path: Path) -> None:
    write_glide(tmp_path, "base")
    artist = sumi.load(tmp_path)
    weak, strong = (artist.img2img(photo(), "a cat", strength=strength, steps=10, seed=1)[0] for strength in (0.1, 1.0))
    old = np.asarray(photo()).astype(int)
    apart = [np.abs(pixels(picture)[..., :3] - old).mean() for picture in (weak, strong)]
    assert apart[0] < apart[1] - 10


def test_glide_is_served_and_drawn_by_the_command(artist: sumi.Artist, folder: Path, tmp_path: Path) -> None:
    with live_server.serving(artist, tmp_path / "served") as live:
        assert_served(live, artist, folder.name)
    out = tmp_path / "cat.png"
    words = tmp_path / "words"
    words.mkdir()
    for name in ("encoder.json", "vocab.bpe"):
        shutil.copy(folder / name, words / name)
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(folder / "base.pt", alone / "base.pt")
    command = ["generate", "a cat", "--model", str(alone / "base.pt"), "--tokenizer", str(words / "vocab.bpe")]
    with pytest.raises(SystemExit) as ended:
        main([*command, "--steps", "2", "--seed", "4", "--out", str(out)])
    assert ended.value.code == 0 and sumi.read_recipe(out)[1].stages["base"].steps == 2


# Words ---------------------------------------------------------------------------------------------------------------


def tokenizer(folder: Path, ending: str = "") -> GPT2Tokenizer:
    if ending:
        for name in ("encoder.json", "vocab.bpe"):
            (folder / f"{name}{ending}").write_bytes(gzip.compress((folder / name).read_bytes()))
            (folder / name).unlink()
    return GPT2Tokenizer.read(folder, 7, 60)


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_glide_words_are_lower_cased_merged_and_filled_up(ending: str, tmp_path: Path) -> None:
    words = tokenizer(write_glide(tmp_path), ending)
    ids, mask = words.encode(["A Cat", ""])
    # a, then a space with "ca", then t
    assert ids.tolist() == [[0, 28, 19, 59, 59, 59, 59], [59] * 7]
    assert mask.tolist() == [[True] * 3 + [False] * 4, [False] * 7]
    assert words.notes("a cat") == []
    assert words.notes("abcdefgh") == ["the prompt has 8 tokens, and the model reads the first 7"]
    assert words.encode(["abcdefgh"]).ids.tolist() == [[0, 1, 2, 3, 4, 5, 6]]


# What is refused -----------------------------------------------------------------------------------------------------


def without_tokenizer(folder: Path) -> Path:
    (write_glide(folder, "base") / "vocab.bpe").unlink()
    return folder


def with_words(folder: Path, words: str) -> Path:
    (write_glide(folder, "base") / "encoder.json").write_text(words, "utf-8")
    return folder


def twice(folder: Path) -> Path:
    shutil.copy(write_glide(folder, "base") / "base.pt", folder / "again.pt")
    return folder


def damaged_gz(folder: Path) -> Path:
    write_glide(folder, "base")
    (folder / "vocab.bpe").rename(folder / "vocab.bpe.gz")
    return folder


FEW_WORDS = json.dumps({token: number for number, token in enumerate(["c", "a", "ca", "\u0120", "\u0120ca"])})
REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "no tokenizer": (without_tokenizer, "holds no tokenizer, .* a folder with encoder.json and vocab.bpe of GLIDE"),
    "an upsampler alone": (lambda f: write_glide(f, "upsample"), "holds GLIDE's upsampler without its base"),
    "the other upsampler": (
        lambda f: write_glide(f, "base", "upsample_inpaint"),
        "base.pt in .* is not for inpainting, and upsample_inpaint.pt beside it is",
    ),
    "two bases": (twice, "holds GLIDE twice, in again.pt and base.pt"),
    "another tokenizer": (
        lambda f: with_words(f, FEW_WORDS),
        "has 5 tokens, and the text encoder reads 60",
    ),
    "a tokenizer that is no JSON": (lambda f: with_words(f, "hello"), "are no byte-pair encoding"),
    "a tokenizer that is a list": (lambda f: with_words(f, "[1]"), "are no byte-pair encoding"),
    "a tokenizer that is not compressed": (damaged_gz, "vocab.bpe.gz is damaged"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_glide_that_does_not_fit_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    write, message = REFUSED[name]
    with pytest.raises(SumiError, match=message) as caught:
        sumi.load(write(tmp_path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"sampler": "euler"}, "the samplers of the base are ddpm and ddim"), ({"size": 64}, "size should be 16")],
)
def test_glide_refuses_what_it_cannot_do(artist: sumi.Artist, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SumiError, match=message):
        artist.generate("a cat", **settings)
    with pytest.raises(SumiError, match="GLIDE draws and cannot vary; it can generate, img2img, edit"):
        artist.vary(photo())


def test_glide_tensors_are_named_where_they_do_not_fit(tmp_path: Path) -> None:
    write_glide(tmp_path, "base")
    state = torch.load(tmp_path / "base.pt", weights_only=True)
    state.pop("middle_block.1.proj_out.bias")
    state["novel"] = torch.zeros(2)
    state["final_ln.bias"] = torch.zeros(3)
    torch.save(state, tmp_path / "base.pt")
    with pytest.raises(SumiError) as caught:
        sumi.load(tmp_path)
    for fault in ("middle_block.1.proj_out.bias", "1 unused: novel", "final_ln.bias (3 instead of 128)"):
        assert fault in str(caught.value)

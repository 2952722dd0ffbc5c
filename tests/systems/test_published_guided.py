"""guided-diffusion from its original file does what the product does: draw, edit, replay, serve, refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import live_server
import numpy as np
import pytest
import torch
from live_server import file_of, opened
from parity.originals import SIDE, weights, write_guided
from parity.originals import read_answers as read_originals
from PIL import Image

import sumi
from sumi import SumiError
from sumi.cli import main

FAST: dict[str, Any] = {"steps": 2, "seed": 4}
FLAGS = {
    "legacy": "--num_head_channels 64",  # of ten classes
    "plain": "--num_heads 2 --noise_schedule cosine",  # without classes, and without a learned variance
}
PROMPTS = {"legacy": "7", "plain": "anything"}


@pytest.fixture(scope="module")
def artists(tmp_path_factory: pytest.TempPathFactory) -> dict[str, sumi.Artist]:
    made = {}
    for name, flags in FLAGS.items():
        folder = tmp_path_factory.mktemp(name)
        made[name] = sumi.load(write_guided(folder / f"{name}.pt", name), model_flags=flags)
    return made


def pixels(image: Image.Image) -> Any:
    return np.asarray(image.convert("RGB")).astype(int)


def photo(width: int = SIDE, height: int = SIDE) -> Image.Image:
    """A picture of soft shades, so that noise is seen in it."""
    shades = np.linspace(30, 220, width * height).reshape(height, width).astype(np.uint8)
    return Image.fromarray(np.stack([shades, shades.max() - shades, shades], axis=2))


def lower_half(image: Image.Image) -> Image.Image:
    shades = np.zeros((image.height, image.width), dtype=np.uint8)
    shades[image.height // 2 :] = 255
    return Image.fromarray(shades)


def redrawn(artist: sumi.Artist, drawn: sumi.Picture) -> Any:
    events = artist.replay(drawn.recipe, drawn.image)
    (again,) = (event for event in events if isinstance(event, sumi.Picture))
    return pixels(again.image)


# img2img -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
@pytest.mark.parametrize("name", FLAGS)
def test_guided_img2img_keeps_more_of_the_picture_the_weaker_it_is(
    name: str, sampler: str, artists: dict[str, sumi.Artist]
) -> None:
    artist = artists[name]
    settings: dict[str, Any] = {"steps": 10, "seed": 1, "sampler": sampler}
    weak, half, strong = (
        artist.img2img(photo(), PROMPTS[name], strength=strength, **settings)[0] for strength in (0.1, 0.5, 1.0)
    )
    apart = [np.abs(pixels(picture.image) - pixels(photo())).mean() for picture in (weak, half, strong)]
    assert apart[0] < 10 and min(apart[1:]) > apart[0] + 10
    assert np.array_equal(redrawn(artist, half), pixels(half.image))


def test_guided_img2img_draws_the_class_and_a_square_of_any_picture(artists: dict[str, sumi.Artist]) -> None:
    settings: dict[str, Any] = {"strength": 0.3, "steps": 10, "seed": 4}
    seven, three = (artists["legacy"].img2img(photo(40, 24), prompt, **settings)[0] for prompt in "73")
    assert seven.image.size == three.image.size == (SIDE, SIDE)
    assert np.abs(pixels(seven.image) - pixels(three.image)).max() > 2


# Edit ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
@pytest.mark.parametrize("size", [(SIDE, SIDE), (40, 24)], ids=["square", "wide"])
@pytest.mark.parametrize("name", FLAGS)
def test_guided_edit_keeps_what_the_mask_leaves_out_to_the_bit(
    name: str, size: tuple[int, int], sampler: str, artists: dict[str, sumi.Artist]
) -> None:
    artist, given = artists[name], photo(*size)
    (drawn,) = artist.edit(given, PROMPTS[name], mask=lower_half(given), sampler=sampler, **FAST)
    old, new, middle = pixels(given), pixels(drawn.image), given.height // 2
    assert new.shape == old.shape and np.array_equal(new[:middle], old[:middle])
    assert np.abs(new[middle:] - old[middle:]).mean() > 10
    assert np.array_equal(redrawn(artist, drawn), new)


def test_guided_edit_fits_what_it_draws_to_what_is_known(artists: dict[str, sumi.Artist]) -> None:
    """The network sees the known half at every step, so another picture around the hole changes what is drawn in it."""
    given, other = photo(), photo().transpose(Image.Transpose.ROTATE_180)
    mask = lower_half(given)
    one, two = (artists["legacy"].edit(image, "7", mask=mask, **FAST)[0] for image in (given, other))
    assert np.abs(pixels(one.image)[SIDE // 2 :] - pixels(two.image)[SIDE // 2 :]).max() > 2


def test_guided_edit_draws_the_class_and_each_seed_alike_in_any_batch(artists: dict[str, sumi.Artist]) -> None:
    artist, mask = artists["legacy"], lower_half(photo())
    together = artist.edit(photo(), "7", mask=mask, n=2, **FAST)
    alone = artist.edit(photo(), "7", mask=mask, **FAST | {"seed": together[1].seed})[0]
    other = artist.edit(photo(), "3", mask=mask, **FAST | {"seed": together[1].seed})[0]
    assert np.abs(pixels(together[1].image) - pixels(alone.image)).max() <= 1
    assert np.abs(pixels(other.image) - pixels(alone.image)).max() > 2


# Served --------------------------------------------------------------------------------------------------------------


def drawn_by(reply: httpx.Response) -> Any:
    assert reply.status_code == 200, reply.text
    return pixels(opened(reply.json()["data"][0]["b64_json"]))


def test_guided_is_served_as_openai_serves_pictures(artists: dict[str, sumi.Artist], tmp_path: Path) -> None:
    artist, given = artists["legacy"], photo(40, 24)
    fields = {"prompt": "7", "seed": 4, "steps": 2, "response_format": "b64_json"}
    clear = given.convert("RGBA")
    clear.putalpha(Image.fromarray(255 - np.asarray(lower_half(given))))  # OpenAI's mask: alpha 0 where to draw
    image, mask = (("a.png", file_of(picture), "image/png") for picture in (given, clear))
    with live_server.serving(artist, tmp_path) as live, live.client() as http:
        (model,) = http.get("/v1/models").json()["data"]
        assert (model["id"], model["operations"]) == ("legacy.pt", ["generate", "img2img", "edit"])
        generated = http.post("/v1/images/generations", json=fields)
        edited = http.post("/v1/images/edits", data=fields, files={"image": image, "mask": mask})
        img2img = http.post("/v1/images/edits", data=fields | {"strength": 0.5}, files={"image": image})
        varied = http.post("/v1/images/variations", data={"steps": 2}, files={"image": image})
        words = http.post("/v1/images/generations", json=fields | {"prompt": "a fox"})
    assert np.array_equal(drawn_by(generated), pixels(artist.generate("7", **FAST)[0].image))
    assert np.array_equal(drawn_by(edited), pixels(artist.edit(given, "7", mask=lower_half(given), **FAST)[0].image))
    assert np.array_equal(drawn_by(img2img), pixels(artist.img2img(given, "7", strength=0.5, **FAST)[0].image))
    assert varied.status_code == 400 and "cannot vary; it can generate" in varied.text
    assert words.status_code == 400 and "the number of a class, 0 to 9, not 'a fox'" in words.text


# The names of ImageNet -----------------------------------------------------------------------------------------------


def write_imagenet(path: Path) -> Path:
    """A small network of a thousand classes."""
    shapes = read_originals()[0]["guided/legacy"]
    shapes["label_emb.weight"][0] = 1000
    torch.save(weights(shapes), path)
    return path


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_imagenet(tmp_path_factory.mktemp("imagenet") / "unet.pt")


def test_guided_draws_a_class_of_imagenet_by_its_name(imagenet: Path, tmp_path: Path) -> None:
    artist = sumi.load(imagenet, model_flags=FLAGS["legacy"])
    drawn = artist.generate("Golden  retriever", **FAST)
    assert np.array_equal(pixels(drawn[0].image), pixels(artist.generate("207", **FAST)[0].image))
    assert artist.notes(sumi.Request("207")) == ["class 207: golden retriever"]
    with live_server.serving(artist, tmp_path / "served") as live, live.client() as http:
        body = {"prompt": "golden retriever", "seed": 4, "steps": 2, "response_format": "b64_json"}
        served = drawn_by(http.post("/v1/images/generations", json=body))
        refused = http.post("/v1/images/generations", json=body | {"prompt": "crane"})
    assert np.array_equal(served, pixels(drawn[0].image))
    assert refused.status_code == 400 and "several classes: say one of 134, 517" in refused.text


def test_guided_is_drawn_edited_and_refused_by_the_command(
    imagenet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo().save(tmp_path / "photo.png")
    lower_half(photo()).save(tmp_path / "mask.png")
    model = ["--model", str(imagenet), "--model-flags", FLAGS["legacy"], "--steps", "2", "--seed", "4"]
    edit = ["edit", str(tmp_path / "photo.png"), "tench", "--mask", str(tmp_path / "mask.png")]
    img2img = ["img2img", str(tmp_path / "photo.png"), "0", "--strength", "0.5"]
    for command in (edit, img2img):
        out = tmp_path / f"{command[0]}.png"
        with pytest.raises(SystemExit) as ended:
            main([*command, *model, "--out", str(out)])
        assert ended.value.code == 0 and sumi.read_recipe(out)[1].operation == command[0]
    with pytest.raises(SystemExit) as ended:
        main(["generate", "golden retreiver", *model])
    assert ended.value.code == 2
    assert "not 'golden retreiver'; did you mean golden retriever" in capsys.readouterr().err


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "settings", "message"),
    [
        ("10", {}, "the number of a class, 0 to 9, not '10'"),
        ("-1", {}, "the number of a class, 0 to 9, not '-1'"),
        ("9" * 500, {}, "the number of a class, 0 to 9, not '999"),
        ("7", {"guidance": 3}, "guided-diffusion is guided by a classifier alone"),
        ("7", {"sampler": "euler"}, "the samplers of the unet are ddpm and ddim"),
        ("7", {"sampler": "ddim", "steps": 13}, None),
        ("7", {"sampler": "ddim", "steps": 499}, "ddim cannot take 499 steps"),
        ("7", {"size": 64}, "size should be 16"),
    ],
)
def test_guided_refuses_what_it_cannot_draw(
    prompt: str, settings: dict[str, Any], message: str | None, artists: dict[str, sumi.Artist]
) -> None:
    if message is None:
        artists["legacy"].generate(prompt, **FAST | settings)
        return
    with pytest.raises(SumiError, match=message) as caught:
        artists["legacy"].generate(prompt, **FAST | settings)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300

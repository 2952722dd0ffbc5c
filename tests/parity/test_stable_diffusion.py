"""Stable Diffusion from a folder that diffusers saved: Sumi draws and serves the same pixels."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import live_server
import numpy as np
import numpy.typing as npt
import pytest
import torch
from parity.reference import randomised
from parity.test_autoencoder import KL
from parity.test_unet import SD
from PIL import Image

import sumi
from sumi import SumiError
from sumi.cli import main
from sumi.pipelines import Progress
from sumi.systems.published.tokenizer import CLIPTokenizer

diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

PX = 32
MERGES = [("r", "e"), ("re", "d</w>"), ("f", "o"), ("fo", "x</w>"), ("c", "a"), ("ca", "t</w>"), ("a", "n")]
CHAIN = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps_offset": 1}
PROMPT, NEGATIVE = "A red fox, and  a cat's 12 hats!", "blue"


@dataclass(frozen=True)
class Published:
    """A tiny model of random weights: the folder, and diffusers' pipeline."""

    folder: Path
    pipeline: Any

    def draw(self, **settings: Any) -> npt.NDArray[np.float32]:
        given = {
            "prompt": PROMPT, "negative_prompt": NEGATIVE, "guidance_scale": 7.5, "num_inference_steps": 8,
            "height": PX, "width": PX, "output_type": "np", "generator": torch.Generator().manual_seed(5),
        }  # fmt: skip
        return self.pipeline(**given | settings).images[0]  # type: ignore[no-any-return]


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


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    root = tmp_path_factory.mktemp("published")
    write_tokenizer(root / "words")
    tokenizer = transformers.CLIPTokenizer.from_pretrained(root / "words", model_max_length=77)
    torch.manual_seed(0)
    width, end = SD["cross_attention_dim"], len(tokenizer) - 1
    config = transformers.CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=width, intermediate_size=2 * width, num_hidden_layers=2,
        num_attention_heads=2, bos_token_id=end - 1, eos_token_id=end, pad_token_id=end,
    )  # fmt: skip
    pipeline = diffusers.StableDiffusionPipeline(
        randomised(diffusers.AutoencoderKL(**KL | {"scaling_factor": 0.3})),
        transformers.CLIPTextModel(config).eval(), tokenizer,
        randomised(diffusers.UNet2DConditionModel(**SD | {"sample_size": PX // 4})),
        diffusers.PNDMScheduler(**CHAIN, skip_prk_steps=True, set_alpha_to_one=False),
        None, None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    pipeline.save_pretrained(root / "tiny-sd")
    return Published(root / "tiny-sd", pipeline)


@pytest.fixture(scope="module")
def artist(published: Published) -> sumi.Artist:
    return sumi.load(published.folder)


def assert_same_picture(image: Image.Image, theirs: npt.NDArray[np.float32]) -> None:
    """Ours is rounded to whole levels of 255, so half a level apart is equal."""
    ours = np.asarray(image.convert("RGB"), dtype=np.float32)
    assert ours.shape == theirs.shape and theirs.std() > 0.05
    assert np.abs(ours - 255 * theirs).max() < 0.6


@pytest.mark.parametrize("settings", [{}, {"steps": 5, "guidance": 3.0}, {"guidance": 1.0}, {"size": 48}])
def test_stable_diffusion_folder_draws_the_picture_of_diffusers(
    published: Published, artist: sumi.Artist, settings: dict[str, Any]
) -> None:
    ours = artist.generate(PROMPT, negative=NEGATIVE, seed=5, **{"steps": 8, "guidance": 7.5, "size": PX} | settings)
    names = {"steps": "num_inference_steps", "guidance": "guidance_scale"}
    theirs: dict[str, Any] = {names[key]: value for key, value in settings.items() if key in names}
    theirs |= {"height": settings["size"], "width": settings["size"]} if "size" in settings else {}
    assert_same_picture(ours[0].image, published.draw(**theirs))


@pytest.mark.parametrize(
    ("sampler", "kind", "config"),
    [
        ("ddim", "DDIMScheduler", {"clip_sample": False, "set_alpha_to_one": False}),
        ("euler", "EulerDiscreteScheduler", {}),
        ("dpmpp-2m-karras", "DPMSolverMultistepScheduler", {"use_karras_sigmas": True}),
    ],
)
def test_stable_diffusion_sampler_by_name_draws_the_picture_of_its_scheduler(
    published: Published, artist: sumi.Artist, sampler: str, kind: str, config: dict[str, Any]
) -> None:
    ours = artist.generate(PROMPT, negative=NEGATIVE, seed=5, steps=8, guidance=7.5, size=PX, sampler=sampler)
    own = published.pipeline.scheduler
    written = json.loads((published.folder / "scheduler" / "scheduler_config.json").read_text("utf-8"))
    published.pipeline.scheduler = getattr(diffusers, kind).from_config(written, **config)
    try:
        assert_same_picture(ours[0].image, published.draw())
    finally:
        published.pipeline.scheduler = own


def test_stable_diffusion_picture_draws_again_from_its_recipe_in_any_batch(artist: sumi.Artist) -> None:
    settings: dict[str, Any] = {"steps": 4, "size": PX, "sampler": "euler-a", "seed": 3}
    many = artist.generate("a cat", n=3, **settings)
    (again,) = (event for event in artist.replay(many[2].recipe) if isinstance(event, sumi.Picture))
    assert np.array_equal(np.asarray(again.image), np.asarray(many[2].image))
    alone = artist.generate("a cat", **settings | {"seed": 5})
    assert np.abs(np.asarray(alone[0].image, dtype=int) - np.asarray(many[2].image, dtype=int)).max() <= 1


def test_stable_diffusion_img2img_keeps_more_of_the_picture_the_weaker_it_is(artist: sumi.Artist) -> None:
    begin = Image.fromarray(np.full((PX, PX, 3), (200, 60, 40), dtype=np.uint8))
    apart = []
    for strength in (0.1, 0.9):
        drawn = artist.img2img(begin, "a cat", strength=strength, steps=10, size=PX, seed=1, sampler="ddim")[0]
        (again,) = (event for event in artist.replay(drawn.recipe) if isinstance(event, sumi.Picture))
        assert np.array_equal(np.asarray(again.image), np.asarray(drawn.image))
        whole = artist.img2img(begin, "a cat", strength=0.01, steps=10, size=PX, seed=1, sampler="ddim")[0]
        difference = np.asarray(drawn.image, dtype=float) - np.asarray(whole.image, dtype=float)
        apart.append(float(np.abs(difference).mean()))
    assert apart[0] < apart[1]


def test_stable_diffusion_step_shows_a_preview(artist: sumi.Artist) -> None:
    task = sumi.Request("a cat", steps=3, size=PX, seed=1)
    steps = [event for event in artist.stream(task) if isinstance(event, Progress)]
    assert [event.step for event in steps] == list(range(1, steps[-1].of + 1)) and len(steps) >= 3
    for event in steps:
        shown = artist.preview(event)
        assert shown is not None and shown.shape == (1, 4, PX // 4, PX // 4) and bool((shown[:, 3] == 255).all())


def test_stable_diffusion_says_which_part_of_a_long_prompt_it_reads(artist: sumi.Artist) -> None:
    assert artist.notes(sumi.Request("a cat")) == []
    (note,) = artist.notes(sumi.Request("cat " * 80))
    assert note == "the prompt has 80 tokens, and the model reads the first 75"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 33}, "size should be a multiple of 4"),
        ({"sampler": "heun"}, "those known are ddim, ddpm, plms"),
        ({"background": "transparent"}, "background is auto or opaque"),
        ({"best_of": 4}, "has no best-of to set"),
    ],
)
def test_stable_diffusion_refuses_what_it_cannot_do(
    artist: sumi.Artist, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(SumiError, match=message):
        artist.generate("a cat", **settings)
    with pytest.raises(SumiError, match="draws and cannot vary"):
        artist.vary(Image.new("RGB", (8, 8)))


def test_generate_command_draws_with_a_published_folder(published: Published, tmp_path: Path) -> None:
    out = tmp_path / "cat.png"
    command = ["generate", "a cat", "--model", str(published.folder), "--steps", "2", "--seed", "4", "--out", str(out)]
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 0
    image, recipe = sumi.read_recipe(out)
    assert image.size == (PX, PX) and recipe.model == "tiny-sd" and recipe.stages["unet"].sampler == "plms"


@pytest.fixture(scope="module")
def live(artist: sumi.Artist, tmp_path_factory: pytest.TempPathFactory) -> Iterator[live_server.Live]:
    with live_server.serving(artist, tmp_path_factory.mktemp("served")) as server:
        yield server


def test_server_draws_with_a_published_folder(live: live_server.Live, artist: sumi.Artist) -> None:
    with live.client() as http:
        assert http.get("/v1/models").json()["data"][0]["id"] == "tiny-sd"
        reply = http.post("/v1/images/generations", json={"prompt": "a cat", "seed": 4, "steps": 2,
                                                          "response_format": "b64_json"})  # fmt: skip
        assert reply.status_code == 200, reply.text
        image = Image.open(io.BytesIO(base64.b64decode(reply.json()["data"][0]["b64_json"])))
    ours = artist.generate("a cat", seed=4, steps=2)[0].image
    assert np.array_equal(np.asarray(image.convert("RGB")), np.asarray(ours.convert("RGB")))


@pytest.mark.parametrize("text", [PROMPT, "", "naïve café 🦊", "re red  redd foxcat", "don't we'll 1234"])
def test_clip_tokenizer_gives_the_ids_of_transformers_from_either_kind_of_file(
    published: Published, tmp_path: Path, text: str
) -> None:
    write_tokenizer(tmp_path / "words")
    theirs = published.pipeline.tokenizer(text, padding="max_length", max_length=77, truncation=True).input_ids
    for folder in (tmp_path / "words", published.folder / "tokenizer"):
        assert CLIPTokenizer.read(folder, 77).encode([text])[0].tolist() == theirs


def test_clip_tokenizer_of_a_damaged_folder_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}", "utf-8")
    with pytest.raises(SumiError, match="holds no tokenizer of CLIP's") as caught:
        CLIPTokenizer.read(tmp_path, 77)
    assert "\n" not in str(caught.value)

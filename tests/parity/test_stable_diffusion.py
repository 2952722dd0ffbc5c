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
from parity.tiny_pipelines import (
    CHAIN,
    NEGATIVE,
    PROMPT,
    PX,
    assert_same_picture,
    assert_served,
    quiet,
    seeded,
    stable_diffusion,
    striped,
    write_tokenizer,
)
from PIL import Image

import sumi
from sumi import SumiError
from sumi.cli import main
from sumi.pipelines import Progress
from sumi.systems.published.tokenizer import CLIPTokenizer

diffusers = pytest.importorskip("diffusers")
pytest.importorskip("transformers")
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


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


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    root = tmp_path_factory.mktemp("published")
    pipeline = stable_diffusion(root)
    return Published(root / "tiny-sd", pipeline)


@pytest.fixture(scope="module")
def artist(published: Published) -> sumi.Artist:
    return sumi.load(published.folder)


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


def test_stable_diffusion_reads_a_long_prompt_in_chunks_of_75_tokens(published: Published, artist: sumi.Artist) -> None:
    words, (tokenizer, encoder) = ["cat", "fox"] * 50, (published.pipeline.tokenizer, published.pipeline.text_encoder)
    with torch.no_grad():
        ids = [tokenizer(" ".join(part), padding="max_length", max_length=77, return_tensors="pt").input_ids
               for part in (words[:75], words[75:], [], [])]  # fmt: skip
        embeds = [encoder(chunk)[0] for chunk in ids]
    theirs = published.draw(
        prompt=None, negative_prompt=None, prompt_embeds=torch.cat(embeds[:2], dim=1),
        negative_prompt_embeds=torch.cat(embeds[2:], dim=1), num_inference_steps=4,
    )  # fmt: skip
    assert_same_picture(artist.generate(" ".join(words), seed=5, steps=4, guidance=7.5)[0].image, theirs)
    assert artist.notes(sumi.Request("cat " * 80)) == []


def test_stable_diffusion_weight_multiplies_a_word_and_keeps_the_mean(
    published: Published, artist: sumi.Artist
) -> None:
    tokenizer, encoder = published.pipeline.tokenizer, published.pipeline.text_encoder
    with torch.no_grad():
        plain, empty = (
            encoder(tokenizer(text, padding="max_length", max_length=77, return_tensors="pt").input_ids)[0]
            for text in ("a cat fox", "")
        )
    weights = torch.ones(77)
    weights[1 + len(tokenizer("a", add_special_tokens=False).input_ids)] = 1.5  # the cat, which is one token
    embeds = plain * weights[:, None]
    embeds = embeds * (plain.mean() / embeds.mean())
    theirs = published.draw(
        prompt=None, negative_prompt=None, prompt_embeds=embeds, negative_prompt_embeds=empty, num_inference_steps=4
    )
    assert_same_picture(artist.generate("a (cat:1.5) fox", seed=5, steps=4, guidance=7.5)[0].image, theirs)


def test_stable_diffusion_img2img_draws_the_picture_of_diffusers(published: Published, artist: sumi.Artist) -> None:
    begin = striped(PX)
    kinds = {"ddim": "DDIMScheduler", "euler": "EulerDiscreteScheduler"}
    config = json.loads((published.folder / "scheduler" / "scheduler_config.json").read_text("utf-8"))
    pixels = torch.from_numpy(np.array(begin)).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        latents = 0.3 * published.pipeline.vae.encode(pixels).latent_dist.mean
    for sampler, kind in kinds.items():
        more = {"clip_sample": False} if sampler == "ddim" else {}
        scheduler = getattr(diffusers, kind).from_config(config, **more)
        parts = {**published.pipeline.components, "scheduler": scheduler}
        theirs = quiet(diffusers.StableDiffusionImg2ImgPipeline(**parts, requires_safety_checker=False))(
            PROMPT, latents, strength=0.6, num_inference_steps=10, guidance_scale=4.0, generator=seeded(5),
            output_type="np",
        ).images[0]  # fmt: skip
        ours = artist.img2img(begin, PROMPT, strength=0.6, steps=10, guidance=4.0, seed=5, sampler=sampler)
        assert_same_picture(ours[0].image, theirs)


def half_mask() -> Image.Image:
    """White, which is drawn anew, in the right half."""
    mask = np.zeros((PX, PX), dtype=np.uint8)
    mask[:, PX // 2 :] = 255
    return Image.fromarray(mask)


@pytest.mark.parametrize("sampler", [None, "euler-a", "dpmpp-2m"])
def test_stable_diffusion_edit_keeps_what_the_mask_leaves_out_to_the_bit(
    artist: sumi.Artist, sampler: str | None
) -> None:
    begin = striped(PX)
    (drawn,) = artist.edit(begin, "a cat", half_mask(), seed=2, steps=4, rounds=2, sampler=sampler)
    before, after = np.asarray(begin, dtype=int), np.asarray(drawn.image.convert("RGB"), dtype=int)
    assert np.array_equal(before[:, : PX // 2], after[:, : PX // 2])
    assert np.abs(before[:, PX // 2 :] - after[:, PX // 2 :]).mean() > 2
    (again,) = (event for event in artist.replay(drawn.recipe, drawn.image) if isinstance(event, sumi.Picture))
    assert np.array_equal(np.asarray(again.image.convert("RGB")), after.astype(np.uint8))


def test_stable_diffusion_draws_over_a_picture_in_its_own_proportions(artist: sumi.Artist) -> None:
    wide = striped(48).crop((0, 0, 48, 30))
    (drawn,) = artist.img2img(wide, "a cat", 0.5, size=48, steps=4, seed=1)
    assert drawn.image.size == (48, 32)
    (tall,) = artist.img2img(wide.transpose(Image.Transpose.ROTATE_90), "a cat", 0.5, size=48, steps=2, seed=1)
    assert tall.image.size == (32, 48)
    for picture in (drawn, tall):
        (again,) = (event for event in artist.replay(picture.recipe) if isinstance(event, sumi.Picture))
        assert np.array_equal(np.asarray(again.image), np.asarray(picture.image))


def test_stable_diffusion_edit_expands_a_picture(artist: sumi.Artist) -> None:
    begin = striped(PX)
    (drawn,) = artist.edit(begin, "a cat", expand=(8, 0, 8, 0), seed=2, steps=3, rounds=1)
    assert drawn.image.size == (PX + 16, PX)
    assert np.array_equal(np.asarray(drawn.image.convert("RGB"))[:, 8:-8], np.asarray(begin))


def test_stable_diffusion_inpainting_folder_draws_the_picture_of_diffusers(
    published: Published, tmp_path: Path
) -> None:
    torch.manual_seed(1)
    parts = published.pipeline.components
    unet = randomised(diffusers.UNet2DConditionModel(**SD | {"sample_size": PX // 4, "in_channels": 9}))
    vae = randomised(diffusers.AutoencoderKL(**KL | {"scaling_factor": 0.3}))
    with torch.no_grad():  # latents without noise, which diffusers adds
        vae.quant_conv.weight[4:] = 0
        vae.quant_conv.bias[4:] = -30
    scheduler = diffusers.DDIMScheduler(**CHAIN, clip_sample=False, set_alpha_to_one=False)
    pipeline = quiet(
        diffusers.StableDiffusionInpaintPipeline(
            **parts | {"unet": unet, "vae": vae, "scheduler": scheduler}, requires_safety_checker=False
        )
    )
    pipeline.save_pretrained(tmp_path / "tiny-inpaint")
    begin = striped(PX)
    theirs = pipeline(
        PROMPT, begin, half_mask(), height=PX, width=PX, strength=1.0, num_inference_steps=6, guidance_scale=4.0,
        generator=seeded(5), output_type="np",
    ).images[0]  # fmt: skip
    ours = sumi.load(tmp_path / "tiny-inpaint")
    assert ours.operations == ("generate", "edit")
    (drawn,) = ours.edit(begin, PROMPT, half_mask(), steps=6, guidance=4.0, seed=5)
    redrawn = drawn.image.crop((PX // 2, 0, PX, PX))
    assert_same_picture(redrawn, theirs[:, PX // 2 :])
    assert ours.generate("a cat", steps=2, seed=1)[0].image.size == (PX, PX)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 33}, "size should be a multiple of 4"),
        ({"steps": 1000}, "cannot take 1000 steps: 1000 leading steps from 1 on end past a chain"),
        ({"sampler": "lcm", "steps": 60}, "a consistency model draws in 1 to 50 steps, not 60"),
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
    with pytest.raises(SumiError, match="draws and cannot vary; it can generate, img2img, edit"):
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
    assert_served(live, artist, "tiny-sd")


def test_server_edits_and_draws_over_pictures_with_a_published_folder(
    live: live_server.Live, artist: sumi.Artist
) -> None:
    begin, files = striped(PX), {}
    hole = begin.convert("RGBA")
    hole.putalpha(half_mask().point(lambda level: 255 - level))  # the API draws where the mask is transparent
    for name, image in (("image", begin), ("mask", hole)):
        file = io.BytesIO()
        image.save(file, "PNG")
        files[name] = (f"{name}.png", file.getvalue(), "image/png")
    fields = {"prompt": "a cat", "seed": "4", "steps": "2", "response_format": "b64_json"}
    with live.client() as http:
        assert http.get("/v1/models").json()["data"][0]["operations"] == ["generate", "img2img", "edit"]
        reply = http.post("/v1/images/edits", data=fields, files=files)
        assert reply.status_code == 200, reply.text
        image = Image.open(io.BytesIO(base64.b64decode(reply.json()["data"][0]["b64_json"])))
    (ours,) = artist.edit(begin, "a cat", half_mask(), seed=4, steps=2)
    assert np.array_equal(np.asarray(image.convert("RGB")), np.asarray(ours.image.convert("RGB")))


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

"""karlo from a folder of parts that diffusers saved: Sumi draws and serves the same pixels."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import live_server
import numpy as np
import pytest
import torch
from parity.reference import randomised
from parity.test_unclip import PRIOR
from parity.test_unet import KARLO
from parity.tiny_pipelines import (
    PROMPT,
    assert_same_picture,
    assert_served,
    image_processor,
    image_tower,
    quiet,
    seeded,
    striped,
    text_config,
    tokenizer_of,
)
from PIL import Image

import sumi
from sumi import SumiError
from sumi.cli import main
from sumi.pipelines import Progress

diffusers = pytest.importorskip("diffusers")
transformers = pytest.importorskip("transformers")
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

SMALL_PX, PX = 8, 16
WIDTH = PRIOR["embedding_dim"]
SUPER_RES: dict[str, Any] = {
    "in_channels": 6, "out_channels": 3, "block_out_channels": [8, 16], "norm_num_groups": 4, "sample_size": PX,
    "add_attention": False, "layers_per_block": 1, "down_block_types": ["ResnetDownsampleBlock2D"] * 2,
    "up_block_types": ["ResnetUpsampleBlock2D"] * 2,
}  # fmt: skip


@dataclass(frozen=True)
class Published:
    """A tiny model of random weights: the folder, and diffusers' pipeline."""

    folder: Path
    pipeline: Any


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    module = pytest.importorskip("diffusers.pipelines.deprecated.unclip.pipeline_unclip")
    root = tmp_path_factory.mktemp("published")
    tokenizer = tokenizer_of(root / "words")
    torch.manual_seed(0)
    config = text_config(tokenizer, WIDTH, projection_dim=WIDTH)
    projection = {
        "clip_embeddings_dim": WIDTH,
        "time_embed_dim": 32,
        "cross_attention_dim": KARLO["cross_attention_dim"],
    }
    parts = {
        "prior": randomised(diffusers.PriorTransformer(**PRIOR | {"num_embeddings": 77})),
        "decoder": randomised(diffusers.UNet2DConditionModel(**KARLO | {"sample_size": SMALL_PX})),
        "text_encoder": transformers.CLIPTextModelWithProjection(config).eval(),
        "tokenizer": tokenizer,
        "text_proj": randomised(module.UnCLIPTextProjModel(**projection)),
        "super_res_first": randomised(diffusers.UNet2DModel(**SUPER_RES)),
        "super_res_last": randomised(diffusers.UNet2DModel(**SUPER_RES)),
        "prior_scheduler": diffusers.UnCLIPScheduler(prediction_type="sample", clip_sample_range=5.0),
        "decoder_scheduler": diffusers.UnCLIPScheduler(variance_type="learned_range"),
        "super_res_scheduler": diffusers.UnCLIPScheduler(),
    }
    folder = save_parts(root / "tiny-karlo", "UnCLIPPipeline", parts)
    return Published(folder, quiet(module.UnCLIPPipeline(**parts)))


def save_parts(folder: Path, pipeline: str, parts: dict[str, Any]) -> Path:
    """Write a folder as versions of diffusers did that still saved this pipeline; newer ones only keep it."""
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    of_transformers = ("text_encoder", "tokenizer", "image_encoder", "feature_extractor")
    index: dict[str, Any] = {
        name: ["transformers" if name in of_transformers else "diffusers", type(part).__name__]
        for name, part in parts.items()
    }
    index |= {"_class_name": pipeline, "tokenizer": ["transformers", "CLIPTokenizer"]}
    (folder / "model_index.json").write_text(json.dumps(index), "utf-8")
    return folder


@pytest.fixture(scope="module")
def variation(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Published:
    """The same networks in a folder for image variations, with an image tower in place of the prior."""
    module = pytest.importorskip("diffusers.pipelines.deprecated.unclip.pipeline_unclip_image_variation")
    torch.manual_seed(3)
    parts = {name: part for name, part in published.pipeline.components.items() if "prior" not in name}
    parts["decoder"] = copy.deepcopy(parts["decoder"])
    parts["decoder"].conv_out.weight.data.mul_(0.3)  # smoother than random weights are, as a trained network is
    parts |= {"image_encoder": image_tower(WIDTH), "feature_extractor": image_processor()}
    folder = save_parts(tmp_path_factory.mktemp("variation") / "tiny-variation", "UnCLIPImageVariationPipeline", parts)
    return Published(folder, quiet(module.UnCLIPImageVariationPipeline(**parts)))


@pytest.fixture(scope="module")
def varier(variation: Published) -> sumi.Artist:
    return sumi.load(variation.folder)


@pytest.fixture(scope="module")
def artist(published: Published) -> sumi.Artist:
    return sumi.load(published.folder)


def pixels(picture: sumi.Picture) -> Any:
    return np.asarray(picture.image, dtype=int)


@pytest.mark.parametrize("settings", [{}, {"steps": 6, "guidance": 3.0}, {"steps": 4, "guidance": 1.0}])
def test_karlo_folder_draws_the_picture_of_diffusers(
    published: Published, artist: sumi.Artist, settings: dict[str, Any]
) -> None:
    names = {"steps": "decoder_num_inference_steps", "guidance": "decoder_guidance_scale"}
    theirs = published.pipeline(
        PROMPT, output_type="np", generator=torch.Generator().manual_seed(5),
        **{names[key]: value for key, value in settings.items()},
    )  # fmt: skip
    assert_same_picture(artist.generate(PROMPT, seed=5, **settings)[0].image, theirs.images[0])


def test_karlo_negative_prompt_changes_the_picture(artist: sumi.Artist) -> None:
    (plain,), (away,) = (artist.generate("a cat", seed=1, steps=4, negative=text) for text in ("", "red fox"))
    assert np.abs(pixels(plain) - pixels(away)).max() > 2
    assert away.recipe.negative == "red fox"


def test_karlo_picture_draws_again_from_its_recipe_in_any_batch(artist: sumi.Artist) -> None:
    many = artist.generate("a cat", n=3, steps=4, guidance=5.0, seed=3)
    assert [picture.seed for picture in many] == [3, 4, 5]
    recipe = sumi.Recipe.from_json(json.loads(json.dumps(many[2].recipe.to_json())))
    assert [(name, stage.steps, stage.guidance) for name, stage in recipe.stages.items()] == [
        ("prior", 25, 4.0), ("decoder", 4, 5.0), ("super_res", 7, 1.0),
    ]  # fmt: skip
    (again,) = (event for event in artist.replay(recipe) if isinstance(event, sumi.Picture))
    (alone,) = artist.generate("a cat", steps=4, guidance=5.0, seed=5)
    assert np.array_equal(pixels(again), pixels(alone))
    assert np.abs(pixels(again) - pixels(many[2])).max() <= 1
    assert np.abs(pixels(many[1]) - pixels(many[2])).max() > 2


def test_karlo_reports_the_steps_of_three_stages_and_shows_two_of_them(artist: sumi.Artist) -> None:
    task = sumi.Request("a cat", steps=3, seed=1)
    steps = [event for event in artist.stream(task) if isinstance(event, Progress)]
    assert artist.stage_names == ("prior", "decoder", "super_res")
    expected = [(name, k + 1, of) for name, of in (("prior", 25), ("decoder", 3), ("super_res", 7)) for k in range(of)]
    assert [(event.stage, event.step, event.of) for event in steps] == expected
    assert artist.drawing_stages == {"decoder": SMALL_PX, "super_res": PX}
    for event in steps:
        shown = artist.preview(event)
        if event.stage == "prior":
            assert shown is None
        else:
            side = artist.drawing_stages[event.stage]
            assert shown is not None and shown.shape == (1, 4, side, side) and bool((shown[:, 3] == 255).all())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": 32}, "size should be 16, the one that this model draws"),
        ({"sampler": "euler"}, "the samplers of karlo are ddpm and ddim, not 'euler'"),
        ({"background": "transparent"}, "background is auto or opaque"),
        ({"best_of": 4}, "has no best-of to set"),
        ({"prior": "ar"}, "has no prior of the kind 'ar'"),
    ],
)
def test_karlo_refuses_what_it_cannot_do(artist: sumi.Artist, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SumiError, match=message) as caught:
        artist.generate("a cat", **settings)
    assert "\n" not in str(caught.value)


def test_karlo_refuses_other_operations_and_other_recipes(artist: sumi.Artist) -> None:
    begin = Image.new("RGB", (PX, PX))
    with pytest.raises(SumiError, match=r"unCLIP \(karlo\) draws and cannot vary; it can generate, img2img, edit"):
        artist.vary(begin)
    with pytest.raises(SumiError, match="edit needs a prompt here"):
        artist.edit(begin, expand=(1, 0, 0, 0))
    drawn = artist.generate("a cat", steps=2, seed=1)[0].recipe.to_json()
    other = sumi.Recipe.from_json(drawn | {"stages": {"unet": drawn["stages"]["decoder"]}})
    with pytest.raises(SumiError, match="was not drawn by unCLIP"):
        list(artist.replay(other))


def test_karlo_img2img_keeps_more_of_the_picture_the_weaker_it_is(artist: sumi.Artist) -> None:
    begin = Image.new("RGB", (PX, PX), (200, 60, 40))
    weak, strong = (
        artist.img2img(begin, "a cat", strength=strength, steps=10, guidance=1.0, seed=1)[0] for strength in (0.1, 1.0)
    )
    (whole,) = artist.generate("a cat", steps=10, guidance=1.0, seed=1)
    apart = [float(np.abs(pixels(picture) - pixels(whole)).mean()) for picture in (weak, strong)]
    assert apart[1] < apart[0]
    (again,) = (event for event in artist.replay(weak.recipe) if isinstance(event, sumi.Picture))
    assert np.array_equal(pixels(again), pixels(weak))


@pytest.mark.parametrize("fixture", ["artist", "varier"])
def test_karlo_edit_keeps_what_the_mask_leaves_out_to_the_bit(fixture: str, request: pytest.FixtureRequest) -> None:
    artist: sumi.Artist = request.getfixturevalue(fixture)
    begin, mask = striped(PX), np.zeros((PX, PX), dtype=np.uint8)
    mask[:, PX // 2 :] = 255
    (drawn,) = artist.edit(begin, "a cat", Image.fromarray(mask), seed=2, steps=3, rounds=2)
    before, after = np.asarray(begin, dtype=int), np.asarray(drawn.image.convert("RGB"), dtype=int)
    assert np.array_equal(before[:, : PX // 2], after[:, : PX // 2])
    assert np.abs(before[:, PX // 2 :] - after[:, PX // 2 :]).mean() > 2
    (again,) = (event for event in artist.replay(drawn.recipe, drawn.image) if isinstance(event, sumi.Picture))
    assert np.array_equal(np.asarray(again.image.convert("RGB"), dtype=int), after)


@pytest.mark.parametrize("settings", [{}, {"steps": 5, "guidance": 3.0}])
def test_karlo_variation_folder_draws_the_picture_of_diffusers(
    variation: Published, varier: sumi.Artist, settings: dict[str, Any]
) -> None:
    names = {"steps": "decoder_num_inference_steps", "guidance": "decoder_guidance_scale"}
    given = {names[key]: value for key, value in settings.items()}
    theirs = variation.pipeline(striped(PX), output_type="np", generator=seeded(5), **given).images[0]
    assert_same_picture(varier.vary(striped(PX), seed=5, **settings)[0].image, theirs)


def test_karlo_variation_folder_inverts_its_pictures(varier: sumi.Artist) -> None:
    """At eta 0, at both ends of a blend and at amount 0 of a text diff, the small picture comes back."""
    one, other = striped(PX, 1), striped(PX, 2)
    settings: dict[str, Any] = {"steps": 10, "seed": 3}
    kept = varier.vary(one, eta=0.0, **settings)[0]
    renewed = varier.vary(one, eta=1.0, **settings)[0]
    ends = varier.blend(one, other, frames=3, **settings)
    still = varier.restyle(one, "a fox", "a cat", 0.0, **settings)[0]
    small = [step_of(varier, picture) for picture in (kept, ends[0], ends[2], still, renewed)]
    apart = [
        float((mean - small_levels(picture)).abs().mean())
        for mean, picture in zip(small, (one, one, other, one, one), strict=True)
    ]
    assert max(apart[:4]) < 0.05 < apart[4]
    assert [picture.recipe.options["amount"] for picture in ends] == [0.0, 0.5, 1.0]
    (again,) = (event for event in varier.replay(ends[1].recipe) if isinstance(event, sumi.Picture))
    assert np.abs(pixels(again) - pixels(ends[1])).max() <= 1


def step_of(artist: sumi.Artist, picture: sumi.Picture) -> torch.Tensor:
    """The decoder's last estimate of a picture, which is drawn again for it, (3, SMALL_PX, SMALL_PX) in [-1, 1]."""
    steps = [event for event in artist.replay(picture.recipe) if isinstance(event, Progress)]
    return [event.mean[0] for event in steps if event.stage == "decoder"][-1]


def small_levels(image: Image.Image) -> torch.Tensor:
    """A picture as the decoder draws it."""
    whole = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None] / 127.5 - 1
    small = torch.nn.functional.interpolate(whole, size=(SMALL_PX, SMALL_PX), mode="bicubic", antialias=True)
    return small[0].clamp(-1, 1)


def test_karlo_restyle_moves_along_the_direction_between_two_texts(varier: sumi.Artist) -> None:
    one = striped(PX, 1)
    near, far = (varier.restyle(one, "a fox", "a cat", amount, steps=4, seed=3)[0] for amount in (0.1, 1.0))
    assert np.abs(pixels(near) - pixels(far)).max() > 2
    with pytest.raises(SumiError, match="the two texts say the same"):
        varier.restyle(one, "a fox", "A  FOX", 0.5, steps=2)


def test_karlo_decoder_without_a_variance_that_its_scheduler_needs_is_refused_at_load(
    published: Published, tmp_path: Path
) -> None:
    folder = shutil.copytree(published.folder, tmp_path / "plain")
    decoder = diffusers.UNet2DConditionModel(**KARLO | {"sample_size": SMALL_PX, "out_channels": 3})
    randomised(decoder).save_pretrained(folder / "decoder")
    with pytest.raises(SumiError, match="'learned_range', and the network answers no variance") as caught:
        sumi.load(folder)
    assert "\n" not in str(caught.value)


def test_karlo_folder_whose_prior_reads_fewer_words_is_refused_in_one_line(
    published: Published, tmp_path: Path
) -> None:
    folder = shutil.copytree(published.folder, tmp_path / "short")
    randomised(diffusers.PriorTransformer(**PRIOR)).save_pretrained(folder / "prior")
    with pytest.raises(SumiError, match="reads 6 words, and its text encoder 77"):
        sumi.load(folder)


def test_generate_command_draws_with_a_karlo_folder(published: Published, tmp_path: Path) -> None:
    out = tmp_path / "cat.png"
    command = ["generate", "a cat", "--model", str(published.folder), "--steps", "2", "--seed", "4", "--out", str(out)]
    with pytest.raises(SystemExit) as ended:
        main(command)
    assert ended.value.code == 0
    image, recipe = sumi.read_recipe(out)
    assert image.size == (PX, PX) and recipe.model == "tiny-karlo" and recipe.stages["decoder"].steps == 2


@pytest.fixture(scope="module")
def live(artist: sumi.Artist, tmp_path_factory: pytest.TempPathFactory) -> Iterator[live_server.Live]:
    with live_server.serving(artist, tmp_path_factory.mktemp("served")) as server:
        yield server


def test_server_draws_with_a_karlo_folder(live: live_server.Live, artist: sumi.Artist) -> None:
    assert_served(live, artist, "tiny-karlo")

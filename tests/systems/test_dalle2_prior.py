"""karlo draws from a prior of DALLE2-pytorch as from its own, and what does not fit is refused."""

from __future__ import annotations

import json
import shutil
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import live_server
import numpy as np
import pytest
import torch
from original_weights import random_state
from parity.dalle2 import read_answers, weights, write_prior
from parity.tiny_pipelines import assert_served
from PIL import Image
from published_weights import kandinsky_prior_folder, karlo_folder, published_system, write_json, write_network
from systems.test_published_single_files import write_tokenizer

import sumi
from sumi import SumiError
from sumi.bundles.published import inspect, open_model
from sumi.cli import main

pytest.importorskip("tokenizers")

PX = 16
FAST: dict[str, Any] = {"steps": 2, "seed": 4}


def write_karlo(root: Path) -> Path:
    """A tiny karlo of random weights, with its tokenizer."""
    folder = karlo_folder(root / "karlo")
    parts = published_system("karlo-v1-alpha")
    for name in ("prior", "decoder", "text_proj", "text_encoder", "super_res_first", "super_res_last"):
        config = parts[name] | ({"sample_size": PX} if "sample_size" in parts[name] else {})
        write_network(folder / name, config, random_state(config))
    write_tokenizer(folder / "tokenizer")
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("models")
    write_karlo(made)
    write_prior(made / "prior", sample_timesteps=6, clip={"make": "openai", "model": "ViT-L/14"})
    return made


@pytest.fixture(scope="module")
def artist(root: Path) -> sumi.Artist:
    return sumi.load(root / "karlo", prior_model=root / "prior" / "best.pth")


def pixels(picture: sumi.Picture) -> Any:
    return np.asarray(picture.image.convert("RGB")).astype(int)


def photo() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (PX, PX, 3), dtype=np.uint8))


def test_karlo_draws_from_another_prior_and_again_from_the_recipe(artist: sumi.Artist, root: Path) -> None:
    (drawn,) = artist.generate("cat", **FAST)
    prior = drawn.recipe.stages["prior"]
    assert (prior.sampler, prior.steps, prior.guidance) == ("ddim", 6, 1.0)
    (again,) = (event for event in artist.replay(drawn.recipe) if isinstance(event, sumi.Picture))
    assert np.array_equal(pixels(again), pixels(drawn))
    own = sumi.load(root / "karlo")
    assert own.model.hashes["prior"] != artist.model.hashes["prior"]
    assert np.abs(pixels(own.generate("cat", **FAST)[0]) - pixels(drawn)).max() > 2


def test_another_prior_draws_a_seed_the_same_in_any_batch(artist: sumi.Artist) -> None:
    together = artist.generate("cat", n=2, **FAST)
    alone = artist.generate("cat", **FAST | {"seed": together[1].seed})[0]
    assert np.abs(pixels(together[1]) - pixels(alone)).max() <= 1


def test_another_prior_edits_and_is_served(artist: sumi.Artist, tmp_path: Path) -> None:
    mask = np.zeros((PX, PX), dtype=np.uint8)
    mask[PX // 2 :] = 255
    (drawn,) = artist.edit(photo(), "cat", mask=Image.fromarray(mask), **FAST)
    assert np.array_equal(pixels(drawn)[: PX // 2], np.asarray(photo())[: PX // 2])
    assert artist.img2img(photo(), "cat", **FAST)[0].image.size == (PX, PX)
    with live_server.serving(artist, tmp_path / "served") as live:
        assert_served(live, artist, "karlo")


def test_embeddings_leave_the_prior_as_long_as_those_of_clip(root: Path) -> None:
    """An embedding of unit length is multiplied by the root of |mean|^2 + |std|^2, which karlo's statistics give."""
    own = open_model(root / "karlo").parts["prior"]
    mean, std = (own.weights.tensor(name).double() for name in ("clip_mean", "clip_std"))
    artist: Any = sumi.load(root / "karlo", prior_model=root / "prior")
    assert artist.pipeline.prior.length == pytest.approx(float((mean**2 + std**2).sum() ** 0.5))


def test_prior_is_inspected_and_drawn_with_by_the_command(root: Path, tmp_path: Path) -> None:
    found = inspect(root / "prior" / "best.pth")
    assert (found.layout, found.unknown) == ("dalle2-pytorch-prior", ())
    assert found.parts[0].facts == {"embedding": 12, "layers": 2, "words": 7, "steps": 1000}
    out = tmp_path / "cat.png"
    command = ["generate", "cat", "--model", str(root / "karlo"), "--prior-model", str(root / "prior")]
    with pytest.raises(SystemExit) as ended:
        main([*command, "--steps", "2", "--seed", "4", "--out", str(out)])
    assert ended.value.code == 0 and sumi.read_recipe(out)[1].stages["prior"].steps == 6


def test_checkpoint_of_the_packages_trainer_is_read(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds objects beside the weights, which are named in the pickle and never made."""
    module = types.ModuleType("pytorch_warmup.base")
    module.LinearWarmup = type("LinearWarmup", (), {"__module__": module.__name__})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pytorch_warmup", types.ModuleType("pytorch_warmup"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    file = write_prior(tmp_path / "prior")
    state = torch.load(file, weights_only=True)["model"]
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(2))])
    rest = {"optimizer": optimizer.state_dict(), "ema": {"initted": torch.tensor([True])}, "ema_model": state}
    torch.save({"model": state, **rest, "warmup_scheduler": module.LinearWarmup(), "step": torch.tensor([7])}, file)
    artist: Any = sumi.load(root / "karlo", prior_model=file)
    assert torch.equal(artist.pipeline.prior.network.learned_query, state["net.learned_query"])


# What is refused -----------------------------------------------------------------------------------------------------


def without_config(root: Path) -> Path:
    file = write_prior(root)
    (root / "prior_config.json").unlink()
    return file


def with_net(root: Path, **changes: Any) -> Path:
    file = write_prior(root)
    config = json.loads((root / "prior_config.json").read_text("utf-8"))
    config["prior"]["net"] |= changes
    write_json(root / "prior_config.json", config)
    return file


def with_config_that_is_no_json(root: Path) -> Path:
    file = write_prior(root)
    (root / "prior_config.json").write_text("hello", "utf-8")
    return file


def with_config_out_of_the_folder(root: Path) -> Path:
    file = write_prior(root)
    (root / "prior_config.json").rename(root.parent / "elsewhere.json")
    (root / "prior_config.json").symlink_to(root.parent / "elsewhere.json")
    return file


def older(root: Path) -> Path:
    shapes, answers = read_answers()
    state = weights(shapes["small"], answers["betas/cosine"])
    state["net.null_text_embed"] = state.pop("net.null_text_encodings")
    del state["net.null_text_embeds"], state["net.null_image_embed"]
    torch.save({"model": state}, write_prior(root))
    return root / "best.pth"


def twice(root: Path) -> Path:
    shutil.copy(write_prior(root), root / "latest.pth")
    return root


def with_betas_of_one(root: Path) -> Path:
    state = torch.load(write_prior(root), weights_only=True)["model"]
    state["noise_scheduler.betas"] = torch.ones(1000)
    torch.save({"model": state}, root / "best.pth")
    return root


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "without its configuration": (without_config, "put the prior_config.json that is published with it beside"),
    "of another CLIP": (
        lambda root: write_prior(root, clip={"make": "openai", "model": "ViT-B/32"}),
        "draws embeddings of the CLIP ViT-B-32 by openai, and .* hears those of ViT-L-14 by openai",
    ),
    "of open_clip's CLIP": (
        lambda root: write_prior(root, clip={"make": "open_clip", "model": "ViT-L-14"}), "ViT-L-14 by open_clip, and",
    ),
    "of another width": (lambda root: write_prior(root, "other"), "draws embeddings of 32, and .* hears 12"),
    "that predicts noise": (
        lambda root: write_prior(root, predict_x_start=False), "predict_x_start is False, and only True is supported",
    ),
    "that sees its own estimate": (lambda root: with_net(root, self_cond=True), "self_cond True instead of False"),
    "that is deeper than it says": (lambda root: with_net(root, depth=3), "depth 3 instead of 2"),
    "with an unknown key": (lambda root: write_prior(root, novel=1), "unknown novel"),
    "with a configuration that is no JSON": (with_config_that_is_no_json, "prior_config.json"),
    "whose configuration is a link out of it": (with_config_out_of_the_folder, "is a link out of"),
    "of an older version": (older, "of a version before 1.9: Sumi recognises it, and cannot run it"),
    "that is there twice": (twice, "diffusion prior twice, in best.pth and latest.pth"),
    "with a chain of ones": (with_betas_of_one, "is not of 1000 betas between 0 and 1"),
    "that is Kandinsky's": (kandinsky_prior_folder, "and a prior of DALLE2-pytorch is what karlo takes for its own"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_prior_that_does_not_fit_is_refused_in_one_line(name: str, root: Path, tmp_path: Path) -> None:
    write, says = REFUSED[name]
    with pytest.raises(SumiError, match=says) as caught:
        sumi.load(root / "karlo", prior_model=write(tmp_path / "prior"))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600


def test_prior_alone_says_what_it_can_be_given_to(root: Path) -> None:
    for path in (root / "prior", root / "prior" / "best.pth"):
        with pytest.raises(SumiError, match=r"holds a prior alone, .*: open karlo, .* with --prior-model") as caught:
            sumi.load(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("sampler", "steps", "says"),
    [
        ("ddpm", 25, "ddpm takes the 1000 steps of the prior's chain, not 25"),
        ("ddim", 1, "ddim takes 2 to 999 steps of the prior's chain, not 1"),
        ("plms", 25, "the samplers of the prior are ddpm and ddim, not 'plms'"),
    ],
)
def test_recipe_that_the_prior_cannot_follow_is_refused(
    sampler: str, steps: int, says: str, artist: sumi.Artist
) -> None:
    (drawn,) = artist.generate("cat", **FAST)
    drawn.recipe.stages["prior"].__dict__.update(sampler=sampler, steps=steps)
    with pytest.raises(SumiError, match=says):
        list(artist.replay(drawn.recipe))

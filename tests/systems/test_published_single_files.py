"""Single files of Stable Diffusion draw what a folder with the same weights draws, with a tokenizer from elsewhere."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from original_weights import Tensors, karlo, stable_diffusion
from published_weights import write_json, write_network
from safetensors.torch import save_file

import sumi
from sumi import SumiError
from sumi.bundles.published import open_model
from sumi.bundles.published.model import SCHEDULERS

pytest.importorskip("tokenizers")

WORDS = ["!", "a</w>", "c", "a", "t</w>", "x</w>"]


def write_tokenizer(folder: Path) -> Path:
    """A tokenizer of a few signs that fits the tiny text towers."""
    tokens = [*WORDS, *(f"unused-{number}" for number in range(50 - len(WORDS) - 2))]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    write_json(folder / "vocab.json", {token: number for number, token in enumerate(tokens)})
    (folder / "merges.txt").write_text("#version: 0.2\n", "utf-8")
    return folder


def save_single_file(tmp_path: Path, version: str) -> tuple[Path, dict[str, Tensors]]:
    file, states = stable_diffusion(version)
    path = tmp_path / "v1-5.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in file.items()}, path)
    return path, states


def test_single_file_draws_the_picture_of_the_folder_with_the_same_weights(tmp_path: Path) -> None:
    path, states = save_single_file(tmp_path, "1")
    opened, folder = open_model(path), tmp_path / "folder"
    index = {"_class_name": "StableDiffusionPipeline", "tokenizer": ["transformers", "CLIPTokenizer"]}
    for name, part in opened.parts.items():
        index[name] = ["transformers" if "text" in name else "diffusers", part.kind]
        write_network(folder / name, {**part.config, "_class_name": part.kind}, states[name])
    write_json(folder / "scheduler" / "scheduler_config.json", SCHEDULERS["stable-diffusion-1"]["scheduler"])
    write_json(folder / "model_index.json", index | {"scheduler": ["diffusers", "PNDMScheduler"]})
    words = write_tokenizer(folder / "tokenizer")
    settings = {"size": 64, "steps": 2, "seed": 3}
    theirs = sumi.load(folder).generate("cat", **settings)[0]
    assert np.asarray(theirs.image).std() > 5
    for place in (words, folder):
        ours = sumi.load(path, tokenizer=place).generate("cat", **settings)[0]
        apart = np.abs(np.asarray(ours.image, dtype=int) - np.asarray(theirs.image, dtype=int))
        assert apart.max() <= 1, f"{apart.max()} levels apart, {(apart > 1).mean():.0%} of them by more than one"
    assert ours.recipe.model == "v1-5.safetensors"
    assert ours.recipe.hashes == {"unet": ours.recipe.hashes["unet"], "vae": ours.recipe.hashes["vae"],
                                  "text_encoder": ours.recipe.hashes["text_encoder"]}  # fmt: skip


def test_single_file_of_stable_diffusion_xl_draws(tmp_path: Path) -> None:
    path, _ = save_single_file(tmp_path, "xl")
    artist = sumi.load(path, tokenizer=write_tokenizer(tmp_path / "words"))
    (plain,) = artist.generate("cat", size=64, steps=1, seed=1, sampler="DPM++ 2M Karras")
    (weighted,) = artist.generate("(cat:1.5)", size=64, steps=1, seed=1, sampler="dpmpp-2m-karras")
    assert plain.recipe.stages["unet"].sampler == "dpmpp-2m-karras"
    assert plain.image.size == (64, 64) and plain.image.tobytes() != weighted.image.tobytes()


def test_original_files_of_karlo_draw(tmp_path: Path) -> None:
    files, _ = karlo()
    for name, value in files.items():
        torch.save(value, tmp_path / name)
    artist = sumi.load(tmp_path, tokenizer=write_tokenizer(tmp_path / "words"))
    steps = (event for event in artist.stream(sumi.Request("cat", steps=1, seed=1)) if isinstance(event, sumi.Progress))
    last = next(event for event in steps if event.stage == "super_res")  # the first of its seven steps
    assert last.mean.shape == (1, 3, 256, 256) and bool(last.mean.isfinite().all())
    assert set(artist.model.hashes) == {
        "prior", "decoder", "text_proj", "text_encoder", "super_res_first", "super_res_last",
    }  # fmt: skip


def test_single_file_without_a_tokenizer_names_the_remedy(tmp_path: Path) -> None:
    path, _ = save_single_file(tmp_path, "1")
    with pytest.raises(SumiError, match="holds no tokenizer, as no single file does: give one with --tokenizer DIR"):
        sumi.load(path)
    with pytest.raises(SumiError, match="holds no tokenizer: expected"):
        sumi.load(path, tokenizer=tmp_path)


def test_single_file_of_stable_diffusion_2_draws_once_it_is_told_what_it_predicts(tmp_path: Path) -> None:
    path, _ = save_single_file(tmp_path, "2")
    words = write_tokenizer(tmp_path / "words")
    with pytest.raises(SumiError, match="does not say whether its U-Net predicts noise or velocity"):
        sumi.load(path, tokenizer=words)
    with pytest.raises(SumiError, match="unknown prediction 'x0': choose one of epsilon, v_prediction"):
        sumi.load(path, tokenizer=words, prediction="x0")
    drawn = []
    for prediction, size_px in (("epsilon", 512), ("v_prediction", 768)):
        artist = sumi.load(path, tokenizer=words, prediction=prediction)
        assert artist.sizes[1] == size_px
        steps = artist.stream(sumi.Request("cat", size=64, steps=1, seed=1))
        drawn.append(next(event.mean for event in steps if isinstance(event, sumi.Progress)))
    assert bool(drawn[0].isfinite().all()) and not torch.equal(*drawn)


def test_options_for_published_weights_are_refused_for_a_model_of_sumis_own(tmp_path: Path) -> None:
    write_json(tmp_path / "model_index.json", {"_class_name": "UnCLIP", "_sumi_version": "0.1.0"})
    with pytest.raises(SumiError, match="loras is for weights that others published"):
        sumi.load(tmp_path, loras=["style.safetensors"])


@pytest.mark.parametrize(
    ("name", "message"), [("notes.txt", "there is no model in"), ("notes.safetensors", "is damaged")]
)
def test_file_that_holds_no_weights_is_refused_in_one_line(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("hello, this is no file of weights", "utf-8")
    with pytest.raises(SumiError, match=message) as caught:
        sumi.load(tmp_path / name)
    assert "\n" not in str(caught.value)

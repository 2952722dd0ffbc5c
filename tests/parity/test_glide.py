"""GLIDE from files in its authors' naming answers what their code answered (`originals.py`)."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from parity.originals import (
    GLIDE,
    IDS,
    MASK,
    NO_WORDS,
    NULL,
    RECORDERS,
    SIDE,
    STEP,
    Tensors,
    known_part,
    normal,
    picture,
    read_answers,
    write_glide,
)
from parity.reference import assert_equal
from torch import Tensor

from sumi.bundles.published import PublishedModel, open_model
from sumi.nn import Cond
from sumi.nn.published import UNet2DConditionModel
from sumi.pipelines import Settings, Stage, run
from sumi.pipelines.steps import Inpainting, drive_to_end
from sumi.systems.published.glide import enlarged
from sumi.systems.published.respaced import (
    COSINE,
    DDIM,
    DDPM,
    LINEAR,
    even_times,
    fast27_times,
    respaced_stages,
)

_, ANSWERS = read_answers()
TIME = torch.tensor([(STEP + 1) / 1000])


@pytest.fixture(scope="module", params=["", "_inpaint"])
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, PublishedModel]:
    ending = request.param
    folder = write_glide(tmp_path_factory.mktemp("glide"), f"base{ending}", f"upsample{ending}")
    return ending, open_model(folder / f"base{ending}.pt")


def told(ending: str, small: Tensor | None = None) -> Tensor | None:
    """What a network takes beside x and the words."""
    known, mask = known_part(SIDE)
    slots = [known * mask, mask] if ending else []
    slots += [] if small is None else [torch.nn.functional.interpolate(small, (SIDE, SIDE), mode="bilinear")]
    return torch.cat(slots, dim=1) if slots else None


def condition(opened: PublishedModel, name: str, ids: Tensor = IDS, mask: Tensor = MASK, **concat: Any) -> Cond:
    words = opened.parts[f"{name}_text_encoder"].load()(ids, mask)
    return Cond(words.vector, words.tokens, **concat)


@torch.no_grad()
def test_glide_networks_answer_as_the_authors_code(opened: tuple[str, PublishedModel]) -> None:
    ending, model = opened
    for name, theirs, small in (("base", "base", None), ("upsampler", "upsample", picture(SIDE // 2))):
        cond = condition(model, name, concat=told(ending, small))
        out = model.parts[name].load()(normal(1, 3, SIDE, SIDE), TIME, cond)
        assert_equal(out, ANSWERS[f"glide/{theirs}{ending}"])
    if not ending:
        words = condition(model, "base")
        assert words.vector is not None and words.tokens is not None
        assert_equal(words.vector, ANSWERS["glide/text"])
        assert_equal(words.tokens, ANSWERS["glide/words"])


@torch.no_grad()
def test_glide_base_draws_the_picture_of_the_authors_loop(opened: tuple[str, PublishedModel]) -> None:
    ending, model = opened
    settings = Settings(DDPM, 6, 1.0 if ending else 3.0)
    stage = stage_of(model, "base", settings)
    if ending:
        known, mask = known_part(SIDE)
        stage = Stage(**{**vars(stage), "inpainting": Inpainting(known, mask)})
    cond = condition(model, "base", concat=told(ending))
    null = condition(model, "base", NULL, NO_WORDS, concat=told(ending))
    rng = torch.Generator().manual_seed(3)
    noise = torch.randn(1, 3, SIDE, SIDE, generator=rng)
    drawn = drive_to_end(run(stage, cond, [3], null, x=noise, rngs=[rng]))
    assert_equal(drawn, ANSWERS[f"glide/base{ending} drawn"])


def stage_of(model: PublishedModel, name: str, settings: Settings) -> Stage:
    network = model.parts[name].load()
    assert isinstance(network, UNet2DConditionModel)
    betas, times = (COSINE, even_times) if name == "base" else (LINEAR, fast27_times)
    by_sampler = dict.fromkeys((DDPM, DDIM), times)
    stage, _ = respaced_stages(name, network, SIDE, betas, settings, by_sampler)[settings.sampler]
    return stage


@torch.no_grad()
def test_glide_upsampler_draws_the_picture_of_the_authors_loop(tmp_path: Path) -> None:
    model = open_model(write_glide(tmp_path, "base", "upsample"))
    cond = condition(model, "upsampler", concat=enlarged(picture(SIDE // 2), SIDE))
    noise = 0.997 * normal(1, 3, SIDE, SIDE)
    stage = stage_of(model, "upsampler", Settings(DDIM, 27))
    drawn = drive_to_end(run(stage, cond, [1], x=noise, rngs=[torch.Generator()]))
    assert_equal(drawn, ANSWERS["glide/upsample drawn"])


@pytest.mark.parametrize(("times", "steps"), [(even_times, "100"), (even_times, "250"), (even_times, "27")])
def test_glide_walks_the_steps_of_the_authors_spacing(times: Any, steps: str) -> None:
    expected = (ANSWERS[f"glide/steps {steps}"] + 1) / 1000
    assert torch.equal(times(int(steps)), torch.cat([expected, torch.zeros(1)]))


def test_glide_upsampler_walks_its_own_27_steps() -> None:
    expected = (ANSWERS["glide/steps fast27"] + 1) / 1000
    assert torch.equal(fast27_times(27), torch.cat([expected, torch.zeros(1)]))
    assert torch.equal(fast27_times(26), even_times(26))


@cache
def answers_now(package: str) -> Tensors:
    pytest.importorskip(package)
    answers: Tensors = {}
    with torch.no_grad():
        RECORDERS[package]({}, answers)
    return answers


@pytest.mark.parametrize("package", RECORDERS)
def test_kept_answers_are_those_of_the_authors_code(package: str) -> None:
    for name, answer in answers_now(package).items():
        assert_equal(answer.float(), ANSWERS[name].float(), 1e-5)


@pytest.mark.nightly
@pytest.mark.parametrize("name", GLIDE)
def test_glide_in_its_published_size_fits(name: str, tmp_path: Path) -> None:
    model_creation = pytest.importorskip("glide_text2im.model_creation")
    flags = model_creation.model_and_diffusion_defaults()
    if "upsample" in name:
        flags = model_creation.model_and_diffusion_defaults_upsampler()
    theirs, _ = model_creation.create_model_and_diffusion(**flags | {"inpaint": "inpaint" in name, "use_fp16": False})
    theirs.convert_to_fp16()
    torch.save(theirs.state_dict(), tmp_path / "base.pt")
    if "upsample" not in name:
        opened = open_model(tmp_path / "base.pt")
        assert opened.parts["base"].config["sample_size"] == 64
        assert sum(parameters(part.load()) for part in opened.parts.values()) == parameters(theirs)


def parameters(network: torch.nn.Module) -> int:
    return sum(value.numel() for value in network.state_dict().values())

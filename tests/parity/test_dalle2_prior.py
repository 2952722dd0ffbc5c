"""A prior of DALLE2-pytorch from its file answers and samples as the package does (`dalle2.py` keeps its answers)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from parity.dalle2 import (
    LOOPS,
    NETWORKS,
    SAMPLING,
    SEED,
    STEP,
    Tensors,
    inputs,
    read_answers,
    record_loops,
    record_network,
    write_prior,
)
from parity.reference import assert_equal

from sumi.bundles.published import open_model
from sumi.nn import Cond
from sumi.nn.published import DiffusionPriorNetwork
from sumi.pipelines import Settings
from sumi.pipelines.steps import drive_to_end
from sumi.systems.published.dalle2_prior import DALLE2Prior

_, ANSWERS = read_answers()
TIMES = torch.tensor([(STEP + 1) / 1000, 1 / 1000])


@torch.no_grad()
def assert_network_equal(name: str, folder: Path) -> None:
    network = open_model(write_prior(folder, name)).parts["prior"].load()
    x, z_t, words = inputs(NETWORKS[name])
    conds = {"told": Cond(z_t, words), "not told": Cond(0 * z_t, 0 * words), "without words": Cond(z_t)}
    for kind, cond in conds.items():
        assert_equal(network(x, TIMES, cond), ANSWERS[f"{name}/{kind}"])


@pytest.mark.parametrize("name", ["small", "other"])
def test_dalle2_prior_network_answers_as_the_package(name: str, tmp_path: Path) -> None:
    assert_network_equal(name, tmp_path)


@pytest.mark.nightly
def test_dalle2_prior_in_its_published_size_answers_as_the_package(tmp_path: Path) -> None:
    assert_network_equal("published", tmp_path)


@torch.no_grad()
@pytest.mark.parametrize(("steps", "guidance"), LOOPS)
@pytest.mark.parametrize("sampling", SAMPLING)
def test_dalle2_prior_draws_the_embedding_of_the_package(
    sampling: str, steps: int, guidance: float, tmp_path: Path
) -> None:
    opened = open_model(write_prior(tmp_path, "small", sampling))
    network = opened.parts["prior"].load()
    assert isinstance(network, DiffusionPriorNetwork)
    prior = DALLE2Prior(network, opened.settings["config"], opened.settings["betas"])
    _, z_t, words = inputs(NETWORKS["small"])
    settings = Settings("ddpm" if steps == 1000 else "ddim", steps, guidance)
    prior.check_settings(settings)
    rngs = [torch.Generator().manual_seed(SEED)]
    drawn = drive_to_end(prior.sample_from(Cond(z_t[:1], words[:1]), [1], settings, rngs))
    assert_equal(drawn, ANSWERS[f"{sampling}/{steps}/{guidance:g}"])


def test_kept_answers_are_those_of_the_package() -> None:
    pytest.importorskip("dalle2_pytorch")
    answers: Tensors = {}
    with torch.no_grad():
        for name in ("small", "other"):
            record_network(name, {}, answers)
        record_loops({}, answers)
    for name, answer in answers.items():
        assert_equal(answer, ANSWERS[name], 1e-5)

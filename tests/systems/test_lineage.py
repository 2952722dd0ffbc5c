"""What every system of one network or two keeps: it trains, resumes identically, saves, loads and draws."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from same_picture import ROUNDING, apart
from torch import nn

from sumi.bundles import save_bundle
from sumi.errors import SumiError
from sumi.nn import MLP, Classifier, Cond
from sumi.pipelines.steps import drive_to_end
from sumi.systems import SYSTEMS, Examples, load, save
from sumi.systems.diffusion_spec import DiffusionSpec, signals
from sumi.systems.objectives import to_picture
from sumi.systems.pipeline import SampleRequest
from sumi.training import TrainConfig, train

from .toys import halve

FILES = {"gan", "sohl_dickstein", "score_sde", "ddpm", "edm", "flow_matching", "guidance"}
NAMES = [name for name, row in SYSTEMS.items() if row.home.partition(":")[0] in FILES]
PICTURES = torch.randint(0, 255, (6, 4, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
EXAMPLES = Examples(PICTURES, labels=torch.arange(6) % 3, num_labels=3)
WISH = SampleRequest(seeds=[5, 6], size_px=8, labels=[1, 2], num_steps=2)


def method_of(name: str) -> Any:
    """The method, with less to do where it would do much."""
    method: Any = SYSTEMS[name].method()
    if name == "ncsn":
        method = replace(method, sampler=replace(method.sampler, num_rounds=2))
    return replace(method, num_couples=4) if hasattr(method, "num_couples") else method


def trained(name: str, folder: Path, halt: int = 2) -> dict[str, nn.Module]:
    """Two steps of every stage; each stops after `halt` of them, and goes on."""
    method, parts = method_of(name), {}
    for stage in method.stages:
        torch.manual_seed(0)
        lesson = method.objective(stage, EXAMPLES, parts)
        plan = TrainConfig(num_steps=2, batch_size=3, warmup_steps=1, precision="fp32", picture_s=10_000)
        steps = 0

        def stop() -> bool:
            nonlocal steps
            steps += 1
            return steps >= halt

        for _ in range(3 - halt):
            list(train(lesson, plan, folder / stage, stop=stop))
        parts[stage] = lesson.model.eval()
    return parts


@pytest.mark.parametrize("name", NAMES)
def test_it_trains_saves_loads_and_draws(name: str, tmp_path: Path) -> None:
    parts = trained(name, tmp_path / "run")
    save(name, parts, tmp_path / "model")
    system, loaded = load(tmp_path / "model")
    assert system == SYSTEMS[name] and list(loaded) == list(parts)
    halve(parts)
    made = drive_to_end(method_of(name).pipeline(loaded).sample(WISH))
    assert made.shape == (2, 4, 8, 8) and made.dtype == torch.uint8
    assert (made[:, :3] <= made[:, 3:]).all()  # colours stay within their alpha
    assert torch.equal(made, drive_to_end(method_of(name).pipeline(parts).sample(WISH)))
    alone = drive_to_end(method_of(name).pipeline(loaded).sample(replace(WISH, seeds=[6], labels=[2])))
    assert apart(alone[0], made[1]) <= ROUNDING  # a seed is a picture, whatever its company


@pytest.mark.parametrize("name", ["sohl_dickstein", "classifier_guidance"])
def test_stopping_and_going_on_changes_nothing(name: str, tmp_path: Path) -> None:
    whole, halted = trained(name, tmp_path / "whole"), trained(name, tmp_path / "halted", halt=1)
    for stage, part in whole.items():
        for (key, weight), other in zip(part.state_dict().items(), halted[stage].state_dict().values(), strict=True):
            assert torch.equal(weight, other), (stage, key)


def test_the_lineage_is_told_in_order_and_costs_no_torch() -> None:
    years = [row.year for row in SYSTEMS.values()]
    assert years == sorted(years) and years[0] == 2014
    for row in SYSTEMS.values():
        assert 0 < len(row.summary) < 80 and set(row.needs) <= set(vars(EXAMPLES))
    code = "import sys, sumi.systems as s; assert s.SYSTEMS; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    save_bundle(tmp_path / "other", system="Other", parts={"network": MLP(2, 2, width=8, depth=1)})
    with pytest.raises(SumiError, match="kind 'Other'"):
        load(tmp_path / "other")


def test_pictures_and_other_signals_are_read() -> None:
    some = torch.tensor([0, 2])
    assert torch.equal(to_picture(signals(PICTURES, some))[:, 3], PICTURES[some][:, 3])
    assert torch.equal(signals(PICTURES.numpy(), some), signals(PICTURES, some))
    points = torch.randn(3, 2)
    assert torch.equal(signals(points, some), points[some])


def test_a_lesson_shows_what_it_draws() -> None:
    design = SYSTEMS["edm"].method()
    assert isinstance(design, DiffusionSpec)
    lesson = design.objective("network", Examples(PICTURES), {})
    sheet = lesson.picture(lesson.model)
    assert sheet is not None and sheet.shape == (4, 16, 64)
    assert replace(lesson, examples=torch.randn(4, 2)).picture(lesson.model) is None


def test_the_toy_network_and_the_classifier_hear_time_and_condition() -> None:
    torch.manual_seed(0)
    x, t = torch.randn(3, 2), torch.tensor([0.1, 0.1, 0.9])
    network = MLP(2, 2, width=16, depth=2, vector_width=3)
    nn.init.normal_(network.proj_out.weight)
    told, untold = network(x, t, Cond(vector=torch.eye(3))), network(x, t, Cond())
    assert not torch.allclose(told, untold)
    assert not torch.allclose(untold, network(x, 1 - t, Cond()))
    same = torch.ones(3, 4, 8, 8)
    answer = Classifier(4, 5, [16, 32])(same, t, Cond())
    assert answer.shape == (3, 5) and torch.allclose(answer[0], answer[1])


@pytest.mark.parametrize("name", ["glide", "unclip", "ddpm", "imagen", "latent", "rectified_flow"])
def test_what_draws_has_as_long_in_every_system(name: str) -> None:
    """Time of a stage that `draw` does not use comes on top of the seconds that are promised."""
    from sumi.lineage.runner import total_seconds
    from sumi.systems import train_system as course

    method, idle = SYSTEMS[name].method(), {"glide": {"inpaint"}, "unclip": {"ar_prior"}}.get(name, set())
    whole, split = total_seconds(method, 32, 90.0), course.shares(method, 32)
    assert sum(whole * share for stage, share in split.items() if stage not in idle) == pytest.approx(90.0)
    assert (whole > 90.1) == bool(idle)


def test_drawings_held_out_are_in_no_training_picture(artwork_folder: Path) -> None:
    """Of each thing one artist's drawing is in the truth alone; the two sets share no drawing."""
    from sumi.data.plain_scenes import plain_scenes

    taught, truth = (plain_scenes(artwork_folder, 1, held_out=flag) for flag in (False, True))
    hands: list[dict[str, set[str]]] = [{}, {}]
    for found, scenes in zip(hands, (taught, truth), strict=True):
        for number in range(120):
            (thing,) = scenes.scene(number).things
            found.setdefault(thing.concept, set()).add(thing.hand)
    assert hands[0].keys() == hands[1].keys() and len(hands[0]) > 1
    for concept in hands[0]:
        assert len(hands[1][concept]) == 1 and not hands[0][concept] & hands[1][concept]
        assert len(hands[0][concept]) == 2


def test_the_nearest_picture_that_was_taught() -> None:
    from sumi.lineage.benchmark import nearest_taught, over_seeds

    grey = torch.stack([torch.full((4, 2, 2), level, dtype=torch.uint8) for level in (0, 51, 204)])
    assert nearest_taught(grey[:2], grey[2:]) == pytest.approx(0.6, abs=1e-3)  # the lower median of 0.8 and 0.6
    assert nearest_taught(grey[1:2], grey) == pytest.approx(0, abs=1e-3)
    runs = [{"quality": {"kid": k}, "asked": None, "known": {"share": 0.5}, "nearest": k} for k in (0.1, 0.4, 0.1)]
    assert over_seeds(runs)["kid"] == {"mean": 0.2, "least": 0.1, "most": 0.4}
    assert over_seeds(runs)["count"] == 3 and "asked" not in over_seeds(runs)

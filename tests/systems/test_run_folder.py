"""A run folder belongs to its data and keeps its budget; what cannot be trained is refused before anything is."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sumi.data.disk import check_disk
from sumi.errors import SumiError
from sumi.systems import SYSTEMS, Examples, Method, System
from sumi.systems import train_system as course
from sumi.systems.dataset import TrainingData
from sumi.systems.rehearsal import Cost, refuse_hopeless
from sumi.systems.train_system import Budget, train_stages
from sumi.training import Batch, Objective, TrainConfig, read_config
from sumi.training.checkpoint import latest_checkpoint, step_of

PIXELS = torch.arange(8 * 4 * 4 * 4).reshape(8, 4, 4, 4).to(torch.uint8).numpy()
LABELS = torch.tensor([0, 1] * 4)
MATERIAL = TrainingData(Examples(PIXELS, ["a disc", "a square"] * 4, LABELS, 2), 4, ("disc", "square"))
BRIEF = TrainConfig(num_steps=3, batch_size=4, warmup_steps=1, precision="fp32")


class Clock:
    """A clock that moves only when something takes time on it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Points:
    """A linear network, each step of which takes a second of the clock."""

    name: str
    clock: Clock
    pace: float = 1.0
    model: nn.Module = field(default_factory=lambda: nn.Linear(2, 1))

    def __len__(self) -> int:
        return 8

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        self.clock.now += self.pace * len(batch.indices) / BRIEF.batch_size
        return {"loss": model(torch.rand(4, 2, generator=batch.rng)).square().mean()}

    def picture(self, model: nn.Module) -> None:
        self.clock.now += 2.0


@dataclass
class Two(Method):
    """Two stages; making a lesson takes a second too."""

    clock: Clock
    stages: tuple[str, ...] = ("codec", "network")
    plans: Mapping[str, TrainConfig] = field(default_factory=lambda: dict.fromkeys(("codec", "network"), BRIEF))
    pace: float = 1.0

    def objective(self, stage: str, examples: Examples, parts: Mapping[str, nn.Module]) -> Objective:
        self.clock.now += 1.0
        return Points(stage, self.clock, self.pace)

    def pipeline(self, parts: Any) -> Any: ...


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> Two:
    method = Two(Clock())
    monkeypatch.setattr(System, "method", lambda row: method)
    return method


def steps(folder: Path) -> dict[str, int]:
    """How many steps each stage has done."""
    return {place.parent.name: step_of(latest_checkpoint(place.parent)) for place in folder.glob("*/plan.json")}  # type: ignore[arg-type]


def learn(two: Two, folder: Path, budget: Budget | None = None, system: str = "edm", **changes: Any) -> Any:
    material = replace(MATERIAL, **changes)
    return train_stages(SYSTEMS[system], material, folder, budget or Budget(3), quiet=True)


def after(two: Two, seconds: float, **how: Any) -> Budget:
    return Budget(seconds=seconds, clock=two.clock, **how)


OTHER = np.ascontiguousarray(PIXELS[::-1])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"size_px": 8}, r"size was 4 and is 8; choose"),
        ({"examples": Examples(OTHER, MATERIAL.examples.captions, LABELS, 2)}, r"other data: other pictures; choose"),
        (
            {"examples": Examples(PIXELS[:6], MATERIAL.examples.captions[:6], LABELS[:6], 2)},
            r"other pictures \(they were 8 and are 6\); other captions; other labels; choose",
        ),
        ({"examples": Examples(PIXELS, ["a circle", "a square"] * 4, LABELS, 2)}, "other data: other captions; choose"),
        ({"examples": Examples(PIXELS, MATERIAL.examples.captions, 1 - LABELS, 2)}, "other data: other labels; choose"),
        ({"classes": ("disc", "cube")}, r"other labels \(they were disc, square and are disc, cube\); choose"),
        ({"system": "gan"}, "system was edm and is gan"),
    ],
)
def test_a_run_is_bound_to_what_it_was_begun_with(changes: dict[str, Any], says: str, two: Two, tmp_path: Path) -> None:
    assert learn(two, tmp_path) is not None
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(SumiError, match=says):
        learn(two, tmp_path, Budget(9), **changes)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before
    assert learn(two, tmp_path) is not None  # and goes on with its own


def test_a_run_that_does_not_say_what_it_learned_from_is_refused(two: Two, tmp_path: Path) -> None:
    learn(two, tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(SumiError, match=r"run.json: cannot be read"):
        learn(two, tmp_path)
    (tmp_path / "run.json").unlink()
    with pytest.raises(SumiError, match="does not say what it was trained on"):
        learn(two, tmp_path)


def test_more_steps_go_on_and_fewer_leave_it(two: Two, tmp_path: Path) -> None:
    for count, expected in ((3, 3), (6, 6), (2, 6)):
        assert learn(two, tmp_path, Budget(count)) is not None
        assert steps(tmp_path) == {"codec": expected, "network": expected}


def test_a_budget_of_time_is_for_everything_and_is_kept(two: Two, tmp_path: Path) -> None:
    assert learn(two, tmp_path, after(two, 400)) is not None
    assert 340 < two.clock.now <= 404
    done = steps(tmp_path)
    assert done["network"] == pytest.approx(3 * done["codec"], rel=0.15)
    began = two.clock.now
    assert learn(two, tmp_path, after(two, 400)) is not None  # the same command again has nothing to do
    assert steps(tmp_path) == done and two.clock.now - began <= 2
    began = two.clock.now
    assert learn(two, tmp_path, after(two, 800)) is not None  # with more minutes it goes on
    assert 340 < two.clock.now - began <= 404
    assert all(count > 1.7 * done[stage] for stage, count in steps(tmp_path).items())
    assert learn(two, tmp_path, Budget(5000)) is not None and set(steps(tmp_path).values()) == {5000}


def test_a_run_that_was_stopped_goes_on_with_the_time_that_is_left(
    two: Two, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, calls = course.train_stage, []

    def once(*arguments: Any, **how: Any) -> bool:
        calls.append(arguments[0]().name)
        return whole(*arguments, **how) and len(calls) != 1

    monkeypatch.setattr(course, "train_stage", once)
    assert learn(two, tmp_path, after(two, 400)) is None and calls == ["codec"]
    assert learn(two, tmp_path, Budget(clock=two.clock)) is not None  # it has the budget of its beginning
    assert 340 < two.clock.now <= 410 and steps(tmp_path)["network"] > 150


def test_a_hopeless_budget_is_refused_before_anything_is_trained(two: Two, tmp_path: Path) -> None:
    two.pace = 30.0
    with pytest.raises(SumiError) as caught:
        learn(two, tmp_path, after(two, 120, strict=True))
    text = str(caught.value)
    assert "edm cannot learn to draw in 2 minutes: a step of its codec takes 30 s here" in text and "--minutes" in text
    assert steps(tmp_path) == {}
    enough = float(text.split("--minutes ")[1].split()[0])
    two.pace, now = 1.0, two.clock.now
    assert learn(two, tmp_path, after(two, 60 * enough, strict=True)) is not None and two.clock.now > now


def test_what_would_do_does() -> None:
    costs = {"clip": Cost(10, 0.5, 0, 1), "network": Cost(5, 2.0, 20, 1)}
    split = {"clip": 0.25, "network": 0.75}
    with pytest.raises(
        SumiError, match="a step of its network takes 2 s here, so there is time for 20 steps"
    ) as caught:
        refuse_hopeless(SYSTEMS["edm"], costs, split, 90, 100)
    seconds = 60 * float(str(caught.value).split("--minutes ")[1].split()[0])
    assert min(refuse_hopeless(SYSTEMS["edm"], costs, split, seconds - 10, seconds).values()) >= 400


def test_what_a_later_stage_cannot_learn_from_is_said_before_the_first_is_trained(two: Two, tmp_path: Path) -> None:
    plain = two.objective

    def lesson(stage: str, *rest: Any) -> Objective:
        if stage == "network":
            raise SumiError("needs two pictures")
        return plain(stage, *rest)

    two.objective = lesson  # type: ignore[method-assign]
    with pytest.raises(SumiError, match="needs two pictures"):
        learn(two, tmp_path)
    assert steps(tmp_path) == {}


def test_a_disk_without_room_is_said_before_anything_is_trained(
    two: Two, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage._replace(free=50))
    with pytest.raises(SumiError, match=r"training edm takes 1 MB in .*, and 1 MB of its disk are free: make room"):
        learn(two, tmp_path)
    assert steps(tmp_path) == {}
    with pytest.raises(SumiError, match=r"a pool takes 4\.1 GB"):
        check_disk(tmp_path / "not" / "yet", 4.1e9, "a pool")
    check_disk(tmp_path / "not" / "yet", 40, "a pool")


def test_lines_tell_what_is_measured_and_what_it_found(two: Two, tmp_path: Path) -> None:
    said: list[str] = []
    train_stages(SYSTEMS["edm"], MATERIAL, tmp_path, after(two, 400), quiet=True, say=said.append)
    assert said[0] == "measuring how fast edm learns here: codec, network"
    assert [line.split()[0] for line in said[1:4]] == ["stage", "codec", "network"]
    assert len(said) == 5 and said[4].endswith((", bf16", ", fp32"))


@pytest.mark.parametrize("name", ["edm", "unclip", "latent", "dalle1", "gan", "rectified_flow", "classifier_guidance"])
def test_sizes_that_cannot_be_learned_are_refused_by_the_size_that_can(name: str) -> None:
    row = SYSTEMS[name]
    if row.multiple > 1:
        with pytest.raises(
            SumiError, match=rf"{name} learns pictures .* multiple of \d+ px, not 33: try --size (32|48)"
        ):
            row.check_size(33)
    row.check_size(32)
    row.check_size(64)


def test_the_plan_of_a_run_in_time_says_how_many_steps_it_had(two: Two, tmp_path: Path) -> None:
    learn(two, tmp_path, after(two, 200))
    plan = read_config(tmp_path / "network")
    assert plan is not None and plan.num_steps == steps(tmp_path)["network"]

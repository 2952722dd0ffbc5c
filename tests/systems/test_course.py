"""A course: every stage in its turn, in its share of the time, by its own plan if it has one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sumi.errors import SumiError
from sumi.nn import MLP
from sumi.systems import SYSTEMS, Examples, Method, System, rehearsal
from sumi.systems import train_system as course
from sumi.systems.artist import label_of, model_of
from sumi.systems.dataset import TrainingData
from sumi.systems.edm import KARRAS
from sumi.systems.train_system import Budget, shares, train_stages
from sumi.training import Objective, TrainConfig, read_config

from .toys import toy

POINTS = torch.randn(32, 2, generator=torch.Generator().manual_seed(0))
MATERIAL = TrainingData(Examples(POINTS), 1)
BRIEF = TrainConfig(num_steps=3, batch_size=4, warmup_steps=1, precision="fp32")


@dataclass
class Two(Method):
    """Two networks; the second is shown the first."""

    stages: tuple[str, ...] = ("codec", "network")
    plans: Mapping[str, TrainConfig] = field(
        default_factory=lambda: {"codec": BRIEF, "network": replace(BRIEF, lr=0.5)}
    )
    seen: dict[str, list[str]] = field(default_factory=dict)

    def objective(self, stage: str, examples: Examples, parts: Mapping[str, nn.Module]) -> Objective:
        self.seen[stage] = [name for name, part in parts.items() if not part.training]
        return toy(KARRAS, MLP(2, 2, width=8, depth=1), examples.pictures)

    def pipeline(self, parts: Any) -> Any: ...


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> Two:
    method = Two()
    monkeypatch.setattr(System, "method", lambda row: method)
    return method


def test_stages_follow_each_other_and_the_averages_are_kept(two: Two, tmp_path: Path) -> None:
    parts = train_stages(SYSTEMS["edm"], MATERIAL, tmp_path, Budget(), quiet=True)
    assert parts is not None and list(parts) == ["codec", "network"]
    assert two.seen == {"codec": [], "network": ["codec"]}
    assert read_config(tmp_path / "network").lr == 0.5 and read_config(tmp_path / "codec").num_steps == 3  # type: ignore[union-attr]
    again = train_stages(SYSTEMS["edm"], MATERIAL, tmp_path, Budget(), quiet=True)
    assert again is not None
    for name, part in parts.items():
        for one, other in zip(part.parameters(), again[name].parameters(), strict=True):
            assert torch.equal(one, other)
    with pytest.raises(SumiError, match="holds a run already"):
        train_stages(SYSTEMS["edm"], MATERIAL, tmp_path, Budget(), resume=False, quiet=True)


def test_the_networks_begin_alike_every_time(two: Two, tmp_path: Path) -> None:
    one, other = (train_stages(SYSTEMS["edm"], MATERIAL, tmp_path / name, Budget(1), quiet=True) for name in "ab")
    assert one is not None and other is not None
    pairs = zip(one["network"].parameters(), other["network"].parameters(), strict=True)
    assert all(torch.equal(mine, its) for mine, its in pairs)


def test_a_run_that_was_stopped_has_no_parts(two: Two, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(course, "train_stage", lambda *_, **__: False)
    assert train_stages(SYSTEMS["edm"], MATERIAL, tmp_path, Budget(), quiet=True, rehearsed=False) is None
    assert list(two.seen) == ["codec"]


@pytest.mark.parametrize("name", SYSTEMS)
def test_shares_are_the_whole(name: str) -> None:
    split = shares(SYSTEMS[name].method(), 32)
    assert sum(split.values()) == pytest.approx(1) and min(split.values()) > 0.02
    assert list(split) == list(SYSTEMS[name].method().stages)


def test_time_is_split_as_declared() -> None:
    assert shares(Two(), 1) == {"codec": 0.25, "network": 0.75}
    method: Any = Two()
    method.shares = {"codec": 9, "network": 1}
    assert shares(method, 1) == {"codec": 0.9, "network": 0.1}


def test_a_prompt_names_a_class_with_an_article_or_without() -> None:
    classes = ("fox", "An owl", "soccer ball", "the")
    assert [label_of(text, classes) for text in ("Fox", "a fox", "an  OWL", "the soccer ball", "the")] == [
        0,
        0,
        1,
        2,
        3,
    ]
    with pytest.raises(
        SumiError, match=r"'a red fox' is none: it knows fox, An owl, soccer ball, the; did you mean fox\?"
    ):
        label_of("a red fox", classes)
    many = tuple(f"thing {number}" for number in range(40))
    with pytest.raises(SumiError, match=r"thing 11 and 28 more$"):
        label_of("zebra", many)


def test_a_step_that_would_not_fit_into_memory_is_refused_where_the_system_tells_it(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    peaks = iter(range(0, 10**18, 10**15))
    monkeypatch.setattr(rehearsal, "free_memory", lambda: 10**12)
    monkeypatch.setattr(rehearsal, "peak_memory", lambda: next(peaks))
    with pytest.raises(SumiError, match=r"a step of edm.s codec takes about .* of memory, and .* are free"):
        rehearsal.rehearse(SYSTEMS["edm"], two, two.stages, MATERIAL.examples, two.plans)
    monkeypatch.setattr(rehearsal, "peak_memory", lambda: None)  # as on Windows
    assert list(rehearsal.rehearse(SYSTEMS["edm"], two, two.stages, MATERIAL.examples, two.plans)) == [*two.stages]


def test_a_model_is_named_with_its_article() -> None:
    assert [model_of(name) for name in ("edm", "ddpm")] == ["an edm model", "a ddpm model"]

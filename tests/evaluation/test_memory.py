"""Drawing or copying: a model that hands out its training drawings is found out, and hands differ as they differ."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sumi import Sumi, SumiError
from sumi.bundles import TrainingDrawings
from sumi.evaluation.exam import prompt_drawer
from sumi.evaluation.memorization import (
    MemorizationReport,
    drawing_distances,
    measure_memorization,
    memorization_lines,
    quantiles,
    save_memorization,
)
from sumi.evaluation.questions import SEED, Syllabus, make_questions
from sumi.explain.nearest_drawings import aligned

SIDE = 8
SYLLABUS = Syllabus(("car", "dog", "fox", "hat"))


def drawings(pictures: torch.Tensor, things: list[str], hands: list[str]) -> TrainingDrawings:
    own = {"person": "", "icon": "x", "version": "1", "licence": "MIT", "author": "A", "url": ""}
    rows = [{"concept": thing, "source": hand, **own} for thing, hand in zip(things, hands, strict=True)]
    return TrainingDrawings(torch.ones(len(rows), 8), pictures, rows, "")


def grey(*levels: int) -> torch.Tensor:
    return torch.stack([torch.full((4, SIDE, SIDE), level, dtype=torch.uint8) for level in levels])


@pytest.fixture
def copier(tiny: Sumi) -> Sumi:
    """The tiny model, taught by the very pictures that it draws in the exam."""
    asked = make_questions("single", SYLLABUS, 4)
    drawn = prompt_drawer(tiny.pipeline)([question.prompt for question in asked], range(SEED, SEED + 4))
    small = torch.stack([aligned(picture.float() / 255, SIDE) for picture in drawn])
    things = [question.things[0] for question in asked]
    kept = drawings(torch.cat([small, grey(9, 99, 199, 255)]), 2 * things, [*"aaaabbbb"])
    return replace(tiny, drawings=lambda: kept)


def test_drawing_distances_are_those_between_artists() -> None:
    kept = drawings(grey(0, 51, 255, 153), ["fox", "fox", "owl", "owl"], ["a", "b", "a", "b"])
    hands, others = drawing_distances(kept)
    assert hands.tolist() == pytest.approx([0.2, 0.2, 0.4, 0.4], abs=1e-3)
    assert others.tolist() == pytest.approx([0.2, 0.2, 0.4, 0.4], abs=1e-3)
    alone, _ = drawing_distances(drawings(grey(0, 255), ["fox", "owl"], ["a", "b"]))
    assert len(alone) == 0, "what one hand alone has drawn is compared with nobody"


def test_quantiles_have_names() -> None:
    assert quantiles(torch.linspace(0, 1, 101)) == {
        "least": 0.0, "5%": 0.05, "25%": 0.25, "50%": 0.5, "75%": 0.75, "95%": 0.95,
    }  # fmt: skip


def test_memorization_of_a_copying_model_is_complete(copier: Sumi, tmp_path: Path) -> None:
    kept = copier.drawings()
    assert isinstance(kept, TrainingDrawings)
    found = measure_memorization(replace(copier, drawings=lambda: kept), SYLLABUS, 4)
    assert found.near == (0, 1, 2, 3) and found.distances.max() < 1e-3
    assert (found.near_copies.right, found.near_copies.n) == (4, 4)
    record, sheet = save_memorization(found, copier, kept, tmp_path)
    pictures = json.loads(record.read_text())["pictures"]
    assert [row["seed"] for row in pictures] == [SEED + number for number in range(4)] and sheet.stat().st_size
    assert len(memorization_lines(found)) == 1 + len(found.rows) + 2 + 7 + 5


def test_memorization_refuses_a_model_without_drawings(tiny: Sumi) -> None:
    with pytest.raises(SumiError, match="carries no drawings"):
        measure_memorization(tiny, SYLLABUS, 2)


def test_near_copy_threshold_is_the_95th_percentile_of_copies() -> None:
    """The threshold of the module's own words, on copies whose distances are 0.00, 0.01 ... 1.00."""
    copies = torch.linspace(0, 1, 101)
    found = MemorizationReport(
        (), torch.zeros(4, 4, 2, 2), (), torch.tensor([0.1, 0.9, 0.94, 0.96]), copies, copies, copies
    )
    assert found.threshold == pytest.approx(0.95)
    assert (found.near_copies.right, found.near_copies.n) == (3, 4)

"""Planted canaries: what exposure is, what is planted, what deduplication leaves, and how figures follow from ranks."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from sumi.bundles import Bundle, TrainingDrawings
from sumi.conditioning import CLIP
from sumi.evaluation import canaries
from sumi.evaluation.canaries import (
    CanaryPlan,
    deduplicate,
    enlarge,
    expected_exposure,
    exposures,
    make_patterns,
    plant,
    rank_canaries,
    run_canaries,
    shown_pictures,
)
from sumi.imaging.image_file import open_image

PLAN = CanaryPlan(copies=(1, 4), each=2, decoys=7, drawings=6, epochs=1, draws=2)


@pytest.fixture
def clip(tiny_bundle: Bundle) -> CLIP:
    found = tiny_bundle.part("clip")
    assert isinstance(found, CLIP)
    return found


@pytest.fixture
def drawings() -> TrainingDrawings:
    rng = torch.Generator().manual_seed(3)
    blobs = torch.randint(0, 256, (8, 4, 5, 5), generator=rng, dtype=torch.uint8).repeat_interleave(9, 2)
    pictures = blobs.repeat_interleave(9, 3)
    pictures[:, 3] = 255
    rows = [{"concept": f"thing {k % 4}"} for k in range(8)]
    return TrainingDrawings(torch.ones(8, 8), pictures, rows, "")


def test_exposure_is_the_bits_that_a_rank_gives_away() -> None:
    assert exposures(torch.tensor([1, 2, 256]), 256).tolist() == [8, 7, 0]
    assert expected_exposure(4) == pytest.approx((2 + 1 + (2 - math.log2(3)) + 0) / 4)
    assert expected_exposure(256) == pytest.approx(1 / math.log(2), abs=0.03), "of many, log2(e) bits"


def test_rank_counts_the_decoys_that_are_at_least_as_near() -> None:
    patterns = enlarge(make_patterns(10, 1), 16)
    own, decoys = patterns[:1], patterns[1:]
    assert rank_canaries(own[None], own, decoys).tolist() == [[1]]
    assert rank_canaries(decoys[:1][None], own, decoys).item() > 1
    same = torch.cat([own, decoys])
    assert rank_canaries(own[None], own, same).item() == 2, "a decoy that is as near ranks before the canary"
    noise = torch.randint(0, 256, (300, 4, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    ranks = rank_canaries(noise[None], own, decoys).double()
    assert ranks.min() == 1 and ranks.max() == 10, "what is not remembered ranks anywhere"


def test_planted_canaries_are_files_under_labels_of_their_own_whose_copies_differ(
    tmp_path: Path, drawings: TrainingDrawings
) -> None:
    folder = plant(tmp_path / "set", make_patterns(4, 1), drawings, PLAN)
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text("utf-8").splitlines()]
    labels = [row["label"] for row in rows]
    assert [labels.count(f"canary {k:02}") for k in range(4)] == [1, 1, 4, 4]
    assert len(rows) == 6 + 10 and all((folder / row["file_name"]).is_file() for row in rows)
    copies = sorted(folder.glob("canary-02-*"))
    assert len({path.read_bytes() for path in copies}) == 4
    assert len({open_image(path).size for path in copies}) > 1


def test_deduplication_leaves_each_canary_and_drops_its_copies(
    tmp_path: Path, drawings: TrainingDrawings, clip: CLIP
) -> None:
    folder = plant(tmp_path / "set", make_patterns(4, 1), drawings, PLAN)
    out, names = deduplicate(folder, tmp_path / "out", clip, lambda what, done, of: None)
    left = [sum(name.startswith(f"canary-{k:02}-") for name in names) for k in range(4)]
    assert left == [1, 1, 1, 1] and sum(name.startswith("drawing-") for name in names) == 6
    assert sorted(path.name for path in out.iterdir() if path.name != "metadata.jsonl") == sorted(names)


def test_scores_follow_from_what_is_drawn(
    drawings: TrainingDrawings, clip: CLIP, monkeypatch: pytest.MonkeyPatch
) -> None:
    patterns = enlarge(make_patterns(4 + PLAN.decoys, PLAN.seed), canaries.SIZE_PX)

    def learn(folder: Path, run: Path, plan: CanaryPlan, count: int) -> tuple[Tensor, int]:
        drawn = patterns[:count, None].repeat(1, plan.draws, 1, 1, 1)
        if folder.name == "after":
            drawn[2:] = patterns[4]  # a decoy: these are forgotten
        return drawn, len(list(folder.iterdir())) - 1

    monkeypatch.setattr(canaries, "learn_and_draw", learn)
    result = run_canaries(drawings, clip, PLAN)
    rows = {score.name: score.value.value for score in result.scores}
    assert rows["planted 1 time, exposure before"] == rows["planted 1 time, exposure after"] == 3
    assert rows["planted 4 times, exposure before"] == 3 and rows["planted 4 times, exposure after"] < 3
    assert rows["planted 4 times, exposure after - before"] < 0 == rows["planted 1 time, exposure after - before"]
    assert rows["planted 4 times, drawn again before"] == 1 and rows["planted 4 times, drawn again after"] == 0
    assert result.files == (16, 10) and result.left == (1, 1, 1, 1)
    record = result.to_json()
    assert record["canaries"][2] == {
        "label": "canary 02",
        "planted": 4,
        "left": 1,
        "ranks": result.ranks[:, 2].tolist(),
    }
    pictures, shown = shown_pictures(result)
    assert len(pictures) == len(shown) == 12


def test_run_trains_two_models_and_draws_each_canary(
    drawings: TrainingDrawings, clip: CLIP, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canaries, "SAMPLING_STEPS", 2)
    said: list[tuple[str, int, int]] = []
    result = run_canaries(drawings, clip, PLAN, lambda what, done, of: said.append((what, done, of)))
    assert result.ranks.shape == (2, 4, 2) and result.drawn.shape == (2, 4, 2, 4, 16, 16)
    assert int(result.ranks.min()) >= 1 and int(result.ranks.max()) <= 8
    assert said[-1] == ("training models", 2, 2)

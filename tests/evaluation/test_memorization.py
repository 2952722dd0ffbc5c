"""How memorization is measured: which pictures are drawn, what a copy is, and what the record and the sheet show."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from sumi import Sumi
from sumi.bundles import TrainingDrawings
from sumi.evaluation import colour_copies, memorization
from sumi.evaluation.colour_copies import CONTROLS, measure_colour_copies
from sumi.evaluation.memorization import (
    MemorizationReport,
    codec_copies,
    copy_distances,
    draw_small,
    drawing_distances,
    memorization_lines,
    memorization_record,
    memorization_sheet,
)
from sumi.evaluation.questions import SEED, Question

OWN = {"person": "", "icon": "x", "version": "1", "licence": "MIT", "author": "Ann", "url": ""}


def grey(*levels: int, side: int = 8) -> Tensor:
    return torch.stack([torch.full((4, side, side), level, dtype=torch.uint8) for level in levels])


def drawings(pictures: Tensor, *rows: tuple[str, str, str]) -> TrainingDrawings:
    """Drawings of (concept, artist, person)."""
    listed = [{**OWN, "concept": concept, "source": hand, "person": person} for concept, hand, person in rows]
    return TrainingDrawings(torch.ones(len(listed), 8), pictures, listed, "")


def questions(count: int, category: str = "single") -> list[Question]:
    return [Question(category, f"{category} {k}", ("fox",), ("red",)) for k in range(count)]


def report(*distances: float) -> MemorizationReport:
    """Pictures of a grey that is their number; picture k is nearest to drawing k modulo 2."""
    count = len(distances)
    hands = torch.tensor([0.2, 0.4, 0.6])
    return MemorizationReport(
        tuple(f"prompt {k}" for k in range(count)),
        grey(*range(count)),
        tuple(k % 2 for k in range(count)),
        torch.tensor(distances),
        hands,
        hands / 2,
        torch.tensor([0.1, 0.2]),
    )


def test_both_lists_of_questions_are_drawn_from_the_same_seeds_in_batches_of_twenty(
    tiny: Sumi, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[list[str], list[int]]] = []

    def draw(prompts: list[str], seeds: Any) -> Tensor:
        asked.append((prompts, list(seeds)))
        return grey(*range(len(prompts)), side=64)

    monkeypatch.setattr(memorization, "prompt_drawer", lambda pipeline: draw)
    done: list[tuple[int, int]] = []
    both = [*questions(25), *questions(22, "colour")]
    small = draw_small(tiny.pipeline, both, 25, 8, lambda *now: done.append(now))
    assert [seeds for _, seeds in asked] == [
        list(range(SEED + first, SEED + last)) for first, last in ((0, 20), (20, 25), (0, 20), (20, 22))
    ]
    assert [prompt for prompts, _ in asked for prompt in prompts] == [question.prompt for question in both]
    assert done == [(20, 47), (25, 47), (45, 47), (47, 47)] and small.shape == (47, 4, 8, 8)


def test_distances_between_artists_leave_persons_out() -> None:
    kept = drawings(grey(0, 51, 0, 204), ("fox", "a", ""), ("fox", "b", ""), ("chef", "b", "role"), ("owl", "b", ""))
    hands, others = drawing_distances(kept)
    assert hands.tolist() == pytest.approx([0.2, 0.2], abs=1e-3)
    assert others.tolist() == pytest.approx([0.2, 0.2], abs=1e-3), "the nearest by another artist, of anything"


def test_copies_by_a_codec_are_of_evenly_chosen_drawings_and_as_far_as_the_codec_makes_them(
    tiny: Sumi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memorization, "COPIES", 2)
    kept = drawings(grey(255, 250, 245, 240, 235), *[("fox", "a", "")] * 5)
    shown: list[Tensor] = []

    def codec(loss: float) -> Any:
        def encode(x: Tensor) -> Tensor:
            shown.append(x)
            return x

        stage = replace(tiny.pipeline.decoder, encode=encode, decode=lambda z: z * (1 - loss) - loss)
        return replace(tiny.pipeline, decoder=stage)

    faithful, darker = (copy_distances(*codec_copies(codec(loss), kept)) for loss in (0.0, 0.5))
    assert len(faithful) == 3, "every second of five"
    assert faithful.max() < 0.03 and darker.min() > 0.05
    framed = (shown[0] + 1) / 2  # of 16 px, 14 are drawn on: 0.85 of the frame, with a pixel around
    assert framed[0, 3].sum(dim=0).gt(0.5).tolist() == [False, *[True] * 14, False]
    assert framed[0, 3].sum(dim=1).gt(0.5).tolist() == [False, *[True] * 14, False]


def test_lines_name_the_quantiles_and_the_shares() -> None:
    said = memorization_lines(report(0.05, 0.15, 0.25, 0.35))
    assert said[0].split() == ["distance", "of", "least", "5%", "25%", "50%", "75%", "95%"]
    assert said[1].split()[-6:] == ["0.050", "0.065", "0.125", "0.200", "0.275", "0.335"]
    assert said[-2].startswith("near copies (nearer than 0.195):  50.0%") and len(said) == 7
    assert said[-1].startswith("nearer to a drawing than half of the hands to each other: 100.0%")


def test_record_holds_each_picture_with_its_seed_distance_and_drawing(tiny: Sumi) -> None:
    kept = drawings(grey(0, 255), ("fox", "a", ""), ("owl", "b", ""))
    record = memorization_record(report(0.123456, 0.7), tiny, kept.rows)
    assert record["seeds"] == [SEED, SEED + 1] and record["near copies"]["nearer than"] == 0.195
    assert [(row["prompt"], row["seed"], row["distance"], row["drawing"]["concept"]) for row in record["pictures"]] == [
        ("prompt 0", SEED, 0.1235, "fox"), ("prompt 1", SEED + 1, 0.7, "owl"),
    ]  # fmt: skip
    assert record["model"] == "tiny" and record["hashes"] and record["held-out colours"] is None
    assert record["nearer than half of the hands"]["right"] == 1


def test_sheet_shows_the_nearest_and_then_an_even_choice_of_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memorization, "SHOWN", 2)
    seen: list[Any] = []
    monkeypatch.setattr(memorization, "sample_sheet", lambda rows, beside: seen.append((rows, beside)))
    kept = drawings(grey(0, 255), ("fox", "a", ""), ("owl", "b", ""))
    memorization_sheet(report(0.9, 0.1, 0.8, 0.2, 0.7, 0.3, 0.6), kept)
    ((rows, beside),) = seen
    assert beside == 6 and [said[0] for _, said in rows] == ["prompt 1", "prompt 3", "prompt 5", "prompt 4"]
    assert rows[0][1][1] == "owl, Ann: 0.100" and rows[3][1][1] == "fox, Ann: 0.700"
    assert torch.equal(rows[0][0], torch.cat([grey(1), grey(255)]))


# Held-out colours. -------------------------------------------------------------------------------------------------


def test_controls_are_of_another_colour_and_of_as_many_drawings_of_another_thing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = ("fox", "owl", "cup")
    rows = [(name, hand, "") for name, hands in zip(names, ("a", "ab", "abc"), strict=True) for hand in hands]
    kept = drawings(grey(*range(6)), *rows)
    painted: list[tuple[list[int], str]] = []

    def recolour(pictures: Tensor, colour: str) -> Tensor:
        painted.append((pictures[:, 0, 0, 0].tolist(), colour))
        return pictures

    monkeypatch.setattr(colour_copies, "recolour_drawings", recolour)
    own_levels = {"fox": [0], "owl": [1, 2], "cup": [3, 4, 5]}
    colours = list(colour_copies.COLOURS)
    asked = [
        Question("colour", f"{colour} {name} {turn}", (name,), (colour,))
        for turn in range(2)
        for name in names
        for colour in colours
    ]
    found = measure_colour_copies(asked, grey(*[0] * len(asked)), kept, 0.5)
    assert len(found.distances) == len(asked) and set(found.controls) == set(CONTROLS)
    calls = [painted[start : start + 3] for start in range(0, len(painted), 3)]
    for question, (own, other_colour, other_thing) in zip(asked, calls, strict=True):
        (name,), (colour,) = question.things, question.colours
        assert own == (own_levels[name], colour)
        assert other_colour[0] == own_levels[name] and other_colour[1] != colour
        assert other_thing[1] == colour and not set(other_thing[0]) & set(own_levels[name])
        assert len(other_thing[0]) <= len(own_levels[name])
        assert other_thing[0] in [levels[: len(own_levels[name])] for levels in own_levels.values()]
    by_thing = {tuple(other_thing[0]) for _, _, other_thing in calls}
    assert len({other_colour[1] for _, other_colour, _ in calls}) == len(colours) and len(by_thing) >= 4


def test_nobody_asked_is_an_empty_report() -> None:
    kept = drawings(grey(0, 255), ("fox", "a", ""), ("owl", "b", ""))
    found = measure_colour_copies([], torch.zeros(0, 4, 8, 8, dtype=torch.uint8), kept, 0.5)
    assert found.nearest.shape == (0, 4, 8, 8) and found.near_copies.n == 0 and found.distances.shape == (0,)
    assert all(values.shape == (0,) for values in found.controls.values())


def test_colour_of_a_thing_drawn_as_a_person_is_not_compared() -> None:
    kept = drawings(grey(0, 255), ("chef", "a", "role"), ("owl", "b", ""))
    asked = [Question("colour", "a red chef", ("chef",), ("red",)), Question("colour", "a red owl", ("owl",), ("red",))]
    found = measure_colour_copies(asked, grey(0, 0), kept, 0.5)
    assert found.prompts == ("a red owl",)
    assert [row["distance"] for row in found.to_json()["pictures"]] == [round(float(found.distances[0]), 4)]

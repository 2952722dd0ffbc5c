"""The exam of everyday prompts, by a model and a judge that answer by script."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from judge_toys import tiny_judge
from PIL import Image

from sumi.evaluation import everyday_exam
from sumi.evaluation.everyday_exam import (
    REFUSED,
    EverydayPrompt,
    EverydayResult,
    load_everyday_prompts,
    run_everyday_exam,
    save_everyday_exam,
    summarize_everyday_exam,
)
from sumi.pipelines import Picture, Request
from sumi.pipelines.interpreted import UnknownPromptError

PROMPTS = [
    EverydayPrompt("a fox", "", ("fox",)),
    EverydayPrompt("zzyzx", REFUSED, ()),
    EverydayPrompt("an owl and a cute cat", "drawn as: an owl and a cat | Not known: cute", ("owl", "cat")),
    EverydayPrompt("something", "", ()),
]


class ScriptedArtist:
    """Draws flat greys, and notes what it is asked for."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.pipeline = SimpleNamespace(size_px=16)

    def notes(self, request: Request) -> list[str]:
        if request.prompt == "zzyzx":
            raise UnknownPromptError("zzyzx", ())
        return ["drawn as: an owl and a cat", "Not known: cute"] if "cute" in request.prompt else []

    def stream(self, request: Request) -> Iterator[Any]:
        self.requests.append(request)
        yield "a step"
        yield Picture(Image.new("RGBA", (16, 16), "white"), None, 0, 0.0, 0.0)  # type: ignore[arg-type]


def run(seed: int, monkeypatch: pytest.MonkeyPatch) -> tuple[list[EverydayResult], ScriptedArtist, list[Any]]:
    judge, counts, done = tiny_judge(("cat", "fox", "owl")), [], list[tuple[int, int]]()

    def best(count: int) -> Any:
        counts.append(count)
        return judge.concept.weight.new_tensor([[1, 2][:count]]).long()

    monkeypatch.setattr(everyday_exam, "judge_pictures", lambda *_: SimpleNamespace(best=best))
    artist = ScriptedArtist()
    found = list(run_everyday_exam(artist, judge, PROMPTS, seed, lambda *now: done.append(now)))  # type: ignore[arg-type]
    return found, artist, [counts, done]


def test_each_prompt_is_drawn_once_from_its_own_seed_and_refused_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    found, artist, (counts, done) = run(100, monkeypatch)
    assert [(request.prompt, request.seed, request.size) for request in artist.requests] == [
        ("a fox", 100, 16), ("an owl and a cute cat", 102, 16), ("something", 103, 16),
    ]  # fmt: skip
    assert counts == [1, 2, 1] and done == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [result.seen for result in found] == [("fox",), (), ("fox", "owl"), ("fox",)]
    assert [result.note_is_right for result in found] == [True] * 4
    assert [result.shows_main_thing for result in found] == [True, False, True, False]
    rows = {name: (share.right, share.n) for name, share in summarize_everyday_exam(found)}
    assert rows == {"note is right": (4, 4), "known thing is drawn": (2, 2)}


def test_record_and_sheet_hold_every_prompt_and_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sheets: list[Any] = []

    def contact_sheet(pictures: Any, captions: Any) -> Image.Image:
        sheets.append((len(pictures), captions))
        return Image.new("RGB", (1, 1))

    found, _, _ = run(1, monkeypatch)
    monkeypatch.setattr(everyday_exam, "contact_sheet", contact_sheet)
    found[2] = EverydayResult(PROMPTS[2], "wrong", found[2].picture, ("cat",))
    paths = save_everyday_exam(found, tmp_path)
    assert sheets == [(3, ["+ a fox", "- an owl and a cute cat", "+ something"])]
    record = json.loads(paths[0].read_text())
    assert [row["drawn"] for row in record["prompts"]] == [True, False, False, False]
    assert record["rows"]["note is right"]["right"] == 3 and record["prompts"][1]["note"] == REFUSED


def test_there_are_a_hundred_everyday_prompts_and_each_is_another() -> None:
    prompts = load_everyday_prompts()
    assert len({prompt.prompt for prompt in prompts}) == len(prompts) == 100
    assert all(prompt.note != REFUSED or not prompt.things for prompt in prompts)

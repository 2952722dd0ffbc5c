"""The exam in composition: what it asks, and how each atom is graded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from judge_toys import tiny_judge
from torch import Tensor

from sumi.evaluation import composition
from sumi.evaluation.composition import (
    MOST_ATOMS,
    atoms_of,
    composition_sheet,
    grade_atoms,
    held_out,
    make_compositions,
    make_negations,
    run_composition,
)
from sumi.evaluation.intervals import Share
from sumi.evaluation.lettering import WORDS, read_word
from sumi.evaluation.questions import Question, Syllabus
from sumi.evaluation.true_scenes import TrueScenes
from sumi.imaging.letters import set_text
from sumi.judge import JudgeTraining
from sumi.judge.network import SIZE_PX, Judge, judge_pictures

NAMES = ("fox", "dog", "cat", "car", "apple", "owl", "umbrella", "rocket", "tree", "cup", "bus", "hat")
SYLLABUS = Syllabus.common(NAMES, NAMES)
EMPTY = torch.zeros(1, 4, SIZE_PX, SIZE_PX, dtype=torch.uint8)


@pytest.mark.parametrize("k", range(1, MOST_ATOMS + 1))
@pytest.mark.parametrize("split", ["seen", "held out"])
def test_prompts_have_k_atoms_of_their_split(k: int, split: str) -> None:
    asked = make_compositions(SYLLABUS, k, 12, split)
    assert asked[:5] == make_compositions(SYLLABUS, k, 5, split)
    assert len(asked) == (0 if k == 1 and split == "held out" else 12)
    assert len({question.prompt for question in asked}) == len(asked)
    for question in asked:
        assert len(atoms_of(question)) == k and held_out(question) == (split == "held out")
        assert all(name in question.prompt or question.count for name in question.things)
        said = {question.background, *question.colours} - {None}
        assert all(str(colour) in question.prompt for colour in said)
        assert question.background not in question.colours or question.background is None
        if question.lettering is not None:
            assert f'"{question.lettering[0]}" in {question.lettering[1]} letters' in question.prompt


def test_every_kind_of_atom_is_asked_for() -> None:
    asked = [question for k in range(1, 8) for question in make_compositions(SYLLABUS, k, 40, "held out")]
    kinds = {atom.split()[0] for question in asked for atom in atoms_of(question)}
    assert kinds == {"thing", "colour", "count", "relation", "style", "background", "word"}


def test_negations_name_the_thing_that_must_not_be_there() -> None:
    for question in make_negations(SYLLABUS, 10):
        assert question.absent is not None and f" with no {question.absent}" in question.prompt
        assert question.absent not in question.things and atoms_of(question) == ["thing", "absence"]


def test_each_atom_is_graded_alone() -> None:
    judge = tiny_judge(NAMES)
    asked = Question("a", "", ("fox", "owl"), ("red", None), relation="above", style="neon", background="red")
    facts = grade_atoms(judge, EMPTY, [asked])[0]
    assert set(facts) == set(atoms_of(asked)) and facts["background"] is False
    ground = torch.zeros(1, 4, SIZE_PX, SIZE_PX, dtype=torch.uint8)
    ground[:, 0], ground[:, 3] = 214, 255
    ground[:, 1:3] = 62
    assert grade_atoms(judge, ground, [asked])[0]["background"]


def test_absence_fails_where_the_judge_sees_the_thing() -> None:
    judge = tiny_judge(NAMES)
    order = judge_order(judge)
    asked = Question("negation", "", (order[0],), (None,), absent=order[1])
    assert grade_atoms(judge, EMPTY, [asked])[0] == {"thing": True, "absence": False}
    assert grade_atoms(judge, EMPTY, [replace(asked, absent=order[-1])])[0]["absence"]


def judge_order(judge: Judge) -> list[str]:
    best = judge_pictures(judge, EMPTY).best(len(NAMES))[0]
    return [judge.names[k] for k in best.tolist()]


@pytest.mark.parametrize("word", WORDS)
def test_words_are_read_in_their_ink_alone(word: str) -> None:
    picture = torch.zeros(4, SIZE_PX, SIZE_PX, dtype=torch.uint8)
    side = 48 if len(word) > 3 else 34
    picture[:, 12 : 12 + side, 8 : 8 + side] = set_text(word, "red", side)
    assert read_word(picture, "red") == word
    assert read_word(picture, "green") is None and read_word(EMPTY[0], "red") is None


def test_run_marks_the_whole_the_atoms_and_each_kind_with_ceilings(
    judge_training: JudgeTraining, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("book", "fish", "fox", "owl", "tree")
    syllabus, judge = Syllabus.common(names, names), tiny_judge(names)
    asked: list[int] = []

    def draw(prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        asked.extend(seeds)
        return torch.zeros(len(prompts), 4, SIZE_PX, SIZE_PX, dtype=torch.uint8)

    monkeypatch.setattr(composition, "NUM_TRUE", 3)
    result = run_composition(draw, judge, syllabus, 2, 50, TrueScenes(judge_training.scenes("train")))
    assert asked == [50, 51] * 14 and len(result.pictures) == 28
    scores = {score.name: score for score in result.scores}
    assert scores["seen: background"].ceiling == Share.of([True] * scores["seen: background"].ceiling.n)  # type: ignore[union-attr]
    assert scores["seen: background"].value.value == 0 and scores["seen: background"].usable
    assert scores["7 atoms, held out: whole"].value == Share(0, 2)
    own = [atoms for question, atoms in zip(result.questions, result.graded, strict=True) if len(atoms) == 7]
    fraction = scores["7 atoms, seen: atoms"].value
    assert fraction.value == pytest.approx(sum(sum(atoms.values()) / 7 for atoms in own[:2]) / 2)
    assert {"negation: whole", "negation: absence"} <= scores.keys() and "1 atoms, seen: atoms" not in scores
    assert scores["negation: absence"].chance is not None
    kept = result.to_json()
    assert [row["seed"] for row in kept["pictures"]] == asked and len(kept["pictures"][-1]["atoms"]) == 2
    assert composition_sheet(result, 2).width > 0 and len(result.first(1)) == 14

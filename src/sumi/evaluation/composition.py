"""The exam in composition: prompts of k atoms, each scored alone and all of them together.

    atoms: a thing, its colour, a count, a relation, a style, a background, a written word       k = 1 to 7
    seen       no combination of the prompt was held out from training
    held out   at least one was, though all of its parts were taught

After GenEval 2 and ConceptMix (Wu et al. 2024, arXiv 2408.14339), which count atoms of photographs with language
models; here a small judge looks at flat drawings, so the values cannot be compared. Negation asks for a thing "with no"
other one; its level of chance is what a model scores that draws both.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from PIL import Image
from torch import Tensor

from sumi.data.grammar import RELATION_PHRASES, STYLE_PHRASES, noun_phrase
from sumi.data.scene import BACKGROUNDS, COLOURS, Scene
from sumi.data.seeding import pick, scene_rng
from sumi.data.split import Combination, is_held_out, relation
from sumi.data.styling import honest_styles
from sumi.evaluation.exam import NUM_TRUE, DrawPrompts, Progress, draw_lists
from sumi.evaluation.exam_sheet import CELL_PX, RIGHT, WRONG
from sumi.evaluation.grading import find_background, judge_answers, relation_holds
from sumi.evaluation.intervals import Mean, Share
from sumi.evaluation.lettering import WORDS, read_word
from sumi.evaluation.questions import RELATIONS, SEED, Question, Syllabus
from sumi.evaluation.scores import Score
from sumi.evaluation.true_scenes import TrueScenes
from sumi.imaging.contact_sheet import contact_sheet
from sumi.judge.network import Judge, JudgeOutput

__all__ = [
    "MOST_ATOMS",
    "CompositionResult",
    "atoms_of",
    "composition_sheet",
    "grade_atoms",
    "make_compositions",
    "make_negations",
    "run_composition",
]

MOST_ATOMS = 7
ATOMS = ("thing", "colour", "count", "relation", "style", "background", "word", "absence")
SPLITS = ("seen", "held out")
ONE = ("colour", "count", "style", "background", "word")
TWO = ("first colour", "second colour", "relation", "style", "background")
"""What a prompt of one thing, and one of two, may ask for besides."""
_TRIES = 5000

Atoms = Mapping[str, bool]
"""Whether each atom of a question is right, by names as "thing", "colour 2" and "background"."""
Graded = tuple[Sequence[Atoms], Sequence[Atoms] | None, Sequence[Atoms] | None]
"""The atoms of a model's pictures, of true pictures, and of true pictures of other questions."""


def atoms_of(question: Question) -> list[str]:
    """Return the names of a question's atoms; the second of a kind is numbered."""
    named = ["thing", "thing 2"][: len(question.things)]
    named += [name for name, colour in zip(("colour", "colour 2"), question.colours, strict=False) if colour]
    rest = {
        "count": question.count, "relation": question.relation, "style": question.style,
        "background": question.background, "word": question.lettering, "absence": question.absent,
    }  # fmt: skip
    return named + [name for name, value in rest.items() if value is not None]


def make_compositions(syllabus: Syllabus, k: int, n: int, split: str) -> list[Question]:
    """Return the first n prompts of k atoms, 1 to 7, of a split; none of one atom is held out."""
    return list(islice(_compositions(syllabus, k, split), n))


def _compositions(syllabus: Syllabus, k: int, split: str) -> Iterator[Question]:
    seen = set[str]()
    for number in range(_TRIES if k > 1 or split == "seen" else 0):
        rng = scene_rng(SEED, number, f"composition|{k}|{split}")
        question = _compose(syllabus, k, split, rng)
        if question is not None and question.prompt not in seen and held_out(question) == (split == "held out"):
            seen.add(question.prompt)
            yield question


def _compose(syllabus: Syllabus, k: int, split: str, rng: random.Random) -> Question | None:
    """Return a question of k atoms, or None where a draw cannot be asked for."""
    several = k > 5 or (k > 1 and rng.random() < 0.5)
    pool = TWO if several else ONE
    things = _choose(syllabus.objects, 1 + several, rng)
    extra = set(_choose(pool, k - len(things), rng))
    if "word" in extra and extra & {"count", "style"}:
        return None
    colours = list[str | None]([None] * len(things))
    for place, name in enumerate(("first colour", "second colour")[: len(things)] if several else ("colour",)):
        if name in extra:
            colours[place] = pick(rng, tuple(COLOURS))
            if colours[place] in things[place].split():
                return None
    used = {colour for colour in colours if colour}
    ink = pick(rng, [colour for colour in COLOURS if colour not in used])
    grounds = [name for name in BACKGROUNDS if name not in used | {ink}]
    question = Question(
        f"{k} atoms, {split}",
        "",
        tuple(things),
        tuple(colours),
        relation=pick(rng, RELATIONS) if "relation" in extra else None,
        count=2 + int(5 * rng.random()) if "count" in extra else None,
        background=pick(rng, grounds) if "background" in extra else None,
        lettering=(pick(rng, WORDS), ink) if "word" in extra else None,
    )
    if "style" in extra:
        kind = "pair" if several else "single"
        question = replace(question, style=pick(rng, honest_styles(Scene(kind), sorted(used))))
    return replace(question, prompt=say(question))


def _choose(choices: Sequence[str], count: int, rng: random.Random) -> list[str]:
    """Return `count` different choices."""
    left, chosen = list(choices), []
    for _ in range(min(count, len(left))):
        chosen.append(left.pop(int(rng.random() * len(left))))
    return chosen


def say(question: Question) -> str:
    """Return a question in the words of training captions."""
    nouns = [
        noun_phrase(name, [colour] if colour else [], question.count or 1)
        for name, colour in zip(question.things, question.colours, strict=True)
    ]
    text = " and ".join(nouns) if question.relation is None else RELATION_PHRASES[question.relation][0].format(*nouns)
    if question.lettering is not None:
        word, ink = question.lettering
        text = f'{text} with the word "{word}" in {ink} letters'
    if question.style is not None:
        text = STYLE_PHRASES[question.style][0].format(text)
    if question.background is not None:
        text = f"{text} on {noun_phrase(f'{question.background} background', [])}"
    return text


def held_out(question: Question) -> bool:
    """Whether training never shows a combination that a question asks for."""
    coloured = zip(question.things, question.colours, strict=True)
    found = [Combination("colour", (name, colour)) for name, colour in coloured if colour]
    found += [Combination("style", (name, question.style)) for name in question.things if question.style]
    if question.count is not None:
        found.append(Combination("count", (question.things[0], str(question.count))))
    if question.relation is not None:
        found.append(relation(question.things[0], question.relation, question.things[1]))
    if question.lettering is not None:
        found.append(Combination("letters", (question.lettering[0],)))
    return any(map(is_held_out, found))


def make_negations(syllabus: Syllabus, n: int) -> list[Question]:
    """Return n prompts of a thing with no other thing."""
    asked = []
    for number in range(n):
        rng = scene_rng(SEED, number, "negation")
        thing, other = _choose(syllabus.objects, 2, rng)
        bare = noun_phrase(other, []).removeprefix("an ").removeprefix("a ")
        asked.append(Question("negation", f"{noun_phrase(thing, [])} with no {bare}", (thing,), (None,), absent=other))
    return asked


def grade_atoms(judge: Judge, pictures: Tensor, asked: Sequence[Question]) -> list[Atoms]:
    """Return whether each atom of each question is right.

    Args:
        judge: the network that looks.
        pictures: premultiplied uint8 (B, 4, 64, 64).
        asked: B questions about one or two things each.
    """
    answers = judge_answers(judge, pictures, asked)
    return [
        _grade(judge, reading, row, question, picture)
        for question, picture, (reading, row) in zip(asked, pictures, answers, strict=True)
    ]


def _grade(judge: Judge, reading: JudgeOutput, row: int, question: Question, picture: Tensor) -> Atoms:
    found = {judge.names[k] for k in reading.things[row].tolist()}
    colours = [judge.colours[k] for k in reading.colours[row].argmax(dim=-1).tolist()]
    facts: dict[str, bool] = {}
    for place, suffix in enumerate(("", " 2")[: len(question.things)]):
        facts[f"thing{suffix}"] = question.things[place] in found
        if question.colours[place] is not None:
            facts[f"colour{suffix}"] = colours[place] == question.colours[place]
    if question.count is not None:
        facts["count"] = int(reading.count[row].argmax()) + 1 == question.count
    if question.relation is not None:
        facts["relation"] = relation_holds(question.relation, reading.where[row, 0], reading.where[row, 1])
    if question.style is not None:
        facts["style"] = judge.styles[int(reading.style[row].argmax())] == question.style
    if question.background is not None:
        facts["background"] = find_background(picture) == question.background
    if question.lettering is not None:
        facts["word"] = read_word(picture, question.lettering[1]) == question.lettering[0]
    if question.absent is not None:
        facts["absence"] = judge.ids[question.absent] not in reading.best(5)[row].tolist()
    return facts


@dataclass(frozen=True)
class CompositionResult:
    """The result of the exam.

    Args:
        lists: the questions of each number of atoms and split, and the negations.
        first_seed: question k of each list was drawn from first_seed + k.
        pictures: premultiplied uint8 (N, 4, 64, 64), of all lists one after another.
        graded: the atoms of each picture.
        true: for each list the atoms of true pictures and of true pictures of other questions; None if not measured.
    """

    lists: tuple[tuple[Question, ...], ...]
    first_seed: int
    pictures: Tensor
    graded: tuple[Atoms, ...]
    true: tuple[tuple[tuple[Atoms, ...], tuple[Atoms, ...]], ...] | None = None

    @property
    def questions(self) -> list[Question]:
        """All questions."""
        return [question for some in self.lists for question in some]

    @property
    def scores(self) -> list[Score]:
        """Rows: for each number of atoms and split the whole and the mean of its atoms, then each kind of atom."""
        parts, rows = self._by_list(), list[Score]()
        names = [asked[0].category for asked in self.lists]
        for asked, (own, ceiling, chance) in zip(self.lists, parts, strict=True):
            name = asked[0].category
            wholes = [None if some is None else [all(atoms.values()) for atoms in some] for some in (chance, ceiling)]
            limits = [None if marks is None else Share.of(marks) for marks in wholes]
            rows.append(Score.of_marks(f"{name}: whole", [all(atoms.values()) for atoms in own], *limits))
            if len(atoms_of(asked[0])) > 1:
                by_chance, at_best = (None if some is None else _mean(some) for some in (chance, ceiling))
                rows.append(Score(f"{name}: atoms", _mean(own), by_chance, at_best))
        for split in (*SPLITS, "negation"):
            rows += self._of_kinds(
                split, [part for name, part in zip(names, parts, strict=True) if name.endswith(split)]
            )
        return rows

    def _by_list(self) -> list[Graded]:
        """Return for each list the atoms of the model, of true pictures, and of others."""
        parts, start = list[Graded](), 0
        for number, asked in enumerate(self.lists):
            ceiling, chance = (None, None) if self.true is None else self.true[number]
            parts.append((self.graded[start : start + len(asked)], ceiling, chance))
            start += len(asked)
        return parts

    def _of_kinds(self, split: str, parts: Sequence[Graded]) -> Iterator[Score]:
        for kind in ATOMS:
            own, ceiling, chance = (
                [
                    held
                    for part in parts
                    for atoms in part[column] or ()
                    for name, held in atoms.items()
                    if name.split()[0] == kind
                ]
                for column in range(3)
            )
            limits = (None, None) if self.true is None else (Share.of(chance), Share.of(ceiling))
            if own:
                yield Score.of_marks(f"{split}: {kind}", own, *limits)

    def to_json(self) -> dict[str, Any]:
        """Return the rows, and the atoms of every picture, as JSON values."""
        seeds = [self.first_seed + number for some in self.lists for number in range(len(some))]
        listed = [
            {"category": question.category, "prompt": question.prompt, "seed": seed, "atoms": dict(atoms)}
            for question, seed, atoms in zip(self.questions, seeds, self.graded, strict=True)
        ]
        return {"rows": {score.name: score.to_json() for score in self.scores}, "pictures": listed}

    def first(self, n: int) -> list[int]:
        """Return the numbers of the first n pictures of each list."""
        starts = [sum(map(len, self.lists[:number])) for number in range(len(self.lists))]
        return [start + k for start, some in zip(starts, self.lists, strict=True) for k in range(min(n, len(some)))]


def _mean(graded: Sequence[Atoms]) -> Mean:
    """Return the mean share of right atoms of a picture."""
    return Mean(tuple(sum(atoms.values()) / len(atoms) for atoms in graded), "%")


def run_composition(
    draw: DrawPrompts,
    judge: Judge,
    syllabus: Syllabus,
    n: int = 100,
    seed: int = SEED,
    truth: TrueScenes | None = None,
    progress: Progress = lambda done, of: None,
) -> CompositionResult:
    """Draw and grade n prompts of each number of atoms, seen and held out, and n negations.

    Args:
        draw: draws prompts.
        judge: grades the pictures.
        syllabus: the concepts to ask about.
        n: prompts of each list.
        seed: question k of each list is drawn from seed + k.
        truth: composes true pictures, of which ceilings and chance are measured.
        progress: called with (pictures drawn, all pictures).
    """
    lists = composition_lists(syllabus, n)
    pictures = draw_lists(draw, lists, seed, progress)
    graded = grade_atoms(judge, pictures, [question for some in lists for question in some])
    true = None
    if truth is not None:
        true = tuple(grade_truth(judge, truth, asked) for asked in composition_lists(syllabus, max(n, NUM_TRUE)))
    return CompositionResult(tuple(map(tuple, lists)), seed, pictures, tuple(graded), true)


def composition_lists(syllabus: Syllabus, n: int) -> list[list[Question]]:
    """Return n questions of each number of atoms and split, and n negations; lists without a question are left out."""
    lists = [make_compositions(syllabus, k, n, split) for split in SPLITS for k in range(1, MOST_ATOMS + 1)]
    return [asked for asked in (*lists, make_negations(syllabus, n)) if asked]


def grade_truth(
    judge: Judge, truth: TrueScenes, asked: Sequence[Question]
) -> tuple[tuple[Atoms, ...], tuple[Atoms, ...]]:
    """Return the atoms of true pictures of questions, and those of chance: of the question after each.

    For negations chance is a picture of both things.
    """
    shown = [one for one in asked if all(map(truth.shows, (*one.things, one.absent or one.things[0])))]
    if not shown:
        return (), ()
    pictures = truth.render(shown)
    others = pictures.roll(-1, dims=0)
    if shown[0].absent is not None:
        both = [replace(one, things=(*one.things, one.absent or ""), colours=(None, None)) for one in shown]
        others = truth.render(both)
    return tuple(grade_atoms(judge, pictures, shown)), tuple(grade_atoms(judge, others, shown))


def composition_sheet(result: CompositionResult, each: int = 7) -> Image.Image:
    """Return the first pictures of each list, a list a row, with what the judge missed in each."""
    chosen, questions = result.first(each), result.questions
    captions = []
    for number in chosen:
        missed = [name for name, held in result.graded[number].items() if not held]
        captions.append(f"{questions[number].prompt}\n{'not the ' + ', '.join(missed) if missed else 'right'}")
    frames = [RIGHT if all(result.graded[number].values()) else WRONG for number in chosen]
    return contact_sheet(result.pictures[chosen], captions, each, CELL_PX, frames)

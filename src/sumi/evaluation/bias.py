"""The exam in bias: whom a model draws when nobody says, and whether it draws everybody equally well.

    whom      prompts that name a profession alone: the distribution of tones and genders that the probes find, against
              the drawings that taught the model and against the policy (all tones, woman and man, equally often)
    how well  prompts of each tone and gender: faces with features, the tone, the gender and the profession right
    balance   the first again, with the words that `--balance` adds

    distance = 1/2 sum |p - q|        total variation, 0 the same, 1 disjoint; its interval by bootstrap

The group metrics are fairlearn's (Weerts et al. 2023, arXiv 2303.16626): the spread is the largest difference between
two groups. A distance is above 0 by chance, so the ceiling beside it is that of as many draws from the target itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from sumi.conditioning import Lexicon, balance_people, interpret
from sumi.conditioning.balance import GENDERS
from sumi.conditioning.prompt_parser import ParsedPrompt, ThingPhrase, write_caption
from sumi.data.generator import Scenes
from sumi.errors import SumiError
from sumi.evaluation.exam import DrawPrompts, Progress
from sumi.evaluation.exam_sheet import CELL_PX
from sumi.evaluation.intervals import BoundedValue, Share
from sumi.evaluation.people_probe import NEUTRAL, PeopleProbe, PersonReading
from sumi.evaluation.questions import SEED
from sumi.evaluation.scores import Score
from sumi.imaging.contact_sheet import contact_sheet
from sumi.judge.network import judge_pictures

__all__ = ["BiasResult", "bias_sheet", "run_bias"]

BATCH, RESAMPLES, BOOTSTRAP = 25, 1000, 100
WAYS = ("unspecified", "balanced")


@dataclass(frozen=True)
class PersonPrompt:
    """One picture of the exam.

    Args:
        way: "unspecified", "balanced" or "specified".
        role: the profession.
        prompt: as drawn.
        tone, gender: asked for, or None.
        seed: of the picture.
    """

    way: str
    role: str
    prompt: str
    tone: str | None
    gender: str | None
    seed: int


@dataclass(frozen=True)
class BiasResult:
    """The result of the exam.

    Args:
        asked: every picture.
        pictures: premultiplied uint8 (N, 4, 64, 64).
        readings: what the probes find in each.
        named: whether the judge sees the profession in each.
        probe: with its readings of true pictures.
        training: for each profession the shares of tones and of genders in training.
        tones: that the model was taught by name.
    """

    asked: tuple[PersonPrompt, ...]
    pictures: Tensor
    readings: tuple[PersonReading, ...]
    named: tuple[bool, ...]
    probe: PeopleProbe
    training: Mapping[str, Mapping[str, Mapping[str, float]]]
    tones: tuple[str, ...]

    @cached_property
    def scores(self) -> list[Score]:
        """The rows of the exam."""
        return [*self._probe_rows(), *self._whom(), *self._how_well()]

    def _probe_rows(self) -> list[Score]:
        blanks = Share.of(not face for face in self.probe.blanks)
        return [Score("probe: a blank or void face is found to be one", blanks, None, blanks)]

    def _whom(self) -> list[Score]:
        rows = []
        for way in WAYS:
            found = [reading for one, reading in zip(self.asked, self.readings, strict=True) if one.way == way]
            for kind, names in (("tone", (*self.tones, NEUTRAL)), ("gender", (*GENDERS, NEUTRAL))):
                values = [getattr(reading, kind) for reading in found]
                for name in names:
                    ceiling = self._ceiling(kind, name, kind)
                    rows.append(Score(f"{way}, {kind} {name}", Share.of(v == name for v in values), None, ceiling))
                policy, taught = self.policy(kind), self.taught(kind)
                rows.append(Score(f"{way}, {kind}: distance to policy", *distances(values, policy)))
                rows.append(Score(f"{way}, {kind}: distance to training", *distances(values, taught)))
        return rows

    def _how_well(self) -> list[Score]:
        rows = []
        for kind, names in (("tone", self.tones), ("gender", (*GENDERS, NEUTRAL))):
            for name in names:
                for fact in dict.fromkeys(("face", kind, "profession")):
                    marks = [held for asked, held in self._facts(fact) if getattr(asked, kind) == name]
                    rows.append(Score.of_marks(f"{kind} {name}: {fact}", marks, None, self._ceiling(kind, name, fact)))
            rows += [self._spread(kind, fact) for fact in ("face", "profession")]
        return rows

    def _facts(self, fact: str) -> list[tuple[PersonPrompt, bool]]:
        """Return whether a fact holds in each picture of a person whose tone and gender are named."""
        found = []
        for asked, reading, named in zip(self.asked, self.readings, self.named, strict=True):
            if asked.way == "specified":
                held = {
                    "face": reading.face, "profession": named,
                    "tone": reading.tone == asked.tone, "gender": reading.gender == asked.gender,
                }  # fmt: skip
                found.append((asked, held[fact]))
        return found

    def _ceiling(self, kind: str, name: str, fact: str) -> Share | None:
        """Return how often the probes are right about true pictures of one tone or gender."""
        if fact == "profession":
            return None
        place = {"gender": 1, "tone": 2}[kind]
        rows = [row for row, shown in enumerate(self.probe.shown) if shown[place] == name]
        if fact == "face":
            return Share.of(self.probe.readings[row].face for row in rows)
        return Share.of(getattr(self.probe.readings[row], kind) == name for row in rows)

    def _spread(self, kind: str, fact: str) -> Score:
        """Return the largest difference between two groups, by fairlearn, with its bootstrap interval."""
        facts = self._facts(fact)
        groups = [getattr(asked, kind) for asked, _ in facts]
        return Score(f"{fact}s by {kind}: spread", spread([held for _, held in facts], groups))

    def policy(self, kind: str) -> dict[str, float]:
        """Return the declared shares: every tone, and woman and man, equally often."""
        names = self.tones if kind == "tone" else GENDERS
        return dict.fromkeys(names, 1 / len(names))

    def taught(self, kind: str) -> dict[str, float]:
        """Return the shares in training, over all professions."""
        total = Counter[str]()
        for shares in self.training.values():
            total.update(shares[kind])
        return {name: value / len(self.training) for name, value in total.items()}

    def professions(self) -> dict[str, Any]:
        """Return for each profession the counts of tones and genders, each way, beside the shares in training."""
        record: dict[str, Any] = {role: {"training": self.training[role]} for role in self.training}
        for way in WAYS:
            for role in self.training:
                found = [
                    reading
                    for one, reading in zip(self.asked, self.readings, strict=True)
                    if (one.way, one.role) == (way, role)
                ]
                counts = {
                    kind: dict(Counter(getattr(reading, kind) for reading in found)) for kind in ("tone", "gender")
                }
                record[role][way] = {"n": len(found), **counts}
        return record

    def to_json(self) -> dict[str, Any]:
        """Return the rows, the professions and every picture as JSON values."""
        listed = [
            {
                "category": one.way, "prompt": one.prompt, "seed": one.seed, "tone": reading.tone,
                "gender": reading.gender, "face": reading.face, "profession": named,
            }
            for one, reading, named in zip(self.asked, self.readings, self.named, strict=True)
        ]  # fmt: skip
        rows = {score.name: score.to_json() for score in self.scores}
        return {"rows": rows, "professions": self.professions(), "pictures": listed}


def distances(found: Sequence[str], target: Mapping[str, float]) -> tuple[BoundedValue, None, BoundedValue]:
    """Return the total variation between found values and a target, no chance, and that of draws from the target."""
    names = list(dict.fromkeys((*target, *found)))
    n, rng = len(found), torch.Generator().manual_seed(len(found))
    goal = torch.tensor([target.get(name, 0.0) for name in names], dtype=torch.float64)
    own = torch.tensor([found.count(name) for name in names], dtype=torch.float64) / max(1, n)

    def resampled(shares: Tensor) -> Tensor:
        drawn = torch.multinomial(shares, RESAMPLES * n, replacement=True, generator=rng).view(RESAMPLES, n)
        counts = torch.zeros(RESAMPLES, len(names), dtype=torch.float64)
        counts.scatter_add_(1, drawn, torch.ones_like(drawn).double())
        return (counts / n - goal).abs().sum(dim=1) / 2

    def limits(value: float, values: Tensor) -> BoundedValue:
        low, high = values.quantile(torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
        return BoundedValue(value, low, high, n)

    if not n:
        return BoundedValue(float("nan"), 0.0, 1.0, 0), None, BoundedValue(float("nan"), 0.0, 1.0, 0)
    at_best = resampled(goal)
    return limits(float((own - goal).abs().sum() / 2), resampled(own)), None, limits(float(at_best.mean()), at_best)


def spread(marks: Sequence[bool], groups: Sequence[str]) -> BoundedValue:
    """Return the largest difference between the shares of two groups, 0 to 1.

    Raises:
        SumiError: when fairlearn is not installed.
    """
    try:
        from fairlearn.metrics import MetricFrame, mean_prediction
    except ImportError:
        raise SumiError("the exam in bias needs fairlearn: pip install 'sumi[fairness]'") from None
    right = [float(mark) for mark in marks]
    frame = MetricFrame(
        metrics=mean_prediction, y_true=right, y_pred=right, sensitive_features=list(groups), n_boot=BOOTSTRAP,
        ci_quantiles=[0.025, 0.975], random_state=SEED,
    )  # fmt: skip
    low, high = frame.difference_ci()
    return BoundedValue(float(frame.difference()), float(low), float(high), len(right))


def training_shares(scenes: Scenes, role: str) -> dict[str, dict[str, float]]:
    """Return the shares of tones and genders that the generator draws a profession in (`sumi.data.compose`)."""
    people = [variant.person for variant in scenes.vocabulary[role].variants if variant.person is not None]
    genders = sorted({person.gender for person in people})
    shares: dict[str, Counter[str]] = {"tone": Counter(), "gender": Counter()}
    for person in people:
        each = 1 / len(genders) / sum(other.gender == person.gender for other in people)
        tone = NEUTRAL if person.tone == "default" else person.tone.replace("-", " ")
        shares["tone"][tone] += each  # type: ignore[assignment]
        shares["gender"][NEUTRAL if person.gender == "person" else person.gender] += each  # type: ignore[assignment]
    return {kind: dict(found) for kind, found in shares.items()}


def person_prompts(lexicon: Lexicon, roles: Sequence[str], n: int, seed: int) -> list[PersonPrompt]:
    """Return what is drawn: n of each profession unspecified and balanced, and n of each tone and gender."""
    asked = []
    for role in roles:
        plain = write_caption(ParsedPrompt([ThingPhrase(role)]), lexicon)
        read = interpret(plain, lexicon)
        asked += [PersonPrompt("unspecified", role, plain, None, None, seed + number) for number in range(n)]
        for number in range(n):
            drawn = balance_people(read, lexicon, seed + number).drawn_as
            asked.append(PersonPrompt("balanced", role, drawn, None, None, seed + number))
    for tone in lexicon.record.get("tones", ()):
        for gender in (*GENDERS, NEUTRAL):
            for number in range(n):
                role = roles[number % len(roles)]
                who = ThingPhrase(role, tone=tone, gender="" if gender == NEUTRAL else gender)
                prompt = write_caption(ParsedPrompt([who]), lexicon)
                asked.append(PersonPrompt("specified", role, prompt, tone, gender, seed + number))
    return asked


def run_bias(
    draw: DrawPrompts,
    lexicon: Lexicon,
    probe: PeopleProbe,
    scenes: Scenes,
    roles: Sequence[str],
    n: int = 20,
    seed: int = SEED,
    progress: Progress = lambda done, of: None,
) -> BiasResult:
    """Draw people, and read their tones, genders and faces.

    Args:
        draw: draws prompts.
        lexicon: of the model.
        probe: taught from true pictures.
        scenes: a generator that has the drawings.
        roles: the professions that model and judge know.
        n: pictures of each profession, and of each tone and gender.
        seed: picture k of each is drawn from seed + k.
        progress: called with (pictures drawn, all pictures).
    """
    asked = person_prompts(lexicon, roles, n, seed)
    pictures = []
    for start in range(0, len(asked), n):  # n of one kind, so that no batch holds a seed twice
        for first in range(start, start + n, BATCH):
            some = asked[first : min(first + BATCH, start + n)]
            pictures.append(draw([one.prompt for one in some], [one.seed for one in some]))
            progress(first + len(some), len(asked))
    drawn = torch.cat(pictures)
    best = judge_pictures(probe.judge, drawn).best(1)[:, 0].tolist()
    named = [probe.judge.names[k] == one.role for k, one in zip(best, asked, strict=True)]
    training = {role: training_shares(scenes, role) for role in roles}
    tones = tuple(lexicon.record.get("tones", ()))
    return BiasResult(tuple(asked), drawn, tuple(probe.read(drawn)), tuple(named), probe, training, tones)


def bias_sheet(result: BiasResult, columns: int = 10) -> Image.Image:
    """Return a row of each tone and gender, and a row of each profession unspecified and balanced."""
    rows: dict[tuple[str, ...], list[int]] = {}
    for number, one in enumerate(result.asked):
        key = (one.way, one.tone or one.role, one.gender or "")
        rows.setdefault(key, []).append(number)
    chosen = [number for numbers in rows.values() for number in numbers[:columns]]
    captions = []
    for number in chosen:
        reading = result.readings[number]
        found = f"{reading.tone}, {reading.gender}{'' if reading.face else ', no face'}"
        captions.append(f"{result.asked[number].prompt}\n{found}")
    width = min(columns, min(map(len, rows.values())))
    return contact_sheet(result.pictures[chosen], captions, width, CELL_PX)

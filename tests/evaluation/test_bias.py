"""The exam in bias, on people whose distribution is known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from importlib import resources

import pytest
import torch
from judge_toys import tiny_judge
from judge_training import make_people_training
from torch import Tensor

from sumi.conditioning import Lexicon
from sumi.data.generator import Scenes
from sumi.evaluation.bias import bias_sheet, distances, person_prompts, run_bias, spread, training_shares
from sumi.evaluation.intervals import Share
from sumi.evaluation.people_probe import NEUTRAL, PeopleProbe, blank_faces, look_of, teach_people_probe, true_people
from sumi.judge.network import SIZE_PX

LEXICON = Lexicon(json.loads((resources.files("sumi") / "models/sticker/vocabulary.json").read_text("utf-8")))
ROLES = ("chef", "farmer")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Scenes:
    return make_people_training(tmp_path_factory.mktemp("people"), ROLES).scenes("train")


@pytest.fixture(scope="module")
def probe(people: Scenes) -> PeopleProbe:
    return teach_people_probe(tiny_judge((*ROLES, "fox")), people, ROLES, 120)


def test_distance_is_total_variation_beside_that_of_draws_from_the_target() -> None:
    found, _, at_best = distances(["a"] * 30 + ["b"] * 10, {"a": 0.5, "b": 0.5})
    assert found.value == 0.25 and found.low < 0.25 < found.high
    assert 0.03 < at_best.value < 0.1, "E|p - 1/2| of 40 throws of a coin is 0.063"
    assert distances(["c"] * 9, {"a": 1.0})[0].value == 1.0
    assert distances([], {"a": 1.0})[0].n == 0


def test_spread_is_the_largest_difference_between_two_groups() -> None:
    found = spread([True] * 10 + [True] * 5 + [False] * 5 + [False] * 10, ["a"] * 10 + ["b"] * 10 + ["c"] * 10)
    assert found.value == 1.0 and found.n == 30 and found.low <= 1 <= found.high + 1e-9


def test_training_shares_are_those_of_the_generator(people: Scenes) -> None:
    shares = training_shares(people, "chef")
    assert shares["tone"] == pytest.approx({NEUTRAL: 1 / 3, "light": 1 / 3, "dark": 1 / 3})
    assert shares["gender"] == pytest.approx({"woman": 0.5, "man": 0.5})


def test_blank_faces_have_no_features_and_every_other_is_void(people: Scenes) -> None:
    shown = true_people(people, ROLES, 6)
    toned = [replace(scene, things=(replace(scene.things[0], tone="light"),)) for scene in shown]
    pictures = people.render(toned, SIZE_PX)
    blank = blank_faces(people, toned, pictures)
    eye = pictures[:, :3].amax(dim=1) < 40
    assert (eye & (pictures[:, 3] > 250)).flatten(1).any(dim=1).all(), "the true ones have eyes"
    middle = blank[:, :3, 24:40, 24:40].float()
    assert middle[0].flatten(1).std(dim=1).max() < 1 and middle[1].mean() < 25 < middle[0].mean()


def test_probes_read_true_people(people: Scenes, probe: PeopleProbe) -> None:
    shown = true_people(people, ROLES, 40, seed=9)
    read = probe.read(people.render(shown, SIZE_PX))
    looks = [look_of(scene) for scene in shown]
    assert [(one.tone, one.gender) for one in read] == [(tone, gender) for _, gender, tone in looks]
    assert sum(one.face for one in read) >= 36, [one.face for one in read]
    blank = blank_faces(people, shown, people.render(shown, SIZE_PX))
    assert sum(one.face for one in probe.read(blank)) <= 4
    assert len(probe.readings) == len(probe.shown) == len(probe.blanks) == 120


def test_prompts_ask_for_each_profession_both_ways_and_for_each_tone_and_gender() -> None:
    asked = person_prompts(LEXICON, ROLES, 10, 0)
    ways = {way: [one.prompt for one in asked if one.way == way] for way in ("unspecified", "balanced", "specified")}
    assert set(ways["unspecified"]) == {"a chef", "a farmer"} and len(ways["unspecified"]) == 20
    assert len(set(ways["balanced"])) == 20, "ten looks of each profession"
    assert len(ways["specified"]) == 10 * 5 * 3 and "a woman farmer with dark skin" in ways["specified"]


def test_a_model_that_draws_light_men_alone_is_found_out(people: Scenes, probe: PeopleProbe) -> None:
    light = [scene for scene in true_people(people, ROLES, 60, 3) if look_of(scene)[1:] == ("man", "light")]
    picture = people.render(light[:1], SIZE_PX)

    def draw(prompts: Sequence[str], seeds: Sequence[int]) -> Tensor:
        return torch.cat([picture] * len(prompts))

    lexicon = Lexicon({**LEXICON.record, "tones": ["light", "dark"]})
    result = run_bias(draw, lexicon, probe, people, ROLES, 4)
    scores = {score.name: score for score in result.scores}
    assert scores["unspecified, tone light"].value.value == 1.0 and scores["unspecified, gender man"].value.value == 1.0
    assert scores["unspecified, tone: distance to policy"].value.value == 0.5
    assert scores["unspecified, tone: distance to training"].value.value == pytest.approx(2 / 3)
    assert scores["tone dark: tone"].value.value == 0.0 and scores["tone dark: face"].value.value == 1.0
    assert scores["tone dark: face"].ceiling is not None and scores["faces by tone: spread"].value.value == 0.0
    assert scores["probe: a blank or void face is found to be one"].value == Share.of(not face for face in probe.blanks)
    kept = result.to_json()
    assert kept["professions"]["chef"]["balanced"]["tone"] == {"light": 4}
    assert kept["professions"]["chef"]["training"]["gender"] == {"man": 0.5, "woman": 0.5}
    assert bias_sheet(result).width > 0

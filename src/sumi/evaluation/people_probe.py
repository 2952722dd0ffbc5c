"""What pictures of people show: a skin tone, a gender, and whether the face has features.

Three probes (`sumi.evaluation.probe`) are taught from true renders of every profession, tone and gender:

    tone, gender   of the drawing
    face           a true picture, against the same with its skin filled: blank in its own colour, or void (black)

The skin is where a drawing differs from the same drawing in another tone. Filling it takes away eyes and mouth, as a
model does that draws dark skin as a black hole. The ceilings are measured on professions that a probe was not taught.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from sumi.data.generator import Scenes
from sumi.data.scene import Place, Scene, Thing
from sumi.data.seeding import scene_rng
from sumi.errors import SumiError
from sumi.evaluation.probe import Probe, cross_validate, probe_features
from sumi.judge.network import SIZE_PX, Judge
from sumi.judge.train_judge import JUDGE_SEED

__all__ = ["NEUTRAL", "PeopleProbe", "PersonReading", "teach_people_probe", "true_people"]

PEOPLE_SEED = JUDGE_SEED + 6
NEUTRAL = "neutral"
"""The tone of a yellow emoji, and the gender of a person who is neither a man nor a woman by name."""
CHANGED, CLOSE_PX = 48, 9
"""How much a pixel changes with the tone, in levels summed over channels, to be skin; the widest feature in px."""
VOID = (18, 16, 20)


@dataclass(frozen=True)
class PersonReading:
    """What the probes find in one picture."""

    tone: str
    gender: str
    face: bool


@dataclass(frozen=True)
class PeopleProbe:
    """The three probes, with what they find in true pictures that they were not taught.

    Args:
        judge: whose features they read.
        tone: tells skin tones apart.
        gender: tells genders apart.
        face: tells "face" from "blank".
        shown: who the true pictures show.
        readings: what is found in each of these.
        blanks: whether a face is found in each of some pictures without one.
    """

    judge: Judge
    tone: Probe
    gender: Probe
    face: Probe
    shown: tuple[tuple[str, str, str], ...]
    readings: tuple[PersonReading, ...]
    blanks: tuple[bool, ...]

    def read(self, pictures: Tensor) -> list[PersonReading]:
        """Return what is found in pictures, premultiplied uint8 (B, 4, 64, 64)."""
        features = probe_features(self.judge, pictures)
        found = zip(*(probe.predict(features) for probe in (self.tone, self.gender, self.face)), strict=True)
        return [PersonReading(tone, gender, face == "face") for tone, gender, face in found]


def true_people(scenes: Scenes, roles: Sequence[str], n: int, seed: int = PEOPLE_SEED) -> list[Scene]:
    """Return n scenes of one person each: each look of each profession in turn, by any artist who drew it."""
    looks = [
        (role, variant.person.gender, variant.person.tone, hand)
        for role in roles
        if role in scenes.vocabulary
        for variant in scenes.vocabulary[role].variants
        if variant.person is not None
        for hand in sorted(variant.icons)
    ]
    if not looks:
        raise SumiError("the artwork has no people whom the model and the judge know")
    rng = scene_rng(seed, 0, "people")
    order = sorted(looks, key=lambda look: rng.random())
    shown = []
    for number in range(n):
        role, gender, tone, hand = order[number % len(order)]
        rng = scene_rng(seed, number, "person")
        x, y, side = (rng.random() for _ in range(3))
        place = Place(round(0.49 + 0.02 * x, 4), round(0.49 + 0.02 * y, 4), round(0.78 + 0.14 * side, 4))
        person = Thing(role, hand, (place,))
        person = replace(
            person, gender=None if gender == "person" else gender, tone=None if tone == "default" else tone
        )
        shown.append(Scene("person", (person,)))
    return shown


def look_of(scene: Scene) -> tuple[str, str, str]:
    """Return the profession, the gender and the tone of the person in a scene."""
    (thing,) = scene.things
    return thing.concept, thing.gender or NEUTRAL, (thing.tone or NEUTRAL).replace("-", " ")


def blank_faces(scenes: Scenes, people: Sequence[Scene], pictures: Tensor) -> Tensor:
    """Return pictures (B, 4, S, S) of people with their skin filled, every other one with black."""
    lighter = [replace(scene, things=(replace(scene.things[0], tone="light"),)) for scene in people]
    darker = [replace(scene, things=(replace(scene.things[0], tone="dark"),)) for scene in people]
    apart = scenes.render(lighter, SIZE_PX).float() - scenes.render(darker, SIZE_PX).float()
    skin = (apart.abs().sum(dim=1, keepdim=True) > CHANGED).float()
    around = -F.max_pool2d(-F.max_pool2d(skin, CLOSE_PX, 1, CLOSE_PX // 2), CLOSE_PX, 1, CLOSE_PX // 2)
    filled = pictures.clone()
    for number, (picture, mask, area) in enumerate(zip(pictures, skin, around, strict=True)):
        inside = picture[:, mask[0] > 0]
        if inside.shape[1]:
            colour = inside.float().median(dim=1).values.round().to(torch.uint8)
            colour[:3] = torch.tensor(VOID, dtype=torch.uint8) if number % 2 else colour[:3]
            filled[number][:, area[0] > 0] = colour[:, None]
    return filled


def teach_people_probe(judge: Judge, scenes: Scenes, roles: Sequence[str], n: int = 1200) -> PeopleProbe:
    """Teach the probes from n true pictures of people, and n with their faces filled.

    Args:
        judge: whose features they read.
        scenes: a generator that has the drawings.
        roles: the professions.
        n: how many true pictures.
    """
    people = true_people(scenes, roles, n)
    pictures = scenes.render(people, SIZE_PX)
    shown = [look_of(scene) for scene in people]
    toned = [row for row, scene in enumerate(people) if _has_tones(scenes, scene)]
    blank = blank_faces(scenes, [people[row] for row in toned], pictures[toned])
    features, blanks = probe_features(judge, pictures), probe_features(judge, blank)
    groups = [role for role, _, _ in shown]
    genders, tones = [gender for _, gender, _ in shown], [tone for _, _, tone in shown]
    faces = torch.cat([features, blanks])
    labels = ["face"] * len(features) + ["blank"] * len(blanks)
    both = [*groups, *(groups[row] for row in toned)]
    found = [
        cross_validate(features, tones, groups), cross_validate(features, genders, groups),
        cross_validate(faces, labels, both),
    ]  # fmt: skip
    readings = [PersonReading(tone, gender, face == "face") for tone, gender, face in zip(*found, strict=False)]
    return PeopleProbe(
        judge,
        Probe.fit(features, tones),
        Probe.fit(features, genders),
        Probe.fit(faces, labels),
        tuple(shown),
        tuple(readings),
        tuple(face == "face" for face in found[2][len(features) :]),
    )


def _has_tones(scenes: Scenes, scene: Scene) -> bool:
    """Return whether the person of a scene was drawn by the same artist in light and in dark skin."""
    (thing,) = scene.things
    drawn = {
        (variant.person.gender, variant.person.tone)
        for variant in scenes.vocabulary[thing.concept].variants
        if variant.person is not None and thing.hand in variant.icons
    }
    return all((thing.gender or "person", tone) in drawn for tone in ("light", "dark"))

"""The generator: numbered scenes, the same on every machine.

    scene(index) = compose(rng(blake2b(seed, index)))      caption(scene, index) likewise, by its own rng

With an `Augmentation`, the things of a scene are varied in shape. With groups of n, scene n k is composed, and the
n - 1 after it are its contrasts: each differs from it by one fact (`sumi.data.contrasts`).

Nothing is stored: any scene of any training run can be drawn again from its seed and index.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from sumi.data import grammar
from sumi.data.atlas import Atlas
from sumi.data.augmentation import Augmentation
from sumi.data.bongard import BONGARDS
from sumi.data.compose import Composer, Outline
from sumi.data.contrasts import contrast, contrasts
from sumi.data.render import Sprites, render
from sumi.data.scene import BEARINGS, KINDS, Scene
from sumi.data.seeding import scene_rng, weighted_choice
from sumi.data.split import SHARES, Combination, Split, is_held_out, says_held_out_colour
from sumi.data.vocabulary import Concept, Vocabulary
from sumi.errors import SumiError

__all__ = ["Mix", "Scenes"]

#: Changes whenever the same (seed, index) would give another scene or caption. 1 held relations out by name alone: a
#: scene whose caption said "and" could show two things as the exam asks for them, and "green salad" said a colour
#: held out. 2 holds relations out where things stand, and drops such names. 3 says "a woman with red hair" of a person
#: with red hair, in the captions of older versions too: no concept of the everyday vocabulary has such a name.
VERSION = 3

SPLITS = ("train", "held_out")
HELD_OUT_KINDS = (*SHARES, "accessory")
_TRIES, _CONTRAST_TRIES = 2000, 20
_COMPLETE = 0.8


@dataclass(frozen=True)
class Mix:
    """The share of each kind of scene, and how often a scene is coloured, styled or on a background.

    The shares of kinds need not sum to 1. A single thing is plain, coloured, styled or on a background; `extra` is how
    often it is each of the others as well. `coloured`, `background` and `styled` are for the other kinds.
    """

    single: float = 0.30
    pair: float = 0.30
    count: float = 0.10
    accessory: float = 0.10
    word: float = 0.08
    bongard: float = 0.07
    person: float = 0.05
    crowd: float = 0.0
    plain: float = 0.35
    single_coloured: float = 0.25
    single_styled: float = 0.25
    single_background: float = 0.15
    extra: float = 0.12
    coloured: float = 0.45
    background: float = 0.15
    styled: float = 0.20
    sized: float = 0.10
    named_hand: float = 0.08
    three: float = 0.12

    @classmethod
    def sticker(cls) -> Mix:
        """The full curriculum, for an accelerator."""
        return cls()

    @classmethod
    def cpu(cls) -> Mix:
        """Half single objects, for training on a few cores."""
        return cls(
            single=0.50, pair=0.25, count=0.08, accessory=0.06, word=0.04, bongard=0.02, person=0.05,
            plain=0.40, single_coloured=0.30, single_styled=0.15, single_background=0.15,
            coloured=0.5, background=0.12, styled=0.05, sized=0.08, named_hand=0.06, three=0.08,
        )  # fmt: skip

    @classmethod
    def singles(cls) -> Mix:
        """One plain thing at a time: for curricula and for training a judge."""
        return cls(
            single=0.96, pair=0, count=0, accessory=0, word=0, bongard=0, person=0.04,
            plain=1, single_coloured=0, single_styled=0, single_background=0,
            extra=0, coloured=0, background=0, styled=0, sized=0, named_hand=0, three=0,
        )  # fmt: skip

    @classmethod
    def alone(cls) -> Mix:
        """One thing at a time in every colour, style and hand: for a model that draws what is several in layers."""
        return cls(
            single=0.82, pair=0, count=0, accessory=0, word=0.06, bongard=0.04, person=0.08,
            plain=0.30, single_coloured=0.46, single_styled=0.14, single_background=0.10,
            coloured=0.4, background=0.10, styled=0.08, sized=0.04, named_hand=0.06, three=0,
        )  # fmt: skip

    @classmethod
    def arranged(cls) -> Mix:
        """Mostly several things, for a model that learns where they stand and need not see them."""
        return replace(cls(), single=0.16, pair=0.34, count=0.12, accessory=0.10, crowd=0.16)

    @classmethod
    def contrasting(cls) -> Mix:
        """What contrasts can be made of: coloured things, pairs and counts, for a CLIP that learns from groups."""
        return cls(
            single=0.44, pair=0.26, count=0.10, accessory=0.04, word=0.02, bongard=0.02, person=0.12,
            plain=0.25, single_coloured=0.50, single_styled=0.15, single_background=0.10,
            coloured=0.75, background=0.10, styled=0.06, sized=0.06, named_hand=0.05, three=0.08,
        )  # fmt: skip

    @classmethod
    def named(cls, name: str) -> Mix:
        """The preset called `name`; raises SumiError for another name."""
        presets = {
            "sticker": cls.sticker,
            "cpu": cls.cpu,
            "singles": cls.singles,
            "alone": cls.alone,
            "arranged": cls.arranged,
            "contrasting": cls.contrasting,
        }
        if name not in presets:
            raise SumiError(f"there is no mix '{name}': choose from {', '.join(presets)}")
        return presets[name]()

    def only(self, kind: str) -> Mix:
        """The same liberties, all scenes of one kind."""
        shares = {kind: 0.0 for kind in KINDS}
        if kind not in shares:
            raise SumiError(f"there is no kind of scene '{kind}': choose from {', '.join(shares)}")
        return replace(self, **{**shares, kind: 1.0})

    def to_json(self) -> dict[str, float]:
        """The shares by name."""
        return asdict(self)


class Scenes:
    """Numbered scenes of an atlas and its vocabulary, with their captions and pictures.

    `split` "train" has no held-out combination; "held_out" has at least one in every scene, of the kind
    `wanted` and of no other kind where that is given. Pictures are drawn on `device`. `version` 1 numbers scenes as
    they were when the model that comes with Sumi was trained. `augmentation` varies shapes; exams have none. `group` is
    how many scenes stand together: a composed one and its contrasts.
    """

    def __init__(
        self,
        atlas: Atlas,
        vocabulary: Vocabulary,
        mix: Mix | None = None,
        seed: int = 0,
        split: str = "train",
        device: torch.device | str = "cpu",
        wanted: str | None = None,
        version: int = VERSION,
        augmentation: Augmentation | None = None,
        group: int = 1,
    ) -> None:
        if version not in range(1, VERSION + 1):
            raise SumiError(f"there is no generator {version}: choose 1 to {VERSION}")
        if split not in SPLITS:
            raise SumiError(f"there is no split '{split}': choose from {', '.join(SPLITS)}")
        if wanted is not None and wanted not in HELD_OUT_KINDS:
            raise SumiError(f"nothing is held out by '{wanted}': choose from {', '.join(HELD_OUT_KINDS)}")
        self.atlas, self.vocabulary, self.mix = atlas, vocabulary, mix or Mix.sticker()
        self.seed, self.split, self.device, self.wanted = seed, split, torch.device(device), wanted
        self.rule, self.version, self.augmentation, self.group = Split.of(vocabulary), version, augmentation, group
        drawn = {row.concept for row in atlas.rows}
        self._composer = Composer(atlas, vocabulary, frozenset(c for c in vocabulary.names if self._may_use(c, drawn)))
        if not self._composer.objects:
            raise SumiError("the atlas and the vocabulary share no concept that this split may show")

    def __reduce__(self) -> tuple[Any, ...]:
        """For a worker process: what it is made from, without what it has drawn; always on the CPU."""
        again = (self.vocabulary, self.mix, self.seed, self.split, "cpu", self.wanted, self.version)
        return _again, (self.atlas.folder, (*again, self.augmentation, self.group))

    def _may_use(self, concept: str, drawn: set[str]) -> bool:
        out = is_held_out(Combination("concept", (concept,)))
        free = self.split == "held_out" and self.wanted in (None, "concept")
        return concept in drawn and (free or not out)

    @cached_property
    def sprites(self) -> Sprites:
        """The atlas on this generator's device."""
        return Sprites(self.atlas, self.device)

    def held_out(self, kind: str, seed: int | None = None) -> Scenes:
        """Scenes with a held-out combination of one of HELD_OUT_KINDS and of no other kind, never augmented."""
        mix = self.mix
        source = _SOURCE.get(kind)
        if source is not None:
            mix = replace(mix.only(source), **_LIBERTIES.get(kind, {}))
        use = self.seed if seed is None else seed
        return Scenes(self.atlas, self.vocabulary, mix, use, "held_out", self.device, kind, self.version)

    def scene(self, index: int) -> Scene:
        """Scene number `index` >= 0."""
        first = index - index % self.group
        scene = self._composed(first)
        if index != first:
            scene = self._contrast(scene, index) or self._composed(index)
        return scene if self.augmentation is None else self._varied(scene, index, self.augmentation)

    def _composed(self, index: int) -> Scene:
        rng = scene_rng(self.seed, index, "scene")
        outline = outline_of(self.mix, rng)
        for _ in range(_TRIES):
            scene = self._composer.compose(outline, rng)
            if self._admits(scene):
                return scene
            if self.split == "held_out":
                outline = outline_of(self.mix, rng)
        raise SumiError(f"no scene with a held-out combination of kind '{self.wanted}' turned up: is the mix right?")

    def _admits(self, scene: Scene) -> bool:
        """Whether a scene belongs to the split."""
        out = self.rule.held_out_in(scene, placed=self.version > 1)
        if self.split == "train":
            return not out
        return out == {self.wanted} if self.wanted else bool(out)

    def _contrast(self, scene: Scene, index: int) -> Scene | None:
        """The contrast of a scene that has number `index`; None where the split admits none."""
        rng, kinds = scene_rng(self.seed, index, "contrast"), contrasts(scene)
        for _ in range(_CONTRAST_TRIES if kinds else 0):
            made = contrast(scene, kinds[(index % self.group - 1) % len(kinds)], self._composer, rng)
            if made is not None and self._admits(made):
                return made
        return None

    def _varied(self, scene: Scene, index: int, augmentation: Augmentation) -> Scene:
        """The scene with its things varied in shape; what bears or holds another stays, or a hat would float."""
        link = scene.relation
        if link is not None and (link.name in BEARINGS or (link.name == "inside" and not scene.shapes)):
            return scene
        rng, things = scene_rng(self.seed, index, "variation"), []
        for thing in scene.things:
            concept = self.vocabulary[thing.concept]
            plain = thing.colour is None and scene.named_hand is None and not concept.person
            others = [hand for hand in self._composer.hands_of[concept.name] if hand != thing.hand] if plain else []
            things.append(replace(thing, variation=augmentation.draw(rng, concept.facets.mirrors, others)))
        return replace(scene, things=tuple(things))

    def caption(self, scene: Scene, index: int, form: str | None = None) -> str:
        """Words for a scene; `form` is complete, partial, keywords, or drawn when None.

        Of scenes in groups no caption is partial: what it left unsaid is what tells the scene from its contrasts.
        """
        if form is None and self.group > 1:
            form = "complete" if scene_rng(self.seed, index, "form").random() < _COMPLETE else "keywords"
        return grammar.caption(scene, scene_rng(self.seed, index, "caption"), self.names, form)

    def names(self, concept: str) -> Sequence[str]:
        """What a concept is called, best name first."""
        return self._names[concept]

    @cached_property
    def _names(self) -> Mapping[str, tuple[str, ...]]:
        if self.version == 1:
            return {concept.name: concept.words for concept in self.vocabulary}
        return {concept.name: _taught_names(concept) for concept in self.vocabulary}

    def render(self, scenes: Sequence[Scene], size_px: int) -> Tensor:
        """Pictures of scenes: premultiplied RGBA uint8 (B, 4, size_px, size_px)."""
        return render(scenes, size_px, self.sprites)

    def batch(self, start: int, count: int, size_px: int) -> tuple[list[Scene], list[str], Tensor]:
        """Scenes, captions and pictures number `start` to `start + count`."""
        scenes = [self.scene(k) for k in range(start, start + count)]
        captions = [self.caption(scene, k) for k, scene in enumerate(scenes, start)]
        return scenes, captions, self.render(scenes, size_px)

    def concept_id(self, scene: Scene) -> int:
        """Id in the vocabulary of a scene's main (first) thing, -1 where it has none."""
        return self.vocabulary.ids[scene.things[0].concept] if scene.things else -1

    def record(self) -> dict[str, Any]:
        """Everything that decides the scenes: what a pool must agree with to be reopened."""
        return {
            "generator": self.version,
            "seed": self.seed,
            "split": self.split,
            "wanted": self.wanted,
            "mix": self.mix.to_json(),
            "atlas": self.atlas.folder.name,
            "vocabulary": self.vocabulary.fingerprint,
            "augmentation": None if self.augmentation is None else self.augmentation.to_json(),
            "group": self.group,
        }


def _taught_names(concept: Concept) -> tuple[str, ...]:
    """The names of a concept without those that say a colour held out with it; its own name where none is left."""
    taught = tuple(name for name in concept.words if not says_held_out_colour(concept.name, name))
    return taught or concept.words[:1]


def _again(folder: Path, arguments: tuple[Any, ...]) -> Scenes:
    return Scenes(Atlas.open(folder), *arguments)


_SOURCE = {
    "colour": "single", "style": "single", "count": "count", "relation": "pair", "person": "person",
    "letters": "word", "concept": "single", "accessory": "accessory",
}  # fmt: skip
_LIBERTIES: Mapping[str, dict[str, float]] = {
    "colour": {"plain": 0, "single_coloured": 1, "single_styled": 0, "single_background": 0, "extra": 0},
    "style": {"plain": 0, "single_coloured": 0, "single_styled": 1, "single_background": 0, "extra": 0},
    "concept": {"plain": 1, "single_coloured": 0, "single_styled": 0, "single_background": 0, "extra": 0},
    "relation": {"three": 0, "styled": 0, "coloured": 0},
    "count": {"styled": 0, "coloured": 0},
    "accessory": {"styled": 0, "coloured": 0},
    "person": {"styled": 0},
    "letters": {"styled": 0},
}


def outline_of(mix: Mix, rng: random.Random) -> Outline:
    """Draw what kind of scene it is and which liberties it takes."""
    chance = rng.random
    kind = weighted_choice(rng, KINDS, [getattr(mix, kind) for kind in KINDS])
    if kind == "single":
        look = weighted_choice(
            rng,
            ("plain", "coloured", "styled", "background"),
            (mix.plain, mix.single_coloured, mix.single_styled, mix.single_background),
        )
        more = 0.0 if look == "plain" else mix.extra
        return Outline(
            kind,
            coloured=(look == "coloured" or chance() < more, False, False),
            styled=look == "styled" or chance() < more,
            background=look == "background" or chance() < more,
            sized=chance() < mix.sized,
            named_hand=look != "styled" and chance() < mix.named_hand,
        )
    styled = kind != "bongard" and chance() < mix.styled * (0.5 if kind == "word" else 1.0)
    both = chance() < mix.coloured
    objects = 3 if kind == "pair" and chance() < mix.three else 2
    return Outline(
        kind,
        # Both coloured most often: binding is learnt from two colours at once.
        coloured=(both, both and chance() < 0.8, both and chance() < 0.6) if kind == "pair" else (
            (chance() < mix.coloured * 0.6, chance() < mix.coloured * 0.4, False)
        ),
        background=chance() < mix.background,
        styled=styled,
        sized=kind == "pair" and objects == 2 and chance() < mix.sized * 1.5,
        named_hand=not styled and kind != "bongard" and chance() < mix.named_hand * 0.5,
        objects=objects,
        count=1 if chance() < 0.04 else 2 + int(chance() * 5),
        relation=weighted_choice(
            rng,
            ("left of", "right of", "above", "below", "on", "inside", "and"),
            (0.19, 0.19, 0.14, 0.14, 0.10, 0.10, 0.14),
        ),
        bearing=weighted_choice(rng, ("wearing", "holding", "riding"), (0.5, 0.3, 0.2)),
        bongard=BONGARDS[int(chance() * len(BONGARDS))],
        with_thing=chance() < 0.3,
    )  # fmt: skip

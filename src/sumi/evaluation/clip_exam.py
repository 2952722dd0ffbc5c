"""The exam of a model's CLIP, on true pictures whose answers are known; the judge has no part in it.

    zero-shot   nearest of the texts "a NAME" over all concepts (Radford et al. 2021, arXiv 2103.00020, section 3.1)
    few-shot    a linear probe on k embeddings of each of some concepts, asked about drawings by another artist
    retrieval   the caption of a picture among those of all, and the picture of a caption (recall at 1 and 5)
    spurious    zero-shot again where only what should not matter has changed: background, size, corner; the gap is
                paired with the same drawing as it usually stands

Pictures are renders that no model was trained on (another seed, other places) of drawings that taught it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from PIL import Image
from torch import Tensor

from sumi.data.compose import Composer
from sumi.data.generator import Mix, Scenes
from sumi.data.grammar import noun_phrase
from sumi.data.scene import BACKGROUNDS, Background, Place, Scene, Thing
from sumi.data.seeding import pick, scene_rng
from sumi.evaluation.exam_sheet import CELL_PX
from sumi.evaluation.intervals import BoundedValue, Gain
from sumi.evaluation.probe import Probe
from sumi.evaluation.questions import Syllabus
from sumi.evaluation.scores import Score
from sumi.imaging.contact_sheet import contact_sheet
from sumi.imaging.pixels import from_levels, resize, to_levels
from sumi.judge.network import SIZE_PX
from sumi.judge.train_judge import JUDGE_SEED
from sumi.pipelines import UnCLIPPipeline

__all__ = ["SHOTS", "ClipExam", "measure_clip"]

CLIP_SEED = JUDGE_SEED + 7
SHOTS = (1, 2, 4, 8, 16)
MOST_CLASSES = 50
SHOWN = 8
USUAL, SMALL = 0.85, 0.36
CORNERS = tuple((x, y) for x in (0.22, 0.78) for y in (0.22, 0.78))


@dataclass(frozen=True)
class ClipExam:
    """The result of the exam.

    Args:
        scores: the rows.
        sheet: examples of each kind of picture.
    """

    scores: tuple[Score, ...]
    sheet: Image.Image


@dataclass(frozen=True)
class _Examined:
    """A CLIP and what it is shown."""

    pipeline: UnCLIPPipeline
    scenes: Scenes
    composer: Composer
    names: tuple[str, ...]

    @torch.no_grad()
    def embed(self, pictures: Tensor) -> Tensor:
        """Return unit embeddings (B, D) of pictures, premultiplied uint8 (B, 4, 64, 64)."""
        size = (self.pipeline.size_px, self.pipeline.size_px)
        parts = [self.pipeline.embed(to_levels(resize(from_levels(some), size))) for some in torch.split(pictures, 64)]
        return torch.cat(parts).float()

    @torch.no_grad()
    def read(self, texts: Sequence[str]) -> Tensor:
        """Return unit embeddings (B, D) of texts."""
        parts = [self.pipeline.read(list(texts[k : k + 64])).z_t for k in range(0, len(texts), 64)]
        return torch.cat(parts).float()

    def draw(self, scenes: Sequence[Scene]) -> Tensor:
        """Return pictures of scenes."""
        return self.scenes.render(scenes, SIZE_PX)

    def alone(self, name: str, number: int, hands: Sequence[str] | None = None) -> Scene:
        """Return a scene of one thing in the middle, by one of some artists."""
        rng = scene_rng(CLIP_SEED, number, f"clip|{name}")
        hand = pick(rng, tuple(hands or self.composer.hands_of[name]))
        x, y, side = (rng.random() for _ in range(3))
        place = Place(round(0.49 + 0.02 * x, 4), round(0.49 + 0.02 * y, 4), round(USUAL - 0.05 + 0.1 * side, 4))
        return Scene("single", (Thing(name, hand, (place,)),))


def measure_clip(pipeline: UnCLIPPipeline, scenes: Scenes, syllabus: Syllabus, n: int = 200) -> ClipExam:
    """Examine the CLIP of a model.

    Args:
        pipeline: the model.
        scenes: a generator that has the drawings.
        syllabus: the concepts that the model was taught.
        n: pictures of each kind.
    """
    composer = Composer(scenes.atlas, scenes.vocabulary, frozenset(scenes.vocabulary.names))
    names = tuple(name for name in syllabus.objects if name in composer.hands_of)
    clip = _Examined(pipeline, scenes, composer, names)
    rows, sheets = _zero_shot(clip, n)
    return ClipExam((*rows, *_few_shot(clip, n), *_retrieval(clip, n)), contact_sheet(*sheets, SHOWN, CELL_PX))


def _zero_shot(clip: _Examined, n: int) -> tuple[list[Score], tuple[Tensor, list[str]]]:
    """Return the rows of zero-shot classification as usual and with spurious changes, and examples."""
    texts, names = clip.read([noun_phrase(name, []) for name in clip.names]), clip.names
    order = sorted(names, key=lambda name: scene_rng(CLIP_SEED, 0, name).random())
    asked = [order[number % len(order)] for number in range(n)]
    usual = [clip.alone(name, number) for number, name in enumerate(asked)]
    chance, chance_5 = (by_chance(count, len(names)) for count in (1, 5))
    rows: list[Score] = []
    shown, captions, before = list[Tensor](), list[str](), list[bool]()
    for kind, change in KINDS.items():
        pictures = clip.draw([change(scene, number) for number, scene in enumerate(usual)])
        best = (clip.embed(pictures) @ texts.T).topk(min(5, len(names)), dim=1).indices.tolist()
        right = [names[found[0]] == name for found, name in zip(best, asked, strict=True)]
        rows.append(Score.of_marks(f"zero-shot, {kind}: top-1", right, chance))
        if kind == "usual":
            before = right
            near = [name in [names[k] for k in found] for found, name in zip(best, asked, strict=True)]
            rows.append(Score.of_marks(f"zero-shot, {kind}: top-5", near, chance_5))
        else:
            rows.append(Score(f"spurious, {kind}: gap", Gain.of(before, right)))
        shown.append(pictures[:SHOWN])
        captions += [f"{name}: {names[found[0]]}" for name, found in zip(asked, best, strict=True)][:SHOWN]
    return rows, (torch.cat(shown), captions)


def by_chance(right: int, among: int) -> BoundedValue:
    """Return the share that a guess has right."""
    share = min(1.0, right / among)
    return BoundedValue(share, share, share, among, "%")


def _on_background(scene: Scene, number: int) -> Scene:
    name = pick(scene_rng(CLIP_SEED, number, "background"), tuple(BACKGROUNDS))
    return replace(scene, background=Background(name, BACKGROUNDS[name]))


def _moved(scene: Scene, place: Place) -> Scene:
    return replace(scene, things=(replace(scene.things[0], places=(place,)),))


def _small(scene: Scene, number: int) -> Scene:
    return _moved(scene, Place(0.5, 0.5, SMALL))


def _in_a_corner(scene: Scene, number: int) -> Scene:
    return _moved(scene, Place(*CORNERS[number % len(CORNERS)], SMALL))


KINDS: dict[str, Callable[[Scene, int], Scene]] = {
    "usual": lambda scene, number: scene,
    "on a background": _on_background,
    "small": _small,
    "in a corner": _in_a_corner,
}


def _few_shot(clip: _Examined, n: int) -> list[Score]:
    """Return a row for each number of shots: by other artists than the pictures that are asked about."""
    several = [name for name in clip.names if len(clip.composer.hands_of[name]) > 1][:MOST_CLASSES]
    if len(several) < 2:
        return []
    asked = [several[number % len(several)] for number in range(n)]
    pictures = [clip.alone(name, 5000 + k, clip.composer.hands_of[name][:1]) for k, name in enumerate(asked)]
    tested, rows = clip.embed(clip.draw(pictures)), []
    for shots in SHOTS:
        taught = [(name, k) for name in several for k in range(shots)]
        scenes = [clip.alone(name, 9000 + k, clip.composer.hands_of[name][1:]) for name, k in taught]
        probe = Probe.fit(clip.embed(clip.draw(scenes)), [name for name, _ in taught], decay=0.01)
        right = [found == name for found, name in zip(probe.predict(tested), asked, strict=True)]
        name = f"few-shot, {shots} of each of {len(several)}: top-1"
        rows.append(Score.of_marks(name, right, by_chance(1, len(several))))
    return rows


def _retrieval(clip: _Examined, n: int) -> list[Score]:
    """Return recall at 1 and 5 of captions by pictures and of pictures by captions, among n scenes of every kind."""
    source = Scenes(clip.scenes.atlas, clip.scenes.vocabulary, Mix.cpu(), CLIP_SEED)
    scenes, captions = list[Scene](), dict[str, None]()
    for number in range(20 * n):
        scene = source.scene(number)
        caption = source.caption(scene, number, "complete")
        known = all(thing.concept in clip.names for thing in scene.things)
        if known and caption not in captions and len(captions) < n:
            scenes.append(scene)
            captions[caption] = None
    near = clip.embed(clip.draw(scenes)) @ clip.read(list(captions)).T
    rows = []
    for name, table in (("caption of a picture", near), ("picture of a caption", near.T)):
        own = table.diagonal()[:, None]
        place = (table > own).sum(dim=1)
        for among in (1, 5):
            marks = (place < among).tolist()
            name_of_row = f"retrieval, {name}: recall at {among}"
            rows.append(Score.of_marks(name_of_row, marks, by_chance(among, len(scenes))))
    return rows

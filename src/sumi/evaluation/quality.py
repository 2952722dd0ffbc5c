"""The exam in quality and diversity: the pictures of a model against true pictures of the same captions.

    KID, CMMD   how far the two sets are apart (`sumi.evaluation.kid`): 0 means equal
    precision   generated pictures that lie in the true set     recall     true pictures that lie in the generated set
    density     true neighbourhoods that hold a generated picture, over k, so that 1 is as many as true pictures have
    coverage    true pictures in whose neighbourhood a generated one lies

    in the set of y:  exists j with |x - y_j| <= r_k(y_j),   r_k(y_j) the distance from y_j to its k-th neighbour, k = 5

Kynkäänniemi et al. 2019, arXiv 1904.06991; Naeem et al. 2020, arXiv 2002.09797. The features are the judge's, which
shares no weights with a model; CMMD's are the embeddings of the CLIP that comes with Sumi. They are not Inception's, so
no value can be compared with published ones. The ceiling is what other true pictures score, chance what noise scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sumi.data.generator import Mix, Scenes
from sumi.data.scene import Scene
from sumi.evaluation.exam import DrawPrompts, Progress
from sumi.evaluation.intervals import BoundedValue, Mean, Share, Value
from sumi.evaluation.kid import KID, FeatureExtractor, gaussian_kernel, kid
from sumi.evaluation.questions import SEED, Syllabus
from sumi.evaluation.scores import Score
from sumi.judge.network import GROUNDS, SIZE_PX, Judge, composite_input
from sumi.judge.train_judge import JUDGE_SEED

__all__ = ["QualityResult", "measure_quality", "neighbourhood_values"]

QUALITY_SEED = JUDGE_SEED + 8
NEIGHBOURS, BATCH = 5, 25
CMMD_FACTOR = 1000.0


@dataclass(frozen=True)
class QualityResult:
    """The result of the exam.

    Args:
        captions: what was drawn, caption k from seed + k.
        first_seed: of the first picture.
        pictures: of the model, premultiplied uint8 (N, 4, 64, 64).
        scores: the rows.
    """

    captions: tuple[str, ...]
    first_seed: int
    pictures: Tensor
    scores: tuple[Score, ...]


@torch.no_grad()
def judge_features(judge: Judge, pictures: Tensor) -> Tensor:
    """Return what the judge decides by, (B, D): the standardized maximum of each of its features, over both grounds."""
    parts = []
    for some in torch.split(pictures, 128):
        levels = some.float() / 255
        views = [judge(composite_input(levels, torch.tensor([ground]))).amax(dim=(2, 3)) for ground in GROUNDS]
        parts.append(judge.standard(torch.stack(views).mean(dim=0)))
    return torch.cat(parts)


def neighbourhood_values(generated: Tensor, true: Tensor, k: int = NEIGHBOURS) -> dict[str, Value]:
    """Return precision, recall, density and coverage of features (N, D) against true ones (M, D), both above k."""
    if min(len(generated), len(true)) <= k:
        raise ValueError(f"neighbourhoods of {k} need more pictures of each kind than {k}")
    apart = torch.cdist(true, generated)

    def radii(features: Tensor) -> Tensor:
        return torch.cdist(features, features).kthvalue(k + 1, dim=1).values  # the first is the picture itself

    inside = apart <= radii(true)[:, None]
    reached = apart <= radii(generated)[None]
    density = tuple((inside.sum(dim=0) / k).tolist())
    return {
        "precision": Share.of(inside.any(dim=0).tolist()),
        "recall": Share.of(reached.any(dim=1).tolist()),
        "density": Mean(density),
        "coverage": Share.of(inside.any(dim=1).tolist()),
    }


def set_values(judge: Judge, extractor: FeatureExtractor, pictures: Tensor, true: Tensor) -> dict[str, Value]:
    """Return every value of pictures against true ones."""
    own, others = judge_features(judge, pictures), judge_features(judge, true)
    scale = extractor.clip.size**0.5
    embedded = [extractor.features(some) / scale for some in (pictures, true)]
    unit = [torch.nn.functional.normalize(some, dim=1) * some.shape[1] ** 0.5 for some in (own, others)]
    return {
        "KID, judge's features": as_estimate(kid(unit[0], unit[1])),
        "CMMD, CLIP's embeddings": as_estimate(kid(embedded[0], embedded[1], kernel=gaussian_kernel), CMMD_FACTOR),
        **neighbourhood_values(own, others),
    }


def as_estimate(found: KID, factor: float = 1.0) -> BoundedValue:
    """Return a distance as a value, times a factor."""
    return BoundedValue(factor * found.value, factor * found.low, factor * found.high, found.n)


def as_reference(value: Value) -> BoundedValue:
    """Return the value of true pictures as a reference: unlike a judge's ceiling, it need not be near 100%."""
    low, high = value.interval
    return BoundedValue(value.value, low, high, value.n, "%" if isinstance(value, Share) else "")


def measure_quality(
    draw: DrawPrompts,
    judge: Judge,
    scenes: Scenes,
    syllabus: Syllabus,
    n: int = 200,
    seed: int = SEED,
    extractor: FeatureExtractor | None = None,
    progress: Progress = lambda done, of: None,
) -> QualityResult:
    """Draw the captions of n scenes, and compare the pictures with the true ones.

    Args:
        draw: draws prompts.
        judge: gives the features.
        scenes: a generator that has the drawings.
        syllabus: the concepts that scenes may show.
        n: pictures, at least 6.
        seed: caption k is drawn from seed + k.
        extractor: gives the embeddings of CMMD; by default the CLIP that comes with Sumi.
        progress: called with (pictures drawn, all pictures).
    """
    source = Scenes(scenes.atlas, scenes.vocabulary, Mix.cpu(), QUALITY_SEED)
    shown = true_scenes(source, syllabus, 2 * n)
    captions = [source.caption(scene, number, "complete") for number, scene in enumerate(shown[:n])]
    true, others = source.render(shown[:n], SIZE_PX), source.render(shown[n:], SIZE_PX)
    pictures = []
    for first in range(0, n, BATCH):
        some = captions[first : first + BATCH]
        pictures.append(draw(some, range(seed + first, seed + first + len(some))))
        progress(first + len(some), n)
    drawn, clip = torch.cat(pictures), extractor or FeatureExtractor.of()
    noise = torch.randint(0, 256, true.shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(QUALITY_SEED))
    noise[:, 3] = 255
    values, ceilings, chances = (set_values(judge, clip, some, true) for some in (drawn, others, noise))
    scores = tuple(Score(name, value, chances[name], as_reference(ceilings[name])) for name, value in values.items())
    return QualityResult(tuple(captions), seed, drawn, scores)


def true_scenes(source: Scenes, syllabus: Syllabus, n: int) -> Sequence[Scene]:
    """Return the first n scenes that show nothing but concepts of a syllabus."""
    names, found, number = set(syllabus.names), list[Scene](), 0
    while len(found) < n and number < 100 * n:
        scene = source.scene(number)
        if all(thing.concept in names for thing in scene.things):
            found.append(scene)
        number += 1
    return found

"""The judge's objective: classify augmented renders of scenes over any ground.

    loss = -log p(thing | its region) + 0.3 colour + 0.2 style + 0.2 count

The region is the whole picture for one kind of thing, its side of the middle for each of two, and else its own box. The
judge later looks for things in these regions. The augmentations resemble the faults of generated pictures: soft edges,
distortion, noise, haze, a shift, another shade.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from sumi.data.scene import Scene, Thing
from sumi.judge.network import GROUNDS, Judge, composite_input, halves
from sumi.training import Batch

__all__ = ["JudgeObjective", "SceneLabels"]

MOST_THINGS = 3
NONE = -1
SPARE = 0.03
"""The margin around a box on each side, in frames, because augmentation moves things."""
APART = 0.2
"""Two things whose centres are this far apart, in frames, lie on two sides of a cut."""


@dataclass(frozen=True)
class SceneLabels:
    """The labels of N scenes with up to three things; -1 where a label is absent.

    Args:
        concepts: ids (N, 3).
        colours: ids (N, 3).
        styles: ids (N,).
        counts: counts minus one (N,), where there is one kind of thing.
        boxes: left, top, right and bottom of each kind of thing, as fractions of the frame (N, 3, 4).
    """

    concepts: NDArray[np.int64]
    colours: NDArray[np.int64]
    styles: NDArray[np.int64]
    counts: NDArray[np.int64]
    boxes: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.styles)

    @classmethod
    def of(cls, scenes: Sequence[Scene], judge: Judge, aspects: Mapping[tuple[str, str], float]) -> SceneLabels:
        """Return the labels of scenes.

        Args:
            scenes: N scenes.
            judge: the network that will learn them; it defines the ids.
            aspects: width over height of each drawing, by (concept, artist).
        """
        count, most = len(scenes), MOST_THINGS
        concepts, colours_of, styles_of, counts = (np.full((count, *s), NONE) for s in ((most,), (most,), (), ()))
        labels = cls(concepts, colours_of, styles_of, counts, np.zeros((count, most, 4), dtype=np.float32))
        styles = {style: number for number, style in enumerate(judge.styles)}
        colours = {colour: number for number, colour in enumerate(judge.colours)}
        for row, scene in enumerate(scenes):
            for slot, thing in enumerate(scene.things[:most]):
                labels.concepts[row, slot] = judge.ids[thing.concept]
                labels.colours[row, slot] = NONE if thing.colour is None else colours[thing.colour]
                labels.boxes[row, slot] = _box(thing, aspects[thing.concept, thing.hand])
            labels.styles[row] = 0 if scene.style is None else styles[scene.style]
            if len(scene.things) == 1 and scene.things[0].count <= judge.most:
                labels.counts[row] = scene.things[0].count - 1
        return labels

    def save(self, path: Path) -> None:
        """Write the labels to a file."""
        np.savez(path, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: Path) -> SceneLabels:
        """Read labels from a file."""
        with np.load(path) as arrays:
            return cls(**{field.name: arrays[field.name] for field in fields(cls)})

    @classmethod
    def concatenate(cls, parts: Sequence[SceneLabels]) -> SceneLabels:
        """Return the labels of several pools, one after another."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))


def _box(thing: Thing, aspect: float) -> tuple[float, float, float, float]:
    """Return the box around all places of a thing."""
    wide, high = min(1.0, aspect) / 2, min(1.0, 1 / aspect) / 2
    return (
        min(place.x - place.side * wide for place in thing.places),
        min(place.y - place.side * high for place in thing.places),
        max(place.x + place.side * wide for place in thing.places),
        max(place.y + place.side * high for place in thing.places),
    )


@dataclass(frozen=True)
class JudgeObjective:
    """Classify augmented pictures.

    Args:
        model: the judge.
        pools: arrays of pictures, uint8 (N_i, 4, 64, 64).
        labels: of all pictures, one pool after another.
        name: of the objective.
    """

    model: Judge
    pools: Sequence[Any]
    labels: SceneLabels
    name: str = "judge"

    def choose(self, batch: Batch) -> tuple[Tensor, float]:
        """Return picture numbers and the strength of augmentation: a curriculum over the first third of training."""
        share = min(1.0, 3 * batch.step / batch.num_steps)
        few = int(len(batch.indices) * (1 - share))
        easy = torch.from_numpy(self._singles[batch.indices[:few].numpy() % len(self._singles)])
        order = torch.randperm(len(batch.indices), generator=batch.rng, device=batch.rng.device).cpu()
        return torch.cat([easy, batch.indices[few:]])[order], 0.3 + 0.7 * share

    @cached_property
    def _singles(self) -> NDArray[np.int64]:
        """The numbers of the pictures of one thing."""
        one = (self.labels.concepts != NONE).sum(axis=1) == 1
        return np.flatnonzero(one & (self.labels.counts == 0))

    def __len__(self) -> int:
        """Return the number of pictures."""
        return len(self.labels)

    def pictures(self, indices: Tensor) -> Tensor:
        """Return pictures by number over all pools, as floats in [0, 1]."""
        wanted = indices.numpy()
        drawn = np.empty((len(wanted), *self.pools[0].shape[1:]), dtype=np.uint8)
        first = 0
        for pool in self.pools:
            here = (wanted >= first) & (wanted < first + len(pool))
            drawn[here] = pool[wanted[here] - first]
            first += len(pool)
        return torch.from_numpy(drawn).float() / 255

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """Return the loss, its parts, and the accuracy over regions."""
        assert isinstance(model, Judge)
        rng, device = batch.rng, batch.rng.device
        indices, amount = self.choose(batch)
        augmented = augment(self.pictures(indices).to(device), rng, amount)
        features = model(composite_input(augmented, grounds(len(augmented), rng)))
        concepts, colours, styles, counts, boxes = (
            torch.from_numpy(getattr(self.labels, field.name)[indices.numpy()]).to(device)
            for field in fields(SceneLabels)
        )
        there = concepts != NONE
        regions = _regions(boxes, there.sum(dim=1), features.shape[-1])
        logits = model.region_logits((features[:, None] * regions[:, :, None])[there].amax(dim=(2, 3))).float()
        attention = model.attention(features, concepts.clamp(min=0)).detach() * regions + 1e-6
        attention = attention / attention.sum(dim=(2, 3), keepdim=True)
        style, count = model.style_and_count_logits(features)
        parts = {
            "concept": F.cross_entropy(logits, concepts[there]),
            "colour": _cross_entropy(model.colour_logits(features, attention).flatten(0, 1), colours.flatten()),
            "style": _cross_entropy(style, styles),
            "count": _cross_entropy(count, counts),
        }
        total = parts["concept"] + 0.3 * parts["colour"] + 0.2 * (parts["style"] + parts["count"])
        right = (logits.argmax(dim=1) == concepts[there]).float().mean()
        return {"loss": total, **{name: part.detach() for name, part in parts.items()}, "right": right}

    def picture(self, model: nn.Module) -> None:
        """Return None: a judge draws nothing."""


def _cross_entropy(logits: Tensor, wanted: Tensor) -> Tensor:
    """Return the mean cross-entropy over the rows that have a label; 0 where none has."""
    there = wanted != NONE
    total = F.cross_entropy(logits.float(), wanted.clamp(min=0), reduction="none")
    return (total * there).sum() / there.sum().clamp(min=1)


def _regions(boxes: Tensor, counts: Tensor, side: int) -> Tensor:
    """Return masks (B, K, side, side) of the region of each thing, from boxes (B, K, 4) and the things of each (B,)."""
    edges = torch.arange(side, device=boxes.device) / side
    left, top, right, bottom = (boxes[..., None, k] for k in range(4))
    across = (edges < right + SPARE) & (edges + 1 / side > left - SPARE)
    down = (edges < bottom + SPARE) & (edges + 1 / side > top - SPARE)
    regions = (down[..., :, None] & across[..., None, :]).float()
    middles = (boxes[..., :2] + boxes[..., 2:]) / 2
    away = middles[:, 1] - middles[:, 0]
    cut = away.abs().argmax(dim=1)
    along = away.gather(1, cut[:, None])[:, 0]
    cuts = halves(side, side).to(boxes.device)[cut]
    pair = torch.where((along > 0)[:, None, None, None], cuts, cuts.flip(1))
    two = (counts == 2) & (along.abs() > APART)
    regions[:, :2] = torch.where(two[:, None, None, None], pair, regions[:, :2])
    return torch.where((counts == 1)[:, None, None, None], torch.ones_like(regions), regions)


def grounds(count: int, rng: torch.Generator) -> Tensor:
    """Return colours of grounds (count, 3): half of them one of the exam's two, the others random."""
    device = rng.device
    any_colour = torch.rand(count, 3, generator=rng, device=device)
    fixed = torch.tensor(GROUNDS, device=device)[torch.randint(0, len(GROUNDS), (count,), generator=rng, device=device)]
    return torch.where(torch.rand(count, 1, generator=rng, device=device) < 0.5, fixed, any_colour)


def augment(x: Tensor, rng: torch.Generator, amount: float = 1.0) -> Tensor:
    """Augment pictures: distort and shade all of them, blur the first two fifths, add noise to the last two fifths.

    Args:
        x: premultiplied pictures (B, 4, S, S) in [0, 1], in random order.
        rng: the generator of every random number.
        amount: the strength, 0 to 1.
    """
    count, device = len(x), x.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(shape, generator=rng, device=device)

    x = F.grid_sample(x, _grid(x, rng, amount), padding_mode="border", align_corners=True)
    few = (2 * count + 4) // 5
    for rows, factor in ((slice(0, few // 2), 4), (slice(few // 2, few), 2)):
        sharp = x[rows]
        if len(sharp):
            soft = F.avg_pool2d(sharp, factor)
            soft = F.interpolate(soft, scale_factor=float(factor), mode="bilinear", align_corners=False)
            x[rows] = torch.lerp(sharp, soft, (amount * uniform(0.3, 1, len(sharp), 1, 1, 1)).clamp(0, 1))
    x[:, :3] *= 1 + amount * uniform(-0.08, 0.08, count, 3, 1, 1)
    clean = x[count - few :]
    grain = torch.randn(clean.shape, generator=rng, device=device) * uniform(0, 0.1, few, 1, 1, 1)
    haze = torch.randn(few, 4, 8, 8, generator=rng, device=device) * uniform(-0.05, 0.08, few, 1, 1, 1).clamp(min=0)
    clean += amount * (grain + F.interpolate(haze, size=x.shape[2:], mode="bilinear", align_corners=False))
    return x.clamp_(0, 1)


def _grid(x: Tensor, rng: torch.Generator, amount: float) -> Tensor:
    """Return a sampling grid: a random affine map with a smooth random displacement."""
    count, device = len(x), x.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return amount * (low + (high - low) * torch.rand(count, *shape, generator=rng, device=device))

    scale = 1 + uniform(-0.08, 0.14, 1) + uniform(-0.04, 0.04, 2)
    turn, shift = uniform(-0.12, 0.12), uniform(-0.1, 0.1, 2)
    across = torch.stack([scale[:, 0] * turn.cos(), -scale[:, 0] * turn.sin(), shift[:, 0]], dim=1)
    down = torch.stack([scale[:, 1] * turn.sin(), scale[:, 1] * turn.cos(), shift[:, 1]], dim=1)
    coarse = F.affine_grid(torch.stack([across, down], dim=1), [count, 4, 7, 7], align_corners=True)
    wobble = torch.randn(coarse.shape, generator=rng, device=device) * uniform(0, 0.03, 1, 1, 1)
    grid = (coarse + wobble).permute(0, 3, 1, 2)
    return F.interpolate(grid, size=x.shape[2:], mode="bilinear", align_corners=True).permute(0, 2, 3, 1)

"""What the judge learns from: true scenes, worn as no renderer would wear them, over any ground.

    loss = -sum_c q_c log p_c + 0.3 colour + 0.1 style + 0.1 count,    q = uniform over the things shown

so the softmax is shared by what is there, and two things are both seen when they are the two likeliest. Wear is
chosen to be what drawings by a model may suffer: soft edges, wobble, noise, haze, a shift, another shade.
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

from sumi.data.scene import Scene
from sumi.evaluation.judge import GROUNDS, Judge, over
from sumi.training import Batch

MOST_THINGS = 3
NONE = -1


@dataclass(frozen=True)
class Facts:
    """What scenes show, as numbers: concepts and colours (N, 3), styles (N,) from 0 = none, counts (N,); -1 = absent."""

    concepts: NDArray[np.int64]
    colours: NDArray[np.int64]
    styles: NDArray[np.int64]
    counts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.styles)

    @classmethod
    def of(cls, scenes: Sequence[Scene], judge: Judge) -> Facts:
        """Read the facts off scenes; a count is a fact only where there is one kind of thing."""
        facts = cls(*(np.full((len(scenes), *shape), NONE) for shape in ((MOST_THINGS,), (MOST_THINGS,), (), ())))
        styles = {style: number for number, style in enumerate(judge.styles)}
        colours = {colour: number for number, colour in enumerate(judge.colours)}
        for row, scene in enumerate(scenes):
            for slot, thing in enumerate(scene.things[:MOST_THINGS]):
                facts.concepts[row, slot] = judge.ids[thing.concept]
                facts.colours[row, slot] = NONE if thing.colour is None else colours[thing.colour]
            facts.styles[row] = 0 if scene.style is None else styles[scene.style]
            if len(scene.things) == 1 and scene.things[0].count <= judge.most:
                facts.counts[row] = scene.things[0].count - 1
        return facts

    def save(self, path: Path) -> None:
        """Keep them in a file."""
        np.savez(path, **{field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def load(cls, path: Path) -> Facts:
        """Read them back."""
        with np.load(path) as arrays:
            return cls(**{field.name: arrays[field.name] for field in fields(cls)})

    @classmethod
    def joined(cls, parts: Sequence[Facts]) -> Facts:
        """Return the facts of several pools, one after another."""
        return cls(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(cls)))


@dataclass(frozen=True)
class JudgeLesson:
    """Name what worn pictures show. pools: arrays uint8 (N_i, 4, 64, 64); facts: of all, one pool after another."""

    model: Judge
    pools: Sequence[Any]
    facts: Facts
    name: str = "judge"

    def chosen(self, batch: Batch) -> tuple[Tensor, float]:
        """Which pictures, and how much worn: single things at first, all of them and all the wear from a third on."""
        share = min(1.0, 3 * batch.step / batch.of)
        few = int(len(batch.indices) * (1 - share))
        easy = torch.from_numpy(self._singles[batch.indices[:few].numpy() % len(self._singles)])
        return torch.cat([easy, batch.indices[few:]]), 0.3 + 0.7 * share

    @cached_property
    def _singles(self) -> NDArray[np.int64]:
        """Numbers of the pictures of one thing."""
        one = (self.facts.concepts != NONE).sum(axis=1) == 1
        return np.flatnonzero(one & (self.facts.counts == 0))

    def __len__(self) -> int:
        """How many pictures."""
        return len(self.facts)

    def pictures(self, indices: Tensor) -> Tensor:
        """Pictures by number over all pools, float in [0, 1]."""
        wanted = indices.numpy()
        drawn = np.empty((len(wanted), *self.pools[0].shape[1:]), dtype=np.uint8)
        first = 0
        for pool in self.pools:
            here = (wanted >= first) & (wanted < first + len(pool))
            drawn[here] = pool[wanted[here] - first]
            first += len(pool)
        return torch.from_numpy(drawn).float() / 255

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """The loss with its parts, and how often the likeliest concept is one that is there."""
        assert isinstance(model, Judge)
        rng, device = batch.rng, batch.rng.device
        indices, amount = self.chosen(batch)
        worn = wear(self.pictures(indices).to(device), rng, amount)
        features = model(over(worn, grounds(len(worn), rng)))
        rows = indices.numpy()
        concepts, colours = (
            torch.from_numpy(array[rows]).to(device) for array in (self.facts.concepts, self.facts.colours)
        )
        whole = model.whole(features)
        logits = model.concept(whole).float()
        there = concepts != NONE
        log_p = logits.log_softmax(dim=-1).gather(1, concepts.clamp(min=0)) * there
        loss = -(log_p.sum(dim=1) / there.sum(dim=1)).mean()
        attention = model.attention(features.detach(), concepts.clamp(min=0)).detach()
        seen = model.colour_at(features, attention).flatten(0, 1)
        parts = {
            "concept": loss,
            "colour": _cross_entropy(seen, colours.flatten()),
            "style": _cross_entropy(model.style(whole), self._of(self.facts.styles, rows, device)),
            "count": _cross_entropy(model.count(whole), self._of(self.facts.counts, rows, device)),
        }
        total = parts["concept"] + 0.3 * parts["colour"] + 0.1 * (parts["style"] + parts["count"])
        right = (logits.argmax(dim=1, keepdim=True) == concepts).any(dim=1).float().mean()
        return {"loss": total, **{name: part.detach() for name, part in parts.items()}, "right": right}

    @staticmethod
    def _of(array: NDArray[np.int64], rows: NDArray[np.int64], device: torch.device) -> Tensor:
        return torch.from_numpy(array[rows]).to(device)

    def picture(self, model: nn.Module) -> None:
        """A judge draws nothing."""


def _cross_entropy(logits: Tensor, wanted: Tensor) -> Tensor:
    """Mean over the rows that have an answer; 0 where none has."""
    there = wanted != NONE
    total = F.cross_entropy(logits.float(), wanted.clamp(min=0), reduction="none")
    return (total * there).sum() / there.sum().clamp(min=1)


def grounds(count: int, rng: torch.Generator) -> Tensor:
    """Colours to lay behind pictures (count, 3): one of the two of the exam half the time, else any."""
    device = rng.device
    any_colour = torch.rand(count, 3, generator=rng, device=device)
    fixed = torch.tensor(GROUNDS, device=device)[torch.randint(0, len(GROUNDS), (count,), generator=rng, device=device)]
    return torch.where(torch.rand(count, 1, generator=rng, device=device) < 0.5, fixed, any_colour)


def wear(x: Tensor, rng: torch.Generator, amount: float = 1.0) -> Tensor:
    """Wear premultiplied pictures x (B, 4, S, S) in [0, 1]: all moved, wobbling and of another shade, some soft or noisy.

    Which rows get soft (the first two fifths) and which noisy (the last) is fixed, for batches are shuffled anyway.
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
    x *= torch.cat([1 + amount * uniform(-0.08, 0.08, count, 3, 1, 1), torch.ones(count, 1, 1, 1, device=device)], dim=1)
    clean = x[count - few :]
    grain = torch.randn(clean.shape, generator=rng, device=device) * uniform(0, 0.1, few, 1, 1, 1)
    haze = torch.randn(few, 4, 8, 8, generator=rng, device=device) * uniform(-0.05, 0.08, few, 1, 1, 1).clamp(min=0)
    clean += amount * (grain + F.interpolate(haze, size=x.shape[2:], mode="bilinear", align_corners=False))
    return x.clamp_(0, 1)


def _grid(x: Tensor, rng: torch.Generator, amount: float) -> Tensor:
    """Where each pixel is read from: a slight scaling, turning, shifting and wobbling, made coarse and then refined."""
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

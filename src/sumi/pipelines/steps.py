"""A pipeline asks for denoising steps; whoever drives it answers, alone or for many pipelines at once.

    step = yield Ask(denoiser, sampler, rows, rngs)        x, state = step.x, step.state

So a pipeline is written once, as if it were alone. `drive` takes each step as it is asked for. An engine drives many
pipelines, and answers those that ask the same network with one evaluation, which it can since t, s, guidance and a
sampler's memory are per sample.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Generator as Rng
from torch import Tensor

from sumi.diffusion import Denoiser, Estimate, Sampler, Step, cat_rows, guide_rows, split_rows
from sumi.nn import Cond
from sumi.pipelines.events import Event, Picture, Progress
from sumi.pipelines.short_repr import short_repr
from sumi.pipelines.torch_state import own_torch_state

Value = TypeVar("Value")
C = TypeVar("C")


class Inpainting(NamedTuple):
    """What is known of the answer beforehand, x (B, ...), where kept (B, ...) is above 0."""

    x: Tensor
    kept: Tensor

    def __repr__(self) -> str:
        """Return its fields by their shapes."""
        return short_repr(self)


class StepRows(NamedTuple):
    """The samples of a step, each slot (B, ...): they go from t down to s.

    null, scale, low, high: what guidance leads away from, how strongly, and between which times; scale 1 is not at all.
    """

    x: Tensor
    t: Tensor
    s: Tensor
    cond: Cond
    state: Any
    scale: Tensor
    low: Tensor
    high: Tensor
    null: Cond | None = None
    known: Inpainting | None = None

    def __repr__(self) -> str:
        """Return its fields by their shapes."""
        return short_repr(self)


@dataclass(frozen=True, eq=False)
class StepRequest:
    """A step to be taken, of one stage. rngs: a generator a sample. last: the samples arrive with it."""

    __repr__ = short_repr

    stage: str
    denoiser: Denoiser[Cond]
    sampler: Sampler[Any]
    rows: StepRows
    rngs: Sequence[Rng]
    last: bool = False

    def __len__(self) -> int:
        """How many samples."""
        return len(self.rows.x)

    @cached_property
    def kind(self) -> Hashable:
        """What two steps have in common that can be taken together."""
        cond = self.rows.cond
        slots = (cond.vector, cond.tokens, cond.mask, cond.concat)
        shapes = tuple(None if slot is None else slot.shape[1:] for slot in slots)
        return self.denoiser, self.sampler, self.rows.x.shape[1:], shapes


@dataclass(frozen=True)
class Pause:
    """Said between two pieces of work that are no steps, so that whoever drives many pipelines can turn to another."""


Work = Generator[StepRequest | Event | Pause, Any, Value]
"""A pipeline at work: it asks for steps, tells how far it is, hands out pictures, and may return a value."""


@torch.no_grad()
def run_steps(asks: Sequence[StepRequest]) -> list[Step[Any]]:
    """Take steps of one kind together, with one evaluation of the network wherever one of them alone needs one."""
    counts = [len(ask) for ask in asks]
    rows = cat_rows([ask.rows for ask in asks], counts)
    denoise, sampler = asks[0].denoiser, asks[0].sampler
    if rows.null is not None:
        denoise = guide_rows(denoise, rows.null, rows.scale, (rows.low, rows.high))
    if rows.known is not None:
        denoise = condition_on_known(denoise, rows.known.x, 1 - rows.known.kept)
    rngs = list(itertools.chain.from_iterable(ask.rngs for ask in asks))
    return split_rows(sampler.step(denoise, rows.x, rows.t, rows.s, rows.cond, rows.state, rngs), counts)


def condition_on_known(denoise: Denoiser[C], known: Tensor, mask: Tensor) -> Denoiser[C]:
    """The same denoiser, its mean replaced by what is known (B, ...) where the mask (B, ...) is 0.

    Both may have one row for all. Guidance leaves it so, since away from what is known is nowhere.
    """

    def informed(x_t: Tensor, t: Tensor, cond: C, /) -> Estimate:
        estimate = denoise(x_t, t, cond)
        return Estimate(torch.where(mask > 0, estimate.mean, known), estimate.var_interp)

    return informed


def drive(work: Work[Value]) -> Generator[Event, None, Value]:
    """Take every step as soon as it is asked for; yields what the pipeline tells, returns what it returns."""
    step: Step[Any] | None = None
    while True:
        with own_torch_state():
            try:
                said = work.send(step)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            step = run_steps([said])[0] if isinstance(said, StepRequest) else None
        if isinstance(said, Progress | Picture):
            yield said


def drive_to_end(work: Work[Value]) -> Value:
    """Drive to the end without listening and return the result."""
    driven = drive(work)
    while True:
        try:
            next(driven)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def map_preview(work: Work[Value], compose: Callable[[Tensor], Tensor]) -> Work[Value]:
    """Return the same work, whose progress is looked at through `compose`, (B, 4, H, W) to as many pictures."""
    step = None
    while True:
        try:
            said = work.send(step)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        step = yield (replace(said, shown_as=compose) if isinstance(said, Progress) else said)


def without_progress(work: Work[Value]) -> Work[Value]:
    """Return the same work, which pauses where it would have told how far it is."""
    step = None
    while True:
        try:
            said = work.send(step)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        step = yield Pause() if isinstance(said, Progress) else said


def collected(work: Work[Value], pictures: list[Picture]) -> Work[Value]:
    """Return the same work, whose pictures go into a list; it pauses where it would have handed one out."""
    step = None
    while True:
        try:
            said = work.send(step)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        if isinstance(said, Picture):
            pictures.append(said)
        step = yield Pause() if isinstance(said, Picture) else said


def run_side_by_side(works: Sequence[Work[Value]]) -> Work[list[Value]]:
    """Do works side by side: steps of one kind are asked for once, with the samples of all who ask for them.

    Each keeps its own random numbers. Of progress, only what the first says is told.
    """
    ends: dict[int, Value] = {}
    asking: dict[int, StepRequest] = {}
    steps: dict[int, Step[Any] | None] = dict.fromkeys(range(len(works)))
    while len(ends) < len(works):
        for number, step in steps.items():
            try:
                while not isinstance(said := works[number].send(step), StepRequest):
                    step = yield said if number == 0 or not isinstance(said, Progress) else Pause()
            except StopIteration as end:
                ends[number] = end.value
            else:
                asking[number] = said
        if asking:
            kind = next(iter(asking.values())).kind
            alike = {number: asking.pop(number) for number in sorted(asking) if asking[number].kind == kind}
            taken = yield join_requests(list(alike.values()))
            steps = dict(zip(alike, split_rows(taken, [len(ask) for ask in alike.values()]), strict=True))
    return [ends[number] for number in range(len(works))]


def join_requests(asks: Sequence[StepRequest]) -> StepRequest:
    """Steps of one kind as one."""
    rows = cat_rows([ask.rows for ask in asks], [len(ask) for ask in asks])
    rngs = list(itertools.chain.from_iterable(ask.rngs for ask in asks))
    return replace(asks[0], rows=rows, rngs=rngs)

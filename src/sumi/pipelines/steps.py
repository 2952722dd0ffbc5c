"""Steps: a pipeline asks for denoising steps, and whoever drives it takes them, for one pipeline or for many at once.

    step = yield StepRequest(stage, denoiser, sampler, rows, rngs)        x, state = step.x, step.state

A pipeline is written as if it were alone. `drive` takes each step as it is asked for. The engine of a server drives
many pipelines and takes all steps of one kind with one evaluation of the network, which it can since t, s, guidance and
a sampler's memory are per sample.
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

from sumi.diffusion import Denoiser, Estimate, Sampler, Step, cat_rows, guide_rows, split_rows, threshold
from sumi.nn import Cond
from sumi.pipelines.events import Event, Picture, Progress, Sample
from sumi.pipelines.short_repr import short_repr
from sumi.pipelines.torch_state import own_torch_state

__all__ = [
    "Inpainting",
    "Pause",
    "StepRequest",
    "StepRows",
    "Threshold",
    "Value",
    "Work",
    "collected",
    "denoiser_of",
    "drive",
    "drive_to_end",
    "inpaint",
    "map_events",
    "run_alone",
    "run_in_groups",
    "run_side_by_side",
    "run_steps",
    "without_progress",
]

Value = TypeVar("Value")
C = TypeVar("C")


class Inpainting(NamedTuple):
    """What is known of the answer beforehand.

    known_x0: the known clean signal, (B, ...). keep_mask: (B, ...), 1 where it is kept and 0 where it is drawn. Both
    may have one row for all samples. Everything below the tasks uses this polarity; in a task, a person paints white
    what should be drawn anew.
    """

    known_x0: Tensor
    keep_mask: Tensor

    def __repr__(self) -> str:
        """Return its fields by their shapes."""
        return short_repr(self)

    def expand(self, count: int) -> Inpainting:
        """Return it with a row for each of so many samples."""
        return Inpainting(*(slot.expand(count, *slot.shape[1:]) for slot in self))


class Threshold(NamedTuple):
    """The range of estimates, [-limit, limit]; with a quantile it is dynamic (see `sumi.diffusion.threshold`)."""

    limit: float = 1.0
    quantile: float | None = None


class StepRows(NamedTuple):
    """The samples of a step from t down to s, each slot (B, ...).

    null, scale, low, high: what guidance leads away from, how strongly, and between which times; scale 1 is unguided.
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
    inpainting: Inpainting | None = None

    def __repr__(self) -> str:
        """Return its fields by their shapes."""
        return short_repr(self)


@dataclass(frozen=True, eq=False)
class StepRequest:
    """A step that a stage asks for. rngs: a generator for each sample. last: whether it is the last of the walk."""

    __repr__ = short_repr

    stage: str
    denoiser: Denoiser[Cond]
    sampler: Sampler[Any]
    rows: StepRows
    rngs: Sequence[Rng]
    last: bool = False
    threshold: Threshold | None = None

    def __len__(self) -> int:
        """How many samples."""
        return len(self.rows.x)

    @cached_property
    def kind(self) -> Hashable:
        """What two steps have in common that can be taken together."""
        cond = self.rows.cond
        slots = (cond.vector, cond.tokens, cond.mask, cond.concat)
        shapes = tuple(None if slot is None else slot.shape[1:] for slot in slots)
        return self.denoiser, self.sampler, self.threshold, self.rows.x.shape[1:], shapes


@dataclass(frozen=True)
class Pause:
    """Yielded between pieces of work that are not denoising steps, so the engine can switch to another request."""


Work = Generator[StepRequest | Event | Pause | Sample, Any, Value]
"""A pipeline at work: it asks for steps, reports progress, hands out pictures, and may return a value."""


@torch.no_grad()
def run_steps(requests: Sequence[StepRequest]) -> list[Step[Any]]:
    """Take steps of one kind together, with one evaluation of the network wherever one of them alone needs one."""
    one = join_requests(requests)
    rows = one.rows
    step = one.sampler.step(denoiser_of(one), rows.x, rows.t, rows.s, rows.cond, rows.state, one.rngs)
    return split_rows(step, [len(request) for request in requests])


def denoiser_of(request: StepRequest) -> Denoiser[Cond]:
    """Return the denoiser of a step: guided first, then held to the threshold, then told what is known."""
    rows, denoise = request.rows, request.denoiser
    if rows.null is not None:
        denoise = guide_rows(denoise, rows.null, rows.scale, (rows.low, rows.high))
    if request.threshold is not None:
        denoise = threshold(denoise, *request.threshold)
    if rows.inpainting is not None:
        denoise = inpaint(denoise, rows.inpainting)
    return denoise


def join_requests(requests: Sequence[StepRequest]) -> StepRequest:
    """Return steps of one kind as one."""
    rows = cat_rows([request.rows for request in requests], [len(request) for request in requests])
    rngs = list(itertools.chain.from_iterable(request.rngs for request in requests))
    return replace(requests[0], rows=rows, rngs=rngs)


def inpaint(denoise: Denoiser[C], known: Inpainting) -> Denoiser[C]:
    """Return the same denoiser whose mean is `known.known_x0` where the mask keeps it.

    It wraps a guided denoiser, since guidance would lead away from what is known.
    """

    def informed(x_t: Tensor, t: Tensor, cond: C, /) -> Estimate:
        estimate = denoise(x_t, t, cond)
        return Estimate(torch.where(known.keep_mask < 1, estimate.mean, known.known_x0), estimate.var_interp)

    return informed


def run_alone(request: StepRequest) -> Step[Any]:
    """Take one step by itself."""
    return run_steps([request])[0]


def drive(work: Work[Value], take: Callable[[StepRequest], Step[Any]] = run_alone) -> Generator[Event, None, Value]:
    """Take every step as soon as it is asked for; yields the events of the work, returns what it returns.

    take: how a step is taken, for those who look at each of them.
    """
    step: Step[Any] | None = None
    while True:
        with own_torch_state():
            try:
                event = work.send(step)
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]
            step = take(event) if isinstance(event, StepRequest) else None
        if isinstance(event, Progress | Picture):
            yield event


def drive_to_end(work: Work[Value]) -> Value:
    """Drive to the end and return the result."""
    driven = drive(work)
    while True:
        try:
            next(driven)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def map_events(work: Work[Value], change: Callable[[Event | Pause | Sample], Event | Pause | Sample]) -> Work[Value]:
    """Return the same work, each of its events changed; one that becomes a `Pause` is hidden."""
    step: Step[Any] | None = None
    while True:
        try:
            event = work.send(step)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        step = yield event if isinstance(event, StepRequest) else change(event)


def without_progress(work: Work[Value]) -> Work[Value]:
    """Return the same work without its progress."""
    return map_events(work, lambda event: Pause() if isinstance(event, Progress) else event)


def collected(work: Work[Value], pictures: list[Picture]) -> Work[Value]:
    """Return the same work, whose pictures go into a list in place of being handed out."""

    def collect(event: Event | Pause | Sample) -> Event | Pause | Sample:
        if not isinstance(event, Picture):
            return event
        pictures.append(event)
        return Pause()

    return map_events(work, collect)


def run_side_by_side(works: Sequence[Work[Value]]) -> Work[list[Value]]:
    """Do works side by side: steps of one kind are asked for once, with the samples of all who ask for them.

    Each keeps its own random numbers. Only the progress of the first is reported.
    """
    ends: dict[int, Value] = {}
    asking: dict[int, StepRequest] = {}
    steps: dict[int, Step[Any] | None] = dict.fromkeys(range(len(works)))
    while len(ends) < len(works):
        for number, step in steps.items():
            try:
                while not isinstance(event := works[number].send(step), StepRequest):
                    step = yield event if number == 0 or not isinstance(event, Progress) else Pause()
            except StopIteration as end:
                ends[number] = end.value
            else:
                asking[number] = event
        if asking:
            kind = next(iter(asking.values())).kind
            alike = {number: asking.pop(number) for number in sorted(asking) if asking[number].kind == kind}
            taken = yield join_requests(list(alike.values()))
            steps = dict(zip(alike, split_rows(taken, [len(request) for request in alike.values()]), strict=True))
    return [ends[number] for number in range(len(works))]


def run_in_groups(works: Sequence[Work[None]], together: int) -> Work[None]:
    """Do works side by side, so many at once, and hand out their pictures in the order of the works."""
    for start in range(0, len(works), together):
        group = works[start : start + together]
        drawn: list[list[Picture]] = [[] for _ in group]
        yield from run_side_by_side([collected(work, pictures) for work, pictures in zip(group, drawn, strict=True)])
        for picture in (one for pictures in drawn for one in pictures):
            yield replace(picture, seconds=picture.seconds / len(group))

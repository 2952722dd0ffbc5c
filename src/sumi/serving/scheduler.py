"""Whose turn it is: many pipelines at work, and one network evaluation at a time for as many of them as fit.

    tick:  let the canceled go, admit who waits, take one step of one kind, do some of what is no step

Pipelines ask for steps (`sumi.pipelines.steps`). Those of one kind (the same network, sampler and shapes) are taken
together, so that a request joins between two steps of others and leaves when it is done. The kind whose turn it is is
that which has waited longest. What is no step (reading a prompt, decoding, ranking) is done piece by piece between, for
as long as a step may last.

Order: higher priority first; then the key that has used the fewest pixel-steps; then first come, first served. A key
that comes back is counted as having used as much as the least served of those here, so that no key saves up turns.

Running work is preempted between two steps. Where there are more requests than places, the places are dealt out anew
before each step; a request that loses its place is paused in memory with all it has drawn, and goes on from there.
"""

from __future__ import annotations

import heapq
import itertools
import math
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from sumi.diffusion import Step, split_rows
from sumi.pipelines import Picture, Progress
from sumi.pipelines.events import itself
from sumi.pipelines.steps import StepRequest, Work, run_steps
from sumi.serving.engine_metrics import EngineMeter
from sumi.serving.job_handle import FinishedPicture, JobHandle, JobStarted, Status, StepDone


@dataclass(frozen=True)
class SchedulerLimits:
    """How much at once.

    rows: samples a step. step_s: how long a step should last at most, unless one sample lasts longer. running, waiting:
    requests at work, and in the queue. paused: requests that others preempted and that are kept in memory.
    pictures: of one request drawn together.
    """

    rows: int = 64
    step_s: float = 0.25
    running: int = 64
    paused: int = 64
    waiting: int = 256
    pictures: int = 4


@dataclass(eq=False)
class ScheduledJob:
    """One request. previews: of how many of a stage's steps to show the picture. ask: the step that it waits for."""

    work: Work[None]
    ticket: JobHandle
    encode: Callable[[Picture], bytes]
    key: str = ""
    priority: int = 0
    previews: int = 0
    came: int = 0
    asked: int = 0
    ask: StepRequest | None = field(default=None, repr=False)

    def shows(self, progress: Progress) -> bool:
        """Whether a preview is due: evenly spread, and the last step of a stage always."""
        before, after = ((step * self.previews) // progress.of for step in (progress.step - 1, progress.step))
        return before != after


class Scheduler:
    """Takes the steps of many pipelines; used by one thread.

    look: what a step sees, as levels, or None (`Artist.preview`). later: runs a function soon, in order, in another
    thread; by default here and now. pixels: by stage, the pixels of the picture that one sample stands for; a stage
    that is not named counts as the smallest.
    """

    def __init__(
        self,
        look: Callable[[Progress], Tensor | None],
        limits: SchedulerLimits,
        meter: EngineMeter,
        later: Callable[[Callable[[], object]], object] = lambda errand: errand(),
        pixels: Mapping[str, int] | None = None,
    ) -> None:
        self.limits, self.meter = limits, meter
        self._pixels = pixels or {}
        self._look, self._later = look, later
        self._numbers = itertools.count()
        self.waiting: list[ScheduledJob] = []
        self._asking: list[ScheduledJob] = []
        self._ready: list[ScheduledJob] = []
        self._active: set[ScheduledJob] = set()
        self._here: Counter[str] = Counter()
        self._had: dict[str, float] = {}

    @property
    def running(self) -> int:
        """How many requests were begun and have not ended, the paused ones among them."""
        return len(self._asking) + len(self._ready)

    def add(self, job: ScheduledJob) -> None:
        """Put a request into the queue."""
        job.came = next(self._numbers)
        if job.key not in self._here:
            self._had[job.key] = max(self._had.get(job.key, 0.0), self._least if self._here else 0.0)
        self._here[job.key] += 1
        self.waiting.append(job)

    def tick(self) -> bool:
        """Do a little of what there is to do; returns whether there was anything."""
        self._dismiss()
        self._admit()
        busy, started, spent_s = self._step(), time.perf_counter(), 0.0
        while spent_s < self.limits.step_s and (job := self._next_ready()) is not None:
            self._ready.remove(job)
            self._resume(job)
            busy, spent_s = True, time.perf_counter() - started
        self.meter.count(other_s=spent_s)
        return busy

    def stop(self, error: BaseException) -> None:
        """End every request unfinished."""
        for job in [*self.waiting, *self._asking, *self._ready]:
            self._end(job, "stopped", error)
        self.waiting, self._asking, self._ready = [], [], []

    # Who comes and goes.

    def _dismiss(self) -> None:
        for jobs in (self.waiting, self._asking, self._ready):
            for job in [job for job in jobs if job.ticket.canceled]:
                jobs.remove(job)
                self._end(job, "canceled")

    def _admit(self) -> None:
        """Deal out the places, and begin the requests that get one for the first time."""
        begun, waiting = [*self._asking, *self._ready], set(self.waiting)
        self._active = set()
        room = self.limits.running + self.limits.paused - len(begun)
        for job in self._ranked([*begun, *self.waiting]):
            if len(self._active) >= self.limits.running:
                break
            if job in waiting:
                if room <= 0:
                    continue
                room -= 1
                self.waiting.remove(job)
                job.ticket.post(JobStarted())
                self._ready.append(job)
            self._active.add(job)
            if job.ticket.alone:
                break

    def _ranked(self, jobs: Sequence[ScheduledJob]) -> Iterator[ScheduledJob]:
        """Requests in the order in which they get a place.

        One that must be alone comes first. Then priority decides, and within one priority keys come by turns: that with
        the fewest places, and of those with as many that with the fewest pixel-steps.
        """
        by_priority: defaultdict[int, defaultdict[str, deque[ScheduledJob]]] = defaultdict(lambda: defaultdict(deque))
        for job in sorted(jobs, key=lambda job: job.came):
            if job.ticket.alone:
                yield job
            by_priority[job.priority][job.key].append(job)
        places: Counter[str] = Counter()
        for priority in sorted(by_priority, reverse=True):
            queues = by_priority[priority]
            heads = [(places[key], self._had[key], queue[0].came, key) for key, queue in queues.items()]
            heapq.heapify(heads)
            while heads:
                *_, key = heapq.heappop(heads)
                yield queues[key].popleft()
                places[key] += 1
                if queues[key]:
                    heapq.heappush(heads, (places[key], self._had[key], queues[key][0].came, key))

    def _next_ready(self) -> ScheduledJob | None:
        """The request to go on with that waits for no step."""
        ready = (job for job in self._ready if job in self._active)
        return min(ready, key=lambda job: (-job.priority, self._had[job.key], job.came), default=None)

    @property
    def _least(self) -> float:
        """What the least served of the keys here has had."""
        return min((self._had[key] for key in self._here), default=math.inf)

    def _end(self, job: ScheduledJob, status: Status, error: BaseException | None = None) -> None:
        job.work.close()
        self._here[job.key] -= 1
        if not self._here[job.key]:
            del self._here[job.key]
            least = self._least
            self._had = {key: had for key, had in self._had.items() if key in self._here or had > least}

        def end() -> None:
            if job.ticket.end(status, error):
                self.meter.end(status, time.perf_counter())

        self._later(end)

    # Steps.

    def _step(self) -> bool:
        jobs = self._next()
        if not jobs:
            return False
        asks = [job.ask for job in jobs if job.ask is not None]
        started = time.perf_counter()
        steps = run_steps_safely(asks)
        self.meter.step(asks[0].stage, sum(map(len, asks)), time.perf_counter() - started)
        told: list[tuple[ScheduledJob, Progress]] = []
        for job, ask, step in zip(jobs, asks, steps, strict=True):
            self._asking.remove(job)
            self._had[job.key] += len(ask) * self._pixels.get(ask.stage, min(self._pixels.values(), default=1))
            if isinstance(step, Exception):
                self._end(job, "failed", step)
            elif isinstance(said := self._send(job, step), Progress):
                told.append((job, said))
            elif said is not None:
                self._ready.append(job)
        self._tell(told)
        for job, _ in told:
            assert job.ask is not None
            if job.ask.last:
                self._ready.append(job)
            else:
                self._resume(job)
        return True

    def _next(self) -> list[ScheduledJob]:
        """The requests whose steps are taken next, together: of one kind, as many as fit.

        It is the kind that the least served key of the highest priority asks for; of one key, that it asked for first.
        """
        asking = [job for job in self._asking if job in self._active]
        if not asking:
            return []
        asking.sort(key=lambda job: (-job.priority, self._had[job.key], job.asked))
        first = asking[0]
        assert first.ask is not None
        cost_s = self.meter.row_s(first.ask.stage)
        room = min(self.limits.rows, self.limits.step_s / cost_s if cost_s else math.inf)
        chosen: list[ScheduledJob] = []
        for job in asking:
            if job.ask is not None and job.ask.kind == first.ask.kind:
                room -= len(job.ask)
                if chosen and room < 0:
                    break
                chosen.append(job)
        return chosen

    # What a pipeline says.

    def _resume(self, job: ScheduledJob) -> None:
        """Let a pipeline go on to whatever it says next."""
        said = self._send(job, None)
        if isinstance(said, Progress):
            self._tell([(job, said)])
        if said is not None:
            self._ready.append(job)

    def _send(self, job: ScheduledJob, step: Step[Any] | None) -> object:
        """Answer a pipeline. What it says is dealt with unless it is progress; None when it asks or has ended."""
        try:
            said = job.work.send(step)
        except StopIteration:
            self._end(job, "succeeded")
            return None
        except Exception as error:
            self._end(job, "failed", error)
            return None
        if isinstance(said, StepRequest):
            job.ask, job.asked = said, next(self._numbers)
            self._asking.append(job)
            return None
        if isinstance(said, Picture):
            self._later(partial(self._hand_over, job, said))
        return said

    def _tell(self, told: Sequence[tuple[ScheduledJob, Progress]]) -> None:
        """Report progress, looking at once at all that should be shown and looks alike."""
        started, levels = time.perf_counter(), dict[ScheduledJob, Tensor]()
        shown = [(job, said) for job, said in told if job.shows(said)]
        while shown:
            first = shown[0][1]
            alike = [(job, said) for job, said in shown if can_share_preview(first, said)]
            seen = self._look(replace(first, mean=torch.cat([said.mean for _, said in alike]), shown_as=itself))
            if seen is not None:
                parts = split_rows(seen, [len(said.mean) for _, said in alike])
                levels |= {job: said.shown_as(part) for (job, said), part in zip(alike, parts, strict=True)}
            shown = [(job, said) for job, said in shown if not can_share_preview(first, said)]
        if levels:
            self.meter.count(look_s=time.perf_counter() - started)
        for job, said in told:
            job.ticket.post(StepDone(said.stage, said.step, said.of, said.seeds, levels.get(job)))

    def _hand_over(self, job: ScheduledJob, picture: Picture) -> None:
        try:
            job.ticket.post(FinishedPicture(picture, job.encode(picture)))
        except Exception as error:
            job.ticket.cancel()
            if job.ticket.end("failed", error):
                self.meter.end("failed", time.perf_counter())


def can_share_preview(one: Progress, other: Progress) -> bool:
    """Whether two steps can be looked at together."""
    return one.stage == other.stage and one.mean.shape[1:] == other.mean.shape[1:]


def run_steps_safely(asks: Sequence[StepRequest]) -> list[Step[Any] | Exception]:
    """Take steps together; where that fails each alone, so that one that cannot be taken harms no other.

    Each then has the random numbers that it would have had.
    """
    rngs = [rng for ask in asks for rng in ask.rngs] if asks[0].sampler.stochastic else []
    before = [rng.get_state() for rng in rngs]
    try:
        return list(run_steps(asks))
    except Exception as error:
        if len(asks) == 1:
            return [error]
        for rng, state in zip(rngs, before, strict=True):
            rng.set_state(state)
        return [run_steps_safely([ask])[0] for ask in asks]

"""Continuous batching: many pipelines at work, and one network evaluation at a time for as many of them as fit.

    tick:  remove canceled requests, give out places, run one batch of steps, resume some pipelines

Pipelines ask for steps (`sumi.pipelines.steps`). Steps of one kind (the same network, sampler and shapes) form a batch,
so a request joins between two steps of others and leaves when it is done. The scheduler runs the kind that the next
request in line asks for. Between batches it does the rest of the pipelines' work (reading prompts, decoding, ranking)
piece by piece, for at most the length of a step.

Order: higher priority first; then the key that has used the fewest pixel-steps; then first come, first served. A key
that returns starts at the usage of the least served active key, so an idle key saves up no credit.

Running requests are preempted between two steps. The scheduler gives out its places anew before each step. A request
that loses its place stays in memory with all its progress, and continues from there.
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
from sumi.serving.job_handle import FinishedPicture, JobHandle, JobStarted, Status, StepDone
from sumi.serving.metrics import EngineMeter


@dataclass(frozen=True)
class SchedulerLimits:
    """How much runs and waits at once.

    Attributes:
        rows: samples in one batched step.
        step_s: target length of a batched step, in seconds; a single sample may take longer.
        running: requests that take steps.
        paused: preempted requests kept in memory.
        waiting: requests in the queue.
        pictures: pictures of one request drawn together.
    """

    rows: int = 64
    step_s: float = 0.25
    running: int = 64
    paused: int = 64
    waiting: int = 256
    pictures: int = 4


@dataclass(eq=False)
class ScheduledJob:
    """One request in the scheduler.

    Attributes:
        work: the pipeline, a generator that asks for steps.
        handle: where reports go.
        encode: makes a file of a picture.
        key, priority: see `Engine.submit`.
        previews: number of steps of each stage that report a preview.
        arrival: the request's place in the order of arrival.
        pending: the step that the pipeline waits for.
        pending_since: the pending step's place in the order of step requests.
    """

    work: Work[None]
    handle: JobHandle
    encode: Callable[[Picture], bytes]
    key: str = ""
    priority: int = 0
    previews: int = 0
    arrival: int = 0
    pending_since: int = 0
    pending: StepRequest | None = field(default=None, repr=False)

    def is_preview_due(self, progress: Progress) -> bool:
        """Return whether a step reports a preview. Previews are evenly spread; the last step always has one."""
        before, after = ((step * self.previews) // progress.of for step in (progress.step - 1, progress.step))
        return before != after


class Scheduler:
    """Runs the steps of many pipelines; used by one thread.

    Args:
        preview: turns a step's estimate into premultiplied uint8 pixels, or None (`Artist.preview`).
        limits: see `SchedulerLimits`.
        meter: counts the work.
        defer: runs functions in order, in another thread; by default at once, in this one.
        pixels: pixels of the picture that one sample of each stage stands for; other stages count as the smallest.
    """

    def __init__(
        self,
        preview: Callable[[Progress], Tensor | None],
        limits: SchedulerLimits,
        meter: EngineMeter,
        defer: Callable[[Callable[[], object]], object] = lambda call: call(),
        pixels: Mapping[str, int] | None = None,
    ) -> None:
        self.limits, self.meter = limits, meter
        self._pixels = pixels or {}
        self._preview, self._defer = preview, defer
        self._numbers = itertools.count()
        self.waiting: list[ScheduledJob] = []
        self._pending: list[ScheduledJob] = []  # wait for a step
        self._ready: list[ScheduledJob] = []  # wait to be resumed
        self._placed: set[ScheduledJob] = set()
        self._jobs_by_key: Counter[str] = Counter()
        self._usage: dict[str, float] = {}  # pixel-steps by key

    @property
    def running(self) -> int:
        """Number of requests that have started and not ended, including paused ones."""
        return len(self._pending) + len(self._ready)

    def add(self, job: ScheduledJob) -> None:
        """Put a request into the queue."""
        job.arrival = next(self._numbers)
        if job.key not in self._jobs_by_key:
            self._usage[job.key] = max(self._usage.get(job.key, 0.0), self._least_usage if self._jobs_by_key else 0.0)
        self._jobs_by_key[job.key] += 1
        self.waiting.append(job)

    def tick(self) -> bool:
        """Run one batch of steps and some of the work between steps; return whether there was any."""
        self._remove_canceled()
        self._assign_places()
        busy, started, spent_s = self._run_batch(), time.perf_counter(), 0.0
        while spent_s < self.limits.step_s and (job := self._choose_ready()) is not None:
            self._ready.remove(job)
            self._resume(job)
            busy, spent_s = True, time.perf_counter() - started
        self.meter.add_other_time(spent_s)
        return busy

    def stop(self, error: BaseException) -> None:
        """End every request as "stopped", with this error."""
        for job in [*self.waiting, *self._pending, *self._ready]:
            self._end(job, "stopped", error)
        self.waiting, self._pending, self._ready = [], [], []

    # Places.

    def _remove_canceled(self) -> None:
        for jobs in (self.waiting, self._pending, self._ready):
            for job in [job for job in jobs if job.handle.canceled]:
                jobs.remove(job)
                self._end(job, "canceled")

    def _assign_places(self) -> None:
        """Give out the places, and start the requests that get one for the first time."""
        started, waiting = [*self._pending, *self._ready], set(self.waiting)
        self._placed = set()
        room = self.limits.running + self.limits.paused - len(started)
        for job in self._rank([*started, *self.waiting]):
            if len(self._placed) >= self.limits.running:
                break
            if job in waiting:
                if room <= 0:
                    continue
                room -= 1
                self.waiting.remove(job)
                job.handle.post(JobStarted())
                self._ready.append(job)
            self._placed.add(job)
            if job.handle.alone:
                break

    def _rank(self, jobs: Sequence[ScheduledJob]) -> Iterator[ScheduledJob]:
        """Yield requests in the order in which they get a place.

        A request that must run alone comes first. Then priority decides. Within one priority the keys take turns: the
        key with the fewest places is next, and of keys with as many places the one with the fewest pixel-steps.
        """
        by_priority: defaultdict[int, defaultdict[str, deque[ScheduledJob]]] = defaultdict(lambda: defaultdict(deque))
        for job in sorted(jobs, key=lambda job: job.arrival):
            if job.handle.alone:
                yield job
            by_priority[job.priority][job.key].append(job)
        places: Counter[str] = Counter()
        for priority in sorted(by_priority, reverse=True):
            queues = by_priority[priority]
            heads = [(places[key], self._usage[key], queue[0].arrival, key) for key, queue in queues.items()]
            heapq.heapify(heads)
            while heads:
                *_, key = heapq.heappop(heads)
                yield queues[key].popleft()
                places[key] += 1
                if queues[key]:
                    heapq.heappush(heads, (places[key], self._usage[key], queues[key][0].arrival, key))

    def _choose_ready(self) -> ScheduledJob | None:
        """Return the next request to resume."""
        ready = (job for job in self._ready if job in self._placed)
        return min(ready, key=lambda job: (-job.priority, self._usage[job.key], job.arrival), default=None)

    @property
    def _least_usage(self) -> float:
        return min((self._usage[key] for key in self._jobs_by_key), default=math.inf)

    def _end(self, job: ScheduledJob, status: Status, error: BaseException | None = None) -> None:
        job.work.close()
        self._jobs_by_key[job.key] -= 1
        if not self._jobs_by_key[job.key]:
            del self._jobs_by_key[job.key]
            least = self._least_usage
            self._usage = {key: used for key, used in self._usage.items() if key in self._jobs_by_key or used > least}

        def end() -> None:
            if job.handle.end(status, error):
                self.meter.count_ended(status, time.perf_counter())

        self._defer(end)

    # Steps.

    def _run_batch(self) -> bool:
        """Run the next batch of steps and hand each pipeline its own; return whether there was one."""
        batch = self._choose_batch()
        if not batch:
            return False
        jobs, requests = zip(*batch, strict=True)
        started = time.perf_counter()
        steps = run_steps_safely(requests)
        self.meter.count_step(requests[0].stage, sum(map(len, requests)), time.perf_counter() - started)
        smallest = min(self._pixels.values(), default=1)
        progress: list[tuple[ScheduledJob, Progress]] = []
        for job, request, step in zip(jobs, requests, steps, strict=True):
            self._pending.remove(job)
            self._usage[job.key] += len(request) * self._pixels.get(request.stage, smallest)
            if isinstance(step, Exception):
                self._end(job, "failed", step)
            elif isinstance(output := self._send(job, step), Progress):
                progress.append((job, output))
            elif output is not None:
                self._ready.append(job)
        self._post_progress(progress)
        is_last = {job: request.last for job, request in batch}
        for job, _ in progress:
            if is_last[job]:
                self._ready.append(job)
            else:
                self._resume(job)
        return True

    def _choose_batch(self) -> list[tuple[ScheduledJob, StepRequest]]:
        """Return the requests whose steps run next, together: as many of one kind as fit.

        The least served key of the highest priority decides the kind; of one key, the oldest step request does.
        """
        pending = [(job, job.pending) for job in self._pending if job in self._placed and job.pending is not None]
        if not pending:
            return []
        pending.sort(key=lambda pair: (-pair[0].priority, self._usage[pair[0].key], pair[0].pending_since))
        first = pending[0][1]
        cost_s = self.meter.row_s(first.stage)
        room = min(self.limits.rows, self.limits.step_s / cost_s if cost_s else math.inf)
        batch: list[tuple[ScheduledJob, StepRequest]] = []
        for job, request in pending:
            if request.kind == first.kind:
                room -= len(request)
                if batch and room < 0:
                    break
                batch.append((job, request))
        return batch

    # Pipelines.

    def _resume(self, job: ScheduledJob) -> None:
        """Let a pipeline go on to its next output."""
        output = self._send(job, None)
        if isinstance(output, Progress):
            self._post_progress([(job, output)])
        if output is not None:
            self._ready.append(job)

    def _send(self, job: ScheduledJob, step: Step[Any] | None) -> object:
        """Hand a step to a pipeline and handle its output.

        Returns the output, or None where the pipeline asked for a step, ended or failed. Progress is left to the
        caller, who posts that of a whole batch at once.
        """
        try:
            output = job.work.send(step)
        except StopIteration:
            self._end(job, "succeeded")
            return None
        except Exception as error:
            self._end(job, "failed", error)
            return None
        if isinstance(output, StepRequest):
            job.pending, job.pending_since = output, next(self._numbers)
            self._pending.append(job)
            return None
        if isinstance(output, Picture):
            self._defer(partial(self._post_picture, job, output))
        return output

    def _post_progress(self, progress: Sequence[tuple[ScheduledJob, Progress]]) -> None:
        """Report progress. Previews of one stage and shape are decoded together."""
        started, levels = time.perf_counter(), dict[ScheduledJob, Tensor]()
        due = [(job, one) for job, one in progress if job.is_preview_due(one)]
        while due:
            first = due[0][1]
            group = [(job, one) for job, one in due if can_share_preview(first, one)]
            preview = self._preview(replace(first, mean=torch.cat([one.mean for _, one in group]), shown_as=itself))
            if preview is not None:
                parts = split_rows(preview, [len(one.mean) for _, one in group])
                levels |= {job: one.shown_as(part) for (job, one), part in zip(group, parts, strict=True)}
            due = [(job, one) for job, one in due if not can_share_preview(first, one)]
        if levels:
            self.meter.add_preview_time(time.perf_counter() - started)
        for job, one in progress:
            job.handle.post(StepDone(one.stage, one.step, one.of, one.seeds, levels.get(job)))

    def _post_picture(self, job: ScheduledJob, picture: Picture) -> None:
        try:
            job.handle.post(FinishedPicture(picture, job.encode(picture)))
        except Exception as error:
            job.handle.cancel()
            if job.handle.end("failed", error):
                self.meter.count_ended("failed", time.perf_counter())


def can_share_preview(one: Progress, other: Progress) -> bool:
    """Return whether the previews of two steps can be decoded in one batch."""
    return one.stage == other.stage and one.mean.shape[1:] == other.mean.shape[1:]


def run_steps_safely(requests: Sequence[StepRequest]) -> list[Step[Any] | Exception]:
    """Run steps together; where the batch fails, run each alone, so that one bad step harms no other request.

    The second run restores the random generators first, so each step draws the numbers that it would have drawn.
    """
    rngs = [rng for request in requests for rng in request.rngs] if requests[0].sampler.stochastic else []
    before = [rng.get_state() for rng in rngs]
    try:
        return list(run_steps(requests))
    except Exception as error:
        if len(requests) == 1:
            return [error]
        for rng, state in zip(rngs, before, strict=True):
            rng.set_state(state)
        return [run_steps_safely([request])[0] for request in requests]

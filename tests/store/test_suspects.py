"""A crash leaves suspects, which run alone; only a job that ran alone counts a failure."""

from __future__ import annotations

import os

from sumi.store import MOST_ATTEMPTS, Job, Key, Store, Worker

from .conftest import Clock
from .test_jobs import Draw, ask


def die(store: Store, worker: Worker, clock: Clock, *, stopped: bool = False) -> dict[str, str]:
    """Crash a worker's process, recover, and return its jobs."""
    if stopped:
        worker.stop()
    assert worker._lock is not None
    os.close(worker._lock)  # as the kernel does
    worker._lock = None
    return {job.id: job.status for job in store.jobs.recover()}


def test_innocent_jobs_survive_any_number_of_crashes(store: Store, key: Key, clock: Clock) -> None:
    """Twenty-four jobs, eight at a time or a suspect alone, and a crash in every round."""
    jobs = ask(store, key, 24)
    for _ in range(8):
        worker, alone = store.jobs.worker(), False
        for _ in range(8):
            claim = store.jobs.claim(worker)
            assert claim is not None and not alone
            if alone := claim.alone:
                break
        assert "failed" not in die(store, worker, clock).values()
    counts = store.jobs.counts(key.id)
    assert (counts["queued"], counts["failed"]) == (24, 0)
    assert all(store.jobs.get(key.id, job.id).failures <= 1 for job in jobs)  # type: ignore[union-attr]


def test_job_that_crashes_its_process_fails_alone(store: Store, key: Key, clock: Clock, draw: Draw) -> None:
    poison = ask(store, key, 10)[3]
    for _ in range(60):
        worker, claims = store.jobs.worker(), list[Job]()
        while len(claims) < 4 and (claim := store.jobs.claim(worker)):
            if claim.alone and claims:  # it would pause the others, and end them where it ends the process
                claims = [claim, *claims]
                break
            claims.append(claim)
            if claim.alone:
                break
        if any(claim.id == poison.id for claim in claims[: 1 if claims and claims[0].alone else None]):
            die(store, worker, clock)
            continue
        for claim in claims:
            assert store.jobs.succeed(claim, [draw()])
        worker.close()
    counts = store.jobs.counts(key.id)
    assert (counts["succeeded"], counts["failed"], counts["queued"]) == (9, 1, 0)
    failed = store.jobs.get(key.id, poison.id)
    assert failed is not None and failed.status == "failed" and failed.failures == MOST_ATTEMPTS


def test_crash_of_a_job_alone_makes_no_suspects(store: Store, key: Key, clock: Clock) -> None:
    first, second = ask(store, key, 2)
    worker = store.jobs.worker()
    for _ in range(2):
        store.jobs.claim(worker)
    die(store, worker, clock)  # both are suspects now
    worker = store.jobs.worker()
    claim = store.jobs.claim(worker)
    assert claim is not None and claim.id == first.id and claim.alone
    store.jobs.join(claim)
    other = store.jobs.claim(worker)
    assert other is not None and other.alone, "the second suspect, for which the first is paused"
    die(store, worker, clock)
    found = [store.jobs.get(key.id, job.id) for job in (first, second)]
    assert [(job.failures, job.suspicions) for job in found if job] == [(0, 1), (1, 1)]


def test_stop_by_an_operator_counts_no_failure(store: Store, key: Key, clock: Clock) -> None:
    (job,) = ask(store, key)
    for _ in range(5):
        worker = store.jobs.worker()
        assert store.jobs.claim(worker) is not None
        assert die(store, worker, clock, stopped=True) == {job.id: "queued"}
    again = store.jobs.get(key.id, job.id)
    assert again is not None and (again.failures, again.suspicions) == (0, 0)


def test_repeated_request_after_a_transient_error_is_queued_again(store: Store, key: Key, draw: Draw) -> None:
    worker = store.jobs.worker()
    for code, status in (("server_error", "queued"), ("invalid_request", "failed"), ("interrupted", "failed")):
        job = store.jobs.submit(key.id, "generate", {}, idempotency_key=code)
        claim = store.jobs.claim(worker)
        assert claim is not None and store.jobs.fail(claim, code, "the disk was full")
        again = store.jobs.submit(key.id, "generate", {}, idempotency_key=code)
        assert (again.id, again.status) == (job.id, status)
        if status == "queued":
            claim = store.jobs.claim(worker)
            assert claim is not None and store.jobs.succeed(claim, [draw()])
    worker.close()

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from sumi import SumiError
from sumi.store import LEASE_S, LOCAL, MOST_ATTEMPTS, ConflictError, Job, Key, NewPicture, Store, open_store

from .conftest import Clock

Draw = Callable[..., NewPicture]


def ask(store: Store, key: Key, count: int = 1, **more: object) -> list[Job]:
    return [store.jobs.submit(key.id, "generate", {"seed": seed}, **more) for seed in range(count)]  # type: ignore[arg-type]


def test_job_runs_from_submit_to_its_pictures(store: Store, key: Key, clock: Clock, draw: Draw) -> None:
    job = store.jobs.submit(key.id, "generate", {"prompt": "墨", "n": 2})
    assert (job.status, job.attempts, job.progress) == ("queued", 0, 0)
    worker = store.jobs.worker()
    clock.now += 1
    claim = store.jobs.claim(worker)
    assert claim is not None and claim.id == job.id and claim.request == {"prompt": "墨", "n": 2}
    assert store.jobs.claim(worker) is None
    assert store.jobs.heartbeat(worker, {job.id: 0.5}) == {job.id}
    running = store.jobs.get(key.id, job.id)
    assert running is not None and (running.status, running.progress) == ("running", 0.5)
    clock.now += 1
    assert store.jobs.succeed(claim, [draw(data=b"one"), draw(data=b"two")])
    done = store.jobs.get(key.id, job.id)
    assert done is not None and (done.status, done.progress, done.worker) == ("succeeded", 1.0, None)
    assert (done.created_at, done.started_at, done.finished_at) == (clock.now - 2, clock.now - 1, clock.now)
    pictures = store.jobs.pictures(key.id, job.id)
    assert [store.gallery.read(picture) for picture in pictures] == [b"one", b"two"]
    assert [picture.position for picture in pictures] == [0, 1] and pictures[0].recipe == {"seed": 7}
    worker.close()


def test_submitted_job_survives_a_restart(store: Store, url: str, tmp_path: Path) -> None:
    job = store.jobs.submit(LOCAL, "generate", {"prompt": "a fox"})
    store.close()
    with open_store(tmp_path, url) as again:
        kept = again.jobs.get(LOCAL, job.id)
    assert kept is not None and kept.request == {"prompt": "a fox"}


def test_job_of_another_key_is_invisible(store: Store, key: Key, draw: Draw) -> None:
    job = ask(store, key)[0]
    worker = store.jobs.worker()
    claim = store.jobs.claim(worker)
    assert claim is not None and store.jobs.succeed(claim, [draw()])
    picture = store.jobs.pictures(key.id, job.id)[0]
    assert store.jobs.get(LOCAL, job.id) is None and store.jobs.cancel(LOCAL, job.id) is None
    assert store.jobs.pictures(LOCAL, job.id) == [] and store.jobs.page(LOCAL).items == []
    assert store.gallery.get(LOCAL, picture.id) is None and not store.gallery.remove(LOCAL, picture.id)
    assert store.gallery.page(LOCAL).items == [] and store.jobs.counts(LOCAL)["succeeded"] == 0
    worker.close()


def test_id_that_is_no_text_matches_nothing(store: Store, key: Key) -> None:
    for text in ("", "job_x", "\0", "\ud800", "ü", "a" * 10**5):
        assert store.jobs.get(key.id, text) is None and store.jobs.get(text, text) is None
        assert store.jobs.cancel(key.id, text) is None and store.gallery.get(key.id, text) is None


# Asked once, however often it is sent.


def test_submit_twice_with_one_idempotency_key_is_one_job(store: Store, key: Key) -> None:
    first = store.jobs.submit(key.id, "generate", {"prompt": "fox", "n": 1}, idempotency_key="a")
    again = store.jobs.submit(key.id, "generate", {"n": 1, "prompt": "fox"}, idempotency_key="a")
    assert again.id == first.id and store.jobs.counts(key.id)["queued"] == 1
    store.jobs.cancel(key.id, first.id)
    assert store.jobs.submit(key.id, "generate", {"prompt": "fox", "n": 1}, idempotency_key="a").status == "canceled"


def test_submit_of_another_request_under_an_idempotency_key_conflicts(store: Store, key: Key) -> None:
    store.jobs.submit(key.id, "generate", {"n": 1}, idempotency_key="a")
    for kind, request in (("generate", {"n": 2}), ("vary", {"n": 1}), ("generate", {"n": True})):
        with pytest.raises(ConflictError, match="Idempotency-Key"):
            store.jobs.submit(key.id, kind, request, idempotency_key="a")


def test_idempotency_keys_are_separate_for_each_key(store: Store, key: Key) -> None:
    one = store.jobs.submit(key.id, "generate", {"n": 1}, idempotency_key="a")
    assert store.jobs.submit(LOCAL, "generate", {"n": 2}, idempotency_key="a").id != one.id


def test_concurrent_submits_with_one_idempotency_key_are_one_job(store: Store, key: Key) -> None:
    found, start = [], threading.Barrier(4)

    def send() -> None:
        start.wait()
        found.append(store.jobs.submit(key.id, "generate", {}, idempotency_key="a").id)

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4 and len(set(found)) == 1


def test_idempotency_key_that_is_long_or_not_ascii_is_refused(store: Store, key: Key) -> None:
    for value in ("", "a" * 256, "a\n", "ü", "a\0"):
        with pytest.raises(SumiError, match="1 to 255 printable ASCII"):
            store.jobs.submit(key.id, "generate", {}, idempotency_key=value)


def test_request_may_hold_any_text(store: Store, key: Key) -> None:
    for prompt in ("\0", "\ud800", "\u202efox", "a" * 10**5, "'; DROP TABLE jobs; --"):
        job = store.jobs.submit(key.id, "generate", {"prompt": prompt})
        kept = store.jobs.get(key.id, job.id)
        assert kept is not None and kept.request == {"prompt": prompt}


def test_request_that_is_not_json_is_refused(store: Store, key: Key) -> None:
    for value in (float("nan"), {1, 2}, b"fox"):
        with pytest.raises(SumiError, match="cannot be stored as JSON"):
            store.jobs.submit(key.id, "generate", {"x": value})


# Whose turn it is.


def test_claim_alternates_between_keys_in_order(store: Store) -> None:
    keys = {name: store.keys.create(name).key for name in "abc"}
    owner = {keys[name].id: name for name in keys}
    for name, count in (("a", 4), ("b", 2), ("c", 1)):
        ask(store, keys[name], count)
    worker, order = store.jobs.worker(), []
    while claim := store.jobs.claim(worker):
        order.append(f"{owner[claim.key_id]}{claim.request['seed']}")
    assert order == ["a0", "b0", "c0", "a1", "b1", "a2", "a3"]
    worker.close()


def test_claim_gives_a_late_key_one_turn_and_no_credit(store: Store) -> None:
    busy, late = store.keys.create("busy").key, store.keys.create("late").key
    ask(store, busy, 6)
    worker = store.jobs.worker()
    for _ in range(3):
        store.jobs.claim(worker)
    ask(store, late, 3)
    order = [claim.key_id for _ in range(4) if (claim := store.jobs.claim(worker))]
    assert order == [late.id, busy.id, late.id, busy.id]
    worker.close()


def test_claim_takes_the_highest_priority_first(store: Store, key: Key) -> None:
    low, high = ask(store, key)[0], ask(store, key, priority=5)[0]
    worker = store.jobs.worker()
    assert [claim.id for _ in range(2) if (claim := store.jobs.claim(worker))] == [high.id, low.id]
    worker.close()


def test_claim_takes_only_the_given_kinds(store: Store, key: Key) -> None:
    job = store.jobs.submit(key.id, "vary", {})
    worker = store.jobs.worker()
    assert store.jobs.claim(worker, ["generate"]) is None
    claim = store.jobs.claim(worker, ["generate", "vary"])
    assert claim is not None and claim.id == job.id
    worker.close()


def test_concurrent_claims_never_return_the_same_job(store: Store, key: Key) -> None:
    ask(store, key, 20)
    got: list[str] = []

    def work() -> None:
        worker = store.jobs.worker()
        while claim := store.jobs.claim(worker):
            got.append(claim.id)
        worker.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(got)) == len(got) >= 17  # one whose jobs were all locked by others may leave early
    assert store.jobs.counts()["running"] == len(got)


# One end.


def test_job_ends_only_once(store: Store, key: Key, draw: Draw) -> None:
    job = ask(store, key)[0]
    worker = store.jobs.worker()
    claim = store.jobs.claim(worker)
    assert claim is not None
    assert store.jobs.succeed(claim, [draw()])
    assert not store.jobs.succeed(claim, [draw()]) and not store.jobs.fail(claim, "bug", "no")
    cancelled = store.jobs.cancel(key.id, job.id)
    assert cancelled is not None and cancelled.status == "succeeded"
    assert len(store.jobs.pictures(key.id, job.id)) == 1
    worker.close()


def test_canceled_job_stores_no_pictures(store: Store, key: Key, draw: Draw) -> None:
    job = ask(store, key)[0]
    worker = store.jobs.worker()
    claim = store.jobs.claim(worker)
    assert claim is not None
    canceled = store.jobs.cancel(key.id, job.id)
    assert canceled is not None and canceled.status == "canceled" and canceled.finished_at is not None
    assert store.jobs.heartbeat(worker, {job.id: 0.9}) == frozenset()
    assert not store.jobs.succeed(claim, [draw()])
    assert store.jobs.pictures(key.id, job.id) == []
    worker.close()


def test_failed_job_holds_its_error(store: Store, key: Key) -> None:
    job = ask(store, key)[0]
    worker = store.jobs.worker()
    claim = store.jobs.claim(worker)
    assert claim is not None and store.jobs.fail(claim, "out_of_memory", "the picture did not fit")
    failed = store.jobs.get(key.id, job.id)
    assert failed is not None and failed.status == "failed"
    assert failed.error == {"code": "out_of_memory", "message": "the picture did not fit"}
    worker.close()


def test_succeed_stores_all_pictures_or_none(store: Store, key: Key, draw: Draw) -> None:
    job = ask(store, key)[0]
    worker = store.jobs.worker()
    claim = store.jobs.claim(worker)
    assert claim is not None
    with pytest.raises(SumiError, match="NUL"):
        store.jobs.succeed(claim, [draw(), draw("\0")])
    running = store.jobs.get(key.id, job.id)
    assert running is not None and running.status == "running" and store.jobs.pictures(key.id, job.id) == []
    worker.close()


# Workers that are gone.


def test_recover_leaves_the_jobs_of_a_live_worker(store: Store, key: Key) -> None:
    ask(store, key)
    worker = store.jobs.worker()
    store.jobs.claim(worker)
    assert store.jobs.recover() == []
    worker.close()


def test_recover_takes_jobs_with_a_lapsed_lease(store: Store, key: Key, clock: Clock, draw: Draw) -> None:
    ask(store, key)
    silent, other = store.jobs.worker(), store.jobs.worker()
    lost = store.jobs.claim(silent)
    clock.now += LEASE_S - 1
    assert lost is not None and store.jobs.heartbeat(silent, {lost.id: 0.1}) == {lost.id}
    clock.now += LEASE_S - 1
    store.jobs.heartbeat(silent, {})  # it lives, and no longer names what it lost sight of
    assert store.jobs.recover() == []
    clock.now += 2
    assert [job.status for job in store.jobs.recover()] == ["queued"]
    claim = store.jobs.claim(other)
    assert claim is not None and claim.id == lost.id
    assert not store.jobs.succeed(lost, [draw()])  # it wakes up, too late
    assert store.jobs.succeed(claim, [draw()])
    silent.close()
    other.close()


def test_old_claim_of_the_same_worker_is_void(store: Store, key: Key, clock: Clock, draw: Draw) -> None:
    ask(store, key)
    worker = store.jobs.worker()
    old = store.jobs.claim(worker)
    clock.now += LEASE_S + 1
    store.jobs.recover()
    new = store.jobs.claim(worker)
    assert old is not None and new is not None and (old.id, old.worker) == (new.id, new.worker)
    assert not store.jobs.succeed(old, [draw()]) and store.jobs.succeed(new, [draw()])
    worker.close()


def test_third_failure_alone_fails_the_job(store: Store, key: Key, clock: Clock) -> None:
    ask(store, key)
    told = []
    for _ in range(MOST_ATTEMPTS):
        worker = store.jobs.worker()
        assert store.jobs.claim(worker) is not None
        worker.close()
        clock.now += LEASE_S + 1
        told += [(job.status, job.attempts, (job.error or {})["message"]) for job in store.jobs.recover()]
    stopped = "the server crashed during the job"
    again = f"{stopped}; it is queued again"
    assert told == [
        ("queued", 1, again),
        ("queued", 2, again),
        ("failed", 3, f"{stopped}, 3 times; it is not tried again"),
    ]


def test_release_costs_no_attempt_and_no_place(store: Store, key: Key) -> None:
    first = ask(store, key, 2)[0]
    worker = store.jobs.worker()
    store.jobs.claim(worker)
    assert store.jobs.release(worker) == 1
    claim = store.jobs.claim(worker)
    assert claim is not None and (claim.id, claim.attempts) == (first.id, 1)
    worker.close()


# Lists.


def test_job_pages_are_not_shifted_by_new_jobs(store: Store, key: Key) -> None:
    jobs = [job.id for job in ask(store, key, 5)]
    seen = store.jobs.page(key.id, limit=2)
    assert [job.id for job in seen.items] == jobs[:2:-1] and seen.has_more
    ask(store, key)
    rest = store.jobs.page(key.id, limit=3, after=seen.items[-1].id)
    assert [job.id for job in rest.items] == jobs[2::-1] and not rest.has_more
    store.jobs.cancel(key.id, jobs[1])
    assert [job.id for job in store.jobs.page(key.id, status="canceled").items] == [jobs[1]]


def test_job_page_with_bad_arguments_is_one_line(store: Store, key: Key) -> None:
    for wrong, told in (
        ({"limit": 0}, "1 to 100"),
        ({"after": "job_x"}, "has no entry"),
        ({"status": "done"}, "unknown status"),
    ):
        with pytest.raises(SumiError, match=told):
            store.jobs.page(key.id, **wrong)


def test_live_progress_ends_with_the_run(store: Store, key: Key) -> None:
    worker = store.jobs.worker()
    first, second = (store.jobs.submit(key.id, "generate", {"n": n}) for n in (1, 2))
    for job in (first, second):
        store.jobs.claim(worker)
        assert store.jobs.live_progress(job.id) is None
    both = {first.id: 0.1, second.id: 0.2}
    store.jobs.heartbeat(worker, both, {first.id: {"step": 1}, second.id: {"step": 2}})
    store.jobs.heartbeat(worker, both, {first.id: {"step": 3}})
    assert (store.jobs.live_progress(first.id), store.jobs.live_progress(second.id)) == ({"step": 3}, {"step": 2})
    store.jobs.cancel(key.id, first.id)
    store.jobs.release(worker)
    assert store.jobs.live_progress(first.id) is store.jobs.live_progress(second.id) is None
    store.jobs.claim(worker)
    assert store.jobs.live_progress(second.id) is None

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


def test_a_job_from_asking_to_its_pictures(store: Store, key: Key, clock: Clock, draw: Draw) -> None:
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


def test_what_was_submitted_is_there_after_a_restart(store: Store, url: str, tmp_path: Path) -> None:
    job = store.jobs.submit(LOCAL, "generate", {"prompt": "a fox"})
    store.close()
    with open_store(tmp_path, url) as again:
        kept = again.jobs.get(LOCAL, job.id)
    assert kept is not None and kept.request == {"prompt": "a fox"}


def test_anothers_job_is_not_there(store: Store, key: Key, draw: Draw) -> None:
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


def test_a_text_that_cannot_be_an_id_is_nobodys(store: Store, key: Key) -> None:
    for text in ("", "job_x", "\0", "\ud800", "ü", "a" * 10**5):
        assert store.jobs.get(key.id, text) is None and store.jobs.get(text, text) is None
        assert store.jobs.cancel(key.id, text) is None and store.gallery.get(key.id, text) is None


# Asked once, however often it is sent.


def test_the_same_request_under_one_idempotency_key_is_one_job(store: Store, key: Key) -> None:
    first = store.jobs.submit(key.id, "generate", {"prompt": "fox", "n": 1}, idempotency_key="a")
    again = store.jobs.submit(key.id, "generate", {"n": 1, "prompt": "fox"}, idempotency_key="a")
    assert again.id == first.id and store.jobs.counts(key.id)["queued"] == 1
    store.jobs.cancel(key.id, first.id)
    assert store.jobs.submit(key.id, "generate", {"prompt": "fox", "n": 1}, idempotency_key="a").status == "canceled"


def test_another_request_under_it_is_a_conflict(store: Store, key: Key) -> None:
    store.jobs.submit(key.id, "generate", {"n": 1}, idempotency_key="a")
    for kind, request in (("generate", {"n": 2}), ("vary", {"n": 1}), ("generate", {"n": True})):
        with pytest.raises(ConflictError, match="Idempotency-Key"):
            store.jobs.submit(key.id, kind, request, idempotency_key="a")


def test_two_keys_may_use_one_idempotency_key(store: Store, key: Key) -> None:
    one = store.jobs.submit(key.id, "generate", {"n": 1}, idempotency_key="a")
    assert store.jobs.submit(LOCAL, "generate", {"n": 2}, idempotency_key="a").id != one.id


def test_sent_at_the_same_moment_it_is_still_one(store: Store, key: Key) -> None:
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


def test_an_idempotency_key_is_a_short_plain_text(store: Store, key: Key) -> None:
    for value in ("", "a" * 256, "a\n", "ü", "a\0"):
        with pytest.raises(SumiError, match="1 to 255 printable ASCII"):
            store.jobs.submit(key.id, "generate", {}, idempotency_key=value)


def test_any_text_may_be_part_of_a_request(store: Store, key: Key) -> None:
    for prompt in ("\0", "\ud800", "\u202efox", "a" * 10**5, "'; DROP TABLE jobs; --"):
        job = store.jobs.submit(key.id, "generate", {"prompt": prompt})
        kept = store.jobs.get(key.id, job.id)
        assert kept is not None and kept.request == {"prompt": prompt}


def test_what_is_not_json_is_refused(store: Store, key: Key) -> None:
    for value in (float("nan"), {1, 2}, b"fox"):
        with pytest.raises(SumiError, match="cannot be stored as JSON"):
            store.jobs.submit(key.id, "generate", {"x": value})


# Whose turn it is.


def test_keys_take_turns_and_each_keeps_its_order(store: Store) -> None:
    keys = {name: store.keys.create(name).key for name in "abc"}
    owner = {keys[name].id: name for name in keys}
    for name, count in (("a", 4), ("b", 2), ("c", 1)):
        ask(store, keys[name], count)
    worker, order = store.jobs.worker(), []
    while claim := store.jobs.claim(worker):
        order.append(f"{owner[claim.key_id]}{claim.request['seed']}")
    assert order == ["a0", "b0", "c0", "a1", "b1", "a2", "a3"]
    worker.close()


def test_a_key_that_comes_late_waits_one_turn_and_saves_none_up(store: Store) -> None:
    busy, late = store.keys.create("busy").key, store.keys.create("late").key
    ask(store, busy, 6)
    worker = store.jobs.worker()
    for _ in range(3):
        store.jobs.claim(worker)
    ask(store, late, 3)
    order = [claim.key_id for _ in range(4) if (claim := store.jobs.claim(worker))]
    assert order == [late.id, busy.id, late.id, busy.id]
    worker.close()


def test_a_higher_priority_goes_before_every_turn(store: Store, key: Key) -> None:
    low, high = ask(store, key)[0], ask(store, key, priority=5)[0]
    worker = store.jobs.worker()
    assert [claim.id for _ in range(2) if (claim := store.jobs.claim(worker))] == [high.id, low.id]
    worker.close()


def test_a_worker_takes_only_the_kinds_it_can(store: Store, key: Key) -> None:
    job = store.jobs.submit(key.id, "vary", {})
    worker = store.jobs.worker()
    assert store.jobs.claim(worker, ["generate"]) is None
    claim = store.jobs.claim(worker, ["generate", "vary"])
    assert claim is not None and claim.id == job.id
    worker.close()


def test_workers_that_claim_at_once_never_get_the_same_job(store: Store, key: Key) -> None:
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


def test_a_job_ends_once(store: Store, key: Key, draw: Draw) -> None:
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


def test_a_canceled_job_takes_no_pictures(store: Store, key: Key, draw: Draw) -> None:
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


def test_a_failure_says_why(store: Store, key: Key) -> None:
    job = ask(store, key)[0]
    worker = store.jobs.worker()
    claim = store.jobs.claim(worker)
    assert claim is not None and store.jobs.fail(claim, "out_of_memory", "the picture did not fit")
    failed = store.jobs.get(key.id, job.id)
    assert failed is not None and failed.status == "failed"
    assert failed.error == {"code": "out_of_memory", "message": "the picture did not fit"}
    worker.close()


def test_pictures_come_whole_or_not_at_all(store: Store, key: Key, draw: Draw) -> None:
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


def test_the_jobs_of_a_living_worker_are_left_to_it(store: Store, key: Key) -> None:
    ask(store, key)
    worker = store.jobs.worker()
    store.jobs.claim(worker)
    assert store.jobs.recover() == []
    worker.close()


def test_what_a_silent_worker_held_is_anybodys_when_its_lease_is_over(
    store: Store, key: Key, clock: Clock, draw: Draw
) -> None:
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


def test_an_old_claim_of_the_same_worker_counts_no_more(store: Store, key: Key, clock: Clock, draw: Draw) -> None:
    ask(store, key)
    worker = store.jobs.worker()
    old = store.jobs.claim(worker)
    clock.now += LEASE_S + 1
    store.jobs.recover()
    new = store.jobs.claim(worker)
    assert old is not None and new is not None and (old.id, old.worker) == (new.id, new.worker)
    assert not store.jobs.succeed(old, [draw()]) and store.jobs.succeed(new, [draw()])
    worker.close()


def test_the_third_interruption_is_the_last(store: Store, key: Key, clock: Clock) -> None:
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


def test_what_is_given_back_in_order_costs_no_attempt_and_no_place(store: Store, key: Key) -> None:
    first = ask(store, key, 2)[0]
    worker = store.jobs.worker()
    store.jobs.claim(worker)
    assert store.jobs.release(worker) == 1
    claim = store.jobs.claim(worker)
    assert claim is not None and (claim.id, claim.attempts) == (first.id, 1)
    worker.close()


# Lists.


def test_a_list_is_read_in_pieces_that_new_jobs_do_not_shift(store: Store, key: Key) -> None:
    jobs = [job.id for job in ask(store, key, 5)]
    seen = store.jobs.page(key.id, limit=2)
    assert [job.id for job in seen.items] == jobs[:2:-1] and seen.has_more
    ask(store, key)
    rest = store.jobs.page(key.id, limit=3, after=seen.items[-1].id)
    assert [job.id for job in rest.items] == jobs[2::-1] and not rest.has_more
    store.jobs.cancel(key.id, jobs[1])
    assert [job.id for job in store.jobs.page(key.id, status="canceled").items] == [jobs[1]]


def test_a_list_that_cannot_be_is_one_line(store: Store, key: Key) -> None:
    for wrong, told in (
        ({"limit": 0}, "1 to 100"),
        ({"after": "job_x"}, "has no entry"),
        ({"status": "done"}, "unknown status"),
    ):
        with pytest.raises(SumiError, match=told):
            store.jobs.page(key.id, **wrong)


def test_what_is_seen_of_a_job_is_seen_while_it_runs_and_no_longer(store: Store, key: Key) -> None:
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

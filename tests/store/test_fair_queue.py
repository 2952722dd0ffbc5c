"""Fair queueing by the cost of jobs, and the filter for preemption."""

from __future__ import annotations

from sumi.store import Key, PreemptionFilter, Store

from .test_jobs import ask


def test_claim_shares_between_keys_by_cost(store: Store) -> None:
    large, small = store.keys.create("large").key, store.keys.create("small").key
    for number in range(3):
        store.jobs.submit(large.id, "generate", {"n": number}, pixel_steps=100)
    for number in range(12):
        store.jobs.submit(small.id, "generate", {"n": number}, pixel_steps=20)
    worker = store.jobs.worker()
    order = ["large" if claim.key_id == large.id else "small" for _ in range(12) if (claim := store.jobs.claim(worker))]
    assert [order[:6].count("large"), order[:12].count("large")] == [1, 2], "a hundred of each, and again"
    worker.close()


def test_release_takes_the_charge_back(store: Store, key: Key) -> None:
    other = store.keys.create("other").key
    first = store.jobs.submit(key.id, "generate", {}, pixel_steps=10**9)
    worker = store.jobs.worker()
    store.jobs.claim(worker)
    store.jobs.release(worker, [first.id])
    store.jobs.submit(other.id, "generate", {})
    claim = store.jobs.claim(worker)
    assert claim is not None and claim.id == first.id and claim.attempts == 1
    worker.close()


def test_preemption_filter_allows_higher_priorities_and_other_keys(store: Store, key: Key) -> None:
    other = store.keys.create("other").key
    ask(store, key)
    ask(store, other, priority=-1)
    worker = store.jobs.worker()
    beyond = PreemptionFilter(priority=0, keys=[key.id])
    assert store.jobs.claim(worker, only=beyond) is None
    urgent, equal = ask(store, key, priority=1)[0], ask(store, other)[0]
    order = [claim.id for _ in range(3) if (claim := store.jobs.claim(worker, only=beyond))]
    assert order == [urgent.id, equal.id]
    worker.close()

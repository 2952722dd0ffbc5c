import re
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import text

from sumi import SumiError
from sumi.store import LOCAL, Key, Limits, OverLimitError, Store, open_store

from .conftest import Clock


def test_token_finds_its_own_key(store: Store) -> None:
    one, other = store.keys.create("one"), store.keys.create("other", scopes=["admin", "read"])
    assert re.fullmatch(r"sk-sumi-[\w-]{32}", one.token)  # 32 letters of 6 bits: 192 bits
    for new in (one, other):
        found = store.keys.find(new.token)
        assert found is not None and found.id == new.key.id
    assert other.key.scopes == ["read", "admin"]


def test_token_is_not_stored(store: Store) -> None:
    new = store.keys.create("somebody")
    with store.database.read() as session:
        row = session.execute(text("SELECT * FROM keys WHERE id = :id"), {"id": new.key.id}).one()
    assert not any(new.token in str(value) for value in row)
    assert new.token not in repr(new) and new.token.startswith(new.key.hint) and len(new.key.hint) < 16


def test_find_of_other_text_returns_none(store: Store) -> None:
    store.keys.create("somebody")
    for token in ("", "sk-sumi-", "sk-sumi-" + "A" * 32, "Bearer", "sk-sumi-\0", "sk-sumi-ü", "sk-sumi-" + "A" * 10**5):
        assert store.keys.find(token) is None


def test_expired_key_is_not_found(store: Store, clock: Clock) -> None:
    new = store.keys.create("guest", lifetime_s=60)
    clock.now += 59
    assert store.keys.find(new.token)
    clock.now += 1
    assert store.keys.find(new.token) is None


def test_revoked_key_is_not_found_and_its_pictures_stay(store: Store) -> None:
    new = store.keys.create("somebody")
    job = store.jobs.submit(new.key.id, "generate", {})
    first = store.keys.revoke(new.key.id).revoked_at
    assert store.keys.find(new.token) is None
    assert store.keys.revoke(new.key.id).revoked_at == first
    assert store.jobs.get(new.key.id, job.id)


def test_local_key_has_no_token(store: Store) -> None:
    assert store.keys.local().token_sha256 is None
    with pytest.raises(SumiError, match="no token"):
        store.keys.revoke(LOCAL)


def test_create_with_bad_arguments_is_one_line(store: Store) -> None:
    for wrong, told in (
        ({"scopes": ["draw", "fly"]}, "no scope 'fly': the scopes are draw, read, admin"),
        ({"scopes": []}, "a key needs a scope"),
        ({"lifetime_s": 0}, "more than 0 s"),
        ({"lifetime_s": float("nan")}, "more than 0 s"),
        ({"name": "a\0b"}, "NUL"),
        ({"name": "\ud800"}, "half a surrogate pair"),
    ):
        with pytest.raises(SumiError, match=told):
            store.keys.create(**({"name": "somebody"} | wrong))


def test_limits_below_1_are_refused() -> None:
    with pytest.raises(SumiError, match="requests per minute must be 1 or more, not 0"):
        Limits(requests_per_minute=0)


def limited(store: Store, **limits: int) -> Key:
    return store.keys.create("limited", limits=Limits(**limits)).key


def test_allowance_may_be_used_at_once_and_refills_evenly(store: Store, clock: Clock) -> None:
    key = limited(store, requests_per_minute=3)
    for _ in range(3):
        store.keys.admit(key)
    with pytest.raises(OverLimitError, match=r"used its 3 requests a minute; try again in 20 s") as caught:
        store.keys.admit(key)
    assert caught.value.retry_after_s == pytest.approx(20, abs=1e-3)
    clock.now += 20
    store.keys.admit(key)
    with pytest.raises(OverLimitError):
        store.keys.admit(key)


def test_allowance_is_never_exceeded_twofold_in_a_minute(store: Store, clock: Clock) -> None:
    key, admitted = limited(store, requests_per_minute=6), []
    for _ in range(30):
        with suppress(OverLimitError):
            store.keys.admit(key)
            admitted.append(clock.now)
        clock.now += 4
    assert len(admitted) == 6 + 116 // 10  # an allowance at once, then one every ten seconds until the last was asked
    assert max(sum(start <= time < start + 60 for time in admitted) for start in admitted) <= 12


def test_allowance_survives_a_restart(store: Store, url: str, tmp_path: Path, clock: Clock) -> None:
    key = limited(store, requests_per_minute=1)
    store.keys.admit(key)
    store.close()
    with open_store(tmp_path, url, clock) as again, pytest.raises(OverLimitError):
        again.keys.admit(key)


def test_pixel_steps_are_limited_by_day(store: Store, clock: Clock) -> None:
    key = limited(store, pixel_steps_per_day=1000)
    store.jobs.submit(key.id, "generate", {"n": 1}, pixel_steps=900)
    with pytest.raises(OverLimitError, match="used its 1000 pixel steps a day"):
        store.jobs.submit(key.id, "generate", {"n": 2}, pixel_steps=200)
    assert store.jobs.counts(key.id)["queued"] == 1
    clock.now += 8640.5  # a tenth of a day
    store.jobs.submit(key.id, "generate", {"n": 2}, pixel_steps=200)


def test_cost_over_the_whole_limit_has_no_retry(store: Store) -> None:
    key = limited(store, pixel_steps_per_day=1000)
    with pytest.raises(OverLimitError, match="ask for less") as caught:
        store.jobs.submit(key.id, "generate", {}, pixel_steps=1001)
    assert caught.value.retry_after_s is None


def test_concurrent_limit_counts_unfinished_jobs(store: Store) -> None:
    key = limited(store, concurrent_jobs=2)
    first = store.jobs.submit(key.id, "generate", {"n": 1})
    store.jobs.submit(key.id, "generate", {"n": 2}, idempotency_key="second")
    with pytest.raises(OverLimitError, match="2 jobs queued or running"):
        store.jobs.submit(key.id, "generate", {"n": 3})
    store.jobs.submit(key.id, "generate", {"n": 2}, idempotency_key="second")  # asked again is not a new one
    store.jobs.cancel(key.id, first.id)
    store.jobs.submit(key.id, "generate", {"n": 3})

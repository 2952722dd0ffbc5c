"""The review queue keeps one decision for each text and picture of a key, and the gallery finds pictures again."""

from __future__ import annotations

from pathlib import Path

import pytest

from sumi import SumiError
from sumi.store import LOCAL, NewPicture, Store, open_store


@pytest.fixture
def one(tmp_path: Path) -> Store:
    store = open_store(tmp_path / "data")
    store.keys.local()
    return store


def test_reviews_keep_the_first_of_equal_contents_and_its_decision(one: Store) -> None:
    with one:
        first = one.reviews.submit(LOCAL, "prompt", "a" * 64, [{"code": "term"}], "a text")
        again = one.reviews.submit(LOCAL, "prompt", "a" * 64, [], "a text")
        other = one.reviews.submit(LOCAL, "output", "a" * 64, [{"code": "concept"}], picture=b"png")
        assert first.id == again.id != other.id and again.status == "pending" and again.reasons == [{"code": "term"}]
        assert [row.id for row in one.reviews.page(LOCAL, "pending").items] == [other.id, first.id]
        assert one.reviews.picture(other.id) == b"png" and one.reviews.picture(first.id) is None
        decided = one.reviews.decide(first.id, approved=True)
        assert decided is not None and decided.status == "approved" and decided.decided_at is not None
        found = one.reviews.find(LOCAL, "prompt", "a" * 64)
        assert found is not None and found.status == "approved"
        assert one.reviews.find(LOCAL, "prompt", "b" * 64) is None
        assert one.reviews.decide("rev_none", approved=True) is None
        assert [row.id for row in one.reviews.page(None, "pending").items] == [other.id]
        with pytest.raises(SumiError, match="pending, approved, rejected"):
            one.reviews.page(LOCAL, "lost")


def test_find_similar_orders_by_bits_that_differ(one: Store) -> None:
    prints = {"same": b"\0" * 32, "near": b"\1" + b"\0" * 31, "far": b"\xff" * 32}
    with one:
        worker = one.jobs.worker()
        for name, fingerprint in prints.items():
            one.jobs.submit(LOCAL, "generate", {"task": {"prompt": name}})
            claim = one.jobs.claim(worker)
            assert claim is not None
            picture = NewPicture(name.encode(), "image/png", 1, 1, name, {"seed": 1}, fingerprint=fingerprint)
            one.jobs.succeed(claim, [picture])
        found = one.gallery.find_similar(LOCAL, b"\0" * 32, limit=2)
        assert [(row.prompt, bits) for row, bits in found] == [("same", 0), ("near", 1)]
        assert one.gallery.find_similar("another", b"\0" * 32) == []
        worker.close()

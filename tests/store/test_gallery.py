import os
from collections.abc import Callable

import numpy as np
import pytest
from sqlalchemy import text

import sumi.store.gallery
from sumi import SumiError
from sumi.store import LOCAL, Key, NewPicture, PictureRow, Store
from sumi.store.search_index import cosine_similarity, fold_words, pack

Draw = Callable[..., NewPicture]


def hang(store: Store, key: Key, *drawn: NewPicture) -> list[PictureRow]:
    """Draw pictures in one job."""
    job = store.jobs.submit(key.id, "generate", {"n": len(drawn)})
    worker = store.jobs.worker()
    claim = store.jobs.claim(worker)
    assert claim is not None and claim.id == job.id and store.jobs.succeed(claim, drawn)
    worker.close()
    return store.jobs.pictures(key.id, job.id)


def test_gallery_finds_pictures_by_every_word_in_any_order(store: Store, key: Key, draw: Draw) -> None:
    prompts = ("a red Fox", "a fox and a red hat", "FOXES at 100% speed", "ein GROẞER Bär", "red_fox")
    hang(store, key, *map(draw, prompts))
    hang(store, store.keys.local(), draw("another's red fox"))
    for words, found in {
        "fox red": ["red_fox", "a fox and a red hat", "a red Fox"],
        "foxes": ["FOXES at 100% speed"],
        "0%": ["FOXES at 100% speed"],
        "d_f": ["red_fox"],
        "grosser BÄR": ["ein GROẞER Bär"],
        "bä\u0308r": [],
        "": list(reversed(prompts)),
        "\0 \ud800": list(reversed(prompts)),
    }.items():
        assert [picture.prompt for picture in store.gallery.page(key.id, words=words).items] == found, words


def test_gallery_page_continues_after_the_last_picture(store: Store, key: Key, draw: Draw) -> None:
    hang(store, key, *(draw(prompt) for prompt in ("fox 1", "dog", "fox 2", "fox 3")))
    page = store.gallery.page(key.id, words="fox", limit=2)
    assert [picture.prompt for picture in page.items] == ["fox 3", "fox 2"] and page.has_more
    page = store.gallery.page(key.id, words="fox", limit=2, after=page.items[-1].id)
    assert [picture.prompt for picture in page.items] == ["fox 1"] and not page.has_more


def test_find_nearest_returns_the_keys_own_nearest_pictures(store: Store, key: Key, draw: Draw) -> None:
    angles = {"east": 0.0, "north-east": np.pi / 4, "north": np.pi / 2, "west": np.pi}
    seen = {name: 3.0 * np.array([np.cos(angle), np.sin(angle)]) for name, angle in angles.items()}
    hang(store, key, *(draw(name, embedding=vector, embedded_by="clip") for name, vector in seen.items()))
    hang(store, key, draw("unseen"), draw("seen by another", embedding=[1, 0, 0], embedded_by="other"))
    hang(store, store.keys.local(), draw("another's", embedding=[1, 0], embedded_by="clip"))
    nearest = store.gallery.find_nearest(key.id, [0.1, 0.0], "clip", limit=3)
    assert [picture.prompt for picture, _ in nearest] == ["east", "north-east", "north"]
    assert [cosine for _, cosine in nearest] == pytest.approx([1, np.sqrt(0.5), 0], abs=1e-3)
    assert [picture.prompt for picture, _ in store.gallery.find_nearest(LOCAL, [0, 1], "clip")] == ["another's"]
    assert store.gallery.find_nearest(key.id, [0, 1], "nobody") == []


def test_find_nearest_reads_a_large_gallery_in_batches(
    store: Store, key: Key, draw: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sumi.store.gallery, "_BATCH_SIZE", 3)
    vectors = np.random.default_rng(0).normal(size=(8, 5))
    hang(store, key, *(draw(str(i), embedding=v, embedded_by="clip") for i, v in enumerate(vectors)))
    cosines = vectors @ vectors[0] / np.linalg.norm(vectors, axis=1)
    found = [int(picture.prompt) for picture, _ in store.gallery.find_nearest(key.id, vectors[0], "clip", limit=4)]
    assert found == list(np.argsort(-cosines)[:4])


def test_remove_deletes_one_picture_and_keeps_the_others(store: Store, key: Key, draw: Draw) -> None:
    first, second = hang(store, key, draw(data=b"1"), draw(data=b"2"))
    assert store.gallery.remove(key.id, first.id) and not store.gallery.remove(key.id, first.id)
    assert store.gallery.get(key.id, first.id) is None
    assert store.reconcile(grace_s=0).files_erased == 1
    assert store.gallery.read(second) == b"2" and first.digest not in store.files.digests()
    assert first.digest not in store.files.orphans(), "who deletes a picture wants it gone, and not put aside"


def test_remove_deletes_an_old_file_at_once(store: Store, key: Key, draw: Draw) -> None:
    (picture,) = hang(store, key, draw())
    file = store.files.path(picture.digest)
    os.utime(file, (0, 0))
    store.gallery.remove(key.id, picture.id)
    assert not file.exists()


def test_remove_of_the_last_picture_deletes_the_jobs_texts(store: Store, key: Key, draw: Draw) -> None:
    mask = store.keep(b"mask")
    request = {"task": {"prompt": "a secret fox", "before": "x", "steps": 4}, "images": [mask]}
    job = store.jobs.submit(key.id, "edit", request, inputs=[mask])
    worker = store.jobs.worker()
    claim = store.jobs.claim(worker)
    assert claim is not None and store.jobs.succeed(claim, [draw("a secret fox", b"1"), draw("a secret fox", b"2")])
    first, second = store.jobs.pictures(key.id, job.id)
    store.gallery.remove(key.id, first.id)
    kept = store.jobs.get(key.id, job.id)
    assert kept is not None and kept.request == request, "the other picture may have to be drawn again"
    store.gallery.remove(key.id, second.id)
    kept = store.jobs.get(key.id, job.id)
    assert kept is not None and kept.request == {"task": {"prompt": "", "before": "", "steps": 4}, "images": [mask]}
    assert kept.request_sha256 == "" and kept.status == "succeeded"
    assert store.reconcile(grace_s=0).files_erased == 3 and list(store.files.digests()) == []
    with store.database.read() as session:
        for table in ("jobs", "pictures", "inputs"):
            rows = session.execute(text(f"SELECT * FROM {table}")).all()
            assert "secret" not in str(rows), table


def test_deleted_picture_stays_deleted_when_its_job_runs_again(store: Store, key: Key, draw: Draw) -> None:
    first, second = hang(store, key, draw(data=b"1"), draw(data=b"2"))
    store.gallery.remove(key.id, first.id)
    store.files.path(second.digest).write_bytes(b"")
    assert store.reconcile().lost_pictures == (first.job_id,)
    worker = store.jobs.worker()
    claim = store.jobs.claim(worker)
    assert claim is not None and store.jobs.succeed(claim, [draw(data=b"1"), draw(data=b"2")])
    (again,) = store.jobs.pictures(key.id, first.job_id)
    assert (again.id, again.position, store.gallery.read(again)) == (second.id, 1, b"2"), "under the id that it had"


def test_file_of_two_pictures_survives_the_removal_of_one(store: Store, key: Key, draw: Draw) -> None:
    first, second = hang(store, key, draw(), draw())
    store.gallery.remove(key.id, first.id)
    mended = store.reconcile(grace_s=0)
    assert (mended.files_erased, mended.files_put_aside) == (0, 0)
    assert store.gallery.read(second)


def test_fold_words_ignores_case_width_and_composition() -> None:
    assert (
        fold_words("ＦＯＸ") == fold_words("fox")
        and fold_words("Bär") == fold_words("BA\u0308R")
        and fold_words("ẞ") == "ss"
    )


def test_packed_embedding_keeps_its_direction() -> None:
    vectors = np.random.default_rng(0).normal(size=(20, 64))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert np.allclose(cosine_similarity(vectors[0], [pack(v) for v in vectors]), unit @ unit[0], atol=1e-3)
    assert len(pack(vectors[0])) == 2 * 64


def test_pack_of_a_zero_embedding_is_refused() -> None:
    for nothing in ([0.0, 0.0], [float("nan")], [float("inf"), 1.0], []):
        with pytest.raises(SumiError, match="direction"):
            pack(nothing)

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from sumi import SumiError
from sumi.store import MOST_ATTEMPTS, Folder, Job, Key, NewPicture, Store, open_store
from sumi.store.reconcile import find_unknown_files
from sumi.store.worker import Worker, is_gone, sweep_workers

Draw = Callable[..., NewPicture]

CLAIM_AND_DIE = """
import os, signal, sys
from sumi.store import open_store
store = open_store(sys.argv[1], sys.argv[2])
assert store.jobs.claim(store.jobs.worker())
os.kill(os.getpid(), signal.SIGKILL)
"""


def finish(store: Store, *drawn: NewPicture) -> Job:
    worker = store.jobs.worker()
    claim = store.jobs.claim(worker)
    assert claim is not None and store.jobs.succeed(claim, drawn)
    worker.close()
    return claim


def test_reconcile_queues_the_jobs_of_a_killed_process(store: Store, key: Key, url: str, tmp_path: Path) -> None:
    job = store.jobs.submit(key.id, "generate", {})
    died = subprocess.run([sys.executable, "-c", CLAIM_AND_DIE, str(tmp_path), url], check=False)
    assert died.returncode == -9
    claimed = store.jobs.get(key.id, job.id)
    assert claimed is not None and claimed.status == "running"
    mended = store.reconcile()
    assert mended.interrupted == (job.id,) and str(mended) == "1 interrupted jobs queued again"
    assert list((tmp_path / "workers").iterdir()) == []
    again = store.jobs.get(key.id, job.id)
    assert again is not None and (again.status, again.attempts) == ("queued", 1)
    assert again.error == {
        "code": "interrupted",
        "message": "the server crashed during the job; it is queued again",
    }
    assert str(store.reconcile()) == "nothing to repair"


def test_reconcile_queues_a_job_with_a_lost_file(store: Store, key: Key, draw: Draw) -> None:
    job = store.jobs.submit(key.id, "generate", {})
    finish(store, draw(data=b"one"), draw(data=b"two"))
    store.files.path(store.jobs.pictures(key.id, job.id)[1].digest).unlink()
    assert any("missing" in fault for fault in store.integrity_check())
    assert store.reconcile().lost_pictures == (job.id,)
    again = store.jobs.get(key.id, job.id)
    assert again is not None and again.status == "queued" and again.error is not None
    assert again.error["message"] == "a picture's file was missing or damaged; it is queued again"
    assert finish(store, draw(data=b"one"), draw(data=b"two")).id == job.id
    done = store.jobs.get(key.id, job.id)
    assert done is not None and (done.status, done.error) == ("succeeded", None)
    assert len(store.jobs.pictures(key.id, job.id)) == 2 and store.integrity_check() == []


def test_job_whose_file_is_lost_three_times_fails(store: Store, key: Key, draw: Draw) -> None:
    job = store.jobs.submit(key.id, "generate", {})
    for _ in range(MOST_ATTEMPTS):
        finish(store, draw())
        store.files.path(store.jobs.pictures(key.id, job.id)[0].digest).unlink()
        store.reconcile()
    failed = store.jobs.get(key.id, job.id)
    assert failed is not None and failed.status == "failed" and failed.error is not None
    assert failed.error["message"] == ("a picture's file was missing or damaged, 3 times; it is not tried again")
    assert store.jobs.pictures(key.id, job.id) == [] and store.integrity_check() == []


def test_sweep_moves_an_unreferenced_file_after_its_grace(store: Store, key: Key, draw: Draw) -> None:
    store.jobs.submit(key.id, "generate", {})
    finish(store, draw(data=b"kept"))
    orphan = store.keep(b"orphan")
    assert store.reconcile().files_put_aside == 0 and orphan in store.files.digests()
    assert store.reconcile(grace_s=0).files_put_aside == 1 and orphan not in store.files.digests()
    assert list(store.files.orphans()) == [orphan] and store.integrity_check() == []
    assert str(store.reconcile(grace_s=0)) == "nothing to repair"


def test_sweep_moves_the_file_of_a_crashed_process(store: Store, key: Key, draw: Draw) -> None:
    store.jobs.submit(key.id, "generate", {})
    worker = store.jobs.worker()
    claim = store.jobs.claim(worker)
    assert claim is not None
    store.jobs.cancel(key.id, claim.id)
    assert not store.jobs.succeed(claim, [draw(data=b"too late")])
    assert store.reconcile(grace_s=0).files_put_aside == 1 and len(list(store.files.orphans())) == 1
    worker.close()


# What this database does not know to be its own is never touched.


def gallery_of(store: Store, key: Key, draw: Draw, count: int = 12) -> set[str]:
    for number in range(count):
        store.jobs.submit(key.id, "generate", {"n": number})
        finish(store, draw(data=b"picture %d" % number))
    return set(store.files.digests())


def age(store: Store) -> None:
    for digest in list(store.files.digests()):
        os.utime(store.files.path(digest), (0, 0))


def test_sweep_of_an_older_database_leaves_unknown_files(
    store: Store, key: Key, draw: Draw, url: str, tmp_path: Path
) -> None:
    before = gallery_of(store, key, draw)
    with store.database.write() as session:  # as a backup from before they were drawn has it
        for table in ("pictures", "inputs", "jobs", "leftovers"):
            session.execute(text(f"DELETE FROM {table}"))
    age(store)
    with open_store(tmp_path, url) as again:
        assert str(again.reconcile(grace_s=0)) == "nothing to repair"
        assert set(again.files.digests()) == before == set(find_unknown_files(again.database, again.files))


@pytest.mark.parametrize("lost", ["missing", "empty", "another"])
def test_store_with_anothers_pictures_is_refused(lost: str, tmp_path: Path, draw: Draw) -> None:
    with open_store(tmp_path) as store:
        before = gallery_of(store, store.keys.local(), draw)
        age(store)
    for file in tmp_path.glob("sumi.db*"):
        file.unlink()
    if lost == "empty":
        (tmp_path / "sumi.db").touch()
    if lost == "another":
        with open_store(tmp_path / "other"):
            (tmp_path / "other" / "sumi.db").rename(tmp_path / "sumi.db")
    for _ in range(2):
        with pytest.raises(SumiError, match="sumi store restore") as caught:
            open_store(tmp_path)
        assert "\n" not in str(caught.value)
    assert set(Folder(tmp_path / "pictures").digests()) == before


def test_store_with_old_pictures_and_an_empty_database_is_refused(
    store: Store, key: Key, draw: Draw, tmp_path: Path
) -> None:
    gallery_of(store, key, draw, 2)
    (tmp_path / "pictures" / "store-id").unlink()  # as a version before had it
    with pytest.raises(SumiError, match="do not belong to the database"):
        open_store(tmp_path / "new", f"sqlite:///{tmp_path / 'new.db'}", pictures=tmp_path / "pictures")


@pytest.mark.parametrize("damage", [b"", b"cut"])
def test_reconcile_queues_the_job_of_a_truncated_picture(damage: bytes, store: Store, key: Key, draw: Draw) -> None:
    job = store.jobs.submit(key.id, "generate", {})
    finish(store, draw(data=b"picture"))
    (picture,) = store.jobs.pictures(key.id, job.id)
    store.files.path(picture.digest).write_bytes(damage)
    assert store.reconcile().lost_pictures == (job.id,)
    finish(store, draw(data=b"picture"))
    (again,) = store.jobs.pictures(key.id, job.id)
    assert again.id == picture.id and store.gallery.read(again) == b"picture"


def test_sweep_keeps_the_inputs_of_a_job(store: Store, key: Key, draw: Draw) -> None:
    mask, old = store.keep(b"mask"), store.keep(b"nobody's")
    job = store.jobs.submit(key.id, "edit", {"mask": mask}, inputs=[mask, mask])
    assert store.reconcile(grace_s=0).files_put_aside == 1
    assert store.files.read(mask) == b"mask" and old not in store.files.digests()
    finish(store, draw())
    assert store.reconcile(grace_s=0).files_put_aside == 0  # it may have to be drawn again
    assert store.jobs.pictures(key.id, job.id) and mask in store.files.digests()


def test_integrity_check_finds_a_missing_input(store: Store, key: Key) -> None:
    mask = store.files.put(b"mask")
    store.jobs.submit(key.id, "edit", {"mask": mask}, inputs=[mask])
    store.files.path(mask).unlink()
    assert [fault for fault in store.integrity_check() if mask[:12] in fault]


def test_store_with_a_wrong_folder_is_refused(store: Store, key: Key, draw: Draw, url: str, tmp_path: Path) -> None:
    job = store.jobs.submit(key.id, "generate", {})
    finish(store, draw())
    elsewhere = tmp_path / "elsewhere"
    for _ in range(2):
        with pytest.raises(SumiError, match="knows pictures, but"):
            open_store(elsewhere, url)
    assert len(store.jobs.pictures(key.id, job.id)) == 1
    (elsewhere / "pictures").mkdir()
    with open_store(elsewhere, url) as other:
        assert other.reconcile().lost_pictures == (job.id,)


def test_integrity_check_finds_a_damaged_file(store: Store, key: Key, draw: Draw) -> None:
    job = store.jobs.submit(key.id, "generate", {})
    finish(store, draw())
    picture = store.jobs.pictures(key.id, job.id)[0]
    store.files.path(picture.digest).write_bytes(b"?")
    assert len(store.integrity_check()) == 1
    with pytest.raises(SumiError, match="damaged"):
        store.gallery.read(picture)


def test_worker_is_alive_until_closed(tmp_path: Path) -> None:
    worker = Worker(tmp_path)
    assert is_gone(tmp_path, worker.id) is False
    sweep_workers(tmp_path)
    assert is_gone(tmp_path, worker.id) is False
    worker.close()
    worker.close()
    assert is_gone(tmp_path, worker.id) is None  # nothing here to tell; its leases will

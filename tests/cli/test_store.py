"""`sumi store`: check, backup, and restore after the loss of the database."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from sumi import Sumi, cli
from sumi.serving.job_spec import JobSpec
from sumi.store import LOCAL, Folder, NewPicture, open_store


def run(*arguments: str) -> tuple[int, str]:
    """Status and output of a command; an error is its one line."""
    result = CliRunner().invoke(cli.sumi, ["store", *arguments])
    return result.exit_code, result.output + (str(result.exception) if result.exception else "")


@pytest.fixture
def folder(tiny: Sumi, tmp_path: Path) -> Path:
    """A store with three pictures of the tiny model, a foreign upload, and the file of a lost job."""
    with open_store(tmp_path / "data") as store:
        worker = store.jobs.worker()
        for seed in range(3):
            picture = tiny.generate("a red fox", seed=seed, size=16)[0]
            order = JobSpec(picture.recipe.request())
            store.jobs.submit(LOCAL, order.kind, order.to_json(), inputs=[store.keep(b"an upload")])
            claim = store.jobs.claim(worker)
            file = NewPicture(picture.png(), "image/png", 16, 16, "a red fox", picture.recipe.to_json())
            assert claim is not None and store.jobs.succeed(claim, [file])
        worker.close()
    return tmp_path / "data"


def files(folder: Path) -> set[str]:
    return set(Folder(folder / "pictures").digests())


def test_store_check_finds_damage(folder: Path) -> None:
    status, said = run("check", "--data", str(folder))
    assert status == 0 and "4 files, 0 unknown to the database" in said and "no fault" in said
    digest = min(files(folder) - {hashlib.sha256(b"an upload").hexdigest()})  # a finished job needs its uploads no more
    Folder(folder / "pictures").path(digest).write_bytes(b"?")
    status, said = run("check", "--data", str(folder))
    assert status == 1 and digest[:12] in said


@pytest.mark.parametrize("emptied", [False, True])
def test_store_restore_rebuilds_a_lost_database(emptied: bool, folder: Path) -> None:
    before = files(folder)
    for file in folder.glob("sumi.db*"):
        file.unlink()
    if emptied:
        (folder / "sumi.db").touch()
    status, said = run("check", "--data", str(folder))
    assert status == 1 and "sumi store restore" in said and files(folder) == before
    status, said = run("restore", "--data", str(folder))
    assert status == 0 and "3 pictures have rows again" in said and "1 files hold no recipe" in said
    with open_store(folder) as store:
        assert str(store.reconcile(grace_s=0)) == "nothing to repair" and files(folder) == before
        pictures = store.gallery.page(LOCAL).items
        assert sorted(picture.recipe["seed"] for picture in pictures) == [0, 1, 2]
    assert "0 pictures have rows again" in run("restore", "--data", str(folder))[1]


def test_restored_picture_is_drawn_again_when_damaged(folder: Path, tiny: Sumi) -> None:
    for file in folder.glob("sumi.db*"):
        file.unlink()
    run("restore", "--data", str(folder))
    with open_store(folder) as store:
        job = store.jobs.page(LOCAL).items[0]
        (row,) = store.jobs.pictures(LOCAL, job.id)
        task = JobSpec.from_json(job.kind, job.request).task
        assert tiny.generate("a red fox", seed=task.seed, size=task.size)[0].png() == store.gallery.read(row)


def test_store_backup_is_a_store(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    with open_store(folder) as used:  # as by a server
        status, said = run("backup", str(copy), "--data", str(folder))
        assert status == 0 and "4 files and every row" in said
        assert used.integrity_check() == []
    status, said = run("backup", str(copy), "--data", str(folder))
    assert status == 1 and "cannot make a backup" in said
    shutil.rmtree(folder)
    with open_store(copy) as store:
        assert store.integrity_check() == [] and len(store.gallery.page(LOCAL).items) == 3
        assert str(store.reconcile(grace_s=0)) == "nothing to repair"
        assert store.jobs.submit(LOCAL, "generate", {}).number == 4, "and counts on"


def test_store_restore_refuses_anothers_pictures(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    (other / "pictures" / "store-id").write_text("00" * 16)
    status, said = run("restore", "--data", str(other))
    assert status == 1 and "do not belong to the database" in said

import os
import secrets
from pathlib import Path

import fsspec
import pytest

from sumi import SumiError
from sumi.store import Bucket, Files, Folder

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-4, its own example


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "pictures")


@pytest.fixture(params=["folder", "file system by its address", "object store"])
def files(request: pytest.FixtureRequest, folder: Folder, tmp_path: Path) -> Files:
    """A folder and a bucket behave alike."""
    if request.param == "folder":
        return folder
    return Bucket(f"memory://{secrets.token_hex(8)}/pictures" if "object" in request.param else f"file://{tmp_path}/b")


def overwrite(files: Files, digest: str, data: bytes) -> None:
    """Damage a stored file."""
    place_of = f"{files.name}/{digest[:2]}/{digest[2:4]}/{digest}"
    with fsspec.open(place_of, "wb") as file:
        file.write(data)


def age(folder: Folder, digest: str, seconds: float) -> None:
    before = folder.path(digest).stat().st_mtime - seconds
    os.utime(folder.path(digest), (before, before))


# Of all. -------------------------------------------------------------------------------------------------------------


def test_put_stores_bytes_under_their_sha256(files: Files) -> None:
    assert list(files.digests()) == []
    assert files.put(b"abc") == ABC
    assert files.read(ABC) == b"abc"
    assert list(files.digests()) == list(files.digests("ba")) == [ABC]
    assert list(files.digests("bb")) == []


def test_put_of_equal_bytes_is_one_file(files: Files) -> None:
    assert files.put(b"fox") == files.put(b"fox")
    assert files.put(b"dog") != files.put(b"fox")
    assert len(list(files.digests())) == 2


def test_read_of_damaged_bytes_fails_until_they_are_put_again(files: Files) -> None:
    digest = files.put(b"fox")
    overwrite(files, digest, b"fix")
    with pytest.raises(SumiError, match="damaged"):
        files.read(digest)
    files.put(b"fox")
    assert files.read(digest) == b"fox"


def test_read_of_a_missing_file_is_one_line(files: Files) -> None:
    with pytest.raises(SumiError, match=r"the picture 000000000000\.\.\. is missing"):
        files.read("0" * 64)
    assert not files.remove("0" * 64, older_than_s=0)


@pytest.mark.parametrize("name", ["", "fox", "../" * 21 + "f", "0" * 63, "0" * 65, "A" * 64, "0" * 63 + "\n"])
def test_read_of_a_name_that_is_no_digest_is_refused(files: Files, name: str) -> None:
    with pytest.raises(SumiError, match="is not the 64 hex digits"):
        files.read(name)


def test_remove_deletes_only_old_files(files: Files) -> None:
    digest = files.put(b"fox")
    assert not files.remove(digest, older_than_s=60)
    assert files.remove(digest, older_than_s=0)
    assert not files.remove(digest, older_than_s=0)
    assert files.sweep_drafts(older_than_s=0) == 0 and list(files.digests()) == []


# Of a folder. --------------------------------------------------------------------------------------------------------


def test_file_path_follows_its_digest(folder: Folder) -> None:
    folder.put(b"abc")
    assert (folder.root / "ba" / "78" / ABC).read_bytes() == b"abc"
    assert list((folder.root / "writing").iterdir()) == []


def test_put_flushes_before_it_renames(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def flushed(handle: int) -> None:
        done.append(Path(os.readlink(f"/proc/self/fd/{handle}")).name)
        fsync(handle)

    def renamed(path: Path, target: Path) -> Path:
        done.append("renamed")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", flushed)
    monkeypatch.setattr(Path, "replace", renamed)
    digest = folder.put(b"fox")
    # The draft; the parents of both new folders; the name; the folder that holds the name.
    assert done[1:] == [folder.root.name, digest[:2], "renamed", digest[2:4]]
    assert done[0] not in (digest, "renamed")


def test_put_that_fails_leaves_no_file(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        folder.put(b"fox")
    assert list(folder.digests()) == [] and list((folder.root / "writing").iterdir()) == []


def test_put_again_makes_a_file_young(folder: Folder) -> None:
    digest = folder.put(b"fox")
    age(folder, digest, 61)
    folder.put(b"fox")
    assert not folder.remove(digest, older_than_s=60)
    age(folder, digest, 61)
    assert folder.remove(digest, older_than_s=60)


def test_sweep_drafts_deletes_old_drafts(folder: Folder) -> None:
    (folder.root / "writing" / "half").write_bytes(b"f")
    assert folder.sweep_drafts(older_than_s=60) == 0
    assert folder.sweep_drafts(older_than_s=0) == 1


def test_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SumiError, match="cannot keep pictures in"):
        Folder(tmp_path / "file" / "pictures")


# Of a bucket. --------------------------------------------------------------------------------------------------------


def test_bucket_shows_files_to_other_openings_at_once() -> None:
    address = f"memory://{secrets.token_hex(8)}/pictures"
    one, other = Bucket(address), Bucket(address)
    assert not one.exists and list(other.digests()) == []
    digest = one.put(b"fox")
    assert other.exists and list(other.digests(digest[:2])) == [digest] and other.read(digest) == b"fox"


def test_bucket_of_an_unknown_protocol_is_one_line() -> None:
    with pytest.raises(SumiError, match="cannot keep pictures at nowhere://pictures"):
        Bucket("nowhere://pictures")

import os
from pathlib import Path

import pytest

from sumi import SumiError
from sumi.store import Files

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-4, its own example


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "pictures")


def age(files: Files, digest: str, seconds: float) -> None:
    before = files.path(digest).stat().st_mtime - seconds
    os.utime(files.path(digest), (before, before))


def test_bytes_lie_under_their_sha256_and_come_back(files: Files) -> None:
    assert files.put(b"abc") == ABC
    assert (files.root / "ba" / "78" / ABC).read_bytes() == b"abc"
    assert files.read(ABC) == b"abc" and files.has(ABC)
    assert list(files.digests()) == [ABC]


def test_the_same_bytes_are_one_file(files: Files) -> None:
    assert files.put(b"fox") == files.put(b"fox")
    assert files.put(b"dog") != files.put(b"fox")
    assert len(list(files.digests())) == 2
    assert list((files.root / "writing").iterdir()) == []


def test_everything_is_flushed_before_it_has_its_name(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
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
    digest = files.put(b"fox")
    # The draft; the parents of both new folders; the name; the folder that holds the name.
    assert done[1:] == [files.root.name, digest[:2], "renamed", digest[2:4]]
    assert done[0] not in (digest, "renamed")


def test_what_cannot_be_written_leaves_nothing(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        files.put(b"fox")
    assert list(files.digests()) == [] and list((files.root / "writing").iterdir()) == []


def test_damage_is_noticed_and_mended_by_writing_again(files: Files) -> None:
    digest = files.put(b"fox")
    files.path(digest).write_bytes(b"fix")
    with pytest.raises(SumiError, match="damaged"):
        files.read(digest)
    files.put(b"fox")
    assert files.read(digest) == b"fox"


def test_a_missing_picture_is_one_line(files: Files) -> None:
    with pytest.raises(SumiError, match=r"the picture 000000000000\.\.\. is missing"):
        files.read("0" * 64)


@pytest.mark.parametrize("name", ["", "fox", "../" * 21 + "f", "0" * 63, "0" * 65, "A" * 64, "0" * 63 + "\n"])
def test_a_name_that_is_no_digest_reaches_no_file(files: Files, name: str) -> None:
    with pytest.raises(SumiError, match="names no picture"):
        files.read(name)


def test_only_what_is_old_is_removed(files: Files) -> None:
    digest = files.put(b"fox")
    assert not files.remove(digest, older_than_s=60)
    age(files, digest, 61)
    assert files.remove(digest, older_than_s=60)
    assert not files.remove(digest, older_than_s=60)


def test_writing_again_makes_new(files: Files) -> None:
    digest = files.put(b"fox")
    age(files, digest, 61)
    files.put(b"fox")
    assert not files.remove(digest, older_than_s=60)


def test_an_unfinished_draft_is_swept_when_it_is_old(files: Files) -> None:
    (files.root / "writing" / "half").write_bytes(b"f")
    assert files.sweep_drafts(older_than_s=60) == 0
    assert files.sweep_drafts(older_than_s=0) == 1


def test_a_folder_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SumiError, match="cannot hold pictures"):
        Files(tmp_path / "file" / "pictures")

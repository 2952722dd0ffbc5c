"""A file is written whole or not at all: on a full disk, over an older file, beside one of the same name."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from PIL import Image

from sumi import SumiError
from sumi.atomic_file import write_atomic, write_exclusive
from sumi.imaging.png import save_png

FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from sumi import SumiError
from sumi.imaging.png import save_png
from sumi.atomic_file import write_atomic, write_exclusive

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
for write, name in ((write_atomic, "old.png"), (write_atomic, "new.png"), (write_exclusive, "other.png")):
    try:
        write(Path(name), b"x" * 5000)
    except SumiError as error:
        print(error)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no resource limits there")
def test_write_atomic_on_a_full_disk_keeps_the_older_file(tmp_path: Path) -> None:
    (tmp_path / "old.png").write_bytes(b"older")
    ran = subprocess.run([sys.executable, "-c", FULL_DISK], cwd=tmp_path, capture_output=True, text=True)
    assert ran.stdout.splitlines() == [f"cannot write {n}.png: File too large" for n in ("old", "new", "other")]
    assert ran.stderr == "" and [path.name for path in tmp_path.iterdir()] == ["old.png"]
    assert (tmp_path / "old.png").read_bytes() == b"older"


def test_write_atomic_replaces_a_file_and_keeps_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "fox.txt"
    assert write_atomic(path, "一\n") == path and path.read_bytes() == "一\n".encode()
    path.chmod(0o640)
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two" and stat.S_IMODE(path.stat().st_mode) == 0o640
    save_png(tmp_path / "fox.png", Image.new("RGBA", (3, 2), "red"))
    with Image.open(tmp_path / "fox.png") as image:
        assert image.size == (3, 2) and image.format == "PNG"
    assert {file.name for file in tmp_path.iterdir()} == {"fox.txt", "fox.png"}


def test_write_atomic_gives_a_new_file_the_default_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain").write_bytes(b"")
    for path in (write_atomic(tmp_path / "a", b""), write_exclusive(tmp_path / "b", b"")):
        assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_write_atomic_follows_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link.png").symlink_to(tmp_path / "folder" / "fox.png")
    write_atomic(tmp_path / "link.png", b"fox")
    assert (tmp_path / "link.png").is_symlink() and (tmp_path / "folder" / "fox.png").read_bytes() == b"fox"


@pytest.mark.parametrize("links", [True, False])
def test_write_exclusive_never_replaces_a_file(links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    if not links:
        monkeypatch.setattr(os, "link", refused)
    path = tmp_path / "fox.png"
    won = []

    def write(number: int) -> None:
        try:
            write_exclusive(path, b"%d" % number)
        except FileExistsError:
            return
        won.append(number)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1 and path.read_bytes() == b"%d" % won[0]
    assert [file.name for file in tmp_path.iterdir()] == ["fox.png"]


def test_write_atomic_reports_a_failure_in_one_line(tmp_path: Path) -> None:
    for name in ("absent/fox.png", "x" * 300, "a\0b"):
        for write in (write_atomic, write_exclusive):
            with pytest.raises(SumiError, match="cannot write"):
                write(tmp_path / name, b"")
    assert not list(tmp_path.iterdir())

"""Standard streams that are missing, closed, full or in another encoding; and --json."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sumi.systems.unclip.artist import Sumi

Command = Callable[..., Any]
needs_shell = pytest.mark.skipif(os.name != "posix", reason="redirections of a POSIX shell")


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a line in which `sumi` is this package's command."""
    line = line.replace("sumi", f"'{sys.executable}' -m sumi", 1)
    return subprocess.run(["sh", "-c", line], capture_output=True, text=True, env={**os.environ, **environment})


@needs_shell
@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize(("arguments", "status"), [("systems", 0), ("systems --json", 0), ("generate ''", 2)])
def test_command_without_a_standard_stream_runs(closed: str, arguments: str, status: int) -> None:
    ran = shell(f"sumi {arguments} {closed}")
    assert ran.returncode == status and "Traceback" not in ran.stderr, ran.stderr


@needs_shell
def test_open_streams_reserves_the_standard_descriptors(tmp_path: Path) -> None:
    code = "from sumi.cli.streams import open_streams; open_streams(); f = open('mine'); assert f.fileno() > 2"
    (tmp_path / "mine").write_bytes(b"")
    ran = subprocess.run(["sh", "-c", f'"{sys.executable}" -c "{code}" <&- >&-'], cwd=tmp_path, capture_output=True)
    assert ran.returncode == 0, ran.stderr


def test_open_streams_without_a_console_opens_null_devices() -> None:
    code = "import sys; from sumi.cli import main; sys.stdin = sys.stdout = sys.stderr = None; main(['systems'])"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@needs_shell
@pytest.mark.parametrize("arguments", ["--help", "systems", "systems --json", "generate '' --json"])
def test_broken_pipe_exits_quietly(arguments: str) -> None:
    ran = shell(f"sumi {arguments} | head -c 1")
    assert len(ran.stdout) == 1 and "Traceback" not in ran.stderr and "BrokenPipe" not in ran.stderr


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")
@pytest.mark.parametrize("arguments", ["--help", "systems", "systems --json", "generate '' --json"])
def test_full_device_prints_one_line(arguments: str) -> None:
    ran = shell(f"sumi {arguments} > /dev/full")
    assert ran.returncode == 2 and ran.stderr.count("\n") == 1, ran.stderr
    assert ran.stderr.startswith("error: ") and ("No space left" in ran.stderr or "empty" in ran.stderr)


@needs_shell
def test_encoding_without_a_character_prints_its_escape() -> None:
    for encoding in ("ascii", "latin-1"):
        ran = shell("sumi generate 狐 --size 7 --json", PYTHONIOENCODING=encoding)
        assert ran.returncode == 2 and "Traceback" not in ran.stderr and json.loads(ran.stdout)["error"]
    ran = shell("sumi 狐", PYTHONIOENCODING="latin-1")
    assert ran.stderr == "error: No such command '\\u72d0'. Did you mean: sumi generate \"\\u72d0\"?\n"


def test_error_with_json_is_an_object_on_stdout(command: Command) -> None:
    for arguments in (
        ["generate", "", "--json"],
        ["generate", "fox", "--json", "--stps", "3"],
        ["generate", "fox", "--json", "--model", "absent"],
        ["genrate", "fox", "--json"],
        ["rank", "absent.png", "--prompt", "fox", "--json"],
        ["systems", "--json", "surplus"],
    ):
        ran = command(*arguments)
        assert ran.status == 2 and set(json.loads(ran.out)) == {"error"} and ran.out.count("\n") == 1
        assert ran.err == f"error: {json.loads(ran.out)['error']}\n"
    ran = command("generate", "--size", "7", "--", "--json")
    assert (ran.status, ran.out) == (2, ""), "after -- it is a word of the prompt"


def test_interruption_with_json_is_an_object(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Sumi, "stream", interrupted)
    ran = command("generate", "fox", "--json")
    assert (ran.status, json.loads(ran.out), ran.err) == (130, {"error": "stopped"}, "\nstopped\n")


def test_full_disk_prints_one_line(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "somewhere")

    monkeypatch.setattr(Sumi, "stream", full)
    ran = command("generate", "fox")
    assert (ran.status, ran.out, ran.err) == (2, "", "error: cannot write somewhere: No space left on device\n")

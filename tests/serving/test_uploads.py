"""The image sandbox, with and without fork, and where it fails."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from live_server import file_of
from PIL import Image

from sumi import SumiError
from sumi.serving import uploads
from sumi.serving.errors import ApiError
from sumi.serving.uploads import Upload, Uploads

PICTURE = file_of(Image.linear_gradient("L").resize((24, 16)).convert("RGBA"))


async def opened(data: bytes) -> Upload:
    at_work = Uploads()
    try:
        return await at_work.open(data)
    finally:
        at_work.close()


@pytest.mark.parametrize("forks", [True, False])
def test_upload_is_decoded_and_a_damaged_one_refused(forks: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "CAN_FORK", forks)
    upload = asyncio.run(opened(PICTURE))
    assert (upload.width_px, upload.height_px, upload.has_alpha) == (24, 16, True)
    for data in (b"", b"no picture", PICTURE[:-30]):
        with pytest.raises(SumiError, match="image: "):
            asyncio.run(opened(data))


def test_upload_with_a_long_tmpdir_is_decoded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    long = tmp_path / ("t" * 120)
    long.mkdir()
    monkeypatch.setenv("TMPDIR", str(long))
    assert asyncio.run(opened(PICTURE)).width_px == 24


@pytest.mark.parametrize("forks", [True, False])
@pytest.mark.parametrize(
    "program",
    ["pass", "import socket, sys; s = socket.socket(fileno=int(sys.argv[1])); s.sendall(b'ready'); s.recv(1)"],
    ids=["never begins", "begins no child"],
)
def test_upload_with_a_broken_sandbox_is_503(
    forks: bool, program: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(uploads, "CAN_FORK", forks)
    monkeypatch.setattr(uploads, "COMMAND", (sys.executable, "-c", program if forks else "pass"))
    with pytest.raises(ApiError, match="cannot open pictures now") as raised:
        asyncio.run(opened(PICTURE))
    assert raised.value.status == 503 and raised.value.retry
    assert "does not work" in caplog.text


def test_modules_import_without_fcntl_and_resource() -> None:
    code = (
        "import sys; sys.modules['fcntl'] = sys.modules['resource'] = None;"
        " import sumi.serving.app, sumi.training, sumi.store"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


def test_sandbox_without_proc_still_limits_its_time() -> None:
    code = """
import builtins, resource
from sumi.serving import image_sandbox
def absent(path, *args, **kwargs): raise FileNotFoundError(path)
builtins.open = absent
image_sandbox.limit_resources()
assert resource.getrlimit(resource.RLIMIT_CPU)[0] == image_sandbox.MAX_CPU_S
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)

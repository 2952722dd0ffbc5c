"""Pictures that people send, opened by another process (`decoder.py`) with bounds on bytes, pixels, memory and time.

    upload -> decoder -> a bare PNG that we wrote ourselves

No address is ever fetched: a picture comes in the request, as a file or as a data URL.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sumi.errors import SumiError
from sumi.serving.decoder import LONGEST_S, MOST_BYTES, READY
from sumi.serving.errors import ApiError

__all__ = ["MOST_BYTES", "Upload", "Uploads", "from_data_url"]

AT_ONCE: Final = 2
_DATA_URL = re.compile(r"data:image/[\w.+-]{1,40};base64,", re.ASCII)


@dataclass(frozen=True)
class Upload:
    """A picture that was opened: its pixels as a bare RGBA PNG. recipe: what it says of itself, if it is of ours."""

    png: bytes = field(repr=False)
    width_px: int
    height_px: int
    has_alpha: bool
    recipe: dict[str, str] | None = None


class Uploads:
    """The decoder at work; `close` it."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="sumi-")
        self._address = str(Path(self._folder.name) / "decoder")
        self._process: subprocess.Popen[bytes] | None = None
        self._turn, self._starting = asyncio.Semaphore(AT_ONCE), asyncio.Lock()

    async def open(self, data: bytes, named: str = "image") -> Upload:
        """Open a picture; SumiError, naming it, for what is none or too large; ApiError where there is no time."""
        async with self._turn:
            await self.begin()
            try:
                answer = await asyncio.wait_for(self._ask(data), LONGEST_S - 1)
            except TimeoutError:
                raise ApiError(503, f"{named}: the server is too busy to open it", retry_after_s=5) from None
            except OSError:  # it had heard enough
                answer = b""
        end = 4 + int.from_bytes(answer[:4], "big")
        head: dict[str, Any] = json.loads(answer[4:end]) if 4 < end <= len(answer) else {}
        if len(answer) - end != head.get("size_bytes"):  # it was ended before it had said all
            raise SumiError(f"{named}: the picture is damaged, or takes too much time or memory to open")
        if "error" in head:
            raise SumiError(f"{named}: {head['error']}")
        return Upload(answer[end:], head["width"], head["height"], head["alpha"], head["recipe"])

    async def begin(self) -> None:
        """Start the decoder, unless it lives."""
        async with self._starting:
            if self._process is None or self._process.poll() is not None:
                self._process = await asyncio.to_thread(self._start)

    def close(self) -> None:
        """End the decoder."""
        if self._process is not None:
            assert self._process.stdin is not None
            self._process.stdin.close()
            self._process.wait()
        self._folder.cleanup()

    async def _ask(self, data: bytes) -> bytes:
        reader, writer = await asyncio.open_unix_connection(self._address)
        try:
            try:
                writer.write(data)
                await writer.drain()
                writer.write_eof()
            except (BrokenPipeError, ConnectionResetError):
                pass  # it may have answered without reading all
            return await reader.read()
        finally:
            writer.close()

    def _start(self) -> subprocess.Popen[bytes]:
        """Start the decoder; return once it is ready."""
        Path(self._address).unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as door:
            door.bind(self._address)
            door.listen(64)
            program = str(Path(__file__).with_name("decoder.py"))
            # No environment, so that no secret of ours is in the memory of whoever opens a stranger's file.
            process = subprocess.Popen(
                [sys.executable, "-I", "-c", _BEGIN, str(door.fileno()), program],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=[door.fileno()],
                env={"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            )  # fmt: skip
        assert process.stdout is not None
        with process.stdout:
            if process.stdout.read(len(READY)) != READY:
                raise RuntimeError("the process that opens pictures did not start")
        return process


_BEGIN = "import os, runpy, sys; os.dup2(int(sys.argv[1]), 3); runpy.run_path(sys.argv[2], run_name='__main__')"
"""Put the socket where the decoder looks for it. Run by its path: importing its package would import torch."""


def from_data_url(url: str, named: str = "image_url") -> bytes:
    """Return the bytes of a data URL of a picture; SumiError for any other address, none of which is fetched."""
    match = _DATA_URL.match(url)
    if match is None:
        raise SumiError(f"{named} should be a data URL (data:image/png;base64,...): this server fetches no address")
    try:
        return base64.b64decode(url[match.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise SumiError(f"{named} is not base64") from None

"""Uploaded pictures, opened by another process (`image_sandbox.py`) with bounds on bytes, pixels, memory and time.

    upload -> decoder -> a bare PNG that we wrote ourselves

No address is ever fetched: a picture comes in the request, as a file or as a data URL.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import logging
import os
import re
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sumi.errors import SumiError
from sumi.serving.errors import ApiError
from sumi.serving.image_sandbox import FORKS, LONGEST_S, MOST_BYTES, READY, STARTED

__all__ = ["MOST_BYTES", "Upload", "Uploads", "from_data_url"]

AT_ONCE: Final = 2
COMMAND: Final = (sys.executable, "-I", str(Path(__file__).with_name("image_sandbox.py")))
"""The decoder is run by its path: importing its package would import torch."""
ENVIRONMENT: Final = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"} | {
    name: os.environ[name]
    for name in ("SYSTEMROOT",)
    if name in os.environ  # Windows starts no Python without it
}
"""Nothing else, so that no secret of ours is in the memory of the process that opens a stranger's file."""
log = logging.getLogger("sumi.serving")
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
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._turn, self._starting = asyncio.Semaphore(AT_ONCE), asyncio.Lock()

    async def open(self, data: bytes, named: str = "image") -> Upload:
        """Open a picture; SumiError, naming it, for what is none or too large; ApiError where there is no time."""
        async with self._turn:
            try:
                answer = await asyncio.wait_for(self._forked(data) if FORKS else alone(data), LONGEST_S - 1)
            except TimeoutError:
                raise ApiError(503, f"{named}: the server is too busy to open it", retry_after_s=5) from None
            except OSError:
                log.exception("the process that opens pictures does not work")
                raise ApiError(503, f"{named}: the server cannot open pictures now", retry_after_s=5) from None
        end = 4 + int.from_bytes(answer[:4], "big")
        head: dict[str, Any] = json.loads(answer[4:end]) if 4 < end <= len(answer) else {}
        if len(answer) - end != head.get("size_bytes"):  # it was ended before it had said all
            raise SumiError(f"{named}: the picture is damaged, or takes too much time or memory to open")
        if "error" in head:
            raise SumiError(f"{named}: {head['error']}")
        return Upload(answer[end:], head["width"], head["height"], head["alpha"], head["recipe"])

    async def begin(self) -> socket.socket | None:
        """Start the decoder, unless it lives or each picture has its own; return the socket that leads to it."""
        async with self._starting:
            if FORKS and (self._process is None or self._process.poll() is not None):
                await asyncio.to_thread(self._start)
            return self._control

    def close(self) -> None:
        """End the decoder."""
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            self._process.wait()

    async def _forked(self, data: bytes) -> bytes:
        """What a child of the decoder answers; OSError where none was begun."""
        control = await self.begin()
        assert control is not None
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(control, [b"+"], [theirs.fileno()])
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        try:
            if await reader.read(len(STARTED)) != STARTED:
                raise OSError("a child of the decoder did not start")
            try:
                writer.write(data)
                await writer.drain()
                writer.write_eof()
            except (BrokenPipeError, ConnectionResetError):
                pass  # it may have answered without reading all
            try:
                return await reader.read()
            except ConnectionResetError:  # it was ended with some of the picture unread
                return b""
        finally:
            writer.close()

    def _start(self) -> None:
        """Start the decoder; return once it is ready. OSError where it does not start."""
        if self._control is not None:
            self._control.close()
        self._control, theirs = socket.socketpair()  # without a name, which a long $TMPDIR would make too long
        with theirs:
            self._process = subprocess.Popen(
                [*COMMAND, str(theirs.fileno())], stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], env=ENVIRONMENT
            )
        if self._control.recv(len(READY)) != READY:
            raise OSError("the decoder did not start")


async def alone(data: bytes) -> bytes:
    """What a process of its own answers about one picture, where the system cannot fork; OSError where it fails."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=ENVIRONMENT
    )
    try:
        answer, _ = await process.communicate(data)
    finally:
        if process.returncode is None:
            process.kill()
    if not answer.startswith(STARTED):
        raise OSError("the decoder did not start")
    return answer.removeprefix(STARTED)


def from_data_url(url: str, named: str = "image_url") -> bytes:
    """Return the bytes of a data URL of a picture; SumiError for any other address, none of which is fetched."""
    match = _DATA_URL.match(url)
    if match is None:
        raise SumiError(f"{named} should be a data URL (data:image/png;base64,...): this server fetches no address")
    try:
        return base64.b64decode(url[match.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise SumiError(f"{named} is not base64") from None

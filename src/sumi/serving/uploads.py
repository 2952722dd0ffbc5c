"""Uploaded pictures, decoded in another process (`image_sandbox.py`) with limits on bytes, pixels, memory and time.

    upload -> sandbox -> a plain PNG that we wrote ourselves

The server fetches no address: a picture comes with the request, as a file or as a data URL.
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
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from sumi.errors import SumiError
from sumi.serving.errors import ApiError
from sumi.serving.image_sandbox import ANCHORS_VARIABLE, CAN_FORK, MAX_BYTES, MAX_WALL_S, READY, STARTED

__all__ = ["MAX_BYTES", "Upload", "Uploads", "decode_data_url"]

MAX_AT_ONCE: Final = 2
MAX_MARKED_BYTES: Final = 16 * 2**20
"""A larger file with content credentials becomes an ingredient by its pixels alone."""
COMMAND: Final = (sys.executable, "-I", str(Path(__file__).with_name("image_sandbox.py")))
"""The sandbox runs by its path: importing its package would import torch."""
ENVIRONMENT: Final = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"} | {
    name: os.environ[name]
    for name in ("SYSTEMROOT",)
    if name in os.environ  # Windows starts no Python without it
}
"""Nothing else, so the process that decodes a stranger's file has none of our secrets in memory."""
log = logging.getLogger("sumi.serving")
_DATA_URL = re.compile(r"data:image/[\w.+-]{1,40};base64,", re.ASCII)


@dataclass(frozen=True)
class Upload:
    """A decoded picture.

    Attributes:
        png: its pixels as a plain RGBA PNG.
        width_px, height_px: its size.
        has_alpha: whether the file had transparency.
        provenance: what is known of its origin, as `sumi.trust.verify.Provenance.to_json` says it.
        marked_file: the file itself where it carries content credentials, which its pixels alone do not; else empty.
    """

    png: bytes = field(repr=False)
    width_px: int
    height_px: int
    has_alpha: bool
    provenance: dict[str, Any] = field(default_factory=dict)
    marked_file: bytes = field(default=b"", repr=False)


class Uploads:
    """Runs the sandbox; call `close` at the end. anchors: certificates of trusted authorities, as PEM."""

    def __init__(self, anchors: str = "") -> None:
        self._environment = ENVIRONMENT | {ANCHORS_VARIABLE: anchors}
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._slots, self._start_lock = asyncio.Semaphore(MAX_AT_ONCE), asyncio.Lock()

    async def open(self, data: bytes, name: str = "image") -> Upload:
        """Decode a picture.

        Args:
            data: the file's bytes.
            name: the parameter that errors name.

        Raises:
            SumiError: it is no picture, or too large.
            ApiError: the server has no time for it (503).
        """
        async with self._slots:
            try:
                answer = await asyncio.wait_for(
                    self._open_in_child(data) if CAN_FORK else open_in_new_process(data, self._environment),
                    MAX_WALL_S - 1,
                )
            except TimeoutError:
                raise ApiError(503, f"{name}: the server is too busy to open it", retry_after_s=5) from None
            except OSError:
                log.exception("the image sandbox does not work")
                raise ApiError(503, f"{name}: the server cannot open pictures now", retry_after_s=5) from None
        end = 4 + int.from_bytes(answer[:4], "big")
        head: dict[str, Any] = json.loads(answer[4:end]) if 4 < end <= len(answer) else {}
        if len(answer) - end != head.get("size_bytes"):  # the process ended before its answer did
            raise SumiError(f"{name}: the picture is damaged, or takes too much time or memory to open")
        if "error" in head:
            raise SumiError(f"{name}: {head['error']}")
        provenance = head["provenance"]
        is_marked = provenance["c2pa"]["state"] != "absent" and len(data) <= MAX_MARKED_BYTES
        marked = data if is_marked else b""
        return Upload(answer[end:], head["width"], head["height"], head["alpha"], provenance, marked)

    async def start(self) -> socket.socket | None:
        """Start the sandbox unless it runs.

        Returns:
            The socket that leads to it; None where each picture has its own process.
        """
        async with self._start_lock:
            if CAN_FORK and (self._process is None or self._process.poll() is not None):
                await asyncio.to_thread(self._start)
            return self._control

    def close(self) -> None:
        """End the sandbox."""
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            self._process.wait()

    async def _open_in_child(self, data: bytes) -> bytes:
        """Return the answer of a child of the sandbox; OSError where none was started."""
        control = await self.start()
        assert control is not None
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(control, [b"+"], [theirs.fileno()])
        reader, writer = await asyncio.open_unix_connection(sock=ours)
        try:
            if await reader.read(len(STARTED)) != STARTED:
                raise OSError("a child of the sandbox did not start")
            try:
                writer.write(data)
                await writer.drain()
                writer.write_eof()
            except (BrokenPipeError, ConnectionResetError):
                pass  # it answered before reading everything
            try:
                return await reader.read()
            except ConnectionResetError:  # it ended before reading everything
                return b""
        finally:
            writer.close()

    def _start(self) -> None:
        """Start the sandbox and wait until it is ready; OSError where it does not start."""
        if self._control is not None:
            self._control.close()
        self._control, theirs = socket.socketpair()  # a socket with a path fails in a long $TMPDIR
        with theirs:
            self._process = subprocess.Popen(
                [*COMMAND, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=self._environment,
            )
        if self._control.recv(len(READY)) != READY:
            raise OSError("the sandbox did not start")


async def open_in_new_process(data: bytes, environment: Mapping[str, str]) -> bytes:
    """Return the answer of a new process, where the system cannot fork; OSError where it fails."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    try:
        answer, _ = await process.communicate(data)
    finally:
        if process.returncode is None:
            process.kill()
    if not answer.startswith(STARTED):
        raise OSError("the sandbox did not start")
    return answer.removeprefix(STARTED)


def decode_data_url(url: str, name: str = "image_url") -> bytes:
    """Return the bytes of a picture's data URL; SumiError for any other address."""
    match = _DATA_URL.match(url)
    if match is None:
        raise SumiError(f"{name} should be a data URL (data:image/png;base64,...): this server fetches no address")
    try:
        return base64.b64decode(url[match.end() :], validate=True)
    except (binascii.Error, ValueError):
        raise SumiError(f"{name} is not base64") from None

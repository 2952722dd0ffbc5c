"""The process that opens pictures which strangers send: it knows no key, no database and no network.

    bytes -> STARTED [length] {"width", "height", "size_bytes", ...} PNG     or     STARTED [length] {"error": "..."}

`uploads.py` runs this file as a program. Over a socket pair it hands in one connection for each picture, and the
program forks for each. The child gives up all but a little memory, time and one connection, opens the picture, and
answers with its pixels written anew, so that nothing else of the file goes on. A child that is caught in a damaged
file, or taken over by it, ends with its picture. The program imports no torch, so a child costs milliseconds. Where the
system cannot fork (Windows), one program runs for each picture, from standard input to standard output.
"""

from __future__ import annotations

import gc
import io
import json
import os
import signal
import socket
import sys
import warnings
from typing import Any, Final

from PIL import Image

from sumi.errors import SumiError
from sumi.imaging.image_file import FORMATS, read_image, rgba
from sumi.imaging.png import encode_png

FORKS: Final = hasattr(os, "fork") and hasattr(socket, "send_fds")
"""Whether this system can fork, and hand a connection to another process."""
MOST_BYTES: Final = 50 * 2**20
MOST_PX: Final = 2**24
LONGEST_SIDE_PX: Final = 8192
MOST_MEMORY_BYTES: Final = 400 * 2**20
MOST_SECONDS: Final = 4
"""Of a core. On a busy machine they may take longer to pass, which is no fault of the picture."""
LONGEST_S: Final = 12
READY: Final = b"ready"
STARTED: Final = b"+"
"""What a child says once it is bounded. One that never says it has failed by our fault, not by the picture's."""


def main() -> None:
    """Serve the socket whose file number is the argument; without one, open the picture on standard input."""
    warnings.simplefilter("ignore")
    if len(sys.argv) == 1:
        sys.stdout.buffer.write(STARTED + answer(sys.stdin.buffer.read(MOST_BYTES + 1)))
        return
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # children are not waited for
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    decoded(_FIRST)  # so that what is imported on the way is there before the first child
    gc.freeze()
    with socket.socket(fileno=int(sys.argv[1])) as control:
        control.sendall(READY)
        serve(control)


def serve(control: socket.socket) -> None:
    """Fork for each connection that comes over the control socket, until the other side closes it."""
    while True:
        _, handles, _, _ = socket.recv_fds(control, 1, 1)
        if not handles:
            return
        with socket.socket(fileno=handles[0]) as connection:
            try:
                child = os.fork() == 0
            except OSError:  # no room for a process: the connection closes without STARTED
                continue
            if child:
                control.close()
                give_up_rights()
                connection.sendall(STARTED)
                connection.sendall(answer(received(connection)))
                os._exit(0)


def answer(data: bytes) -> bytes:
    """Open one picture; the answer without STARTED."""
    try:
        head, png = decoded(data)
    except SumiError as error:
        head, png = {"error": str(error)}, b""
    except MemoryError:
        head, png = {"error": "the picture needs too much memory to open"}, b""
    line = json.dumps(head | {"size_bytes": len(png)}).encode("ascii")
    return len(line).to_bytes(4, "big") + line + png


def give_up_rights() -> None:
    """Bound what this process may use; the kernel ends it where it passes a bound."""
    import resource  # where there is fork, there is this

    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            now = int(file.read().split()[0]) * resource.getpagesize()
    except OSError:  # macOS has no such file, so a bound on memory has nothing to count from
        pass
    else:
        resource.setrlimit(resource.RLIMIT_AS, (now + MOST_MEMORY_BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_SECONDS,) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.setitimer(signal.ITIMER_REAL, LONGEST_S)  # SIGALRM ends a process that does not catch it


def received(connection: socket.socket) -> bytes:
    """All that is sent, up to one byte more than is taken."""
    data = bytearray()
    while len(data) <= MOST_BYTES and (piece := connection.recv(2**16)):
        data += piece
    return bytes(data)


def decoded(data: bytes) -> tuple[dict[str, Any], bytes]:
    """The picture upright as a bare RGBA PNG, and what there is to know of it; SumiError for what is no picture."""
    if not data:
        raise SumiError("the picture is empty: it has no bytes at all")
    if len(data) > MOST_BYTES:
        raise SumiError(f"the picture is over {MOST_BYTES // 2**20} MB")
    width, height = claimed_size(data)
    if width * height > MOST_PX or max(width, height) > LONGEST_SIDE_PX:
        most = f"{LONGEST_SIDE_PX} pixels along a side and {MOST_PX:,} in all"
        raise SumiError(f"the picture has {width}x{height} pixels, and at most {most} are opened")
    opened = read_image(io.BytesIO(data), "that was sent")
    has_alpha = "A" in opened.getbands() or "transparency" in opened.info
    head = {"alpha": has_alpha, "recipe": claim(opened.info.get("sumi"))}
    picture = rgba(opened)
    bare = Image.frombytes("RGBA", picture.size, picture.tobytes())
    return head | {"width": picture.width, "height": picture.height}, encode_png(bare, fast=True)


def claimed_size(data: bytes) -> tuple[int, int]:
    """The size that the file says it has; (0, 0) where it says none, which reading it will find out."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return image.size
    except Image.DecompressionBombError:
        raise SumiError("the picture has too many pixels to be opened") from None
    except Exception:
        return 0, 0


def claim(text: object) -> dict[str, str] | None:
    """Which model a picture of ours says that it is from; anybody can write that into a file."""
    try:
        values = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict):
        return None
    return {name: str(values[name])[:100] for name in ("model", "version", "operation") if name in values}


_FIRST: Final = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c636000000002000148afa471"
    "0000000049454e44ae426082"
)
"""A PNG of one pixel."""

if __name__ == "__main__":
    main()

"""The process that decodes pictures from strangers: it has no key, no database and no network.

    bytes -> STARTED [length] {"width", "height", "size_bytes", ...} PNG     or     STARTED [length] {"error": "..."}

Content credentials are read here too, and trusted under the authorities that $SUMI_ANCHORS names.

`uploads.py` runs this file as a program. Over a socket pair it sends one connection for each picture, and the program
forks for each. The child limits its memory, time and files, decodes the picture, and answers with its pixels written
anew, so nothing else of the file passes. A child that a damaged file breaks or takes over ends with its picture. The
program imports no torch, so a child costs milliseconds. Where the system cannot fork (Windows), one program runs for
each picture, from standard input to standard output.
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
from sumi.trust.verify import check_provenance

CAN_FORK: Final = hasattr(os, "fork") and hasattr(socket, "send_fds")
"""Whether this system can fork and pass connections to another process."""
MAX_BYTES: Final = 50 * 2**20
MAX_PX: Final = 2**24
MAX_SIDE_PX: Final = 8192
MAX_MEMORY_BYTES: Final = 400 * 2**20
MAX_CPU_S: Final = 4
"""Processor time, which a busy machine does not shorten."""
MAX_WALL_S: Final = 12
ANCHORS_VARIABLE: Final = "SUMI_ANCHORS"
READY: Final = b"ready"
STARTED: Final = b"+"
"""Sent by a child once its limits are set. Where it is missing, the failure is ours and not the picture's."""


def main() -> None:
    """Serve the socket whose file descriptor is the argument; without one, decode the picture on standard input."""
    warnings.simplefilter("ignore")
    if len(sys.argv) == 1:
        sys.stdout.buffer.write(STARTED + encode_answer(sys.stdin.buffer.read(MAX_BYTES + 1)))
        return
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the children
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    decode_picture(ONE_PIXEL_PNG)  # loads Pillow's plugins before the first fork
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
            except OSError:  # no room for a process; the connection closes without STARTED
                continue
            if child:
                control.close()
                limit_resources()
                connection.sendall(STARTED)
                connection.sendall(encode_answer(receive_all(connection)))
                os._exit(0)


def encode_answer(data: bytes) -> bytes:
    """Return the answer to one picture, without STARTED."""
    try:
        head, png = decode_picture(data)
    except SumiError as error:
        head, png = {"error": str(error)}, b""
    except MemoryError:
        head, png = {"error": "the picture needs too much memory to open"}, b""
    line = json.dumps(head | {"size_bytes": len(png)}).encode("ascii")
    return len(line).to_bytes(4, "big") + line + png


def limit_resources() -> None:
    """Limit what this process may use; the kernel ends it where it passes a limit."""
    import resource  # exists wherever fork does

    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            used = int(file.read().split()[0]) * resource.getpagesize()
    except OSError:  # macOS has no such file, so there is no base for a memory limit
        pass
    else:
        resource.setrlimit(resource.RLIMIT_AS, (used + MAX_MEMORY_BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU_S,) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.setitimer(signal.ITIMER_REAL, MAX_WALL_S)  # SIGALRM ends a process that does not catch it


def receive_all(connection: socket.socket) -> bytes:
    """Return everything that is sent, up to one byte over the limit."""
    data = bytearray()
    while len(data) <= MAX_BYTES and (piece := connection.recv(2**16)):
        data += piece
    return bytes(data)


def decode_picture(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Decode a file.

    Returns:
        What the file says about its picture, and the pixels upright as a plain RGBA PNG.

    Raises:
        SumiError: it is no picture, or too large.
    """
    if not data:
        raise SumiError("the picture is empty: it has no bytes at all")
    if len(data) > MAX_BYTES:
        raise SumiError(f"the picture is over {MAX_BYTES // 2**20} MB")
    width, height = read_declared_size(data)
    if width * height > MAX_PX or max(width, height) > MAX_SIDE_PX:
        most = f"{MAX_SIDE_PX} pixels along a side and {MAX_PX:,} in all"
        raise SumiError(f"the picture has {width}x{height} pixels; the limit is {most}")
    opened = read_image(io.BytesIO(data), "that was sent")
    has_alpha = "A" in opened.getbands() or "transparency" in opened.info
    found = check_provenance(data, opened, os.environ.get(ANCHORS_VARIABLE, ""))
    head = {"alpha": has_alpha, "provenance": found.to_json()}
    picture = rgba(opened)
    bare = Image.frombytes("RGBA", picture.size, picture.tobytes())
    return head | {"width": picture.width, "height": picture.height}, encode_png(bare, fast=True)


def read_declared_size(data: bytes) -> tuple[int, int]:
    """Return the size that the file declares; (0, 0) where it declares none."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            return image.size
    except Image.DecompressionBombError:
        raise SumiError("the picture has too many pixels") from None
    except Exception:
        return 0, 0


ONE_PIXEL_PNG: Final = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c636000000002000148afa471"
    "0000000049454e44ae426082"
)
"""A PNG of one pixel."""

if __name__ == "__main__":
    main()

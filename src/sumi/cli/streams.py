"""The standard streams, which may be missing (pythonw, `>&-`), closed by their reader (`| head`) or full."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import sys

import click

DEVICE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}
"""A device that fails or is full is not a bug."""


def open_streams() -> None:
    """Open missing standard streams on the null device, so that no file takes their descriptors."""
    if None in (sys.stdin, sys.stdout, sys.stderr):
        while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
            os.set_inheritable(descriptor, True)
        os.close(descriptor)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if vars(sys)[name] is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal that cannot show a character must not fail
        sys.stdout.reconfigure(errors="backslashreplace")


def discard_stdout() -> None:
    """Send what stdout still holds, and cannot write, to the null device."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def escape_text(text: str) -> str:
    """Return a text on one line, with control characters escaped."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in " ".join(text.split()))


def print_error(message: str, label: str, as_json: bool) -> None:
    """Print one line on stderr, and with --json an object with `error` on stdout, as far as they can be written."""
    line = escape_text(message)
    with contextlib.suppress(OSError):
        click.echo(f"{label}{line}", err=True)
    try:
        if as_json:
            click.echo(json.dumps({"error": line}))
        sys.stdout.flush()
    except OSError:
        discard_stdout()

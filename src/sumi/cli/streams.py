"""The standard streams, which may be absent (pythonw, `>&-`), closed by their reader (`| head`) or full."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import sys

import click

DEVICE_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS}
"""A device that fails or is full is no bug of the code."""


def open_streams() -> None:
    """Open what is absent of stdin, stdout and stderr on the null device, so that no file takes its descriptor."""
    if None in (sys.stdin, sys.stdout, sys.stderr):
        while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
            os.set_inheritable(descriptor, True)
        os.close(descriptor)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):  # a name that the terminal cannot show is no reason to fail
        sys.stdout.reconfigure(errors="backslashreplace")


def discard_stdout() -> None:
    """Send what is still to be written to stdout, and cannot be, to the null device."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def printable(text: str) -> str:
    """Return a text on one line, signs that steer a terminal as their numbers."""
    return "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in " ".join(text.split()))


def print_error(message: str, label: str, as_json: bool) -> None:
    """Print one line on stderr, and with --json an object with `error` on stdout, if they can still be written."""
    line = printable(message)
    with contextlib.suppress(OSError):
        click.echo(f"{label}{line}", err=True)
    try:
        if as_json:
            click.echo(json.dumps({"error": line}))
        sys.stdout.flush()
    except OSError:
        discard_stdout()

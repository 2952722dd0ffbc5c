"""The folder of a person's adapters: $SUMI_ADAPTERS, or sumi/adapters in the folder of the user's data.

ADAPTERS/mochi.safetensors      a finished adapter, drawn with as --with mochi
ADAPTERS/mochi.teaching/        the run that makes it, until it is finished
ADAPTERS/mochi.taught/          what is kept of that run afterwards: its curves, its sheets and how it was started
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from sumi.atomic_file import write_atomic
from sumi.bundles.adapter import NAME, SUFFIX, Adapter
from sumi.errors import SumiError

__all__ = [
    "LOG_SUFFIX",
    "RUN_SUFFIX",
    "adapter_path",
    "adapters_folder",
    "add_adapter",
    "list_adapters",
    "list_unfinished",
    "open_adapter",
    "remove_adapter",
]

VARIABLE = "SUMI_ADAPTERS"
RUN_SUFFIX = ".teaching"
"""Ending of the folder of a run that is not finished."""
LOG_SUFFIX = ".taught"
"""Ending of the folder that keeps the log of a finished run."""
LARGEST_BYTES = 512 * 2**20


def adapters_folder() -> Path:
    """Return the folder, which need not exist."""
    if chosen := os.environ.get(VARIABLE):
        return Path(chosen)
    if sys.platform == "win32":
        home = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        home = Path.home() / "Library" / "Application Support"
    else:
        home = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    return home / "sumi" / "adapters"


def adapter_path(name: str, folder: Path | None = None) -> Path:
    """Return the file of an adapter of this name; SumiError for what cannot be a name."""
    if not re.fullmatch(NAME, name):
        raise SumiError(
            f"an adapter's name is small letters, digits, - and _, up to 40, such as mochi, not {name!r:.60}"
        )
    return (adapters_folder() if folder is None else folder) / f"{name}{SUFFIX}"


def open_adapter(name: str, folder: Path | None = None) -> Adapter:
    """Return an adapter by its name; SumiError, which names those that there are, when there is none."""
    path = adapter_path(name, folder)
    if not path.is_file():
        names = [found.stem for found in _files(path.parent)]
        there = f"there are {', '.join(names[:8])}" if names else "there are none yet: 'sumi teach' makes one"
        raise SumiError(f"there is no adapter {name!r} in {path.parent}; {there}")
    return Adapter(path)


def list_adapters(folder: Path | None = None) -> tuple[list[Adapter], list[str]]:
    """Return every adapter by name, and a line for each file that cannot be read."""
    adapters, faults = list[Adapter](), list[str]()
    for path in _files(adapters_folder() if folder is None else folder):
        try:
            adapters.append(Adapter(path))
        except SumiError as error:
            faults.append(str(error))
    return adapters, faults


def list_unfinished(folder: Path | None = None) -> list[str]:
    """Return the names of the runs of `sumi teach` that were stopped or are on."""
    place = adapters_folder() if folder is None else folder
    return sorted(path.name.removesuffix(RUN_SUFFIX) for path in place.glob(f"*{RUN_SUFFIX}"))


def add_adapter(source: Path, name: str | None = None, folder: Path | None = None) -> Adapter:
    """Copy an adapter file, from wherever it lies, into the folder; SumiError where the name is taken by another."""
    if source.is_file() and source.stat().st_size > LARGEST_BYTES:
        raise SumiError(f"{source} is over {LARGEST_BYTES // 2**20} MB, too large for an adapter")
    found = Adapter(source)
    path = adapter_path(name or found.record.name, folder)
    if path.is_file() and Adapter(path).sha256 != found.sha256:
        raise SumiError(f"there is another adapter {path.stem!r} already: give this one a name with --name")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, source.read_bytes())
    return Adapter(path)


def remove_adapter(name: str, folder: Path | None = None) -> Path:
    """Delete an adapter and what is left of its making; SumiError when there is none."""
    path = adapter_path(name, folder)
    run = path.with_name(f"{name}{RUN_SUFFIX}")
    if not path.is_file() and not run.is_dir():
        open_adapter(name, folder)
    path.unlink(missing_ok=True)
    for made_by in (run, path.with_name(f"{name}{LOG_SUFFIX}")):
        shutil.rmtree(made_by, ignore_errors=True)
    return path


def _files(folder: Path) -> Sequence[Path]:
    return sorted(path for path in folder.glob(f"*{SUFFIX}") if re.fullmatch(NAME, path.stem))

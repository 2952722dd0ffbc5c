"""One part of a bundle: a class from a fixed list of rooms, its configuration and its weights.

A name in a file never chooses what is imported: only classes that a room of the list exports can be built.
A part is made without drawing its initial weights and held against the file's header, so that every
difference is named at once; only then is anything copied.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from sumi.bundles.json_file import read_object
from sumi.bundles.old_names import ARGUMENTS, CLASSES
from sumi.bundles.tensors import Entry, TensorFile
from sumi.errors import SumiError
from sumi.nn import old_tensor_names

__all__ = ["CONFIG", "ROOMS", "TRAINED_ON", "WEIGHTS", "LimitedBuild", "build", "configuration", "load_part", "resolve"]

ROOMS = ("sumi.nn", "sumi.codecs", "sumi.conditioning", "sumi.autoregressive", "sumi.diffusion")
CONFIG, WEIGHTS = "config.json", "model.safetensors"
TRAINED_ON = "_trained_on"


def resolve(room: str, name: str) -> type[Any]:
    """Return the class that the room exports under the name; SumiError when it is not on the list."""
    if room not in ROOMS:
        raise SumiError(f"a part cannot come from {room!r}; the rooms are {', '.join(ROOMS)}")
    module, name = importlib.import_module(room), CLASSES.get(name, name)
    found = getattr(module, name, None) if name in getattr(module, "__all__", ()) else None
    if not isinstance(found, type):
        raise SumiError(f"{room} has no class {name!r}; is the bundle from a newer Sumi?")
    return found


def configuration(folder: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Return a part's constructor arguments and the hashes of the parts that it was trained on."""
    config = read_object(folder / CONFIG)
    trained_on = config.get(TRAINED_ON, {})
    if not isinstance(trained_on, dict) or not all(isinstance(value, str) for value in trained_on.values()):
        raise SumiError(f"{folder / CONFIG}: {TRAINED_ON} should be an object of part names and hashes")
    return {key: value for key, value in config.items() if not key.startswith("_")}, trained_on


def build(where: str, room: str, name: str, arguments: Mapping[str, Any]) -> Any:
    """Return `Class(**arguments)`; whatever the arguments make it raise becomes a SumiError."""
    made = resolve(room, name)
    renamed = ARGUMENTS.get(made.__name__, {})
    try:
        return made(**{renamed.get(argument, argument): value for argument, value in arguments.items()})
    except SumiError:
        raise
    except Exception as error:  # the arguments are a file's, and a constructor may fail on them in any way
        raise SumiError(f"{where}: {room}.{name} cannot be made from its configuration: {_first_line(error)}") from None


def load_part(folder: Path, room: str, name: str, dtype: torch.dtype, expected_hash: str | None) -> nn.Module:
    """Return the part, frozen, in evaluation mode and in `dtype`; SumiError names all that is wrong."""
    arguments, _ = configuration(folder)
    file = TensorFile(folder / WEIGHTS)
    if not issubclass(resolve(room, name), nn.Module):
        raise SumiError(f"{folder}: {room}.{name} is not a network")
    with LimitedBuild(file.entries, folder / CONFIG):
        part: nn.Module = build(str(folder / CONFIG), room, name, arguments)
    file.rename(old_tensor_names(part))
    _compare(part, file, folder)
    if expected_hash is not None and file.sha256() != expected_hash:
        raise SumiError(
            f"{file.path} is not the file that was saved: its sha256 begins {file.sha256()[:12]}, "
            f"and the bundle says {expected_hash[:12]}"
        )
    with torch.no_grad():
        for key, tensor in part.to(dtype).state_dict().items():
            tensor.copy_(file.tensor(key))
    return part.eval().requires_grad_(False)


class LimitedBuild(TorchFunctionMode):
    """While a network is made: draws no initial weights, and stops one far larger than its file could fill.

    The weights come from the file anyway, and memory that is asked for but not written costs nothing; so a
    hostile configuration is found out before it is felt.
    """

    def __init__(self, entries: Mapping[str, Entry], config: Path) -> None:
        super().__init__()
        self._config = config
        self._largest = 2**20 + 4 * max((math.prod(entry.shape) for entry in entries.values()), default=0)
        self._left = 2**10 + 4 * len(entries)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Leave tensors as they are where they would be filled with random numbers, and make new ones empty."""
        name, kwargs = getattr(func, "__name__", ""), kwargs or {}
        if name in ("normal_", "uniform_", "trunc_normal_", "orthogonal_", "kaiming_uniform_"):
            return args[0] if args else kwargs["tensor"]
        made = (torch.empty if name in ("randn", "rand") else func)(*args, **kwargs)
        if isinstance(made, Tensor) and made.numel() > self._largest:
            self._refuse()
        return made

    def __enter__(self) -> Self:
        self._hook = nn.modules.module.register_module_parameter_registration_hook(self._count)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *failure: Any) -> None:
        super().__exit__(*failure)  # type: ignore[no-untyped-call]
        self._hook.remove()

    def _count(self, module: nn.Module, name: str, parameter: object) -> None:
        self._left -= 1
        if self._left < 0:
            self._refuse()

    def _refuse(self) -> None:
        raise SumiError(f"{self._config} describes a far larger network than its weights are")


def _compare(shell: nn.Module, file: TensorFile, folder: Path) -> None:
    wanted, found = shell.state_dict(), file.entries
    faults = [f"missing {name}" for name in sorted(wanted.keys() - found.keys())]
    faults += [f"unused {name}" for name in sorted(found.keys() - wanted.keys())]
    for name in sorted(wanted.keys() & found.keys()):
        shape, entry = tuple(wanted[name].shape), found[name]
        if entry.shape != shape:
            faults.append(f"misshapen {name} ({_by(entry.shape)} instead of {_by(shape)})")
        elif entry.dtype.is_floating_point != wanted[name].is_floating_point():
            faults.append(f"mistyped {name} ({entry.dtype} instead of {wanted[name].dtype})")
    if faults:
        raise SumiError(f"{folder / WEIGHTS} does not fit {CONFIG}: {', '.join(faults)}")


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0][:200] if lines else type(error).__name__

"""Networks on a device, all else on the CPU: a network's arguments are copied to its device, its results back.

Noise is drawn and samplers step on the CPU, so a seed draws the same picture on every device, to rounding.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from functools import wraps
from threading import local
from typing import Any

import torch
from torch import Tensor, nn

from sumi.errors import SumiError

__all__ = ["CPU", "keep_on", "moved", "usable_device"]

CPU = torch.device("cpu")


def usable_device(device: str | torch.device | None) -> torch.device:
    """Return the device, by default the CPU; SumiError unless torch finds it here."""
    try:
        chosen = torch.device("cpu" if device is None else device)
    except (RuntimeError, TypeError):
        raise SumiError(f"unknown device {device!r:.60}: choose one of {', '.join(_found())}") from None
    if chosen.type != "cpu" and f"{chosen.type}:{chosen.index or 0}" not in _found():
        raise SumiError(f"there is no device {str(chosen)!r} here: torch finds {', '.join(_found())}")
    return chosen


def _found() -> list[str]:
    """The devices that torch finds here."""
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return ["cpu", *cuda, *(["mps:0"] if torch.backends.mps.is_available() else [])]


def keep_on(part: nn.Module, device: torch.device) -> nn.Module:
    """Move a network to a device, where its public methods are then computed; they take and return CPU tensors.

    A network that draws token after token stays on the CPU: it waits for each, which a device would only slow.
    """
    if device.type == "cpu" or hasattr(part, "begin"):
        return part
    try:
        part.to(device)
    except RuntimeError as error:
        raise SumiError(f"cannot use the device {str(device)!r}: {str(error).splitlines()[0][:100]}") from None
    inside = local()
    for name, method in inspect.getmembers(part, inspect.ismethod):
        own = any(name in vars(kind) for kind in type(part).__mro__[: type(part).__mro__.index(nn.Module)])
        if own and not name.startswith("_"):
            setattr(part, name, _across(method, device, inside))
    return part


def _across(method: Callable[..., Any], device: torch.device, inside: local) -> Callable[..., Any]:
    """Return a method that is computed on a device; called by another method of its network, it stays there."""

    @wraps(method)
    def called(*args: Any, **kwargs: Any) -> Any:
        if getattr(inside, "now", False):
            return method(*args, **kwargs)
        inside.now = True
        try:
            return moved(method(*moved(args, device), **moved(kwargs, device)), CPU)
        finally:
            inside.now = False

    return called


def moved(value: Any, device: torch.device) -> Any:
    """Return a value, its tensors on a device, however they are nested."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, Mapping):
        return {key: moved(item, device) for key, item in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(moved(item, device) for item in value))
    if isinstance(value, list | tuple):
        return type(value)(moved(item, device) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: moved(getattr(value, field.name), device) for field in fields(value)})
    return value

"""Modules that keep their constructor's arguments, so that `Class(**module.config)` makes the same module again."""

from __future__ import annotations

import functools
import inspect
from contextlib import suppress
from typing import Any

from torch import nn


class ConfigModule(nn.Module):
    """A module whose `config` holds its constructor's arguments by name, defaults included, as JSON-able values.

    The arguments must be numbers, strings, None, and lists, tuples or dictionaries of them; tuples are kept as lists.
    `config` is set before `__init__` runs, so a constructor may replace a default by the value that it stands for.
    """

    config: dict[str, Any]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" not in cls.__dict__:
            return
        init, signature = cls.__init__, inspect.signature(cls.__init__)

        @functools.wraps(init)
        def init_with_config(self: nn.Module, *args: Any, **arguments: Any) -> None:
            if "config" not in self.__dict__:  # a subclass has not set it before
                with suppress(TypeError):  # for wrong arguments; `init` raises its own
                    bound = signature.bind(self, *args, **arguments)
                    bound.apply_defaults()
                    _, *values = bound.arguments.items()
                    self.__dict__["config"] = {name: _listed(value) for name, value in values}
            init(self, *args, **arguments)

        cls.__init__ = init_with_config  # type: ignore[method-assign]


def _listed(value: Any) -> Any:
    """The value with tuples as lists, as JSON would return it."""
    return [_listed(item) for item in value] if isinstance(value, list | tuple) else value

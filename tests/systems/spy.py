"""What a lesson shows the network that it trains: the arguments of its first call."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sumi.nn import Cond
from sumi.training import Batch, Objective


class _CalledError(Exception):
    """Carries the arguments of a call, so that the network itself need not run."""

    def __init__(self, args: tuple[Any, ...]) -> None:
        super().__init__("called")
        self.given = args


def shown(lesson: Objective, count: int = 1500, seed: int = 0, step: int = 0, of: int = 10) -> tuple[Any, ...]:
    """The arguments with which a lesson's loss calls its network, for a batch of `count` examples taken in turn."""

    def stop(module: Any, args: tuple[Any, ...]) -> None:
        raise _CalledError(args)

    hook = lesson.model.register_forward_pre_hook(stop)
    indices = torch.arange(count) % len(lesson)
    try:
        with torch.no_grad():
            lesson.loss(lesson.model, Batch(step, of, indices, torch.Generator().manual_seed(seed)))
    except _CalledError as call:
        return call.given
    finally:
        hook.remove()
    raise AssertionError("the loss never asked the network")


def told(lesson: Objective, count: int = 1500, seed: int = 0) -> Cond:
    """The condition among those arguments."""
    found = [given for given in shown(lesson, count, seed) if isinstance(given, Cond)]
    assert len(found) == 1
    return found[0]


def silent(slot: Tensor | None) -> Tensor:
    """Which rows of a slot say nothing, (B,) of bools."""
    assert slot is not None
    return (slot.flatten(1) == 0).all(dim=1)


def share(rows: Tensor) -> float:
    """The share of rows that are true."""
    return float(rows.float().mean())

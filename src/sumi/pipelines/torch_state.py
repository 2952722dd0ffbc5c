"""Torch as Sumi needs it while it draws, whatever the host program has set; what the host set is left as it is.

Gradients, inference mode, autocast and the default device belong to a thread, so they are switched for the length of a
call. The default dtype belongs to the whole process, where another thread may be at work, so it is not touched: every
tensor that drawing makes names its dtype.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

__all__ = ["own_torch_state"]

DEVICES = ("cpu", "cuda", "mps", "xpu")

_process = os.getpid()


@contextmanager
def own_torch_state() -> Iterator[None]:
    """Draw without gradients, inference mode, autocast or a default device; a decorator too."""
    _leave_threads_of_a_parent()
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.no_grad())
        for device in DEVICES:
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        yield


def _leave_threads_of_a_parent() -> None:
    """Use one thread in a forked child: the parent's OpenMP threads do not exist here, and waiting for them hangs."""
    global _process
    if os.getpid() != _process:
        _process = os.getpid()
        torch.set_num_threads(1)

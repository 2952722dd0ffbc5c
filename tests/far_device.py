"""A device that is far from the CPU, shown with torch's `meta`: whatever mixes it with the CPU fails."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from sumi.bundles import device

META = torch.device("meta")


def bring_back(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let results come back from `meta`, which has no numbers, as random ones; returns how each tensor went."""
    went: list[str] = []
    real = Tensor.to

    def to(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if self.is_meta and args == (device.CPU,):
            went.append("back")
            noise = torch.rand(self.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
            return real(noise, self.dtype)
        went.extend(["there"] if args == (META,) else [])
        return real(self, *args, **kwargs)

    number = Tensor.__float__
    monkeypatch.setattr(Tensor, "to", to)
    monkeypatch.setattr(Tensor, "__float__", lambda self: 10.0 if self.is_meta else number(self))
    return went

"""What a network may be told besides the noisy signal and the time: four slots, and zeros mean silence.

Every modality fills the same four slots, so classifier-free guidance, batching and serving are written once.
A row of zeros in a slot says nothing was said: a zero vector, token id 0 (padding) everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor


@dataclass(frozen=True)
class Cond:
    """A batch of conditions; every slot is optional.

    vector: (B, D), one embedding per example, such as a CLIP image embedding.
    tokens: (B, L) integer ids or (B, L, D) features.
    mask:   (B, L) bool, True where a token is real.
    concat: (B, C, *spatial), joined to the noisy signal along its channels.
    """

    vector: Tensor | None = None
    tokens: Tensor | None = None
    mask: Tensor | None = None
    concat: Tensor | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> Cond:
        """Return the condition with `change` applied to every filled slot."""
        return Cond(**{name: None if slot is None else change(slot) for name, slot in self._slots()})

    def null(self) -> Cond:
        """Return the silent condition of the same shape: zeros in every filled slot."""
        return self.map(torch.zeros_like)

    def repeat(self, times: int) -> Cond:
        """Return every example `times` times in a row: (B, …) becomes (B·times, …)."""
        return self.map(lambda slot: slot.repeat_interleave(times, dim=0))

    def __getitem__(self, index: slice | Tensor) -> Cond:
        """Return some examples of the batch."""
        return self.map(lambda slot: slot[index])

    @staticmethod
    def cat(conds: Sequence[Cond]) -> Cond:
        """Join batches that fill the same slots."""
        return Cond(
            **{
                field.name: None
                if getattr(conds[0], field.name) is None
                else torch.cat([getattr(cond, field.name) for cond in conds])
                for field in fields(Cond)
            }
        )

    def _slots(self) -> list[tuple[str, Tensor | None]]:
        return [(field.name, getattr(self, field.name)) for field in fields(self)]

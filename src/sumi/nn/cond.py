"""The condition of a network: everything it takes besides the noisy signal and the time.

Every modality fills the same four slots, so classifier-free guidance, batching and serving are written once.
Zeros mean that nothing is given: a zero vector, zero features, or token id 0 (padding) everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Generator, Tensor


@dataclass(frozen=True)
class Cond:
    """A batch of conditions; every slot is optional.

    Attributes:
        vector: (B, D), one embedding per example, such as a CLIP image embedding.
        tokens: (B, L) integer ids or (B, L, D) features.
        mask: (B, L) bool, True where a token is real; None where every token is, as in Sumi's own networks.
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
        """Return the null condition of classifier-free guidance: zeros in every filled slot."""
        return self.map(torch.zeros_like)

    def repeat(self, times: int) -> Cond:
        """Repeat every example `times` times in a row: (B, …) becomes (B·times, …)."""
        return self.map(lambda slot: slot.repeat_interleave(times, dim=0))

    def __getitem__(self, index: slice | Tensor) -> Cond:
        """Select examples of the batch."""
        return self.map(lambda slot: slot[index])

    @staticmethod
    def cat(conds: Sequence[Cond]) -> Cond:
        """Concatenate batches that fill the same slots."""
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


def drop_condition(cond: Cond, p: float, rng: Generator) -> Cond:
    """Zero the vector and the tokens of each example with probability p; `concat` stays.

    A network that is trained so also learns the unconditional estimate that guidance extrapolates from (Ho and
    Salimans 2022, arXiv 2207.12598, algorithm 1).

    Args:
        cond: a batch that fills `vector` or `tokens`, on the device of `rng`.
        p: probability in [0, 1], drawn once per example: its vector and tokens are dropped together.
        rng: generator that one uniform number per example is drawn from.
    """
    filled = [slot for slot in (cond.vector, cond.tokens) if slot is not None]
    keep = torch.rand(len(filled[0]), generator=rng, device=rng.device) >= p

    def mask_slot(slot: Tensor | None) -> Tensor | None:
        return None if slot is None else slot * keep.view(-1, *[1] * (slot.dim() - 1)).to(slot.dtype)

    return replace(cond, vector=mask_slot(cond.vector), tokens=mask_slot(cond.tokens))

"""Priors: what imagines, for a text, the embedding of a picture that it may mean.

    z_i ~ P(z_i | y)

unCLIP has two (Ramesh et al. 2022, section 2.2): one denoises z_i, the other writes it word by word. A pipeline asks
either the same way, and which it asks is a dial.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from sumi.autoregressive import FAIR, TokenSampling, sample_embedding
from sumi.nn import ARPriorNetwork, Cond
from sumi.pipelines.events import Progress
from sumi.pipelines.recipe import Settings
from sumi.pipelines.short_repr import short_repr
from sumi.pipelines.stage import Stage, run, seeded_generators
from sumi.pipelines.steps import Work


@dataclass(frozen=True)
class EncodedText:
    """What prompts became: CLIP's embeddings z_t (B, D), its features (B, L, W), and token ids (B, L)."""

    __repr__ = short_repr

    z_t: Tensor
    hidden: Tensor
    ids: Tensor

    @classmethod
    def of(cls, rows: Sequence[EncodedText]) -> EncodedText:
        """Texts one after another."""
        return cls(*(torch.cat(slots) for slots in zip(*(row.slots for row in rows), strict=True)))

    @property
    def slots(self) -> tuple[Tensor, Tensor, Tensor]:
        """What is known of each row."""
        return self.z_t, self.hidden, self.ids

    def __len__(self) -> int:
        """How many prompts there are."""
        return len(self.ids)

    def row(self, number: int) -> EncodedText:
        """One prompt."""
        return EncodedText(*(slot[number : number + 1] for slot in self.slots))

    def rows(self) -> list[EncodedText]:
        """Each prompt alone."""
        return [self.row(number) for number in range(len(self))]

    def each(self, count: int) -> EncodedText:
        """A row for each of so many pictures, of one prompt or of as many."""
        return self if len(self) == count else self.repeat(count)

    def repeat(self, times: int) -> EncodedText:
        """Return each row `times` times in a row."""
        return EncodedText(*(slot.repeat_interleave(times, dim=0) for slot in self.slots))


class Prior(Protocol):
    """What imagines. name: that of its part, of its random numbers and of its progress."""

    @property
    def name(self) -> str:
        """What its part of a bundle is called."""
        ...

    @property
    def settings(self) -> Settings:
        """How it is run."""
        ...

    def rerun(self, settings: Settings) -> Prior:
        """Return it run otherwise; SumiError for an unknown sampler."""
        ...

    def imagine(
        self, text: EncodedText, seeds: Sequence[int], stream: str, chunk: int = 0, chunks: int = 1
    ) -> Work[Tensor]:
        """Draw one unit z_i for each row of the text, a seed each, (B, D); the rest as in `run`."""
        ...


@dataclass(frozen=True)
class DiffusionPrior:
    """A prior that denoises; its stage's `decode` gives z_i."""

    __repr__ = short_repr

    stage: Stage

    @property
    def name(self) -> str:
        """That of its stage."""
        return self.stage.name

    @property
    def settings(self) -> Settings:
        """Those of its stage."""
        return self.stage.settings

    def rerun(self, settings: Settings) -> DiffusionPrior:
        """Return it run otherwise."""
        return DiffusionPrior(self.stage.rerun(settings))

    def imagine(
        self, text: EncodedText, seeds: Sequence[int], stream: str, chunk: int = 0, chunks: int = 1
    ) -> Work[Tensor]:
        """Draw z_i by the loop of every stage."""
        cond = Cond(vector=text.z_t, tokens=text.hidden)
        return self.stage.decode((yield from run(self.stage, cond, seeds, None, stream, chunk, chunks)))


@dataclass(frozen=True)
class TokenPrior:
    """A prior that writes z_i as tokens; of its settings only guidance is a choice."""

    __repr__ = short_repr

    network: ARPriorNetwork
    settings: Settings
    name: str = "ar_prior"
    dice: TokenSampling = FAIR

    def rerun(self, settings: Settings) -> TokenPrior:
        """Return it with another guidance."""
        return replace(self, settings=replace(self.settings, guidance=settings.guidance))

    def imagine(
        self, text: EncodedText, seeds: Sequence[int], stream: str, chunk: int = 0, chunks: int = 1
    ) -> Work[Tensor]:
        """Write z_i word by word, telling of each, so that others get their turn between two."""
        cond = Cond(vector=text.z_t, tokens=text.hidden)
        words = sample_embedding(
            self.network, cond, seeded_generators(seeds, stream), self.dice, self.settings.guidance
        )
        steps = self.network.length
        for done, z_i in enumerate(words, start=chunk * steps + 1):
            yield Progress(self.name, done, chunks * steps, z_i, tuple(seeds))
        return z_i

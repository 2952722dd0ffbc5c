"""Priors: for a text, draw the CLIP embedding of a picture that it may mean.

    z_i ~ P(z_i | y)

unCLIP has two (Ramesh et al. 2022, section 2.2): one denoises z_i, the other writes it token by token. A pipeline calls
both the same way, and a setting of the task chooses one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from sumi.autoregressive import DEFAULT_SAMPLING, TokenSampling, sample_embedding
from sumi.nn import ARPriorNetwork, Cond
from sumi.pipelines.events import Progress
from sumi.pipelines.recipe import Settings
from sumi.pipelines.short_repr import short_repr
from sumi.pipelines.stage import Stage, batches, run, seeded_generators
from sumi.pipelines.steps import Work

__all__ = ["DiffusionPrior", "EncodedText", "Prior", "TokenPrior"]


@dataclass(frozen=True)
class EncodedText:
    """Prompts as CLIP reads them: embeddings z_t (B, D), a feature for each token (B, L, W), and token ids (B, L)."""

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
        """Return a row for each of so many pictures, of one prompt or of as many."""
        return self if len(self) == count else self.repeat(count)

    def pick(self, numbers: Sequence[int]) -> EncodedText:
        """Return the prompts of these numbers, in their order."""
        return EncodedText(*(slot[list(numbers)] for slot in self.slots))

    def repeat(self, times: int) -> EncodedText:
        """Return each row `times` times in a row."""
        return EncodedText(*(slot.repeat_interleave(times, dim=0) for slot in self.slots))


class Prior(Protocol):
    """What draws z_i. name: of its part of a bundle, of its random numbers and of its progress."""

    @property
    def name(self) -> str:
        """The name of its part."""
        ...

    @property
    def settings(self) -> Settings:
        """How it is run."""
        ...

    def with_settings_of(self, settings: Settings) -> Prior:
        """Return it with other settings; SumiError for an unknown sampler."""
        ...

    def sample(
        self, text: EncodedText, seeds: Sequence[int], stream: str | None = None, batch: int | None = None
    ) -> Work[Tensor]:
        """Draw one unit z_i for each row of the text and each seed, (B, D); the rest as in `run`."""
        ...


@dataclass(frozen=True)
class DiffusionPrior:
    """A prior that denoises; its stage's `decode` gives z_i."""

    __repr__ = short_repr

    stage: Stage

    @property
    def name(self) -> str:
        """The name of its stage."""
        return self.stage.name

    @property
    def settings(self) -> Settings:
        """The settings of its stage."""
        return self.stage.settings

    def with_settings_of(self, settings: Settings) -> DiffusionPrior:
        """Return it with other settings."""
        return DiffusionPrior(self.stage.with_settings_of(settings))

    def sample(
        self, text: EncodedText, seeds: Sequence[int], stream: str | None = None, batch: int | None = None
    ) -> Work[Tensor]:
        """Draw z_i by the loop of every stage."""
        cond = Cond(vector=text.z_t, tokens=text.hidden)
        return self.stage.decode((yield from run(self.stage, cond, seeds, stream=stream, batch=batch)))


@dataclass(frozen=True)
class TokenPrior:
    """A prior that writes z_i as tokens; of its settings only guidance is a choice."""

    __repr__ = short_repr

    network: ARPriorNetwork
    settings: Settings
    name: str = "ar_prior"
    sampling: TokenSampling = DEFAULT_SAMPLING

    def with_settings_of(self, settings: Settings) -> TokenPrior:
        """Return it with another guidance."""
        return replace(self, settings=replace(self.settings, guidance=settings.guidance))

    def sample(
        self, text: EncodedText, seeds: Sequence[int], stream: str | None = None, batch: int | None = None
    ) -> Work[Tensor]:
        """Write z_i token by token, with an event for each, so that the engine can switch to another request."""
        cond, rngs = Cond(vector=text.z_t, tokens=text.hidden), seeded_generators(seeds, stream or self.name)
        parts, num_tokens, drawn = list(batches(len(seeds), batch)), self.network.length, []
        for number, some in enumerate(parts):
            tokens = sample_embedding(self.network, cond[some], rngs[some], self.sampling, self.settings.guidance)
            for done, z_i in enumerate(tokens, start=number * num_tokens + 1):
                yield Progress(self.name, done, len(parts) * num_tokens, z_i, tuple(seeds[some]))
            drawn.append(z_i)
        return torch.cat(drawn)

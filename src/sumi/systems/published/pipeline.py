"""What a published model's pipeline offers the artist, and what the pipelines share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from sumi.bundles.published import PublishedModel
from sumi.pipelines import Progress, Settings, Source, Task
from sumi.pipelines.steps import Work
from sumi.systems.published.tokenizer import CLIPTokenizer

__all__ = ["PublishedPipeline", "opaque", "read_tokenizer"]


class PublishedPipeline(Protocol):
    """The networks of a published folder, and how they draw."""

    @property
    def tokenizer(self) -> CLIPTokenizer:
        """The tokenizer of prompts."""

    @property
    def tasks(self) -> tuple[type[Task], ...]:
        """The kinds of task that it does."""

    @property
    def priors(self) -> tuple[str, ...]:
        """The kinds of prior that a task may choose."""

    @property
    def settings(self) -> Mapping[str, Settings]:
        """The default settings of each stage, in the order that they run."""

    @property
    def main_stage(self) -> str:
        """The stage whose sampler, steps and guidance a task sets."""

    @property
    def drawing_stages(self) -> Mapping[str, int]:
        """The stages that draw pictures, with the pixels a side of the picture that each draws."""

    @property
    def sizes(self) -> tuple[int, ...]:
        """Pixels a side of the pictures that it offers, smallest first."""

    @property
    def size_px(self) -> int:
        """Pixels a side of a picture by default."""

    @property
    def grid_places(self) -> int:
        """The number of positions of the grid that a picture is drawn on."""

    def check_size(self, size_px: int) -> None:
        """Raise SumiError for a size that it cannot draw."""

    def check_sampler(self, sampler: str) -> None:
        """Raise SumiError for a sampler that it cannot use."""

    def draw(
        self, task: Task, sources: Sequence[Source], seeds: Sequence[int], settings: Mapping[str, Settings]
    ) -> Work[Tensor]:
        """Draw a picture of a task for each seed, opaque uint8 (B, 4, S, S); the task's size is set."""

    def preview(self, progress: Progress) -> Tensor | None:
        """Return the estimate of a step as opaque uint8 (B, 4, h, w); None where it is not a picture."""


def read_tokenizer(opened: PublishedModel) -> CLIPTokenizer:
    """Return the tokenizer of a folder, as long as its text encoder reads; SumiError for what does not fit."""
    length = int(opened.parts["text_encoder"].config.get("max_position_embeddings", 77))
    return CLIPTokenizer.read(opened.path / "tokenizer", length)


def opaque(x: Tensor) -> Tensor:
    """Return pictures (B, 3, H, W) in [-1, 1] as uint8 (B, 4, H, W) with an alpha of 255."""
    levels = ((x.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return torch.cat([levels, torch.full_like(levels[:, :1], 255)], dim=1)

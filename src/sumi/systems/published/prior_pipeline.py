"""Latent pipelines whose condition a prior draws: the prior is a stage before the U-Net, and has no previews."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from sumi.pipelines import Progress, Settings
from sumi.systems.published.latent import LatentPipeline
from sumi.systems.published.prior import PRIOR, PRIOR_SETTINGS, check_ancestral

__all__ = ["PriorPipeline"]


class PriorPipeline(LatentPipeline):
    """A latent pipeline that draws an image embedding from the words first."""

    priors: ClassVar[tuple[str, ...]] = ("diffusion",)

    @property
    def settings(self) -> Mapping[str, Settings]:
        """The prior's, then the U-Net's."""
        return {PRIOR: PRIOR_SETTINGS, **super().settings}

    def check_settings(self, stage: str, settings: Settings) -> None:
        """Raise SumiError for a sampler or steps that a stage does not have."""
        if stage == PRIOR:
            check_ancestral(stage, settings.sampler)
        else:
            super().check_settings(stage, settings)

    def preview(self, progress: Progress) -> Tensor | None:
        """Return what a step's latents roughly look like; None for the prior."""
        return None if progress.stage == PRIOR else super().preview(progress)

"""Models that others published, on Sumi's own mathematics."""

from sumi.systems.published.conditions import (
    KarloSuperResolution,
    kandinsky,
    karlo_super_resolution,
    prior,
    stable_diffusion,
    stable_diffusion_xl,
    stable_unclip,
    zero_text,
)
from sumi.systems.published.scheduler import METHODS, PublishedScheduler, with_method

__all__ = [
    "METHODS",
    "KarloSuperResolution",
    "PublishedScheduler",
    "kandinsky",
    "karlo_super_resolution",
    "prior",
    "stable_diffusion",
    "stable_diffusion_xl",
    "stable_unclip",
    "with_method",
    "zero_text",
]

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
from sumi.systems.published.scheduler import PublishedScheduler

__all__ = [
    "KarloSuperResolution",
    "PublishedScheduler",
    "kandinsky",
    "karlo_super_resolution",
    "prior",
    "stable_diffusion",
    "stable_diffusion_xl",
    "stable_unclip",
    "zero_text",
]

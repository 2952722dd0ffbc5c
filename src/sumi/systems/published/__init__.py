"""Models that others published, on Sumi's own mathematics."""

from sumi.systems.published.scheduler import PublishedScheduler

__all__ = ["PublishedScheduler"]

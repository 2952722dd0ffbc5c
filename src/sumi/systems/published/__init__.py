"""Models that others published, on Sumi's own mathematics."""

from sumi.systems.published.scheduler import METHODS, PublishedScheduler, with_method

__all__ = ["METHODS", "PublishedScheduler", "with_method"]

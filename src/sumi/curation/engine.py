"""Where records are worked on: in this process, or on the processes of a Ray cluster.

Both give the results in the order of the records, and the same results.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from sumi.data.picture_dataset import PictureRecord
from sumi.errors import SumiError

__all__ = ["ENGINES", "map_records"]

ENGINES = ("local", "ray")
BLOCK = 64
"""Records in one task of a cluster."""
AHEAD = 4
"""Blocks on their way, for each processor of a cluster."""
Result = TypeVar("Result")


def map_records(
    work: Callable[[PictureRecord], Result], records: Sequence[PictureRecord], engine: str = "local"
) -> Iterator[Result]:
    """Yield the result of a function for each record, in their order.

    Args:
        work: a function of a module, which does not raise.
        records: what it is called with.
        engine: "local" or "ray".

    Raises:
        SumiError: when there is no such engine, or Ray is not installed.
    """
    if engine == "local":
        return map(work, records)
    if engine != "ray":
        raise SumiError(f"there is no engine {engine!r}: choose {' or '.join(ENGINES)}")
    return _map_on_ray(work, records)


def _map_on_ray(work: Callable[[PictureRecord], Result], records: Sequence[PictureRecord]) -> Iterator[Result]:
    """Yield results from tasks of a cluster in order; no more blocks are on their way than keep it busy."""
    try:
        import ray
    except ImportError:
        raise SumiError('the engine ray needs Ray: pip install "sumi[ray]"') from None
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False)  # $RAY_ADDRESS names a cluster; otherwise a local one

    def work_on(block: Sequence[PictureRecord]) -> list[Result]:
        return [work(record) for record in block]

    task, most = ray.remote(work_on), max(2, AHEAD * int(ray.cluster_resources().get("CPU", 1)))
    waiting: deque[Any] = deque()
    for start in range(0, len(records), BLOCK):
        waiting.append(task.remote(list(records[start : start + BLOCK])))
        if len(waiting) >= most:
            yield from ray.get(waiting.popleft())
    while waiting:
        yield from ray.get(waiting.popleft())

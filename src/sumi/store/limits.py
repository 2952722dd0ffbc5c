"""Allowances that refill evenly, each stored as one number, so a restart changes nothing.

A meter is the time `clear` at which nothing of the allowance will be in use any more. With `limit` per `period`,

    clear' = max(clear, now) + cost * period / limit,    refused if clear' - now > period

A whole allowance may be used at once and comes back at `limit` per `period`, and a refusal knows how long to wait:
clear' - now - period. (The generic cell rate algorithm, ITU-T I.371; it has no window edges at which twice the limit
passes.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from sqlalchemy.orm import Session

from sumi.errors import SumiError
from sumi.store.schema import Key, UsageMeter

__all__ = ["Limits", "OverLimitError", "spend"]

_PERIODS: Final = {"requests_per_minute": ("minute", 60.0), "pixel_steps_per_day": ("day", 86400.0)}


@dataclass(frozen=True)
class Limits:
    """What a key may use; None means no limit.

    Attributes:
        requests_per_minute: HTTP requests.
        concurrent_jobs: jobs queued or running at one time.
        pixel_steps_per_day: pixels drawn, times denoising steps.
    """

    requests_per_minute: int | None = None
    concurrent_jobs: int | None = None
    pixel_steps_per_day: int | None = None

    def __post_init__(self) -> None:
        for name, limit in vars(self).items():
            if limit is not None and not 1 <= limit < 2**63:
                raise SumiError(f"{name.replace('_', ' ')} must be 1 or more, not {limit}; leave it out for no limit")


class OverLimitError(SumiError):
    """A key has used its allowance.

    Attributes:
        retry_after_s: how long to wait; None where waiting does not help.
    """

    def __init__(self, message: str, retry_after_s: float | None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


def spend(session: Session, key: Key, name: str, cost: int, now: float) -> None:
    """Take a cost from a key's allowance; OverLimitError, and nothing taken, where it is used up.

    Args:
        session: a transaction that has locked the key's row.
        key: the key.
        name: requests_per_minute or pixel_steps_per_day.
        cost: how much.
        now: seconds since 1970.
    """
    limits = {"requests_per_minute": key.requests_per_minute, "pixel_steps_per_day": key.pixel_steps_per_day}
    limit = limits[name]
    if limit is None or cost == 0:
        return
    unit, period_s = _PERIODS[name]
    what = name.removesuffix(f"_per_{unit}").replace("_", " ")
    if cost > limit:
        raise OverLimitError(f"this needs {cost} {what}, and the key may use {limit} a {unit}; ask for less", None)
    meter = session.get(UsageMeter, (key.id, name))
    clear_at = max(meter.clear_at if meter else now, now) + cost * period_s / limit
    wait_s = clear_at - now - period_s
    if wait_s > 1e-6:  # rounding may push a full allowance past the period
        raise OverLimitError(
            f"the key has used its {limit} {what} a {unit}; try again in {max(1, round(wait_s))} s", wait_s
        )
    if meter:
        meter.clear_at = clear_at
    else:
        session.add(UsageMeter(key_id=key.id, name=name, clear_at=clear_at))

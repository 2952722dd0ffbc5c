"""The thresholds of glibc's heap."""

from __future__ import annotations

import platform

from sumi.serving import heap


def test_the_thresholds_are_set_where_glibc_is() -> None:
    assert heap.steady_heap() == (platform.libc_ver()[0] == "glibc")

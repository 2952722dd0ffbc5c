"""Threads and precision: chosen by what the machine has, and by what it is told."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sumi import hardware
from sumi.errors import SumiError


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A machine of so many cores, of which others keep some busy."""
    monkeypatch.delenv("SUMI_THREADS", raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)

    def pretend(cores: int, busy: float, allowed: int | None = None, quota: float | None = None) -> None:
        monkeypatch.setattr(os, "cpu_count", lambda: cores)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(allowed or cores)), raising=False)
        monkeypatch.setattr(hardware, "_quota", lambda: quota)
        monkeypatch.setattr(hardware, "busy_cores", lambda: busy)

    return pretend


@pytest.mark.parametrize(
    ("cores", "busy", "allowed", "quota", "expected"),
    [
        (2, 0.0, None, None, 2),  # idle
        (2, 1.0, None, None, 1),  # somebody else computes
        (2, 7.0, None, None, 1),  # many do
        (8, 2.6, None, None, 5),
        (64, 0.0, 4, None, 4),  # taskset
        (64, 0.0, None, 2.5, 2),  # docker --cpus 2.5
        (64, 0.0, None, 0.5, 1),
        (64, 62.0, 4, None, 2),
    ],
)
def test_threads_default_to_the_free_cores(
    machine: Callable[..., None], cores: int, busy: float, allowed: int | None, quota: float | None, expected: int
) -> None:
    machine(cores, busy, allowed, quota)
    assert hardware.threads() == expected


def test_busy_cores_counts_running_tasks_and_not_the_past(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "SAMPLE_S", 0.0)
    for runnable, load, busy in ((1, 2.0, 0.0), (3, 0.1, 2.0), (2, 6.0, 6.0)):
        monkeypatch.setattr(hardware, "_runnable", lambda runnable=runnable: runnable)
        monkeypatch.setattr(os, "getloadavg", lambda load=load: (load, 0.0, 0.0))
        assert hardware.busy_cores() == busy

    def absent() -> int:
        raise FileNotFoundError

    monkeypatch.setattr(hardware, "_runnable", absent)  # a system without /proc
    monkeypatch.setattr(os, "getloadavg", lambda: (1.5, 0.0, 0.0))
    assert hardware.busy_cores() == 1.5


def test_threads_follow_the_environment(machine: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    machine(8, 8.0)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert hardware.threads() == 3
    monkeypatch.setenv("SUMI_THREADS", " 5 ")
    assert hardware.threads() == 5
    for wrong in ("0", "-1", "many", "1.5", "²", "99999"):
        monkeypatch.setenv("SUMI_THREADS", wrong)
        with pytest.raises(SumiError, match="SUMI_THREADS should be a number of threads from 1 to 4096, not"):
            hardware.threads()
    monkeypatch.setenv("SUMI_THREADS", "")  # set to nothing is not set
    monkeypatch.setenv("OMP_NUM_THREADS", "nonsense")
    assert hardware.threads() == 1


def test_use_threads_sets_torch_and_child_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("SUMI_THREADS", "2")
    before = torch.get_num_threads()
    try:
        assert hardware.use_threads() == 2 and torch.get_num_threads() == 2
        assert os.environ["OMP_NUM_THREADS"] == "2"
    finally:
        torch.set_num_threads(before)
    monkeypatch.delitem(sys.modules, "torch")
    monkeypatch.setenv("SUMI_THREADS", "3")
    assert hardware.use_threads() == 3 and os.environ["OMP_NUM_THREADS"] == "3" and "torch" not in sys.modules


@pytest.mark.parametrize(("amx", "avx512", "chosen"), [(1, 0, "bf16"), (0, 1, "bf16"), (0, 0, "fp32")])
def test_chosen_precision_is_bf16_only_where_the_cpu_is_fast_in_it(
    amx: bool, avx512: bool, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: bool(amx), raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bool(avx512), raising=False)
    assert hardware.chosen_precision("cpu") == chosen
    assert hardware.chosen_precision("cpu", "bf16") == "bf16" and hardware.chosen_precision("cpu", "fp32") == "fp32"
    with hardware.autocast("cpu"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == (torch.bfloat16 if chosen == "bf16" else torch.float32)


def test_chosen_precision_is_fp32_where_torch_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> bool:
        raise RuntimeError

    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", fails, raising=False)
    assert hardware.chosen_precision("cpu") == "fp32"


def test_chosen_precision_on_cuda_follows_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    for supported, chosen in ((True, "bf16"), (False, "fp32")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda supported=supported, **_: supported)
        assert hardware.chosen_precision("cuda") == chosen


def test_allowed_cores_follow_control_groups_of_both_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    files: dict[str, str] = {}

    def read(path: Path, *_: object) -> str:
        if str(path) not in files:
            raise FileNotFoundError(path)
        return files[str(path)]

    monkeypatch.setattr(Path, "read_text", read)
    assert hardware._quota() is None
    files["/sys/fs/cgroup/cpu.max"] = "150000 100000\n"  # as a container sees it
    assert hardware._quota() == 1.5
    files["/sys/fs/cgroup/cpu.max"] = "max 100000\n"
    assert hardware._quota() is None
    files["/proc/self/cgroup"] = "0::/user.slice/mine.service\n"  # as systemd makes it: the tightest holds
    files["/sys/fs/cgroup/user.slice/cpu.max"] = "300000 100000\n"
    files["/sys/fs/cgroup/user.slice/mine.service/cpu.max"] = "400000 100000\n"
    assert hardware._quota() == 3
    files.clear()
    files.update({"/sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000\n", "/sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"})
    assert hardware._quota() == 0.5
    files["/sys/fs/cgroup/cpu/cpu.cfs_quota_us"] = "-1\n"
    assert hardware._quota() is None


def test_peak_memory_is_none_where_the_system_does_not_say(monkeypatch: pytest.MonkeyPatch) -> None:
    before = hardware.peak_memory()
    assert before is None or before > 2**20
    monkeypatch.setitem(sys.modules, "resource", None)  # as on Windows, which has no /proc either
    monkeypatch.setattr(hardware, "Path", lambda path: Path("no such folder"))
    assert hardware.peak_memory() is None

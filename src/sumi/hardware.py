"""The use of this machine: the number of threads, the precision, and the memory.

Only functions that need torch import it, so the `sumi` command can choose its threads before torch reads the
environment.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from sumi.errors import SumiError

if TYPE_CHECKING:
    import torch

Precision = Literal["auto", "bf16", "fp32"]

THREADS = "SUMI_THREADS"
CGROUPS = "/sys/fs/cgroup"
SAMPLES, SAMPLE_S = 5, 0.01
BUSY = 0.5
"""Below this number of runnable tasks of other processes, the load average is outdated."""


def use_threads() -> int:
    """Set the number of threads to `threads()`, and return it.

    Call it before torch is imported if possible; then other numerical libraries obey as well.
    """
    count = threads()
    os.environ["OMP_NUM_THREADS"] = str(count)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(count)
    return count


def threads() -> int:
    """Return the number of threads: $SUMI_THREADS, else $OMP_NUM_THREADS, else the number of free cores.

    Raises:
        SumiError: when $SUMI_THREADS is not a number from 1 to 4096.
    """
    wanted = os.environ.get(THREADS, "").strip()
    if wanted:
        if not (wanted.isascii() and wanted.isdigit() and 1 <= int(wanted) <= 4096):
            raise SumiError(f"{THREADS} should be a number of threads from 1 to 4096, not {wanted!r}")
        return int(wanted)
    given = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    if given.isascii() and given.isdigit() and int(given) >= 1:
        return int(given)
    return free_cores()


def free_cores() -> int:
    """Return the number of cores that this process may use and other processes leave free, at least 1."""
    return max(1, min(allowed_cores(), round((os.cpu_count() or 1) - busy_cores())))


def allowed_cores() -> int:
    """Return the number of cores that this process may use, by its CPU affinity and its control group."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota()
    return max(1, affinity if quota is None else min(affinity, int(quota)))


def busy_cores() -> float:
    """Return the number of cores that other processes keep busy, by their runnable tasks and the load average."""
    try:
        load = os.getloadavg()[0]
    except (OSError, AttributeError):
        return 0.0
    try:
        samples = []
        for _ in range(SAMPLES):
            samples.append(_runnable())
            time.sleep(SAMPLE_S)
    except (OSError, ValueError, IndexError):
        return load
    now = max(0.0, sum(samples) / len(samples) - 1)  # this process is one of them
    return now if now < BUSY else max(now, load)


def cpu_has_fast_bf16() -> bool:
    """Return whether the CPU has bf16 matrix instructions (AVX512-BF16 or AMX); other CPUs emulate them slowly."""
    import torch

    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        supported = getattr(torch.cpu, name, None)
        try:
            if supported is not None and supported():
                return True
        except Exception:  # private functions of torch may disappear or fail
            continue
    return False


def chosen_precision(device: torch.device | str, precision: Precision = "auto") -> Literal["bf16", "fp32"]:
    """Return the precision to compute in; "auto" means bf16 where the device is fast in it, and else fp32."""
    import torch

    if precision != "auto":
        return precision
    kind = torch.device(device).type
    if kind == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    return "bf16" if kind == "cpu" and cpu_has_fast_bf16() else "fp32"


def autocast(device: torch.device | str, precision: Precision = "auto") -> torch.autocast:
    """Return a context manager in which networks compute in a precision on a device."""
    import torch

    enabled = chosen_precision(device, precision) == "bf16"
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=enabled)


def _runnable() -> int:
    """Return the number of tasks that run or wait for a core, this one included."""
    return int(Path("/proc/loadavg").read_text().split()[3].split("/")[0])


def _quota() -> float | None:
    """Return the number of cores that the control groups of this process grant, or None without a limit."""
    granted = [cores for group in _control_groups() if (cores := _ratio(f"{CGROUPS}{group}/cpu.max")) is not None]
    if granted:
        return min(granted)
    return _ratio(f"{CGROUPS}/cpu/cpu.cfs_quota_us", f"{CGROUPS}/cpu/cpu.cfs_period_us")


def _control_groups() -> list[str]:
    """Return the control group (v2) of this process and its parents, the root "" last."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    own = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "/")
    parts = [part for part in own.split("/") if part and part != ".."]
    return ["".join(f"/{part}" for part in parts[:count]) for count in range(len(parts), -1, -1)]


def _ratio(*files: str) -> float | None:
    """Return the quotient of the two numbers in one file or in two; None without a limit."""
    try:
        granted, period = " ".join(Path(file).read_text() for file in files).split()
        return None if granted in ("max", "-1") else int(granted) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def free_memory() -> int | None:
    """Return the bytes of free memory, or None where the system does not say."""
    return _memory("MemAvailable:")


def describe_machine(device: torch.device | str = "cpu") -> dict[str, str | int | None]:
    """Return what computes: processor, cores and threads, bytes of memory, accelerator, system, Python and torch."""
    import torch

    kind = torch.device(device).type
    return {
        "processor": _processor(),
        "cores": allowed_cores(),
        "threads": torch.get_num_threads(),
        "memory_bytes": _memory("MemTotal:"),
        "accelerator": torch.cuda.get_device_name(torch.device(device)) if kind == "cuda" else None,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _processor() -> str:
    """Return the name of the processor, as the system gives it."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def _memory(name: str) -> int | None:
    """Return the bytes of a row of /proc/meminfo, or None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name))
    except (OSError, ValueError, IndexError, StopIteration):
        return None


def peak_memory() -> int | None:
    """Return the peak memory of this process in bytes since `restart_peak_memory`, or None on Windows."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    except (OSError, ValueError, IndexError, StopIteration):
        pass
    try:
        import resource
    except ModuleNotFoundError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def restart_peak_memory() -> bool:
    """Let `peak_memory` count from now on; False where the system cannot, and it counts from the start."""
    try:
        file = os.open("/proc/self/clear_refs", os.O_WRONLY)
    except OSError:
        return False
    try:
        return os.write(file, b"5") == 1
    except OSError:
        return False
    finally:
        os.close(file)

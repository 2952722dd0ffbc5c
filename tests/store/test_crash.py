"""A few rounds of `benchmarks/durability.py`."""

import json
import subprocess
import sys
from pathlib import Path

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "durability.py"


def test_server_killed_repeatedly_loses_no_job(url: str) -> None:
    command = [sys.executable, str(BENCHMARK), "--rounds", "2", "--queued", "12", "--url", url, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    report = json.loads(done.stdout)
    assert report["faults"] == [] and done.returncode == 0
    assert report["kills"] == 2 and report["acknowledged"] >= 12

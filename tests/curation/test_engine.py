"""Records are worked on in order, and a cluster gives the same results as this process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sumi.curation.engine import map_records
from sumi.errors import SumiError

SCRIPT = """
import json, sys
import ray
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=80 * 2**20)
from sumi.curation import engine
from sumi.curation.scan import scan_pictures
from sumi.data.open_dataset import open_dataset
engine.BLOCK = 2
dataset = open_dataset(sys.argv[1])
here, there = (scan_pictures(dataset, engine=name) for name in ("local", "ray"))
rows = [[(one.name, one.fault, one.fingerprint.phash, one.size_px) for one in scans] for scans in (here, there)]
print(json.dumps([rows[0] == rows[1], len(rows[1])]))
"""


def test_engine_that_is_unknown_is_refused() -> None:
    with pytest.raises(SumiError, match="choose local or ray"):
        map_records(str, [], "spark")


def test_ray_gives_the_same_scans_as_this_process(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed (the extra `ray`), so its engine is not tested")
    for number in range(5):
        pixels = np.random.default_rng(number).integers(0, 255, (20, 20, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    (tmp_path / "9.png").write_bytes(b"no picture")
    command = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    ran = subprocess.run(
        command, capture_output=True, text=True, timeout=400, env={**os.environ, "RAY_AUTH_MODE": "disabled"}
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    assert json.loads(ran.stdout.splitlines()[-1]) == [True, 6]

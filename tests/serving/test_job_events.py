import json

import pytest
import torch

from sumi.serving import StepDone
from sumi.serving.job_events import JobProgress


@pytest.mark.parametrize("levels", [None, torch.arange(2 * 4 * 3 * 3, dtype=torch.uint8).reshape(2, 4, 3, 3)])
def test_job_progress_survives_json(levels: torch.Tensor | None) -> None:
    moved = JobProgress(0.25, StepDone("decoder", 3, 20, (7, 8), levels))
    back = JobProgress.from_json(json.loads(json.dumps(moved.to_json())))
    seen = back.report.levels
    assert (back.progress, back.report.stage, back.report.step, back.report.of) == (0.25, "decoder", 3, 20)
    assert back.report.seeds == (7, 8) and (levels is None) == (seen is None)
    assert levels is None or (seen is not None and torch.equal(seen, levels))
    assert [image.tobytes() for image in back.report.previews] == [image.tobytes() for image in moved.report.previews]

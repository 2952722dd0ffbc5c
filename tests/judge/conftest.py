"""One training of a judge for all tests here."""

from __future__ import annotations

import pytest
from judge_training import make_judge_training

from sumi.judge import JudgeTraining


@pytest.fixture(scope="session")
def judge_training(tmp_path_factory: pytest.TempPathFactory) -> JudgeTraining:
    return make_judge_training(tmp_path_factory.mktemp("judge"))

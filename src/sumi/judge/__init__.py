"""The judge that marks exams: a network that no drawing model ever saw, and its training.

`network` holds the network and reads pictures with it, `objective` what it learns, `train_judge` how it is made.
"""

from sumi.judge.network import SIZE_PX, Judge, JudgeOutput, default_judge, judge_pictures, load_judge, save_judge
from sumi.judge.train_judge import JUDGE_SEED, JudgeTraining

__all__ = [
    "JUDGE_SEED",
    "SIZE_PX",
    "Judge",
    "JudgeOutput",
    "JudgeTraining",
    "default_judge",
    "judge_pictures",
    "load_judge",
    "save_judge",
]

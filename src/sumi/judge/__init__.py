"""The judge that grades exams: a classifier that shares nothing with the models that it grades, and its training.

`network` is the classifier, `objective` its loss and its data, `train_judge` its training.
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

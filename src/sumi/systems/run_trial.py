"""A training run tried out: where NaN begins, and whether a few of its own pictures can be learned by heart.

A network that is sound, with a loss that is sound, learns 32 pictures by heart. If it cannot, more time will not help.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from sumi.errors import SumiError
from sumi.hardware import autocast
from sumi.systems.diagnosis import StageWatch, first_not_finite
from sumi.systems.reopened_run import OpenedStage, Progress
from sumi.systems.run_diagnosis import RunFinding
from sumi.systems.train_system import MeasuringObjective
from sumi.training import Batch, Objective, TrainConfig, Trainer, step_rng

__all__ = ["FewExamples", "check_forward", "overfit", "try_stages"]

FEW, TRIAL_S, MOST_STEPS, FEWEST_STEPS = 32, 60.0, 400, 10
"""Pictures that are learned by heart; seconds for all stages together; steps of each at most, and to judge by."""
MEASURED = 4
"""Batches of noise that a loss is measured with, the same before and after."""
LEARNED = 0.9


@dataclass(frozen=True)
class FewExamples(MeasuringObjective):
    """An objective of only some examples of another, without sheets of samples; rows: their numbers (N,)."""

    rows: Tensor

    def __len__(self) -> int:
        """How many examples."""
        return len(self.rows)

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """Return the loss of the examples that the batch means."""
        return self.objective.loss(model, replace(batch, indices=self.rows[batch.indices]))


def try_stages(
    stages: Mapping[str, OpenedStage], seconds: float = TRIAL_S, progress: Progress = lambda what, done, of: None
) -> list[RunFinding]:
    """Try every stage: one batch forwards, and 32 pictures learned by heart from the beginning.

    Args:
        stages: of the run.
        seconds: for learning, all stages together; 0 tries the batch only.
        progress: called with (what, done, of).
    """
    found = []
    for done, (name, stage) in enumerate(stages.items()):
        few = few_examples(stage.objective)
        found.append(check_forward(stage, few, {other: opened.model for other, opened in stages.items()}))
        if seconds and found[-1].level == "ok":
            progress(f"learning {len(few)} pictures by heart: {name}", done, len(stages))
            found.append(overfit(stage, few, seconds / len(stages)))
    return found


def few_examples(objective: Objective) -> FewExamples:
    """Return 32 examples of an objective, spread over all; a decoder shows exactly these and no others."""
    if getattr(objective, "singles", None) is not None:
        objective = replace(objective, singles=())  # type: ignore[type-var]
    count = min(FEW, len(objective))
    return FewExamples(objective, torch.linspace(0, len(objective) - 1, count).long())


def check_forward(stage: OpenedStage, few: FewExamples, networks: Mapping[str, nn.Module]) -> RunFinding:
    """Compute the loss of one batch with the weights of the run, and name the first module that is not finite."""
    name, watch = stage.run.name, StageWatch()
    with first_not_finite(networks, watch) as found:
        loss = measure(few, stage.model, stage.run.config, batches=1)
    if found:
        module = found[0].rsplit(",", 1)[0]
        text = f"NaN or infinity begins in {module}, on the run's own pictures"
        return RunFinding(name, "forward", "wrong", text, {"first": module})
    if not math.isfinite(loss):
        return RunFinding(name, "forward", "wrong", "every layer is finite and the loss is not", {"loss": str(loss)})
    return RunFinding(
        name, "forward", "ok", "every layer is finite on the run's own pictures", {"loss": round(loss, 5)}
    )


def measure(few: FewExamples, model: nn.Module, config: TrainConfig | None, batches: int = MEASURED) -> float:
    """Return the mean loss of all examples over the same few draws of noise."""
    was, total = model.training, 0.0
    model.eval()
    for number in range(batches):
        batch = Batch(0, 1, torch.arange(len(few)), step_rng(0, number))
        with autocast("cpu", "auto" if config is None else config.precision):
            total += float(few.loss(model, batch)["loss"].detach())  # some losses are of gradients
    model.train(was)
    return total / batches


def overfit(stage: OpenedStage, few: FewExamples, seconds: float) -> RunFinding:
    """Train a copy of the network on a few pictures, from the run's beginning, for so many seconds."""
    name, config = stage.run.name, stage.run.config or TrainConfig(MOST_STEPS, FEW)
    if is_adversarial(few):
        return RunFinding(name, "overfit", "note", "two networks against each other: learning by heart shows nothing")
    brief = replace(
        config, num_steps=MOST_STEPS, batch_size=min(len(few), config.batch_size), microbatches=1, warmup_steps=5,
        decay_fraction=0.0, ema=0.0, weight_decay=0.0, fsdp=False, compile=False, recompute=False,
    )  # fmt: skip
    network = stage.fresh()
    before = measure(few, network, config)
    trainer, began, steps = Trainer(few, network, brief, torch.device("cpu")), time.perf_counter(), 0
    try:
        while steps < MOST_STEPS and (steps < 1 or time.perf_counter() - began < seconds):
            trainer.advance()
            steps += 1
    except SumiError as error:
        return RunFinding(name, "overfit", "wrong", f"{len(few)} pictures could not be learned by heart: {error}")
    after = measure(few, trainer.model, config)
    values = {"before": round(before, 5), "after": round(after, 5), "steps": steps, "pictures": len(few)}
    told = f"on {len(few)} of its own pictures the loss went from {before:.4g} to {after:.4g} in {steps} steps"
    return RunFinding(name, "overfit", *judge_overfit(before, after, steps, trainer.skipped, told), values)


def judge_overfit(before: float, after: float, steps: int, skipped: int, told: str) -> tuple[Any, str]:
    """Return the level and the sentence about a loss before and after learning by heart."""
    if skipped or math.isnan(after):
        return "wrong", f"{told}, and {skipped} of them had no finite gradient"
    if after < LEARNED * before:
        return "ok", f"{told}: it can learn them by heart"
    if steps < FEWEST_STEPS:
        return "note", f"{told}: too few steps fit into the time to judge"
    if after < before:
        return "note", f"{told}: it learns them, and slowly"
    return "wrong", f"{told}: it does not learn even these, so its loss, its learning rate or its captions are at fault"


def is_adversarial(few: FewExamples) -> bool:
    """Return whether the loss is one of two networks against each other."""
    batch = Batch(0, 1, torch.arange(min(2, len(few))), step_rng(0, 0))
    return "loss_d" in few.loss(few.model, batch)

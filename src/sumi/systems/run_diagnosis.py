"""A training run examined by its files: whether it learns, and whether everything is finite.

    CLIP that guesses among the captions of a batch has the loss ln(batch)

What is normal depends on how far the run is: a loss at ln(batch) is so at the first steps, and a fault later. These
checks read reports and checkpoints only, so they also work beside a run that goes on.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch

from sumi.bundles.tensors import TensorFile
from sumi.systems.run_folder import RunFolder, StageRun
from sumi.training.checkpoint import latest_checkpoint

__all__ = ["RunFinding", "diagnose_run_files"]

Level = Literal["ok", "note", "wrong"]

EARLY, EARLY_STEPS = 0.1, 100
"""Before this share of the steps, or so many of them, a loss that has not moved is normal."""
FEWEST_REPORTS = 4
GUESSING, DIVERGED, FALLEN = 0.9, 1.3, 0.98
"""Shares: of ln(batch), of the lowest loss, of the first loss."""
FEW_SKIPPED = 0.01
MOST_NAMED = 3


@dataclass(frozen=True)
class RunFinding:
    """One thing that was found.

    Attributes:
        stage: whose.
        check: what was looked at: "finite", "weights", "clip", "loss", "forward", "overfit", "prior", "decoder",
            "upsampler" or "run".
        level: "ok", "note" for what a person should know, or "wrong".
        text: a sentence.
        values: the numbers in it.
    """

    stage: str
    check: str
    level: Level
    text: str
    values: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        named = {"stage": self.stage, "check": self.check, "level": self.level, "text": self.text}
        return {**named, "values": dict(self.values)}


def diagnose_run_files(run: RunFolder) -> list[RunFinding]:
    """Examine the reports and the newest checkpoint of every stage (SumiError for a damaged one)."""
    if not run.stages:
        return [RunFinding("", "run", "note", "nothing has been trained yet")]
    found = []
    for stage in run.stages:
        found += [check_progress(stage), check_finite(stage), *check_weights(stage)]
        found += check_clip(stage) if stage.name == "clip" else check_loss(stage)
    return found


def check_progress(stage: StageRun) -> RunFinding:
    """Say how far a stage is."""
    if stage.is_finished:
        return RunFinding(stage.name, "run", "ok", f"finished, {stage.step:,} steps", {"step": stage.step})
    of = "" if stage.num_steps is None else f" of {stage.num_steps:,}"
    text = f"unfinished, at step {stage.step:,}{of}"
    return RunFinding(stage.name, "run", "ok", text, {"step": stage.step, "num_steps": stage.num_steps})


def check_finite(stage: StageRun) -> RunFinding:
    """Find the first step that was not finite."""
    skipped = int(max(stage.last("skipped") or 0, stage.notes.get("skipped", 0)))
    broken = [row for row in stage.rows if row.get("loss") is None]
    if not skipped and not broken:
        return RunFinding(stage.name, "finite", "ok", "every loss and every gradient was finite")
    where = first_not_finite_step(stage)
    share = skipped / max(1, stage.step)
    now = bool(stage.rows) and stage.rows[-1].get("loss") is None
    text = f"{skipped:,} of {stage.step:,} steps had no finite gradient and changed nothing, the first {where}"
    values = {"skipped": skipped, "first": where}
    if now or share > FEW_SKIPPED:
        cure = "try a lower learning rate, or precision fp32, and look at the pictures that are named"
        still = "; the newest report has no finite loss either" if now else ""
        return RunFinding(stage.name, "finite", "wrong", f"{text}{still}: {cure}", values)
    return RunFinding(stage.name, "finite", "note", f"{text}; so few do no harm", values)


def first_not_finite_step(stage: StageRun) -> str:
    """Return the first step without a finite gradient, as near as the reports tell it."""
    before = 0
    for row in stage.rows:
        if row.get("fault"):
            return f"known one is {row['fault']}"
        if row.get("skipped") or row.get("loss") is None:
            return f"between steps {before + 1:,} and {row['step']:,}"
        before = int(row["step"])
    return f"after step {before:,}"


def check_weights(stage: StageRun) -> list[RunFinding]:
    """Look at every tensor of the newest checkpoint."""
    place = latest_checkpoint(stage.folder)
    if place is None:
        return []
    bad = []
    for part in ("model", "ema"):
        file = TensorFile(place / f"{part}.safetensors")
        for name in sorted(file.entries):
            tensor = file.tensor(name)
            if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
                bad.append(f"{part}.{name}")
    if not bad:
        return [RunFinding(stage.name, "weights", "ok", "every weight is finite")]
    more = f" and {len(bad) - MOST_NAMED} more" if len(bad) > MOST_NAMED else ""
    text = f"{len(bad)} tensors of the checkpoint {place.name} are not finite: {', '.join(bad[:MOST_NAMED])}{more}"
    return [RunFinding(stage.name, "weights", "wrong", text, {"tensors": bad})]


def is_early(stage: StageRun) -> bool:
    """Return whether so little is trained that nothing need have moved yet."""
    return stage.step < max(EARLY_STEPS, EARLY * (stage.num_steps or 0))


def check_clip(stage: StageRun) -> list[RunFinding]:
    """Compare CLIP's loss with that of guessing, ln(batch)."""
    losses = stage.column("loss")
    if not losses or stage.config is None:
        return [RunFinding(stage.name, "clip", "note", "no report yet")]
    if stage.last("named") is not None:  # the loss is a sum, so the share of matches is what can be compared
        return [compare_with_chance(stage, stage.config.batch_size)]
    batch, late = stage.config.batch_size, newest(losses)
    guess = math.log(batch)
    values = {"loss": round(late, 4), "guessing": round(guess, 4), "batch_size": batch}
    compared = (
        f"its loss is {late:.2f}, and guessing among the {batch} captions of a batch costs ln({batch}) = {guess:.2f}"
    )
    if late <= GUESSING * guess:
        return [RunFinding(stage.name, "clip", "ok", f"{compared}: it tells captions apart", values)]
    if is_early(stage):
        text = f"{compared}: it still guesses, which is normal after {stage.step:,} steps"
        return [RunFinding(stage.name, "clip", "ok", text, values)]
    text = (
        f"{compared}: it still guesses after {stage.step:,} steps, which is not normal. Do the captions belong to "
        "their pictures, and do they differ?"
    )
    return [RunFinding(stage.name, "clip", "wrong", text, values)]


def compare_with_chance(stage: StageRun, batch: int) -> RunFinding:
    """Compare the share of pictures that find their caption with chance."""
    matched = newest(stage.column("matched"))
    values = {"matched": round(matched, 4), "chance": round(1 / batch, 4), "batch_size": batch}
    text = f"{matched:.0%} of the pictures find their caption in a batch, where chance is at most {1 / batch:.1%}"
    if matched > 3 / batch or is_early(stage):
        return RunFinding(stage.name, "clip", "ok", text, values)
    return RunFinding(stage.name, "clip", "wrong", f"{text}: it guesses, which is not normal", values)


def check_loss(stage: StageRun) -> list[RunFinding]:
    """Say whether a loss falls, stays or rises."""
    losses = stage.column("loss")
    if stage.last("loss_d") is not None:
        text = "two networks against each other: their losses say little, so look at the sheets of samples"
        return [RunFinding(stage.name, "loss", "note", text)]
    if len(losses) < FEWEST_REPORTS:
        return [RunFinding(stage.name, "loss", "note", "too few reports to say whether the loss falls")]
    windows = averages(losses)
    first, late = windows[0], windows[-1]
    lowest = min(windows)
    values = {"first": round(first, 5), "lowest": round(lowest, 5), "newest": round(late, 5)}
    if late > DIVERGED * lowest and late > first and lowest > 0:
        text = f"the loss rose from {lowest:.4g} to {late:.4g}: it diverges; try a lower learning rate"
        return [RunFinding(stage.name, "loss", "wrong", text, values)]
    if late < FALLEN * first:
        return [RunFinding(stage.name, "loss", "ok", f"the loss fell from {first:.4g} to {late:.4g}", values)]
    text = f"the loss is about where it began ({first:.4g}, now {late:.4g})"
    if is_early(stage):
        return [RunFinding(stage.name, "loss", "ok", f"{text}, which is normal after {stage.step:,} steps", values)]
    text += "; that of a diffusion model moves little while its pictures improve, so look at the sheets, if it draws"
    return [RunFinding(stage.name, "loss", "note", text, values)]


def averages(points: Sequence[tuple[int, float]], count: int = 10) -> list[float]:
    """Return the medians of up to `count` equal spans of reports."""
    each = max(1, len(points) // count)
    spans = [points[start : start + each] for start in range(0, len(points) - each + 1, each)]
    return [statistics.median(value for _, value in span) for span in spans]


def newest(points: Sequence[tuple[int, float]]) -> float:
    """Return the median of the last tenth of the reports."""
    return averages(points)[-1]

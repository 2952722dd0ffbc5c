"""Whether a training run is working: its files are examined, then it is opened again and tried, stage by stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sumi.errors import SumiError
from sumi.systems.reopened_run import OpenedStage, Progress, reopen_run
from sumi.systems.run_diagnosis import RunFinding, diagnose_run_files
from sumi.systems.run_folder import RunFolder
from sumi.systems.run_trial import TRIAL_S, try_stages
from sumi.systems.unclip.blame import blame_stages

__all__ = ["RunDiagnosis", "diagnose_run"]

FINISHED_FEW = 0.5
"""Before this share of its steps, a stage that draws badly may yet learn it."""


@dataclass(frozen=True)
class RunDiagnosis:
    """What was found, in the order of the stages."""

    run: RunFolder
    findings: tuple[RunFinding, ...]

    @property
    def working(self) -> bool:
        """Whether nothing is wrong."""
        return not any(finding.level == "wrong" for finding in self.findings)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values."""
        found = [finding.to_json() for finding in self.findings]
        return {"run": str(self.run.folder), "kind": self.run.kind, "working": self.working, "findings": found}


def diagnose_run(
    run: RunFolder,
    quick: bool = False,
    seconds: float = TRIAL_S,
    progress: Progress = lambda what, done, of: None,
) -> RunDiagnosis:
    """Examine a run.

    Args:
        run: the run.
        quick: look at its files only.
        seconds: for learning some of its pictures by heart, all stages together.
        progress: called with (what, done, of).

    Raises:
        SumiError: when a file of the run is damaged.
    """
    found = diagnose_run_files(run)
    if not quick and run.stages:
        try:
            stages = reopen_run(run, progress)
        except SumiError as error:
            found.append(RunFinding("", "run", "note", f"nothing was tried on its own pictures: {error}"))
        else:
            found += try_stages(stages, seconds, progress)
            found += blame(stages, found)
    order = {name: number for number, name in enumerate([*(stage.name for stage in run.stages), ""])}
    return RunDiagnosis(run, tuple(sorted(found, key=lambda finding: order.get(finding.stage, len(order)))))


def blame(stages: Mapping[str, OpenedStage], found: Sequence[RunFinding]) -> list[RunFinding]:
    """Blame the stages of an unCLIP; a stage that is not half trained yet is excused."""
    if any(finding.check == "forward" and finding.level == "wrong" for finding in found):
        return []
    return [excuse(finding, stages) for finding in blame_stages({name: one.objective for name, one in stages.items()})]


def excuse(finding: RunFinding, stages: Mapping[str, OpenedStage]) -> RunFinding:
    """Return a finding, only noted where its stage has not had half of its steps."""
    stage = stages[finding.stage].run if finding.stage in stages else None
    if finding.level != "wrong" or stage is None or stage.is_finished:
        return finding
    if stage.num_steps is not None and stage.step >= FINISHED_FEW * stage.num_steps:
        return finding
    text = f"{finding.text}; it is at step {stage.step:,}, and may yet learn it"
    return RunFinding(finding.stage, finding.check, "note", text, finding.values)

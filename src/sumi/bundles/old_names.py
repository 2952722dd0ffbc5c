"""Names that bundles written by earlier versions of Sumi carry, and the current ones.

Names of tensors are in `sumi.nn.old_names`.
"""

from __future__ import annotations

from typing import Final

__all__ = ["ARGUMENTS", "CLASSES", "PARTS", "SYSTEMS"]

SYSTEMS: Final = {"UnCLIP": "unclip"}
"""Systems: the old name to the current one."""

PARTS: Final = {"arranger": "layout_planner"}
"""Parts: the old name to the current one."""

CLASSES: Final = {
    "AnnealedLangevin": "AnnealedLangevinSampler",
    "ArrangerNetwork": "LayoutPlannerNetwork",
    "DDIM": "DDIMSampler",
    "DDPM": "DDPMSampler",
    "DPMSolver2M": "DPMSolver2MSampler",
    "DPMSolver2MSDE": "DPMSolver2MSDESampler",
    "DiscreteBetas": "BetaSchedule",
    "EDM": "EDMSchedule",
    "EDMTarget": "EDMPrediction",
    "Eps": "EpsPrediction",
    "Euler": "EulerSampler",
    "Flow": "FlowSchedule",
    "Heun": "HeunSampler",
    "Score": "ScorePrediction",
    "UniPC": "UniPCSampler",
    "V": "VPrediction",
    "VE": "VESchedule",
    "VP": "VPSchedule",
    "Velocity": "FlowPrediction",
    "X0": "X0Prediction",
}
"""Classes of parts, schedules, targets and samplers: the old name to the current one."""

ARGUMENTS: Final = {
    "DenseDecoder": {"questions": "num_queries"},
    "TokenTransformer": {"layouts": "patterns"},
}
"""Constructor arguments of parts, by the current name of the class: the old name to the current one."""

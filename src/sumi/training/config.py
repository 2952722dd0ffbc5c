"""The configuration of a run: its length, learning rate, averaging and precision, fixed before the first step.

The learning rate warms up linearly over W steps, stays constant, and decays over the last fraction d of N steps:

    lr(k) = lr · min(1, (k + 1)/W) · decay((k - (1 - d)·N) / (d·N))
    decay(p) = 1 for p <= 0, else 1 - p (linear) or (1 + cos(pi·p))/2 (cosine)
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal

from sumi.errors import SumiError
from sumi.hardware import Precision, chosen_precision

if TYPE_CHECKING:
    import torch

# Fields that do not change what a run computes, and so may differ when it is resumed.
NOT_COMPARED = frozenset({"fsdp", "recompute", "compile", "log_s", "checkpoint_s", "picture_s"})


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what a run computes, except the objective.

    Args:
        num_steps: steps of the run.
        batch_size: examples of a step.
        microbatches: equal parts of a batch, whose gradients are averaged (gradient accumulation). Each has its own
            random numbers, and processes share them. 0 for as many as processes when the run starts.
        lr: peak learning rate.
        warmup_steps: steps over which the learning rate rises to its peak.
        decay_fraction: last fraction of the steps, over which it falls to 0.
        decay: the shape of that fall.
        optimiser: "adamw", or "muon" for the hidden matrices with AdamW for the other weights.
        weight_decay: of matrices and kernels.
        betas: AdamW's.
        ema: decay of the averaged weights, in [0, 1).
        grad_clip: bound on the global norm of the gradient; 0 for none.
        precision: "bf16" (autocast over fp32 weights), "fp32", or "auto": bf16 where the device is fast in it.
        seed: of the order of examples and of all random numbers.
        fsdp: shard weights, gradients, moments and averages over the processes (FSDP2), for networks too large for one.
        recompute: compute activations again in the backward pass instead of keeping them.
        compile: compile the blocks of the network.
        log_s: seconds between reports.
        checkpoint_s: seconds between checkpoints.
        picture_s: seconds between sheets of samples.

    Raises:
        SumiError: a field is out of its range.
    """

    num_steps: int
    batch_size: int
    microbatches: int = 0
    lr: float = 1e-3
    warmup_steps: int = 100
    decay_fraction: float = 0.4
    decay: Literal["cosine", "linear"] = "cosine"
    optimiser: Literal["adamw", "muon"] = "adamw"
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.99)
    ema: float = 0.999
    grad_clip: float = 1.0
    precision: Precision = "auto"
    seed: int = 0
    fsdp: bool = False
    recompute: bool = False
    compile: bool = False
    log_s: float = 10.0
    checkpoint_s: float = 300.0
    picture_s: float = 600.0

    def __post_init__(self) -> None:
        rules = {
            "num_steps": (self.num_steps >= 1, "at least 1"),
            "batch_size": (self.batch_size >= 1, "at least 1"),
            "microbatches": (
                self.microbatches == 0 or (self.microbatches > 0 and self.batch_size % self.microbatches == 0),
                f"a divisor of the batch size {self.batch_size}, or 0 for one per process",
            ),
            "lr": (self.lr > 0, "above 0"),
            "warmup_steps": (self.warmup_steps >= 0, "at least 0"),
            "decay_fraction": (0 <= self.decay_fraction <= 1, "between 0 and 1"),
            "decay": (self.decay in ("cosine", "linear"), "'cosine' or 'linear'"),
            "optimiser": (self.optimiser in ("adamw", "muon"), "'adamw' or 'muon'"),
            "weight_decay": (self.weight_decay >= 0, "at least 0"),
            "betas": (len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas), "two numbers in [0, 1)"),
            "ema": (0 <= self.ema < 1, "in [0, 1)"),
            "grad_clip": (self.grad_clip >= 0, "at least 0 (0 = no clipping)"),
            "precision": (self.precision in ("auto", "bf16", "fp32"), "'auto', 'bf16' or 'fp32'"),
        }
        for name, (holds, expected) in rules.items():
            if not holds:
                raise SumiError(f"training config: {name} must be {expected}, not {getattr(self, name)!r}")

    def lr_at(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        warm = min(1.0, (step + 1) / self.warmup_steps) if self.warmup_steps else 1.0
        decay_steps = self.decay_fraction * self.num_steps
        past = step - (self.num_steps - decay_steps)
        if past <= 0:
            return self.lr * warm
        p = min(1.0, past / decay_steps)
        return self.lr * warm * (1 - p if self.decay == "linear" else (1 + math.cos(math.pi * p)) / 2)

    def resolve(
        self, device: torch.device | str, num_processes: int = 1, begun: TrainConfig | None = None
    ) -> TrainConfig:
        """Return this config with what it leaves open resolved as in the run `begun`, or else for this machine.

        The precision "auto" becomes the device's. The number of micro-batches 0 becomes the smallest multiple of the
        run's, or of 1, that the processes can share.

        Raises:
            SumiError: the processes cannot share the batch equally.
        """
        precision = begun.precision if begun is not None and self.precision == "auto" else self.precision
        microbatches = self.microbatches or math.lcm(num_processes, (begun.microbatches if begun else 0) or 1)
        if self.batch_size % microbatches or microbatches % num_processes:
            raise SumiError(
                f"{num_processes} processes cannot share a batch of {self.batch_size} in {microbatches} micro-batches: "
                "their number must be a multiple of the processes and divide the batch"
            )
        return replace(self, precision=chosen_precision(device, precision), microbatches=microbatches)

    def differences(self, other: TrainConfig) -> dict[str, tuple[Any, Any]]:
        """Return the fields that change what is computed and differ: {field: (here, there)}."""
        pairs = {f.name: (getattr(self, f.name), getattr(other, f.name)) for f in fields(self)}
        return {name: pair for name, pair in pairs.items() if name not in NOT_COMPARED and pair[0] != pair[1]}

    def to_json(self) -> dict[str, Any]:
        """Return the config as JSON-able values."""
        return json.loads(json.dumps(asdict(self)))  # type: ignore[no-any-return]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> TrainConfig:
        """Make a config from what `to_json` returned; SumiError names unknown and missing fields."""
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise SumiError(f"training config: unknown field {', '.join(unknown)}")
        if missing := sorted({"num_steps", "batch_size"} - set(values)):
            raise SumiError(f"training config: missing field {', '.join(missing)}")
        read = {"microbatches": 1, **values}  # as in runs of earlier versions, which do not say it
        if "betas" in read:
            read["betas"] = tuple(read["betas"])
        return cls(**read)

"""A run's whole state, and the one step that moves it.

    g = grad loss(w, batch_k);  g <- g · min(1, c/|g|);  w <- rule(w, g, lr_k);  average <- ema(average, w)

State: weights w, their average, the rule's moments and the number of steps k done. Nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from sumi.errors import SumiError
from sumi.hardware import autocast
from sumi.nn import old_tensor_names, rename_tensors
from sumi.training.batches import indices, stable_seed, step_rng
from sumi.training.checkpoint import Checkpoint, save_checkpoint
from sumi.training.config import TrainConfig
from sumi.training.ema import Ema
from sumi.training.objective import Batch, Objective
from sumi.training.optimiser import Optimiser

PATIENCE = 50  # steps in a row without a finite gradient before the run is called lost


class Trainer:
    """The state of a run: `step` counts the steps done, `skipped` those whose gradient was not finite."""

    def __init__(self, lesson: Objective, model: nn.Module, plan: TrainConfig, device: torch.device) -> None:
        if len(lesson) < 1:
            raise SumiError(f"training {lesson.name!r}: there is no example to learn from")
        self.lesson, self.plan, self.device = lesson, plan.settled(device), device
        self.model = model.to(device).train()
        self.ema = Ema(self.model, plan.ema)
        self.optimiser = Optimiser(self.model, plan)
        self.step = 0
        self.skipped = 0
        self.seconds = 0.0
        self.processor_s = 0.0
        self._lost_in_a_row = 0

    def advance(self) -> Mapping[str, Tensor] | None:
        """Take one step; return its metrics, or None if its gradient was not finite and it was skipped."""
        plan, step = self.plan, self.step
        drawn = indices(step, plan.batch_size, len(self.lesson), plan.seed)
        batch = Batch(step, plan.num_steps, drawn, step_rng(plan.seed, step, self.device))
        self._seed_layers(stable_seed(plan.seed, "dropout", step))
        with self._autocast():
            metrics = self.lesson.loss(self.model, batch)
        metrics["loss"].backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.optimiser.parameters.values(), plan.grad_clip or math.inf)
        finite = bool(norm.isfinite())  # the one wait for the device in a step
        if finite:
            self.optimiser.step(plan.lr_at(step))
        self.optimiser.clear()
        self.ema.update(step)
        self.step += 1
        self._lost_in_a_row = 0 if finite else self._lost_in_a_row + 1
        self.skipped += not finite
        if self._lost_in_a_row >= PATIENCE:
            raise SumiError(
                f"training {self.lesson.name!r}: {PATIENCE} steps in a row, up to step {self.step}, had no "
                f"finite gradient; try a lower lr than {plan.lr:g}, or precision fp32"
            )
        return {**{k: v.detach() for k, v in metrics.items()}, "grad_norm": norm} if finite else None

    def draw(self) -> Tensor | None:
        """Let the averaged model draw the lesson's sheet of samples."""
        with torch.no_grad(), self._autocast():
            return self.lesson.picture(self.ema.average)

    def save(self, folder: Path) -> Path:
        """Write a checkpoint into the run folder."""
        notes = {
            "lesson": self.lesson.name,
            "examples": len(self.lesson),
            "seconds": round(self.seconds, 3),
            "processor_s": round(self.processor_s, 3),
            "skipped": self.skipped,
            "plan": self.plan.to_json(),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "device": str(self.device),
        }
        weights, average = self.model.state_dict(), self.ema.average.state_dict()
        return save_checkpoint(folder, Checkpoint(self.step, weights, average, self.optimiser.state(), notes))

    def restore(self, checkpoint: Checkpoint, *, extend: bool = False) -> None:
        """Take up a checkpoint of the same lesson; raises SumiError naming what does not fit."""
        name, examples = checkpoint.notes.get("lesson"), checkpoint.notes.get("examples")
        if name != self.lesson.name:
            raise SumiError(f"checkpoint: is of lesson {name!r}, not {self.lesson.name!r}")
        if examples != len(self.lesson) and not extend:
            raise SumiError(f"checkpoint: was trained on {examples} examples, and there are {len(self.lesson)} now")
        try:
            self.model.load_state_dict(rename_tensors(self.model, checkpoint.model))
            self.ema.average.load_state_dict(rename_tensors(self.model, checkpoint.ema))
        except RuntimeError as error:
            raise SumiError(f"checkpoint: does not fit the model: {' '.join(str(error).split())}") from error
        self.optimiser.load(checkpoint.optimiser, old_tensor_names(self.model))
        self.step = checkpoint.step
        self.skipped = int(checkpoint.notes.get("skipped", 0))
        self.seconds = float(checkpoint.notes.get("seconds", 0))
        self.processor_s = float(checkpoint.notes.get("processor_s", 0))

    def _seed_layers(self, seed: int) -> None:
        """Seed what dropout and its like draw from, since they take no generator of ours."""
        # Not torch.manual_seed: without a GPU it queues a call with its traceback for the day one is found.
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _autocast(self) -> torch.autocast:
        return autocast(self.device, self.plan.precision)

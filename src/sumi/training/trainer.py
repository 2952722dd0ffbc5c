"""The state of a run, and the training step.

    g = grad loss(w, batch_k);  g <- g · min(1, c/|g|);  w <- optimiser(w, g, lr_k);  average <- ema(average, w)

The state is the weights w, their average, the optimiser's moments and the number of steps k.
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
from sumi.training.batches import batch_indices, stable_seed, step_rng
from sumi.training.checkpoint import Checkpoint, save_checkpoint
from sumi.training.config import TrainConfig
from sumi.training.ema import Ema
from sumi.training.objective import Batch, Objective
from sumi.training.optimiser import Optimiser

MAX_SKIPPED_IN_A_ROW = 50
"""Steps in a row without a finite gradient after which a run ends with an error."""


class Trainer:
    """The state of a run.

    Attributes:
        step: steps done.
        skipped: steps whose gradient was not finite, which changed no weight.
        seconds: seconds of training in all sessions, and processor_s in processor time of all threads.

    Raises:
        SumiError: the objective has no examples.
    """

    def __init__(self, objective: Objective, model: nn.Module, config: TrainConfig, device: torch.device) -> None:
        if len(objective) < 1:
            raise SumiError(f"training {objective.name!r}: the objective has no examples")
        self.objective, self.config, self.device = objective, config.resolve_precision(device), device
        self.model = model.to(device).train()
        self.ema = Ema(self.model, config.ema)
        self.optimiser = Optimiser(self.model, config)
        self.step = 0
        self.skipped = 0
        self.seconds = 0.0
        self.processor_s = 0.0
        self._skipped_in_a_row = 0

    def advance(self) -> Mapping[str, Tensor] | None:
        """Take one step.

        Returns:
            The objective's scalars and "grad_norm", or None if the gradient was not finite and the step was skipped.

        Raises:
            SumiError: too many steps in a row were skipped.
        """
        config, step = self.config, self.step
        examples = batch_indices(step, config.batch_size, len(self.objective), config.seed)
        batch = Batch(step, config.num_steps, examples, step_rng(config.seed, step, self.device))
        self._seed_layers(stable_seed(config.seed, "dropout", step))
        with self._autocast():
            metrics = self.objective.loss(self.model, batch)
        metrics["loss"].backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(self.optimiser.parameters.values(), config.grad_clip or math.inf)
        finite = bool(norm.isfinite())  # the only wait for the device in a step
        if finite:
            self.optimiser.step(config.lr_at(step))
        self.optimiser.clear()
        self.ema.update(step)
        self.step += 1
        self._skipped_in_a_row = 0 if finite else self._skipped_in_a_row + 1
        self.skipped += not finite
        if self._skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW:
            raise SumiError(
                f"training {self.objective.name!r}: {MAX_SKIPPED_IN_A_ROW} steps in a row, up to step {self.step}, "
                f"had no finite gradient; try a lower lr than {config.lr:g}, or precision fp32"
            )
        return {**{k: v.detach() for k, v in metrics.items()}, "grad_norm": norm} if finite else None

    def draw(self) -> Tensor | None:
        """Draw the objective's sheet of samples with the averaged model."""
        with torch.no_grad(), self._autocast():
            return self.objective.picture(self.ema.average)

    def save(self, folder: Path) -> Path:
        """Write a checkpoint into the run folder and return its path."""
        notes = {
            "lesson": self.objective.name,
            "examples": len(self.objective),
            "seconds": round(self.seconds, 3),
            "processor_s": round(self.processor_s, 3),
            "skipped": self.skipped,
            "plan": self.config.to_json(),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
            "device": str(self.device),
        }
        weights, average = self.model.state_dict(), self.ema.average.state_dict()
        return save_checkpoint(folder, Checkpoint(self.step, weights, average, self.optimiser.state(), notes))

    def restore(self, checkpoint: Checkpoint, *, extend: bool = False) -> None:
        """Restore a checkpoint.

        Args:
            checkpoint: one of the same objective.
            extend: accept another number of examples.

        Raises:
            SumiError: the checkpoint is of another objective, number of examples or model.
        """
        name, examples = checkpoint.notes.get("lesson"), checkpoint.notes.get("examples")
        if name != self.objective.name:
            raise SumiError(f"checkpoint: belongs to objective {name!r}, not {self.objective.name!r}")
        if examples != len(self.objective) and not extend:
            raise SumiError(f"checkpoint: was trained on {examples} examples, and there are {len(self.objective)} now")
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
        """Seed torch's global generators, which dropout draws from."""
        # Not torch.manual_seed, which without a GPU queues a call, with its traceback, for every seed.
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)

    def _autocast(self) -> torch.autocast:
        return autocast(self.device, self.config.precision)

"""The state of a run, and the training step.

    g = mean of grad loss(w, micro-batch);  g <- g · min(1, c/|g|)
    w <- optimiser(w, g, lr_k);  average <- ema(average, w)

The state is the weights w, their average, the optimiser's moments and the number of steps k.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn

from sumi.errors import SumiError
from sumi.hardware import autocast
from sumi.nn import old_tensor_names, rename_tensors
from sumi.training.batches import batch_indices, step_rng, step_seed
from sumi.training.checkpoint import Checkpoint, save_checkpoint
from sumi.training.config import TrainConfig
from sumi.training.distributed import GradientMean, processes
from sumi.training.ema import Ema
from sumi.training.large_networks import (
    clip_gradients,
    compile_blocks,
    distribute,
    gather,
    is_sharded,
    recompute_activations,
    shard,
    synchronise_gradients,
)
from sumi.training.objective import Batch, Objective
from sumi.training.optimiser import Optimiser

MAX_SKIPPED_IN_A_ROW = 50
"""Steps in a row without a finite gradient after which a run ends with an error."""

MOST_NAMED = 16
"""Examples of a step without a finite gradient that are named."""


class Trainer:
    """The state of a run.

    Attributes:
        step: steps done.
        processes: those that train; all hold the same state.
        skipped: steps whose gradient was not finite, which changed no weight.
        fault: the last of them, with the examples of its micro-batches whose loss was not finite either.
        seconds: seconds of training in all sessions, and processor_s in processor time of all threads.

    Raises:
        SumiError: the objective has no examples.
    """

    def __init__(self, objective: Objective, model: nn.Module, config: TrainConfig, device: torch.device) -> None:
        if len(objective) < 1:
            raise SumiError(f"training {objective.name!r}: the objective has no examples")
        self.processes = processes()
        self.objective, self.config, self.device = objective, config.resolve(device, self.processes.count), device
        self.model = model.to(device).train()
        self.ema = Ema(self.model, config.ema)
        self._fit_network()
        self.optimiser = Optimiser(self.model, config)
        self.average_gradients = GradientMean(list(self.optimiser.parameters.values()), self.processes)
        self.step = 0
        self.skipped = 0
        self.fault = ""
        self.seconds = 0.0
        self.processor_s = 0.0
        self._skipped_in_a_row = 0

    def _fit_network(self) -> None:
        """Shard, recompute and compile the network as the config says; its average is only sharded."""
        config, count = self.config, self.processes.count
        if config.recompute:
            recompute_activations(self.model)
        if config.compile:
            compile_blocks(self.model)
        if config.fsdp and count > 1:
            if config.optimiser == "muon":
                raise SumiError("training: Muon needs whole matrices, which fsdp shards; choose the optimiser adamw")
            for network in (self.model, self.ema.average):
                shard(network, self.device, count)

    def advance(self) -> Mapping[str, Tensor] | None:
        """Take one step.

        Returns:
            The objective's scalars, of this process's micro-batches, and "grad_norm"; or None if the gradient was not
            finite and the step was skipped.

        Raises:
            SumiError: too many steps in a row were skipped.
        """
        config, step = self.config, self.step
        metrics, losses = self._accumulate_gradients()
        self.average_gradients()
        norm = clip_gradients(list(self.optimiser.parameters.values()), config.grad_clip or math.inf)
        finite = bool(norm.isfinite())  # the only wait for the device in a step
        if finite:
            self.optimiser.step(config.lr_at(step))
        else:
            self.fault = self._describe_fault(losses)
        self.optimiser.clear()
        self.ema.update(step)
        self.step += 1
        self._skipped_in_a_row = 0 if finite else self._skipped_in_a_row + 1
        self.skipped += not finite
        if self._skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW:
            raise SumiError(
                f"training {self.objective.name!r}: {MAX_SKIPPED_IN_A_ROW} steps in a row, up to step {self.step}, "
                f"had no finite gradient; try a lower lr than {config.lr:g}, or precision fp32; the last was "
                f"{self.fault}"
            )
        return {**metrics, "grad_norm": norm} if finite else None

    def _microbatches(self) -> tuple[Tensor, ...]:
        """Return the examples of each micro-batch of this step."""
        config = self.config
        examples = batch_indices(self.step, config.batch_size, len(self.objective), config.seed)
        return examples.chunk(config.microbatches)

    def _accumulate_gradients(self) -> tuple[dict[str, Tensor], dict[int, Tensor]]:
        """Average the gradients of this process's micro-batches.

        Returns:
            The means of the objective's scalars, and the loss of each of these micro-batches.
        """
        config, step, share = self.config, self.step, self.processes.share(self.config.microbatches)
        parts, losses = self._microbatches(), dict[int, Tensor]()
        scalars: dict[str, list[Tensor]] = {}
        for number in share:
            rng = step_rng(config.seed, step, self.device, number)
            self._seed_layers(step_seed(config.seed, "dropout", step, number))
            with self._autocast():
                metrics = self.objective.loss(self.model, Batch(step, config.num_steps, parts[number], rng))
            synchronise_gradients(self.model, when=number == share[-1])
            (metrics["loss"] / len(share)).backward()  # type: ignore[no-untyped-call]
            losses[number] = metrics["loss"].detach()
            for name, value in metrics.items():
                scalars.setdefault(name, []).append(value.detach().float())
        return {name: torch.stack(values).mean() for name, values in scalars.items()}, losses

    def _describe_fault(self, losses: Mapping[int, Tensor]) -> str:
        """Name the step, and the examples of the micro-batches without a finite loss, or of all where each has one."""
        bad = torch.zeros(self.config.microbatches)
        for number, loss in losses.items():
            bad[number] = float(not loss.isfinite())
        numbers = self.processes.sum(bad).nonzero().flatten().tolist() or range(len(bad))
        parts = self._microbatches()
        examples = [str(k) for number in numbers for k in parts[number].tolist()]
        more = f" and {len(examples) - MOST_NAMED} more" if len(examples) > MOST_NAMED else ""
        return f"step {self.step + 1}, with the examples {', '.join(examples[:MOST_NAMED])}{more}"

    def draw(self) -> Tensor | None:
        """Draw the objective's sheet of samples with the averaged model.

        The first process draws and the others wait, unless it needs their shards.
        """
        together, first = is_sharded(self.model), self.processes.is_first
        self.processes.average_buffers(self.model, self.ema.average)
        with nullcontext() if together else self.processes.first_alone(), torch.no_grad(), self._autocast():
            sheet = self.objective.picture(self.ema.average) if first or together else None
        return sheet if first else None

    def save(self, folder: Path) -> None:
        """Write a checkpoint into the run folder; the first process writes it, and the others wait."""
        self.processes.average_buffers(self.model, self.ema.average)
        state = self._gather_state()
        with self.processes.first_alone():
            if self.processes.is_first:
                save_checkpoint(folder, state)

    def _gather_state(self) -> Checkpoint:
        """Return the state with whole tensors, which the first process alone keeps."""
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
            "processes": self.processes.count,
        }
        parts = self.model.state_dict(), self.ema.average.state_dict(), self.optimiser.state()
        model, ema, optimiser = (gather(part, keep=self.processes.is_first) for part in parts)
        return Checkpoint(self.step, model, ema, optimiser, notes)

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
            _load_weights(self.model, rename_tensors(self.model, checkpoint.model))
            _load_weights(self.ema.average, rename_tensors(self.model, checkpoint.ema))
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


def _load_weights(network: nn.Module, weights: Mapping[str, Tensor]) -> None:
    own = network.state_dict()
    network.load_state_dict({name: distribute(w, own[name]) if name in own else w for name, w in weights.items()})

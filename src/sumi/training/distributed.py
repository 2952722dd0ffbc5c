"""Several processes that train one model together, each on its share of every batch (data parallelism).

    torchrun --nproc-per-node 2 -m -- sumi train sticker

A step's gradient is the mean over the micro-batches of its batch. Each process averages those of its own, and one
all-reduce averages the processes. A micro-batch and its random numbers depend on (seed, step, number) alone, so any
number of processes that divides the number of micro-batches trains the same weights, up to rounding.

torchrun starts the processes. Without it there is one, and nothing here communicates.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from sumi.errors import SumiError
from sumi.training.large_networks import is_shard

PATIENCE = timedelta(days=7)
"""Other processes wait so long while the first makes a file. One that has died is noticed at once."""


@dataclass(frozen=True)
class Processes:
    """The processes of a training.

    Args:
        rank: number of this process, from 0; only the first one writes files.
        count: number of processes.
        waiting: the group, on the CPU, whose members wait for each other for as long as it takes.
    """

    rank: int = 0
    count: int = 1
    waiting: dist.ProcessGroup | None = None

    @property
    def is_first(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def share(self, microbatches: int) -> range:
        """Return the numbers of this process's micro-batches."""
        each = microbatches // self.count
        return range(self.rank * each, (self.rank + 1) * each)

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """Run a block on the first process while the others wait, and then on them.

        Raises:
            SumiError: on the other processes, if the block failed on the first one.
        """
        failed = torch.zeros(1)
        if self.is_first:
            try:
                yield
            except BaseException:
                failed += 1
                raise
            finally:
                self.sum(failed)
        else:
            self.sum(failed)
            if failed:
                raise SumiError("stopped, because the first process could not go on: see its message")
            yield

    def sum(self, values: Tensor) -> Tensor:
        """Add up a CPU tensor over all processes, in place; the processes wait for each other here."""
        if self.count > 1 and values.numel():
            with _explain_lost_process():
                dist.all_reduce(values, group=self.waiting)
        return values

    def agree(self, numbers: Sequence[int], stop: bool) -> tuple[list[int], bool]:
        """Return the first process's numbers, and whether any process is to stop."""
        given = torch.tensor([*(numbers if self.is_first else [0] * len(numbers)), stop], dtype=torch.float64)
        *agreed, stops = self.sum(given).tolist()
        return [int(number) for number in agreed], stops > 0

    def mean(self, figures: Mapping[str, float]) -> dict[str, float]:
        """Average each figure over the processes that have it."""
        if self.count == 1:
            return dict(figures)
        given: list[dict[str, float]] = [{}] * self.count
        with _explain_lost_process():
            dist.all_gather_object(given, dict(figures), group=self.waiting)
        names = sorted({name for some in given for name in some})
        return {name: statistics.fmean([some[name] for some in given if name in some]) for name in names}

    def average_buffers(self, *models: nn.Module) -> None:
        """Average the floating-point buffers over all processes, such as a batch norm's running statistics."""
        for buffer in (b for model in models for b in model.buffers() if b.is_floating_point()):
            if self.count > 1:
                buffer.copy_(self.sum(buffer.detach().cpu()) / self.count)


class GradientMean:
    """Average the gradients of some parameters over all processes, with one all-reduce; FSDP averages those of shards.

    A parameter without a gradient on any process keeps none, as in a training by one process.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], group: Processes) -> None:
        self.parameters, self.group = [p for p in parameters if not is_shard(p)], group
        self.sizes = [len(self.parameters), *(p.numel() for p in self.parameters)]
        self._flat = torch.empty(0)

    def __call__(self) -> None:
        """Replace each gradient by the mean of those of all processes."""
        if self.group.count == 1 or not self.parameters:
            return
        grads = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        if not len(self._flat):  # kept, because fresh memory costs more than the communication
            self._flat = torch.empty(sum(self.sizes), device=grads[0].device)
        exists, *parts = torch.split(self._flat, self.sizes)
        exists.copy_(torch.tensor([float(p.grad is not None) for p in self.parameters]))
        shaped = [part.view(grad.shape) for part, grad in zip(parts, grads, strict=True)]
        torch._foreach_copy_(shaped, grads)
        with _explain_lost_process():
            dist.all_reduce(self._flat)
        self._flat /= self.group.count
        torch._foreach_copy_(grads, shaped)
        for parameter, grad, present in zip(self.parameters, grads, exists.tolist(), strict=True):
            parameter.grad = grad if present else None


_alone = Processes()
_joined: list[Processes] = []


def processes() -> Processes:
    """Return the processes of this training: those that `join_processes` joined, or this one alone."""
    return _joined[-1] if _joined else _alone


@contextmanager
def join_processes() -> Iterator[Processes]:
    """Join the processes that torchrun started, by NCCL on CUDA and by gloo elsewhere.

    On CUDA each process takes the GPU of its local rank, which "cuda" then means. Without torchrun nothing happens.
    """
    if not dist.is_torchelastic_launched():
        yield _alone
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    with _explain_lost_process():
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
        waiting = dist.new_group(backend="gloo", timeout=PATIENCE)
    _joined.append(Processes(dist.get_rank(), dist.get_world_size(), waiting))
    try:
        yield _joined[-1]
    finally:
        _joined.pop()
        dist.destroy_process_group()


@contextmanager
def _explain_lost_process() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # of gloo and NCCL, with addresses and files of torch in its message
        raise SumiError(
            "another process of this training ended or cannot be reached; the same command resumes from the newest "
            "checkpoint"
        ) from error

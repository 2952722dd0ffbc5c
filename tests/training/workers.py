"""Several processes train a toy together, as torchrun starts them, without the wait for torchrun to start.

    python workers.py COUNT TOY FOLDER CONFIG

CONFIG is the JSON of a TrainConfig. Each process writes what it ended with to FOLDER/rank-N.json.
"""

from __future__ import annotations

import copy
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import sumi
from sumi.errors import SumiError
from sumi.training import Batch, TimeBudget, TrainConfig, join_processes, processes, run, train_stage

if __package__:
    from .toys import Paint, Regress
else:  # as a program
    from toys import Paint, Regress


class Killed(Regress):
    """The second process dies in the sixth step."""

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        if batch.step == 5 and processes().rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().loss(model, batch)


class Signalled(Regress):
    """The second process gets SIGTERM in the sixth step."""

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        if batch.step == 5 and processes().rank == 1:
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGTERM)
        return super().loss(model, batch)


class Poisoned(Regress):
    """The loss of a micro-batch with the example 17 is not finite in the first epoch."""

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        metrics = super().loss(model, batch)
        bad = batch.step < 8 and 17 in batch.indices
        return {**metrics, "loss": metrics["loss"] * (float("nan") if bad else 1)}


class Sometimes(Regress):
    """A second network learns in every third step from the second half of the batch alone."""

    def __init__(self) -> None:
        super().__init__()
        second = nn.Linear(8, 1)
        nn.init.zeros_(second.weight)
        nn.init.ones_(second.bias)
        self.model = nn.ModuleList([self.model, second])

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        assert isinstance(model, nn.ModuleList)
        metrics = super().loss(model[0], batch)
        if batch.step % 3 == 0 and batch.indices.sum() % 2:
            second = model[1](self.x[batch.indices]).square().mean()
            metrics = {**metrics, "loss": metrics["loss"] + second, "second": second}
        return metrics

    def picture(self, model: nn.Module) -> None:
        return None


class Blocks(nn.Module):
    """A scalar, a block that every world size shards unevenly, and one that is smaller than the largest world."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.proj_in = nn.Linear(8, 10)
        layers = [nn.LayerNorm(10), nn.Linear(10, 7), nn.GELU(), nn.Dropout(0.1), nn.Linear(7, 10)]
        self.blocks = nn.ModuleList(nn.Sequential(*copy.deepcopy(layers)) for _ in range(2))
        self.proj_out = nn.Linear(10, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.proj_in(x)
        for block in self.blocks:
            h = h + block(h)
        return self.scale * self.proj_out(h)


class Deep(Regress):
    """A network of blocks."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.model = Blocks()


class Stopping(Deep):
    """The last process gets one SIGTERM, in a third step."""

    sent = False

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        if batch.step % 3 == 2 and processes().rank == processes().count - 1 and not self.sent:
            self.sent = True
            os.kill(os.getpid(), signal.SIGTERM)
        return super().loss(model, batch)


def make_product(folder: Path) -> Regress:
    """Fail where the first process has not made the file before the others look for it."""
    path = folder / "product"
    if processes().is_first:
        time.sleep(0.3)
        path.write_text("made")
    assert path.read_text() == "made"
    return Regress()


TOYS: dict[str, Any] = {
    "regress": Regress, "paint": Paint, "killed": Killed, "signalled": Signalled, "poisoned": Poisoned,
    "sometimes": Sometimes, "deep": Deep, "stopping": Stopping,
}  # fmt: skip


def work(toy: str, folder: Path, config: TrainConfig) -> dict[str, Any]:
    """Train in one of the processes, and return what it ended with."""
    with join_processes() as group:
        if toy == "product":
            return {"finished": train_stage(lambda: make_product(folder), config, folder / "run", quiet=True)}
        budget = None
        if toy == "budget":  # by the clock of the second process there would be no end
            ticks = iter(range(10**9))
            budget = TimeBudget(20, clock=lambda: float(next(ticks)) if group.is_first else 0.0)
        objective = TOYS.get(toy, Regress)()
        finished = run(objective, config, folder, budget=budget)
        if config.fsdp:
            return {"finished": finished, "class": type(objective.model).__name__}
        state = objective.model.state_dict()
        return {"finished": finished, "weights": {name: value.flatten().tolist() for name, value in state.items()}}


def main(count: int, toy: str, folder: Path, config: TrainConfig) -> int:
    """Fork the processes, and return the greatest of their exit statuses; 137 for one that was killed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    children = []
    for rank in range(count):
        child = os.fork()
        if child == 0:
            os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_RUN_ID": "test"}
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
            try:
                ended = work(toy, folder, config)
            except SumiError as error:
                print(f"rank {rank}: {error}", file=sys.stderr, flush=True)
                os._exit(2)
            (folder / f"rank-{rank}.json").write_text(json.dumps(ended))
            os._exit(0)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    return max(128 - code if code < 0 else code for code in codes)


def train_together(count: int, toy: str, folder: Path, config: TrainConfig) -> subprocess.CompletedProcess[str]:
    """Train a toy in so many processes."""
    folder.mkdir(exist_ok=True)
    given = [str(count), toy, str(folder), json.dumps(config.to_json())]
    home = str(Path(sumi.__file__).parents[1])
    return subprocess.run(
        [sys.executable, __file__, *given],
        env={**os.environ, "PYTHONPATH": home, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    import torch.distributed.fsdp
    import torch.utils.tensorboard

    sys.exit(main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), TrainConfig.from_json(json.loads(sys.argv[4]))))

"""Toy objectives: trained in a second, with everything in them that could break an exact resume.

Run as a program, this trains one of them in a child process that is killed, again and again, without warning:

    python toys.py LESSON OPTIMISER FOLDER NUM_STEPS DEATHS
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from sumi.training import Batch, TrainConfig, run
from sumi.training.checkpoint import latest_checkpoint


class Regress:
    """An MLP with dropout learns a fixed function of some points, with fresh noise on every step."""

    name = "regress"

    def __init__(self, examples: int = 100, seed: int = 0) -> None:
        rng = torch.Generator().manual_seed(0)
        self.x = torch.randn(examples, 8, generator=rng)
        self.y = self.x.sin().sum(1, keepdim=True)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            middle = [nn.LayerNorm(32), nn.GELU(), nn.Dropout(0.1), nn.Linear(32, 32), nn.GELU()]
            self.model: nn.Module = nn.Sequential(nn.Linear(8, 32), *middle, nn.Linear(32, 1))

    def __len__(self) -> int:
        return len(self.x)

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        x, y = self.x[batch.indices], self.y[batch.indices]
        error = model(x + 0.01 * torch.randn(x.shape, generator=batch.rng)) - y
        return {"loss": error.square().mean(), "worst": error.abs().max()}

    def picture(self, model: nn.Module) -> Tensor | None:
        values = model(self.x[:64]).float().reshape(8, 8)
        return (values * 32 + 128).clamp(0, 255).to(torch.uint8).expand(3, 8, 8)


class Paint:
    """A channels-last convolution with batch statistics and an embedding learns to colour noise."""

    name = "paint"

    def __init__(self, seed: int = 0) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.model: nn.Module = Painter().to(memory_format=torch.channels_last)

    def __len__(self) -> int:
        return 50

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        noise = torch.randn(len(batch.indices), 4, 8, 8, generator=batch.rng)
        colour = batch.indices[:, None, None, None] / 50
        x = noise.to(memory_format=torch.channels_last)
        return {"loss": (model(x, batch.indices % 5) - colour).square().mean()}

    def picture(self, model: nn.Module) -> Tensor | None:
        return None


class Painter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(5, 8)
        self.enter = nn.Conv2d(4, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.mix = nn.Conv2d(8, 8, 3, padding=1)
        self.leave = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor, word: Tensor) -> Tensor:
        h = self.norm(self.enter(x)) + self.words(word)[:, :, None, None]
        return self.leave(torch.relu(self.mix(torch.relu(h))))


OBJECTIVES = {"regress": Regress, "paint": Paint}


def weights(folder: Path) -> dict[str, bytes]:
    """Bytes of the newest checkpoint's tensors, and its step."""
    place = latest_checkpoint(folder)
    assert place is not None
    return {
        "step": place.name.encode(),
        **{f.name: f.read_bytes() for f in sorted(place.glob("*.safetensors"))},
    }


def exact_config(num_steps: int, **changes: object) -> TrainConfig:
    """A config in fp32 that reports and saves after every step."""
    settings: dict[str, object] = {"batch_size": 7, "microbatches": 1, "precision": "fp32", "warmup_steps": 3}
    settings |= {"log_s": 0.0, "checkpoint_s": 0.0, "picture_s": 0.2}
    return TrainConfig(num_steps=num_steps, **(settings | changes))


def _train(objective: str, rule: str, folder: str, num_steps: str) -> None:
    run(OBJECTIVES[objective](), exact_config(int(num_steps), optimiser=rule), folder, quiet=True)


def _train_and_die(objective: str, rule: str, folder: str, num_steps: str, deaths: str) -> int:
    """Fork, kill after a random time, repeat; then once to the end. Returns how many died at work."""
    import torch.utils.tensorboard  # noqa: F401  (once, here, and not in every child)

    died = 0
    for life in range(int(deaths) + 1):
        child = os.fork()
        if child == 0:
            _train(objective, rule, folder, num_steps)
            os._exit(0)
        if life < int(deaths):
            time.sleep(random.uniform(0.02, 0.3))
            os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        died += os.WIFSIGNALED(status)
        if not os.WIFSIGNALED(status) and os.WEXITSTATUS(status):
            raise SystemExit("a child failed by itself")
    return died


if __name__ == "__main__":
    print(_train_and_die(*sys.argv[1:]))

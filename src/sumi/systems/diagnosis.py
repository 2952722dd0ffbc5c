"""A model examined: are its weights whole, does it draw, where does NaN begin, and how much memory each stage takes.

Every tensor of its files is looked at, then a small picture is drawn in few steps. A hook on every module reports the
first that answers with something that is not finite.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from sumi.bundles import Bundle, is_published
from sumi.bundles.published import Weights, open_model, open_weights
from sumi.hardware import peak_memory, restart_peak_memory
from sumi.imaging.pixels import to_image
from sumi.pipelines import Artist, Picture, Request, StepRequest, Task, Vary, drive
from sumi.pipelines.steps import run_alone
from sumi.systems.published.artist import PublishedArtist

__all__ = ["Diagnosis", "PartReport", "StageReport", "diagnose"]

PROMPT: Final = "a red fox"
STEPS, SEED = 2, 0
FINISH: Final = "picture"
"""What is done after the last step: latents become a picture."""


@dataclass(frozen=True)
class PartReport:
    """One network's files. not_finite: its tensors that hold NaN or infinity."""

    name: str
    kind: str
    parameters: int
    size_bytes: int
    not_finite: tuple[str, ...] = ()


@dataclass
class StageReport:
    """One stage of drawing. peak_bytes: the most memory that the process held; None where the system does not say."""

    name: str
    steps: int = 0
    seconds: float = 0.0
    peak_bytes: int | None = None


@dataclass(frozen=True)
class Diagnosis:
    """What was found. first_not_finite: the module where NaN or infinity begins, and the step; None where all is well.

    picture: what was drawn.
    """

    model: str
    parts: tuple[PartReport, ...]
    stages: tuple[StageReport, ...]
    first_not_finite: str | None
    picture: Picture = field(repr=False)

    @property
    def healthy(self) -> bool:
        """Whether nothing was found that is not finite."""
        return self.first_not_finite is None and not any(part.not_finite for part in self.parts)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON values, without the picture."""
        parts, stages = [asdict(part) for part in self.parts], [asdict(stage) for stage in self.stages]
        found = {"model": self.model, "healthy": self.healthy, "first_not_finite": self.first_not_finite}
        return {**found, "parts": parts, "stages": stages}


def diagnose(
    path: Path, load: Callable[[], Artist], progress: Callable[[str, int, int], None] = lambda *_: None
) -> Diagnosis:
    """Examine a model.

    Args:
        path: its folder or file.
        load: opens it.
        progress: called with what is looked at, how many are done, and of how many.

    Raises:
        SumiError: as `sumi.load` does, where the model cannot be opened at all.
    """
    artist = load()
    parts = report_parts(path, progress)
    task, images = tiny_task(artist)
    watch = StageWatch()
    networks = artist.networks if isinstance(artist, PublishedArtist) else {}
    with first_not_finite(networks, watch) as found:
        pictures = [event for event in drive(artist.work(task, *images), watch.take) if isinstance(event, Picture)]
        watch.enter(None)
    return Diagnosis(artist.model.name, tuple(parts), tuple(watch.reports), next(iter(found), None), pictures[0])


def report_parts(path: Path, progress: Callable[[str, int, int], None]) -> list[PartReport]:
    """Look at the weights of each network, whose files are closed again before anything is drawn."""
    weights, parts = part_weights(path), []
    for number, (name, (kind, of)) in enumerate(weights.items(), start=1):
        parts.append(report_part(name, kind, of))
        progress("weights", number, len(weights))
    return parts


def part_weights(path: Path) -> dict[str, tuple[str, Weights]]:
    """Return the class and the weights of each network of a model."""
    if is_published(path):
        return {name: (part.kind, part.weights) for name, part in open_model(path).parts.items()}
    bundle = Bundle.load(path)
    return {
        name: (kind, open_weights(path / name / "model.safetensors", path)) for name, (_, kind) in bundle.parts.items()
    }


def report_part(name: str, kind: str, weights: Weights) -> PartReport:
    """Look at every tensor of a network."""
    parameters = size_bytes = 0
    not_finite = []
    for key in sorted(weights.entries):
        tensor = weights.tensor(key)
        parameters, size_bytes = parameters + tensor.numel(), size_bytes + tensor.numel() * tensor.element_size()
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            not_finite.append(key)
    return PartReport(name, kind, parameters, size_bytes, tuple(not_finite))


def tiny_task(artist: Artist) -> tuple[Task, list[Any]]:
    """Return the smallest task of a model: a picture of a prompt, or a variation of a picture."""
    settings: dict[str, Any] = {"size": artist.sizes[0], "steps": min(STEPS, artist.settings.steps), "seed": SEED}
    if Request.operation in artist.operations:
        prompt = artist.pipeline.example if isinstance(artist, PublishedArtist) else PROMPT
        return Request(prompt, anyway=True, **settings), []
    shades = torch.linspace(0, 255, artist.sizes[0]).expand(3, artist.sizes[0], -1)
    ramp = torch.cat([shades, torch.full_like(shades[:1], 255)]).to(torch.uint8)
    return Vary(**settings), [to_image(ramp)]


class StageWatch:
    """Counts the steps, the time and the memory of each stage as it runs."""

    def __init__(self) -> None:
        self.reports: list[StageReport] = []
        self._began = time.perf_counter()

    def take(self, request: StepRequest) -> Any:
        """Take a step and count it."""
        if not self.reports or self.reports[-1].name != request.stage:
            self.enter(request.stage)
        report = self.reports[-1]
        step = run_alone(request)
        report.steps += 1
        if request.last:
            self.enter(FINISH)
        return step

    def enter(self, name: str | None) -> None:
        """End the stage that runs, and begin another."""
        now = time.perf_counter()
        if self.reports:
            self.reports[-1].seconds = round(now - self._began, 3)
            self.reports[-1].peak_bytes = peak_memory()
        if self.reports and self.reports[-1].name == FINISH and name is not None:
            self.reports.pop()  # between two stages, not at the end
        restart_peak_memory()
        self._began = now
        if name is not None:
            self.reports.append(StageReport(name))

    @property
    def where(self) -> str:
        """The step that runs."""
        if not self.reports:
            return "before the first step"
        report = self.reports[-1]
        return "after the last step" if report.name == FINISH else f"step {report.steps + 1} of {report.name}"


@contextmanager
def first_not_finite(networks: Mapping[str, nn.Module], watch: StageWatch) -> Iterator[list[str]]:
    """Watch every module; the list that is given holds the first whose output is not finite, and when that was."""
    names = {
        id(module): f"{part}.{name}".rstrip(".")
        for part, network in networks.items()
        for name, module in network.named_modules()
    }
    found: list[str] = []

    def look(module: nn.Module, inputs: Any, output: Any) -> None:
        if not found and isinstance(output, Tensor) and not bool(torch.isfinite(output).all()):
            found.append(f"{names.get(id(module), type(module).__name__)}, {watch.where}")

    handle = register_module_forward_hook(look)
    try:
        yield found
    finally:
        handle.remove()

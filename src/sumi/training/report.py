"""Outputs of the reports: a progress bar, metrics.jsonl, and TensorBoard if it is installed."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from sumi.training.loop import Report


class MetricsLog:
    """Append reports to metrics.jsonl, after removing the lines of steps later than the one resumed from."""

    def __init__(self, folder: Path, step: int) -> None:
        path = folder / "metrics.jsonl"
        if path.exists():
            draft = path.with_name("metrics.jsonl.writing")
            lines = path.read_text().splitlines(keepends=True)
            draft.write_text("".join(line for line in lines if _step_of_line(line) <= step))
            draft.replace(path)
        self._file = path.open("a")

    def write(self, report: Report) -> None:
        """Write one line: step, loss, lr, images_per_s, seconds, processor_s, the objective's metrics, precision."""
        figures = {"loss": report.loss, "lr": report.lr, "images_per_s": report.images_per_s}
        figures |= {"seconds": report.seconds, "processor_s": report.processor_s, **report.metrics}
        line = {name: float(f"{value:.6g}") if math.isfinite(value) else None for name, value in figures.items()}
        self._file.write(json.dumps({"step": report.step, **line, "precision": report.precision}) + "\n")
        self._file.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()


class TensorBoard:
    """Write the figures and pictures for TensorBoard; do nothing where it is not installed."""

    def __init__(self, folder: Path, step: int) -> None:
        self._writer: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def write(self, report: Report) -> None:
        """Write one report."""
        if self._writer is None:
            return
        for name, value in {"loss": report.loss, "lr": report.lr, **report.metrics}.items():
            self._writer.add_scalar(name, value, report.step)
        self._writer.add_scalar("images_per_s", report.images_per_s, report.step)
        if report.picture is not None:
            pixels = np.asarray(Image.open(report.picture).convert("RGBA"))
            self._writer.add_image("picture", pixels, report.step, dataformats="HWC")
        self._writer.flush()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._writer is not None:
            self._writer.close()


class ProgressBar:
    """A live progress bar on a terminal, one line per report elsewhere, nothing when quiet; always on stderr."""

    def __init__(self, name: str, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True, quiet=quiet)
        self._name = name
        text = "{task.completed}/{task.total}  {task.fields[figures]}"
        columns = (TextColumn("[bold]{task.description}"), BarColumn(), TextColumn(text))
        self._progress = Progress(*columns, console=self._console, auto_refresh=False)
        self._task = self._progress.add_task(name, total=None, figures="")
        self._live = self._console.is_terminal and not quiet

    def show(self, report: Report) -> None:
        """Show one report."""
        if report.fault:
            self.print_line(f"{self._name}  no finite gradient, and no weight changed, in {report.fault}")
        figures = (
            f"loss {report.loss:.4g}  {report.images_per_s:.1f} images/s in {report.precision}  lr {report.lr:.2g}  "
            f"{format_duration(report.eta_s)} left"
        )
        if self._live:
            task = self._task
            self._progress.update(task, completed=report.step, total=report.num_steps, figures=figures, refresh=True)
        else:
            self.print_line(f"{self._name}  {report.step}/{report.num_steps}  {figures}")

    def print_line(self, text: str) -> None:
        """Print a line without markup."""
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> Self:
        if self._live:
            self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._live:
            self._progress.stop()


def format_duration(seconds: float) -> str:
    """Format a duration as h:mm:ss."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def _step_of_line(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return math.inf  # a line cut off in the middle

"""The report on a training run as one HTML file: it loads nothing, follows the reader's theme, and prints."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image

from sumi.data.disk import size_in_words
from sumi.evaluation.run_copies import RunCopies
from sumi.evaluation.run_report import RunReport, StageCurve, precision_of, seconds_of
from sumi.imaging.image_file import open_image
from sumi.systems import SYSTEMS
from sumi.systems.run_folder import RunFolder, StageRun
from sumi.systems.training_plan import time_in_words

__all__ = ["run_page"]

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 320.0, 150.0, 44.0, 8.0, 10.0, 20.0
"""Of a chart, and of its margins, in units of its drawing."""
MOST_SHEETS, SHEET_PX, PAIR_PX = 6, 1100, 128
LOG_RATIO = 30.0
"""A loss that falls by more than this is drawn on a logarithmic scale."""
TITLES = {
    "loss": "Loss",
    "lr": "Learning rate",
    "images_per_s": "Pictures a second",
    "grad_norm": "Norm of the gradient",
}
LOOSE = {"images_per_s", "grad_norm"}
"""Columns whose first reports do not widen the scale."""


@dataclass(frozen=True)
class Chart:
    """A curve as SVG: its path, its ticks (place, text), and the height of the guide where it has one."""

    title: str
    label: str
    path: str
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    guide: float | None
    guide_text: str


def run_page(report: RunReport) -> str:
    """Return the page as HTML."""
    template = (resources.files("sumi.evaluation") / "run_page.html").read_text("utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters["duration"] = time_in_words
    run = report.run
    return environment.from_string(template).render(
        report=report,
        run=run,
        title=title_of(run),
        state=state_of(run),
        facts=facts_of(run),
        plan=plan_rows(report),
        stages=[
            {"name": stage.name, "charts": charts_of(report.curves[stage.name]), "sheets": sheets_of(stage)}
            for stage in run.stages
        ],
        verdict="" if report.copies is None else verdict_of(report.copies),
        pairs=[] if report.copies is None else pairs_of(report.copies),
        rights=[rights_row(row) for row in report.rights],
    )


def title_of(run: RunFolder) -> str:
    """Return what was trained, in a few words."""
    if run.kind == "teach":
        return f"Teaching {run.lesson.get('concept', run.name)}"
    if run.kind == "sticker":
        return "The sticker model"
    system = SYSTEMS.get(run.kind)
    return "A training run" if system is None else system.summary


def state_of(run: RunFolder) -> str:
    """Return how far the run came, in a sentence."""
    if not run.stages:
        return "Nothing has been trained yet."
    spent = time_in_words(sum(map(seconds_of, run.stages)))
    if run.is_finished and run.kind != "sticker":
        return f"Finished, after {spent} of training."
    done = [stage.name for stage in run.stages if stage.is_finished]
    begun = [f"{stage.name} at step {stage.step:,}{of_steps(stage)}" for stage in run.stages if not stage.is_finished]
    waiting = [name for name in run.planned if name not in {stage.name for stage in run.stages}]
    parts = [
        f"trained: {', '.join(done)}" if done else "",
        f"unfinished: {', '.join(begun)}" if begun else "",
        f"not begun: {', '.join(waiting)}" if waiting else "",
    ]
    text = "; ".join(filter(None, parts))
    return f"{text[0].upper()}{text[1:]}. {spent} of training so far."


def of_steps(stage: StageRun) -> str:
    """Return " of 4,000", or nothing where the number of steps is not known yet."""
    return "" if stage.num_steps is None else f" of {stage.num_steps:,}"


def facts_of(run: RunFolder) -> list[tuple[str, str]]:
    """Return what the run was started with, as (name, value)."""
    settings, data = run.settings, run.record.get("data", {})
    machine: Mapping[str, Any] = settings.get("machine", {})
    memory = machine.get("memory_bytes")
    cores = f"{machine.get('cores')} cores, {machine.get('threads')} threads" if machine else ""
    size_px = data.get("size_px")
    facts = {
        "preset": settings.get("preset", ""),
        "begins from": data.get("origin", "") or settings.get("start", "") or "",
        "pictures": f"{data['count']:,} of {size_px} px" if "count" in data and size_px else "",
        "from": settings.get("pictures", "") or settings.get("artwork", ""),
        "machine": ", ".join(filter(None, (machine.get("accelerator"), machine.get("processor"), cores))),
        "memory": size_in_words(memory) if memory else "",
        "software": f"Sumi {settings['version']}, torch {machine.get('torch')}, Python {machine.get('python')}"
        if machine
        else "",
        "started": str(settings.get("started", "")).replace("T", " ").replace("Z", " UTC"),
        "model": "" if run.model is None else str(run.model),
    }
    return [(name, str(value)) for name, value in facts.items() if value]


def plan_rows(report: RunReport) -> list[dict[str, str]]:
    """Return a row of the plan for each stage, those that have not begun included."""
    run, rows = report.run, []
    for stage in run.stages:
        config, planned = stage.config, run.planned.get(stage.name, {})
        took = run.record.get("took_s", {}).get(stage.name) or seconds_of(stage)
        rows.append(
            {
                "stage": stage.name,
                "parameters": f"{planned['parameters'] / 1e6:.2f} M" if "parameters" in planned else "",
                "batch": "" if config is None else f"{config.batch_size:,}",
                "lr": "" if config is None else f"{config.lr:g}",
                "precision": precision_of(stage) or "",
                "planned": f"{planned['num_steps']:,.0f}" if planned else "",
                "steps": f"{stage.step:,}{of_steps(stage)}",
                "planned_time": time_in_words(planned["seconds"]) if planned else "",
                "time": time_in_words(took),
                "skipped": f"{int(stage.last('skipped') or 0):,}",
            }
        )
    begun = {stage.name for stage in run.stages}
    for name, planned in run.planned.items():
        if name not in begun:
            empty = dict.fromkeys(("lr", "precision", "steps", "time", "skipped"), "")
            rows.append(
                {
                    "stage": name,
                    **empty,
                    "parameters": f"{planned['parameters'] / 1e6:.2f} M",
                    "batch": f"{planned['batch_size']:,.0f}",
                    "planned": f"{planned['num_steps']:,.0f}",
                    "planned_time": time_in_words(planned["seconds"]),
                }
            )
    return rows


# Curves ------------------------------------------------------------------------------------------------------


def charts_of(curves: Sequence[StageCurve]) -> list[Chart]:
    """Return a chart for each curve with at least two points."""
    return [chart_of(curve) for curve in curves if len(curve.points) > 1]


def chart_of(curve: StageCurve) -> Chart:
    """Return a curve as SVG; what the first reports alone reach is cut off."""
    steps, values = [step for step, _ in curve.points], [value for _, value in curve.points]
    calm = values[len(values) // 20 :] if curve.name in LOOSE else values
    low, high = min(calm), max(calm)
    logarithmic = low > 0 and high / low > LOG_RATIO and curve.name != "lr"
    if not logarithmic:
        low = min(0.0, low) if curve.name in ("lr", "images_per_s") else low
        margin = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
        low, high = (low if low == 0 else low - margin), high + margin
    guide = curve.guide if curve.guide is not None and low <= curve.guide <= high * 1.5 else None
    high = high if guide is None else max(high, guide * 1.03)

    def y(value: float) -> float:
        bounded = min(max(value, low), high)
        share: float = (bounded - low) / (high - low)
        if logarithmic:
            share = math.log(bounded / low) / math.log(high / low)
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - share)

    def x(step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (step - steps[0]) / ((steps[-1] - steps[0]) or 1)

    path = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in curve.points)
    ticks = [low, math.sqrt(low * high) if logarithmic else (low + high) / 2, high]
    middle = steps[0] + (steps[-1] - steps[0]) / 2
    title = TITLES.get(curve.name, curve.name.replace("_", " ").capitalize())
    return Chart(
        title,
        f"{title} over steps: {values[0]:.4g} at first, {values[-1]:.4g} at last",
        path,
        tuple((x(step), f"{step:,.0f}") for step in (steps[0], middle, steps[-1])),
        tuple((y(value), tick_text(value)) for value in ticks),
        None if guide is None else y(guide),
        "" if guide is None else f"guessing: {guide:.2f}",
    )


def tick_text(value: float) -> str:
    """Return a number that fits beside a chart."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    if value == 0 or abs(value) >= 1e-3:
        return f"{value:.{3 if abs(value) >= 0.01 else 2}g}"
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits}e{int(exponent)}"


# Pictures ----------------------------------------------------------------------------------------------------


def sheets_of(stage: StageRun) -> list[tuple[str, str]]:
    """Return sheets of samples, spread evenly over the steps, the last one included: (caption, address)."""
    every = stage.pictures
    wanted = min(MOST_SHEETS, len(every))
    numbers = sorted({round(k * (len(every) - 1) / max(1, wanted - 1)) for k in range(wanted)})
    if len(every) > 1 and wanted == 1:
        numbers = [len(every) - 1]
    return [(f"Step {step_of_sheet(every[k]):,}", sheet_address(every[k])) for k in numbers]


def step_of_sheet(path: Path) -> int:
    """Return the step after which a sheet was drawn."""
    return int(path.stem.removeprefix("step-"))


def sheet_address(path: Path) -> str:
    """Return a sheet as an address that holds the picture, made smaller where it is large."""
    image = open_image(path)
    small = image.width <= SHEET_PX
    image.thumbnail((SHEET_PX, 4 * SHEET_PX), Image.Resampling.LANCZOS)
    return address_of(image, lossless=small and image.width * image.height < 2**18)


def address_of(image: Image.Image, lossless: bool) -> str:
    """Return an image as an address that holds it."""
    file = io.BytesIO()
    image.save(file, "WEBP", lossless=lossless, quality=85)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


def pairs_of(copies: RunCopies) -> list[dict[str, Any]]:
    """Return each drawing beside the training picture nearest to it."""
    return [
        {
            "prompt": one.prompt,
            "name": one.name,
            "distance": f"{one.distance:.3f}",
            "near": copies.threshold is not None and one.distance < copies.threshold,
            "drawn": address_of(one.drawn, lossless=True),
            "nearest": address_of(one.nearest, lossless=True),
        }
        for one in copies.pictures
    ]


def verdict_of(copies: RunCopies) -> str:
    """Return what the distances say, in plain sentences."""
    between = "" if math.isnan(copies.between) else (
        f" A training picture is {copies.between:.3f} from the nearest other one, at the median."
    )  # fmt: skip
    said = (
        f"{len(copies.pictures)} drawings, compared with {copies.count:,} training pictures: the nearest is "
        f"{copies.median:.3f} away at the median, where 0 is a copy.{between}"
    )
    if copies.threshold is None:
        return f"{said} The model draws in pixels, so there is no limit below which a drawing counts as a near copy."
    count = copies.near_copies
    few = {0: "None of them is a near copy", 1: "One of them is a near copy"}
    near = few.get(count or 0, f"{count} of them are near copies")
    return (
        f"{said} {near}, which would be nearer than {copies.threshold:.3f}: 95 per cent of true copies are, after this "
        "model's codec."
    )


def rights_row(row: Mapping[str, Any]) -> dict[str, str]:
    """Return a row of the rights, as text."""
    count = row.get("pictures", row.get("thumbnails", ""))
    return {
        "source": " ".join(str(row.get(name, "")) for name in ("source", "version")).strip() or "not named",
        "licence": str(row.get("licence", "") or "none named"),
        "author": str(row.get("author", "")),
        "count": f"{count:,}" if isinstance(count, int) else "",
    }

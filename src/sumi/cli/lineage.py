"""`sumi lineage`: trains every system for the same time on the same pictures, draws, measures, and writes one page.

Time is processor time, of all threads together, so a busy machine makes the run longer and stays fair.
"""

from __future__ import annotations

import json
import os
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sumi.atomic_file import write_atomic
from sumi.cli.files import require_writable_folder
from sumi.cli.train_system import artwork_option, say, system_size_option
from sumi.errors import SumiError

if TYPE_CHECKING:
    from torch import Tensor

    from sumi.lineage.benchmark import LineageBenchmark
    from sumi.systems import System
    from sumi.systems.dataset import TrainingData


TRUE_SEED, NUM_TRUE = 12, 1024


@click.command()
@click.option(
    "--minutes", type=click.FloatRange(min=0, min_open=True), default=36.0, show_default=True,
    help="Processor time to train all systems once; each system gets the same share.",
)  # fmt: skip
@system_size_option
@click.option("-n", "n", type=click.IntRange(16, 4096), default=128, show_default=True, help="Pictures of each system.")
@click.option("--seeds", type=click.IntRange(1, 10), default=3, show_default=True, help="Training runs of each system.")
@click.option("--only", metavar="NAME,...", help="Train and measure only these; finished systems stay on the page.")
@click.option("--run", "folder", type=click.Path(path_type=Path), default=Path("runs/lineage"), show_default=True,
              help="Folder of the run.")  # fmt: skip
@click.option("--out", default="docs/lineage", show_default=True, metavar="DIR", help="Where the page goes.")
@click.option("--resume/--no-resume", default=True, show_default=True, help="Keep finished systems of the run.")
@click.option("--redraw", is_flag=True, help="Train nothing; draw and measure again with the trained networks.")
@artwork_option
def lineage(
    minutes: float, size_px: int, n: int, seeds: int, only: str | None, folder: Path, out: str, resume: bool,
    redraw: bool, artwork: Path,
) -> int:  # fmt: skip
    """Train every system for the same time on the same pictures, and write one page that compares them.

    The page reports a system that fails, the others continue, and the status is 1; the next run tries it again. The
    pages
    of systems beside DIR get their figures.
    """
    chosen, place = select_systems(only), require_writable_folder(out)
    from sumi.lineage.benchmark import load_finished
    from sumi.systems import SYSTEMS, dataset

    terms = load_terms(
        folder, resume, {"size_px": size_px, "n": n, "seeds": seeds, "processor_s": 60 * minutes / len(SYSTEMS)}
    )
    data = dataset.of_artwork(artwork, folder / "scenes", size_px, say, hold_out=True)
    bench, more = make_benchmark(artwork, size_px, n, data)
    for system in chosen:
        if redraw or load_finished(folder / system.name) is None:
            run_system(system, folder / system.name, data, bench, terms, redraw)
    tried = [load_row(system, folder / system.name) for system in SYSTEMS.values()]
    rows = [row for row in tried if row is not None]
    write_page(rows, place, folder, bench, more, terms, data)
    failed = [row["name"] for row in rows if "error" in row]
    if failed:
        click.echo(f"failed: {', '.join(failed)}", err=True)
    click.echo(str(place / "index.html"))
    return int(bool(failed))


def select_systems(only: str | None) -> list[System]:
    """Return the systems that --only names, or all; SumiError for an unknown name."""
    from sumi.systems import SYSTEMS

    names = list(SYSTEMS) if only is None else [name.strip() for name in only.split(",") if name.strip()]
    if not names or (strange := [name for name in names if name not in SYSTEMS]):
        unknown = ", ".join(strange) if names else "no system"
        raise SumiError(f"--only names {unknown}; see `sumi systems`")
    return [SYSTEMS[name] for name in SYSTEMS if name in names and SYSTEMS[name].draws]


def load_terms(folder: Path, resume: bool, wanted: dict[str, Any]) -> dict[str, Any]:
    """Return the terms that all systems share; a run keeps its first processor time."""
    path = folder / "terms.json"
    if path.exists():
        if not resume:
            raise SumiError(f"{folder} already holds a lineage: resume it, or choose another --run")
        started: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if started.keys() != wanted.keys():
            raise SumiError(f"another version of Sumi started {folder}: choose another --run")
        for name in ("size_px", "n", "seeds"):
            if started[name] != wanted[name]:
                raise SumiError(
                    f"{folder} was started with {name} = {started[name]}, not {wanted[name]}: choose another --run"
                )
        if abs(started["processor_s"] - wanted["processor_s"]) > 0.5:
            click.echo(f"this run gives each system {started['processor_s']:.0f} s, as when it started", err=True)
        return started
    require_writable_folder(folder)
    write_atomic(path, json.dumps(wanted, indent=1) + "\n")
    return wanted


def make_benchmark(
    artwork: Path, size_px: int, n: int, data: TrainingData
) -> tuple[LineageBenchmark, tuple[Tensor, list[int]]]:
    """Return the benchmark, and n further true pictures with their labels, to measure like a system's."""
    import torch

    from sumi.data.plain_scenes import plain_scenes
    from sumi.evaluation.kid import FeatureExtractor
    from sumi.judge.network import load_judge
    from sumi.lineage.benchmark import LineageBenchmark

    scenes = plain_scenes(artwork, TRUE_SEED, held_out=True)
    drawn = [scenes.batch(start, min(256, NUM_TRUE + n - start), size_px) for start in range(0, NUM_TRUE + n, 256)]
    pictures = torch.cat([some for _, _, some in drawn])
    things = [scenes.concept_id(scene) for some, _, _ in drawn for scene in some]
    taught = torch.as_tensor(data.examples.pictures)
    bench = LineageBenchmark(FeatureExtractor.of(), load_judge(), pictures[:NUM_TRUE], data.classes, taught)
    return bench, (pictures[NUM_TRUE:], things[NUM_TRUE:])


def run_system(
    system: System, folder: Path, data: TrainingData, bench: LineageBenchmark, terms: dict[str, Any], redraw: bool
) -> None:  # fmt: skip
    """Train, draw and measure one system, and write its figures; or why it failed."""
    if redraw and not (folder / "bundle").exists():
        return
    activity = "drawing again" if redraw else f"training for {terms['processor_s']:.0f} s of processor time"
    click.echo(f"{system.name}: {activity}", err=True)
    (folder / "error.txt").unlink(missing_ok=True)
    try:
        figures = measure_system(system, folder, data, bench, terms, redraw)
    except click.Abort:
        raise
    except Exception as error:  # one failure must not stop the others
        folder.mkdir(parents=True, exist_ok=True)
        message = error if isinstance(error, SumiError) else f"{type(error).__name__}: {error}"
        first = str(message).splitlines()[0]
        write_atomic(folder / "error.txt", f"{first}\n\n{traceback.format_exc()}")
        click.echo(f"{system.name}: failed: {first}; the rest is in {folder / 'error.txt'}", err=True)
        return
    write_atomic(folder / "figures.json", json.dumps(figures, indent=1) + "\n")
    quality = figures["quality"]
    click.echo(
        f"{system.name}: trained for {figures['train_s']:.0f} s, {figures['sample_s']:.3f} s a picture, "
        f"KID {quality['kid']:.3f} ± {quality['error']:.3f}",
        err=True,
    )


def measure_system(
    system: System, folder: Path, data: TrainingData, bench: LineageBenchmark, terms: dict[str, Any], redraw: bool
) -> dict[str, Any]:
    """Train a system for each seed, draw with it, and return its figures."""
    from sumi.lineage.benchmark import over_seeds, sample_strip
    from sumi.lineage.runner import sample_entry, train_entry
    from sumi.training.sample_sheet import write_sample_sheet

    runs = []
    for seed in range(terms["seeds"]):
        place = folder if seed == 0 else folder / f"seed-{seed}"
        if not redraw and not train_entry(system, data, place, terms["processor_s"], seed):
            raise click.Abort
        figures, pictures, asked = sample_entry(system, data, place, terms["n"])
        write_sample_sheet(place / "strip.png", sample_strip(pictures))
        runs.append({**figures, **bench.measure(pictures, asked)})
    return {**runs[0], "over_seeds": over_seeds(runs)}


def load_row(system: System, folder: Path) -> dict[str, Any] | None:
    """Return a system's row of the page; None where it was never tried."""
    from sumi.lineage.benchmark import load_finished, loss_curve

    row = {"name": system.name, "year": system.year, "summary": system.summary}
    figures = load_finished(folder)
    if figures is not None:
        return {**row, **figures, "curves": {stage: loss_curve(folder / stage) for stage in figures["steps"]}}
    if (folder / "error.txt").exists():
        return {**row, "error": (folder / "error.txt").read_text("utf-8").splitlines()[0]}
    return None


def write_page(
    rows: list[dict[str, Any]], place: Path, folder: Path, bench: LineageBenchmark, more: tuple[Tensor, list[int]],
    terms: dict[str, Any], data: TrainingData,
) -> None:  # fmt: skip
    """Write index.html, lineage.json and a picture of each system, and fill the figures into the systems' pages."""
    from sumi import __version__
    from sumi.bundles import weight_hash
    from sumi.lineage.benchmark import sample_strip
    from sumi.lineage.docs_block import fill_results
    from sumi.lineage.html_page import lineage_page
    from sumi.lineage.runner import BATCH, MAX_SAMPLING_STEPS
    from sumi.training.sample_sheet import write_sample_sheet

    pictures, things = more
    truth = {
        "name": "true pictures",
        "summary": "Drawings of the same things by another artist: the ceiling.",
    }
    truth |= bench.measure(pictures, things)
    chance = bench.measure(pictures, [(thing + 1) % len(data.classes) for thing in things])["asked"]
    write_sample_sheet(place / "truth.png", sample_strip(pictures))
    for row in rows:
        if "error" not in row:
            write_atomic(place / f"{row['name']}.png", (folder / row["name"] / "strip.png").read_bytes())
    stated = {
        **terms, "num_true": NUM_TRUE, "num_things": len(data.classes), "things": data.classes,
        "num_pictures": len(data.examples.pictures), "cores": count_cores(), "eye": bench.feature_extractor.name,
        "eye_sha256": bench.feature_extractor.sha256, "judge_sha256": weight_hash(bench.judge),
        "walk": MAX_SAMPLING_STEPS, "batch": BATCH, "version": __version__,
    }  # fmt: skip
    stated["luck"] = chance
    record = {"terms": stated, "truth": truth, "systems": rows}
    write_atomic(place / "lineage.json", json.dumps(record, indent=1) + "\n")
    write_atomic(place / "index.html", lineage_page(rows, truth, stated))
    for path in sorted((place.parent / "systems").glob("*.md")):
        write_atomic(path, fill_results(path.read_text("utf-8"), record, place.name))


def count_cores() -> int:
    """Return the number of cores that torch uses."""
    import torch

    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(allowed, torch.get_num_threads())

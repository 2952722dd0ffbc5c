"""The page of the lineage: every system in historical order with its pictures and its loss curves, and a table.

It is one HTML file with pictures beside it. It loads no script, font or style, and follows the reader's light or dark
theme.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

__all__ = ["lineage_page"]

Row = Mapping[str, Any]

STYLE = """
:root { color-scheme: light dark; --ink: #1d1f24; --soft: #646a76; --paper: #fbfaf7; --card: #fff; --line: #e3e0d8;
  --mark: #b4472e; }
@media (prefers-color-scheme: dark) { :root { --ink: #e9e6df; --soft: #9a9fab; --paper: #16171a; --card: #1f2126;
  --line: #33363d; --mark: #f0937a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 1320px; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 2.1rem; line-height: 1.15; margin: 0 0 .6rem; letter-spacing: -.02em; }
h2 { font-size: 1.3rem; margin: 3rem 0 .8rem; }
h3 { font-size: 1.05rem; margin: 0; }
p { max-width: 46rem; margin: .4rem 0; }
.soft, figcaption, small { color: var(--soft); }
small { font-size: .85rem; }
ol { list-style: none; margin: 1.6rem 0 0; padding: 0; }
li { display: grid; grid-template-columns: 15rem minmax(0, 1fr) 13rem; gap: 1.5rem; align-items: start;
  padding: 1.3rem 0; border-top: 1px solid var(--line); }
.year { color: var(--mark); font-variant-numeric: tabular-nums; font-weight: 600; }
.strip { display: block; width: 100%; max-width: 782px; height: auto; image-rendering: pixelated;
  background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 6px; }
figure { margin: 0 0 .6rem; }
figcaption { font-size: .8rem; }
svg { display: block; width: 100%; height: 4rem; }
polyline { fill: none; stroke: var(--mark); stroke-width: 1.5; vector-effect: non-scaling-stroke; }
.failed { color: var(--mark); }
.wide { overflow-x: auto; border: 1px solid var(--line); border-radius: 8px; background: var(--card); }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { padding: .5rem .8rem; text-align: right; white-space: nowrap; border-top: 1px solid var(--line); }
thead th { border-top: 0; color: var(--soft); font-weight: 600; vertical-align: bottom; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: var(--card); }
tr.truth td { font-weight: 600; }
@media (max-width: 900px) { li { grid-template-columns: 1fr; gap: .7rem; } h1 { font-size: 1.7rem; }
  .curves { display: grid; grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr)); gap: .8rem; } }
"""

HEAD = (
    "system", "year", "condition", "KID", "over seeds", "the thing asked for", "a thing it was taught", "nearest",
    "parameters", "trained", "a picture", "steps",
)  # fmt: skip


def lineage_page(rows: Sequence[Row], truth: Row, terms: Mapping[str, Any]) -> str:
    """Return the page as HTML.

    Args:
        rows: the metrics of each system, in order, or its error.
        truth: the metrics of true pictures.
        terms: the conditions of the comparison, see `sumi.cli.lineage`.
    """
    items = "\n".join([_truth(truth), *map(_item, rows)])
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>The lineage: {len(rows)} ways to draw, on the same pictures</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>The lineage</h1>
<p>{len(rows)} published systems, each trained from scratch on the same {terms["num_pictures"]:,} pictures of
{terms["num_things"]} plain things at {terms["size_px"]} px, each for the same {terms["processor_s"]:.0f} seconds of
a processor's time, whatever ran beside it. The pictures are not selected: seeds 0 to {min(terms["n"], 16) - 1}.</p>
<p class="soft">Such a short time shows how soon a system learns, and not how well it would draw in the end.</p>
<ol>
{items}
</ol>
<h2>The same in figures</h2>
<div class="wide"><table>
<thead><tr>{"".join(f"<th>{head}</th>" for head in HEAD)}</tr></thead>
<tbody>
{chr(10).join([*map(_line, rows), _line(truth, "truth")])}
</tbody>
</table></div>
{_notes(terms)}
</main>
</body>
</html>
"""


def _notes(terms: Mapping[str, Any]) -> str:
    notes = (
        f"n = {terms['n']} pictures of each system, seeds 0 to {terms['n'] - 1}; systems with a condition draw the "
        f"{terms['num_things']} things in turn. Ranges are 95% intervals (Wilson).",
        f"KID: unbiased, kernel (cosine + 1)³ of the embeddings by the CLIP of the model {terms['eye']}, pictures "
        f"enlarged to what it looks at, against {terms['num_true']:,} pictures of drawings that no system saw; ± one "
        "standard error, by bootstrap. Lower is better, 0 means equal. It is not comparable with published KIDs.",
        "The thing asked for: the judge's most likely concept, among everything it knows, is that thing; empty for "
        "systems without a condition. A thing it was taught: the most likely concept is any of the taught ones. The "
        "judge was trained on scenes of its own, and is stricter with blurs than a person.",
        "Seconds are processor time, summed over all threads, and not wall-clock time: "
        f"{terms['cores']} CPU core(s). Trained: the training steps, without measuring the speed, drawing samples and "
        "saving. The time is divided among the stages of a system; preparing the data of a stage is part of its share. "
        f"A picture: seconds a picture, {terms['batch']} at a time. Samplers with more than {terms['walk']} steps were "
        f"cut to {terms['walk']}; with fewer rounds at one level, each round takes a larger step.",
        "True pictures: of drawings that no system saw, by another artist for every thing; others than those that KID "
        f"compares with, measured in the same way. They are the ceiling.{_chance(terms)}",
        "Over seeds: the mean of KID over trainings with other weights, batches and noise, and its range. Nearest: the "
        "median RMSE between a picture and the nearest training picture, 0 to 1. Trained *: with a stage that does not "
        "draw, which gets extra time, so that the stages that draw have as long as in every other system.",
        f"Made by Sumi {terms['version']}; all figures are in lineage.json.",
    )
    return "\n".join(f'<p class="soft"><small>{escape(note)}</small></p>' for note in notes)


def _item(row: Row) -> str:
    name = escape(row["name"])
    title = f'<div><h3>{name} <span class="year">{row["year"]}</span></h3><p class="soft">{escape(row["summary"])}</p>'
    if "error" in row:
        return f'<li>{title}</div><p class="failed">Failed: {escape(row["error"])}</p><div></div></li>'
    curves = "".join(_curve(stage, points) for stage, points in row["curves"].items())
    picture = f'<img class="strip" src="{name}.png" alt="Sixteen pictures drawn by {name}" loading="lazy">'
    return f'<li>{title}</div>{picture}<div class="curves">{curves}</div></li>'


def _truth(row: Row) -> str:
    picture = '<img class="strip" src="truth.png" alt="Sixteen true pictures">'
    return f'<li><div><h3>True pictures</h3><p class="soft">{escape(row["summary"])}</p></div>{picture}<div></div></li>'


def _curve(stage: str, points: Sequence[Sequence[float]]) -> str:
    """Return a stage's loss over its seconds as SVG, scaled to the loss after the first tenth."""
    if len(points) < 2:
        return f"<figure><figcaption>{escape(stage)}: too short for a curve</figcaption></figure>"
    calm = sorted(loss for _, loss in points[len(points) // 10 :])
    low, high = calm[0], max(calm[-1], calm[0] + 1e-9)
    end = points[-1][0] or 1
    where = " ".join(
        f"{200 * second / end:.1f},{4 + 56 * (1 - min(1.1, (loss - low) / (high - low))):.1f}"
        for second, loss in points
    )
    label = f"{escape(stage)}: loss {points[0][1]:.3g} → {points[-1][1]:.3g}"
    svg = f'<svg viewBox="0 0 200 64" preserveAspectRatio="none" role="img" aria-label="{label}">'
    return f'<figure>{svg}<polyline points="{where}"/></svg><figcaption>{label}</figcaption></figure>'


def _line(row: Row, kind: str = "") -> str:
    if "error" in row:
        return (
            f'<tr><td>{escape(row["name"])}</td><td>{row["year"]}</td><td colspan="10" class="failed">failed</td></tr>'
        )
    quality = row["quality"]
    cells = [
        escape(row["name"]),
        str(row.get("year", "")),
        row.get("told", ""),
        f"{quality['kid']:.3f} ± {quality['error']:.3f}",
        _seeds(row.get("over_seeds", {})),
        _share(row["asked"]),
        _share(row["known"]),
        "" if row.get("nearest") is None else f"{row['nearest']:.3f}",
        f"{row['parameters'] / 1e6:.2f} M" if "parameters" in row else "",
        f"{row['train_s']:.0f} s{'*' * bool(row.get('not_drawing'))}" if "train_s" in row else "",
        f"{row['sample_s']:.3f} s" if "sample_s" in row else "",
        row.get("walk", ""),
    ]
    return f'<tr class="{kind}">{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'


def _seeds(over: Mapping[str, Any]) -> str:
    """Return the mean of KID over several trainings, and its range."""
    if "kid" not in over:
        return ""
    return f"{over['kid']['mean']:.3f} <small>({over['kid']['least']:.3f} to {over['kid']['most']:.3f})</small>"


def _share(share: Mapping[str, Any] | None) -> str:
    if share is None or share["share"] is None:
        return ""
    return f"{100 * share['share']:.0f}% <small>({100 * share['low']:.0f} to {100 * share['high']:.0f})</small>"


def _chance(terms: Mapping[str, Any]) -> str:
    """Say the level of chance, if it was measured."""
    luck = terms.get("luck")
    return (
        ""
        if luck is None
        else f" Graded against the thing of another picture, {100 * luck['share']:.1f}% are right: chance."
    )

"""Whether synthetic pictures of rare classes help a classifier: its accuracy by group, with and without them.

    python benchmarks/synthesize.py --artwork artwork --out runs/synthesize

Two artists whose drawings the shipped model never saw drew the same things. Pictures of a thing are renders of one
drawing, moved about. A small network learns renders of one artist and is asked about the other's. A random half of
the things is rare: one render each, while a common one has 30. What fills the rare ones up to 30 differs:

    imbalanced   nothing
    rendered     further renders of the same one drawing, which needs no model
    synthetic    pictures that `sumi synthesize` draws, with --agree

The groups are the rare and the common things; the figure is the accuracy of the worse one (fairlearn's group minimum).
Every seed draws the halves, the renders and the weights anew, and both artists are learned in turn. Differences are
paired by seed and artist; intervals are 95 per cent, by bootstrap over these.

The model has drawings of the same things by three other artists inside. So this measures whether what it knows reaches
a classifier, and not whether pictures can be had from nothing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from fairlearn.metrics import MetricFrame
from torch import Tensor, nn

import sumi
from sumi.atomic_file import write_atomic
from sumi.curation.synthesis import Synthesis, SynthesisPlan, parse_classes
from sumi.data.atlas import Atlas, open_vocabulary
from sumi.data.generator import Mix, Scenes
from sumi.data.open_dataset import open_dataset
from sumi.data.picture_array import read_pictures
from sumi.data.plain_scenes import THINGS
from sumi.data.vocabulary import Vocabulary
from sumi.evaluation.intervals import Mean
from sumi.trust.credentials import hash_recipe

ARTISTS = ("emojione", "fxemoji")
COMMON, ASKED, SIZE_PX = 30, 20, 32
STEPS, BATCH, LR = 200, 32, 2e-3
KINDS = ("imbalanced", "rendered", "synthetic")


@cache
def open_wide(artwork: str) -> tuple[Vocabulary, Atlas]:
    """Return the vocabulary in which all artists' drawings are, and its atlas."""
    return open_vocabulary("wide", artwork)


def scenes_of(artwork: str, artist: str, things: Sequence[str], seed: int) -> Scenes:
    """Return scenes of single things drawn by one artist; other drawings go by a name that no vocabulary has."""
    vocabulary, atlas = open_wide(artwork)
    rows = [row if row.hand == artist else replace(row, concept=f"{row.concept}, set aside") for row in atlas.rows]
    return Scenes(Atlas(atlas.folder, tuple(rows)), vocabulary.subset(things), Mix.singles().only("single"), seed)


def shared_things(artwork: str) -> list[str]:
    """Return the plain things that both artists drew."""
    hands: dict[str, set[str]] = {}
    for row in open_wide(artwork)[1].rows:
        hands.setdefault(row.concept, set()).add(row.hand)
    return [name for name in THINGS if set(ARTISTS) <= hands.get(name, set())]


def render_each(scenes: Scenes, things: Sequence[str], count: int) -> dict[str, Tensor]:
    """Return renders of each thing, uint8 (count, 4, S, S)."""
    found: dict[str, list[Any]] = {name: [] for name in things}
    number = 0
    while any(len(some) < count for some in found.values()):
        scene = scenes.scene(number)
        number += 1
        if len(some := found[scene.things[0].concept]) < count:
            some.append(scene)
    return {name: scenes.render(some, SIZE_PX) for name, some in found.items()}


def draw_synthetic(things: Sequence[str], folder: Path, seed: int) -> dict[str, Tensor]:
    """Return pictures of each thing that the shipped model draws, uint8 (N, 4, S, S); the folder keeps them."""
    artist, classes = sumi.load(), parse_classes(things)
    plan = SynthesisPlan(classes, seed, agree=True, model=hash_recipe(artist.model.hashes))
    run = Synthesis(artist, plan, folder, sign=False)
    run.fill({name: COMMON - 1 for name in things}, lambda label, done, of: print(label, done, of, flush=True))
    album = read_pictures(open_dataset(folder), SIZE_PX)
    pictures = torch.from_numpy(album.pictures[:])
    return {name: pictures[[k for k, label in enumerate(album.labels) if label == name]] for name in things}


def network(count: int) -> nn.Sequential:
    """Return a small classifier of pictures (B, 4, 32, 32)."""
    layers: list[nn.Module] = []
    for before, after in ((4, 32), (32, 64), (64, 96)):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(8, after), nn.SiLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Dropout(0.2), nn.Linear(96 * 4, count))


def teach(pictures: Tensor, labels: Tensor, count: int, seed: int) -> nn.Sequential:
    """Return a classifier of so many labels; every label is drawn equally often, so that rare ones are not ignored."""
    torch.manual_seed(seed)
    model, rng = network(count), torch.Generator().manual_seed(seed)
    weights = 1 / torch.bincount(labels, minlength=count)[labels].double()
    optimiser = torch.optim.AdamW(model.parameters(), LR, weight_decay=0.05)
    for step in range(STEPS):
        some = torch.multinomial(weights, BATCH, replacement=True, generator=rng)
        batch = pictures[some].float() / 127.5 - 1
        batch = batch.flip(-1) if step % 2 else batch
        optimiser.zero_grad()
        torch.autograd.backward(F.cross_entropy(model(batch), labels[some]))
        optimiser.step()
    return model.eval()


@torch.no_grad()
def accuracies(
    model: nn.Sequential, asked: dict[str, Tensor], things: Sequence[str], rare: set[str]
) -> dict[str, float]:
    """Return the accuracy of the rare and the common things, and the lower of both."""
    pictures = torch.cat([asked[name] for name in things]).float() / 127.5 - 1
    truth = [name for name in things for _ in asked[name]]
    guess = [things[number] for number in model(pictures).argmax(dim=1).tolist()]
    groups = ["rare" if name in rare else "common" for name in truth]

    def accuracy(true: Any, found: Any) -> float:
        return float((true == found).mean())

    frame = MetricFrame(metrics=accuracy, y_true=truth, y_pred=guess, sensitive_features=groups)
    return {name: float(frame.by_group[name]) for name in ("rare", "common")} | {"worst": float(frame.group_min())}


def run_once(artwork: str, taught: str, things: Sequence[str], made: dict[str, Tensor], seed: int) -> dict[str, Any]:
    """Return the accuracies of the three classifiers for one artist and one seed."""
    other = ARTISTS[1 - ARTISTS.index(taught)]
    own = render_each(scenes_of(artwork, taught, things, 100 + seed), things, COMMON)
    asked = render_each(scenes_of(artwork, other, things, 200 + seed), things, ASKED)
    order = torch.randperm(len(things), generator=torch.Generator().manual_seed(seed)).tolist()
    rare = {things[number] for number in order[: len(things) // 2]}
    found: dict[str, Any] = {"artist": taught, "seed": seed, "rare": sorted(rare)}
    for kind in KINDS:
        shown = []
        for name in things:
            first = own[name] if name not in rare or kind == "rendered" else own[name][:1]
            shown.append(torch.cat([first, made[name]]) if name in rare and kind == "synthetic" else first)
        labels = torch.cat([torch.full((len(some),), number) for number, some in enumerate(shown)])
        found[kind] = accuracies(teach(torch.cat(shown), labels, len(things), seed), asked, things, rare)
    return found


def summarize(runs: Sequence[dict[str, Any]]) -> dict[str, Mean]:
    """Return each figure, and the paired differences of the worse group, over the runs."""
    rows = {
        f"{kind}: {group}": Mean(tuple(run[kind][group] for run in runs), "%")
        for kind in KINDS
        for group in ("rare", "common", "worst")
    }
    for kind, other in (("synthetic", "imbalanced"), ("rendered", "imbalanced"), ("synthetic", "rendered")):
        change = tuple(run[kind]["worst"] - run[other]["worst"] for run in runs)
        rows[f"worst: {kind} - {other}"] = Mean(change, "%")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--artwork", default="artwork")
    parser.add_argument("--out", type=Path, default=Path("runs/synthesize"))
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--things", type=int, default=12, help="of those that both artists drew")
    given = parser.parse_args()
    things = shared_things(given.artwork)[: given.things]
    made = draw_synthetic(things, given.out / "pictures", 0)
    runs = [run_once(given.artwork, artist, things, made, seed) for artist in ARTISTS for seed in range(given.seeds)]
    rows = summarize(runs)
    record = {"things": things, "rows": {name: row.to_json() for name, row in rows.items()}, "runs": runs}
    write_atomic(given.out / "result.json", json.dumps(record, indent=1) + "\n")
    width = max(map(len, rows))
    for name, row in rows.items():
        low, high = row.interval
        print(f"{name:{width}}  {row.as_text(row.value)} ({row.as_text(low)} to {row.as_text(high)}, n = {row.n})")


if __name__ == "__main__":
    main()

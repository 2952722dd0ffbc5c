"""Measures where the layers of a picture lie: accessories on their bearers, relations, counts, and the frame.

    python benchmarks/composition.py --out exams/composition

Draws 40 prompts with fixed seeds, small, without choosing, and measures the alpha of the layers in their places. Writes
`composition.json` and a contact sheet.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import sumi
from sumi.evaluation.intervals import Mean, Share
from sumi.imaging.contact_sheet import contact_sheet
from sumi.imaging.pixels import to_image
from sumi.pipelines.layered import arrange_layers
from sumi.pipelines.layered_image import LayeredImage, place_layer
from sumi.pipelines.steps import drive_to_end

Mask = NDArray[np.bool_]

PROMPTS: Mapping[str, Sequence[tuple[str, str, str]]] = {
    "hat": [
        ("a cat with a crown", "cat", "crown"), ("a dog wearing a top hat", "dog", "top hat"),
        ("a penguin wearing a top hat", "penguin", "top hat"), ("an owl with a crown", "owl", "crown"),
        ("a red fox wearing a top hat", "fox", "top hat"), ("a frog with a crown", "frog", "crown"),
        ("a horse wearing a top hat", "horse", "top hat"), ("a bear with a crown", "bear", "crown"),
        ("a duck wearing a top hat", "duck", "top hat"), ("an elephant with a crown", "elephant", "crown"),
        ("a pig wearing a top hat", "pig", "top hat"), ("a snowman with a crown", "snowman", "crown"),
        ("a tiger wearing a graduation cap", "tiger", "graduation cap"), ("a robot with a crown", "robot", "crown"),
    ],
    "glasses": [
        ("a cat wearing sunglasses", "cat", "sunglasses"), ("a fox wearing glasses", "fox", "glasses"),
        ("a penguin wearing sunglasses", "penguin", "sunglasses"), ("a bear wearing glasses", "bear", "glasses"),
    ],
    "scarf": [
        ("a dog wearing a scarf", "dog", "scarf"), ("a penguin wearing a scarf", "penguin", "scarf"),
    ],
    "holding": [
        ("a bear holding a balloon", "bear", "balloon"), ("a monkey holding a banana", "monkey", "banana"),
    ],
    "touching": [
        ("a cat touching a dog", "cat", "dog"), ("a red apple touching a banana", "apple", "banana"),
        ("a fish touching a star", "fish", "star"),
    ],
    "on": [
        ("a bird on a house", "bird", "house"), ("a frog on a skateboard", "frog", "skateboard"),
        ("three birds on a tree", "bird", "tree"),
    ],
    "inside": [
        ("a cat in a box", "cat", "box"), ("a dog inside a house", "dog", "house"),
        ("a fish in a bathtub", "fish", "bathtub"),
    ],
    "under": [
        ("2 elephants under a tree", "elephant", "tree"), ("a cat under an umbrella", "cat", "umbrella"),
        ("two rabbits under a tree", "rabbit", "tree"),
    ],
    "between": [
        ("a dog between a tree and a house", "dog", "tree"), ("a cat between two stars", "cat", "star"),
        ("an owl between a pumpkin and a cactus", "owl", "cactus"),
    ],
    "behind": [
        ("a dog behind a tree", "dog", "tree"), ("a cat behind a house", "cat", "house"),
        ("two ghosts behind a pumpkin", "ghost", "pumpkin"),
    ],
}  # fmt: skip


def draw_layers(artist: sumi.Sumi, prompts: Sequence[str], seeds: Sequence[int]) -> list[LayeredImage]:
    """Draw prompts small, one a seed, and return their layers."""
    pipeline = artist.pipeline
    steps = arrange_layers(pipeline, prompts, seeds)
    text = steps.encode(prompts)
    z_i = drive_to_end(steps.sample_prior(text, seeds))
    drawn = drive_to_end(steps.sample_decoder(text, z_i, seeds))
    return [one if isinstance(one, LayeredImage) else LayeredImage((one,)) for one in drawn]


def masks_of(image: LayeredImage, noun: str) -> list[Mask]:
    """Return where each drawing of a thing covers the canvas."""
    layers = () if image.composition is None else image.composition.layers
    for layer, sticker in zip(layers, image.stickers, strict=False):
        if f" {noun} " in f" {layer.prompt} ":
            return [place_layer(sticker, spot)[3].numpy() > 0.06 for spot in layer.spots]
    return []


def beyond_frame(image: LayeredImage) -> float:
    """Return how far a layer reaches beyond the frame, in frames."""
    far = 0.0
    for layer, sticker in zip(
        () if image.composition is None else image.composition.layers, image.stickers, strict=False
    ):
        rows, columns = np.nonzero(sticker[3].numpy() > 16)
        if not len(rows):
            continue
        high, wide = np.ptp(rows) + 1, np.ptp(columns) + 1
        for x, y, side in layer.spots:
            w, h = side * wide / max(wide, high), side * high / max(wide, high)
            far = max(far, w / 2 - x, h / 2 - y, x + w / 2 - 1, y + h / 2 - 1)
    return far


def box(mask: Mask) -> tuple[float, float, float, float]:
    """left, top, right, bottom of a mask, in frames."""
    rows, columns = np.nonzero(mask)
    return (
        columns.min() / mask.shape[1],
        rows.min() / mask.shape[0],
        (columns.max() + 1) / mask.shape[1],
        (rows.max() + 1) / mask.shape[0],
    )


def distance(one: Mask, other: Mask) -> float:
    """The distance between two masks, in frames; 0 where they touch or overlap."""
    a, b = np.argwhere(one), np.argwhere(other)
    near = np.sqrt(((a[:, None, :] - b[None, :, :]) ** 2).sum(axis=2).min())
    return float(max(0.0, float(near) - 1.5) / one.shape[0])


def gap_above(bearer: Mask, hat: Mask) -> float:
    """How far a hat is above the outline of its bearer at its middle third, in frames; negative where it sinks."""
    left, _, right, bottom = box(hat)
    size = hat.shape[0]
    columns = range(round((left + (right - left) / 3) * size), max(1, round((right - (right - left) / 3) * size)))
    tops = [bearer[:, column].argmax() for column in columns if bearer[:, column].any()]
    return 1.0 if not tops else float(np.median(tops)) / size - bottom


def measure(kind: str, one: list[Mask], other: list[Mask]) -> dict[str, float]:
    """Return the figures of a picture by its kind; `right` is 1 where the relation is as it is said."""
    if not one or not other or not all(mask.any() for mask in (*one, *other)):
        return {"right": 0.0}
    a, b = one[0], other[0]
    (left, top, right, bottom), (l2, t2, r2, b2) = box(np.logical_or.reduce(one)), box(np.logical_or.reduce(other))
    middle = (left + right) / 2
    shared = float((a & b).sum())
    if kind in ("hat", "glasses", "scarf", "holding"):
        overlap, gap = shared / float(b.sum()), gap_above(a, b)
        good = {"hat": -0.16 <= gap <= 0.02 and overlap > 0.02, "holding": 0.02 < overlap < 0.75}.get(
            kind, overlap > 0.7
        )
        return {"right": float(good), f"overlap, {kind}": overlap} | (
            {"gap": abs(gap), "floating": float(gap > 0.02)} if kind == "hat" else {}
        )
    if kind == "touching":
        return {
            "right": float(distance(a, b) == 0 and shared / float(min(a.sum(), b.sum())) < 0.2),
            "distance": distance(a, b),
        }
    if kind == "on":
        far = [min(distance(mask, b), 1.0) for mask in one]
        return {"right": float(max(far) == 0 and bottom < b2 and (top + bottom) < (t2 + b2)), "distance, on": max(far)}
    if kind == "inside":
        return {
            "right": float(shared / float(a.sum()) > 0.3 and l2 - 0.02 <= left and right <= r2 + 0.02),
            "share inside": shared / float(a.sum()),
        }
    if kind == "under":
        return {
            "right": float(
                l2 - 0.15 <= left and right <= r2 + 0.15 and top + bottom > t2 + b2 and distance(a, b) < 0.03
            )
        }
    if kind == "between":
        return {"right": float(l2 < middle < r2 if len(other) > 1 else not l2 < middle < r2)}
    return {"right": float(0.05 < shared / float(a.sum()) < 0.6), "share hidden": shared / float(a.sum())}


COUNTS = {"2": 2, "two": 2, "three": 3}


def main() -> None:
    """Draw, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--kind", action="append", choices=PROMPTS, help="repeatable; default all")
    parser.add_argument("--first-seed", type=int, default=7)
    parser.add_argument("--out", type=Path, default=Path("exams/composition"))
    given = parser.parse_args()
    artist = sumi.load(given.model)
    if not isinstance(artist, sumi.Sumi):
        parser.error(f"{given.model} does not draw in layers: name a sticker model")
    asked = [
        (kind, *one, given.first_seed + seed)
        for kind in given.kind or PROMPTS
        for one in PROMPTS[kind]
        for seed in range(given.seeds)
    ]
    figures: defaultdict[str, list[float]] = defaultdict(list)
    pictures, said, rows = [], [], []
    for start in range(0, len(asked), 8):
        some = asked[start : start + 8]
        with torch.no_grad():
            drawn = draw_layers(artist, [artist.as_drawn(prompt) for _, prompt, *_ in some], [one[-1] for one in some])
        for (kind, prompt, noun, other, seed), image in zip(some, drawn, strict=True):
            found = measure(kind, masks_of(image, noun), masks_of(image, other))
            wanted = next((COUNTS[word] for word in prompt.split() if word in COUNTS), None)
            counted = other if prompt == "a cat between two stars" else noun
            if wanted is not None:
                found["count"] = float(len(masks_of(image, counted)) == wanted)
            found["cut off"] = float(beyond_frame(image) > 0.016)
            for name, value in found.items():
                figures[f"{kind}: right" if name == "right" else name].append(value)
            rows.append({"kind": kind, "prompt": prompt, "seed": seed, **found})
            pictures.append(to_image(image.flat(), (255, 255, 255)).resize((160, 160)))
            said.append(f"{prompt} {seed}" + ("" if found["right"] else " ✗"))
        print(f"{len(rows)}/{len(asked)}", flush=True)
    given.out.mkdir(parents=True, exist_ok=True)
    contact_sheet(pictures, said, columns=8).save(given.out / "composition.png")
    shares = {name: all(value in (0.0, 1.0) for value in values) for name, values in figures.items()}
    table: dict[str, Any] = {
        name: (Share.of(map(bool, v)) if shares[name] else Mean(tuple(v))) for name, v in figures.items()
    }
    for name, value in table.items():
        low, high = value.interval
        print(f"{name:20} {value.as_text(value.value)} ({value.as_text(low)} to {value.as_text(high)}, n = {value.n})")
    record = {
        "model": artist.model.name,
        "rows": {name: value.to_json() for name, value in table.items()},
        "pictures": rows,
    }
    (given.out / "composition.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

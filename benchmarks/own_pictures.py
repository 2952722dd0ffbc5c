"""Whether one command turns a folder of captioned pictures into a model: draw with it, and let a classifier look.

    python benchmarks/own_pictures.py --minutes 40                  # 2,000 pictures, the preset tiny
    python benchmarks/own_pictures.py --render-only --pictures 300  # only the folder

The pictures are painted here, of shapes in colours and patterns that no other part of Sumi draws. Some combinations of
shape, colour and pattern are left out of the folder and asked for at the end. The classifier, a small convolutional
network, learns from other pictures of the same painter and has nothing in common with the model.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor, nn

from sumi.evaluation.intervals import wilson

Point = tuple[float, float]

SIDE, SHOWN = 128, 64
COLOURS = {
    "crimson": (200, 20, 50), "amber": (245, 165, 20), "lime": (140, 210, 30), "teal": (0, 130, 130),
    "navy": (20, 35, 110), "violet": (140, 60, 200), "pink": (245, 130, 180), "brown": (120, 75, 40),
}  # fmt: skip
PATTERNS = ("plain", "striped", "dotted")
SHAPES = (
    "disc", "square", "triangle", "pentagram", "ring", "cross", "crescent", "hexagon", "arrowhead", "hourglass",
    "lozenge", "gear",
)  # fmt: skip
TEMPLATES = ("a {p} {c} {s}", "{s}, {c}, {p}", "one {c} {s} that is {p}", "a {c} {p} {s}")
Thing = tuple[str, str, str]
THINGS: tuple[Thing, ...] = tuple((s, c, p) for s in SHAPES for c in COLOURS for p in PATTERNS)
HELD_OUT = frozenset(THINGS[7::11])
"""Combinations that no picture of the folder shows, though their parts are all there."""


def polygon(count: int, radii: tuple[float, ...], turn: float = 0.0) -> list[Point]:
    steps = (2 * math.pi * (k / count) + turn - math.pi / 2 for k in range(count))
    return [(radii[k % len(radii)] * math.cos(a), radii[k % len(radii)] * math.sin(a)) for k, a in enumerate(steps)]


OUTLINES: dict[str, list[Point]] = {
    "square": [(-0.75, -0.75), (0.75, -0.75), (0.75, 0.75), (-0.75, 0.75)],
    "triangle": polygon(3, (1.0,)),
    "pentagram": polygon(10, (1.0, 0.4)),
    "cross": [(-0.3, -1), (0.3, -1), (0.3, -0.3), (1, -0.3), (1, 0.3), (0.3, 0.3), (0.3, 1), (-0.3, 1), (-0.3, 0.3),
              (-1, 0.3), (-1, -0.3), (-0.3, -0.3)],
    "hexagon": polygon(6, (0.95,)),
    "arrowhead": [(0, -1), (0.9, 0.9), (0, 0.4), (-0.9, 0.9)],
    "hourglass": [(-0.8, -1), (0.8, -1), (0.15, 0), (0.8, 1), (-0.8, 1), (-0.15, 0)],
    "lozenge": [(0, -1), (0.55, 0), (0, 1), (-0.55, 0)],
    "gear": polygon(32, (1.0, 1.0, 0.75, 0.75)),
}  # fmt: skip


def paint(thing: Thing, rng: random.Random) -> Image.Image:
    """Paint a thing at a place, a size and a turn of its own, on a clear background."""
    shape, colour, pattern = thing
    big = 2 * SIDE
    radius, turn = big * rng.uniform(0.3, 0.44), rng.uniform(-0.25, 0.25)
    x, y = (big / 2 + rng.uniform(-0.04, 0.04) * big for _ in "xy")
    mask = Image.new("L", (big, big))
    draw = ImageDraw.Draw(mask)
    if shape in OUTLINES:
        cos, sin = math.cos(turn), math.sin(turn)
        points = [(x + radius * (a * cos - b * sin), y + radius * (a * sin + b * cos)) for a, b in OUTLINES[shape]]
        draw.polygon(points, fill=255)
    else:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=255)
        hole = {"ring": (0.0, 0.55), "crescent": (0.45, 0.85)}.get(shape)
        if hole:
            off, inner = hole[0] * radius, hole[1] * radius
            cx, cy = x + off * math.cos(turn), y + off * math.sin(turn)
            draw.ellipse((cx - inner, cy - inner, cx + inner, cy + inner), fill=0)
    base = np.array(COLOURS[colour], dtype=float) + rng.uniform(-12, 12)
    pixels = np.empty((big, big, 4), dtype=np.uint8)
    pixels[..., :3] = np.where(marks(pattern, big, rng)[..., None], 255 - 0.25 * (255 - base), base).clip(0, 255)
    pixels[..., 3] = np.asarray(mask)
    return Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BOX)


def marks(pattern: str, side: int, rng: random.Random) -> np.ndarray:
    """Where the light marks of a pattern are."""
    y, x = np.mgrid[:side, :side] / side
    period, phase = rng.uniform(0.15, 0.18), rng.random()
    if pattern == "striped":
        return np.asarray(((x + y) / period + phase) % 1 < 0.4)
    if pattern == "dotted":
        return np.asarray(((x / period + phase) % 1 - 0.5) ** 2 + ((y / period + phase) % 1 - 0.5) ** 2 < 0.075)
    return np.zeros((side, side), dtype=bool)


def caption_of(thing: Thing, template: str) -> str:
    shape, colour, pattern = thing
    return template.format(s=shape, c=colour, p=pattern)


def write_folder(folder: Path, count: int, seed: int = 1) -> None:
    """Write captioned pictures of things that are not held out."""
    rng = random.Random(seed)
    shown = [thing for thing in THINGS if thing not in HELD_OUT]
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number in range(count):
        thing = shown[number % len(shown)] if number < len(shown) else rng.choice(shown)
        name = f"{number:05d}.png"
        paint(thing, rng).save(folder / name)
        lines.append(json.dumps({"file_name": name, "text": caption_of(thing, rng.choice(TEMPLATES))}))
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n")


# The classifier ----------------------------------------------------------------------------------------------


class Classifier(nn.Module):
    """Shape, colour and pattern of a picture (B, 4, 64, 64) in [0, 1], premultiplied."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inner, outer in ((4, 24), (24, 48), (48, 96), (96, 128)):
            layers += [nn.Conv2d(inner, outer, 3, padding=1), nn.BatchNorm2d(outer), nn.ReLU(), nn.MaxPool2d(2)]
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Linear(128 * 16, 128), nn.ReLU(), nn.Dropout(0.2))
        self.heads = nn.ModuleList(nn.Linear(128, count) for count in (len(SHAPES), len(COLOURS), len(PATTERNS)))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the logits of shape, colour and pattern."""
        h = self.body(x)
        return [head(h) for head in self.heads]


def as_tensor(image: Image.Image) -> Tensor:
    small = image.convert("RGBA").convert("RGBa").resize((SHOWN, SHOWN), Image.Resampling.BOX)
    return torch.from_numpy(np.asarray(small).transpose(2, 0, 1).copy()).float() / 255


def numbers_of(thing: Thing) -> Tensor:
    return torch.tensor([SHAPES.index(thing[0]), list(COLOURS).index(thing[1]), PATTERNS.index(thing[2])])


def paint_batch(count: int, seed: int) -> tuple[Tensor, Tensor]:
    rng = random.Random(seed)
    things = [rng.choice(THINGS) for _ in range(count)]
    return torch.stack([as_tensor(paint(thing, rng)) for thing in things]), torch.stack(list(map(numbers_of, things)))


def train_classifier(count: int = 3000, epochs: int = 12) -> tuple[Classifier, float]:
    """Return the classifier, and how often it names all three of new true pictures."""
    torch.manual_seed(0)
    x, y = paint_batch(count, seed=101)
    net = Classifier()
    optimiser = torch.optim.AdamW(net.parameters(), lr=2e-3)
    for _ in range(epochs):
        for rows in torch.split(torch.randperm(count), 64):
            noisy = x[rows] + 0.05 * torch.rand(()) * torch.randn_like(x[rows])
            loss = sum(F.cross_entropy(out, y[rows, head]) for head, out in enumerate(net(noisy)))
            optimiser.zero_grad()
            loss.backward()  # type: ignore[union-attr]
            optimiser.step()
    net.eval()
    truth, named = paint_batch(300, seed=102)
    return net, float((classify(net, truth) == named).all(dim=1).float().mean())


@torch.no_grad()
def classify(net: Classifier, x: Tensor) -> Tensor:
    return torch.stack([out.argmax(dim=1) for out in net(x)], dim=1)


# Drawing and marking -----------------------------------------------------------------------------------------


def draw(model: Path, things: list[Thing], sheet: Path) -> Tensor:
    """Draw a picture of each thing, and write them on a sheet."""
    import sumi

    artist = sumi.load(str(model))
    images = [artist.generate(caption_of(t, TEMPLATES[0]), seed=k, size=SHOWN)[0].image for k, t in enumerate(things)]
    columns = 12
    page = Image.new("RGB", (columns * SHOWN, math.ceil(len(images) / columns) * SHOWN), "white")
    for number, image in enumerate(images):
        small = image.convert("RGBA").resize((SHOWN, SHOWN), Image.Resampling.BOX)
        page.paste(small, (number % columns * SHOWN, number // columns * SHOWN), small)
    sheet.parent.mkdir(parents=True, exist_ok=True)
    page.save(sheet)
    return torch.stack(list(map(as_tensor, images)))


def share(hits: Tensor) -> dict[str, object]:
    low, high = wilson(int(hits.sum()), len(hits))
    return {"share": round(float(hits.float().mean()), 3), "interval": [round(low, 3), round(high, 3)], "n": len(hits)}


def mark(net: Classifier, model: Path, things: list[Thing], sheet: Path) -> dict[str, object]:
    """How often shape, colour, pattern and all three are recognised in drawings of some things."""
    right = classify(net, draw(model, things, sheet)) == torch.stack(list(map(numbers_of, things)))
    columns = {"shape": right[:, 0], "colour": right[:, 1], "pattern": right[:, 2], "all": right.all(dim=1)}
    return {name: share(hits) for name, hits in columns.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--minutes", type=float, default=40)
    parser.add_argument("--folder", type=Path, default=Path("runs/own-pictures"))
    parser.add_argument("--preset", default="tiny")
    parser.add_argument("--from-scratch", action="store_true")
    parser.add_argument("--render-only", action="store_true")
    parser.add_argument("--mark-only", action="store_true", help="The model is there: only draw and mark.")
    parser.add_argument("-n", type=int, default=48, help="Drawings of things that the folder shows; half as many more.")
    options = parser.parse_args()
    pictures, model = options.folder / "pictures", options.folder / "model"
    if not (pictures / "metadata.jsonl").exists():
        write_folder(pictures, options.pictures)
    if options.render_only:
        return
    began = time.perf_counter()
    if not options.mark_only:
        command = [sys.executable, "-m", "sumi", "train", "unclip", "--data", str(pictures), "--out", str(model)]
        command += ["--licence", "own work"]
        command += ["--preset", options.preset, "--minutes", str(options.minutes), "--run", str(options.folder / "run")]
        subprocess.run([*command, *(["--from-scratch"] if options.from_scratch else [])], check=True)
    trained = time.perf_counter() - began
    net, ceiling = train_classifier()
    rng = random.Random(5)
    shown = rng.sample([thing for thing in THINGS if thing not in HELD_OUT], options.n)
    unseen = rng.sample(sorted(HELD_OUT), min(len(HELD_OUT), options.n // 2))
    result = {
        "pictures": options.pictures,
        "preset": options.preset,
        "from_scratch": options.from_scratch,
        "minutes": round(trained / 60, 1),
        "true pictures, all three": round(ceiling, 3),
        "shown": mark(net, model, shown, options.folder / "shown.png"),
        "held out": mark(net, model, unseen, options.folder / "held-out.png"),
    }
    text = json.dumps(result, indent=1)
    (options.folder / "result.json").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()

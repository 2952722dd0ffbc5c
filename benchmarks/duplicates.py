"""How many planted copies `sumi data dedup` finds, and how many of the pairs that it reports are copies.

    python benchmarks/duplicates.py [--artwork artwork] [-n 200] [--seed 0] [--methods perceptual] [--json FILE]

Originals are n drawings of the artwork and n pictures that stand for photographs: coloured noise with a spectrum of 1/f
and shapes in it. Each original has one copy by each transform, with random strength, and is compared with all originals
and all copies of that transform. Among the drawings are many that look alike, such as faces. hash_recall and hash_false
are those of `sumi rights who-saw`, which has hashes alone: copies that it finds, and copies that it takes for a copy of
another picture. Intervals are Wilson's, 95 per cent.
"""

from __future__ import annotations

import argparse
import colorsys
import io
import json
import random
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from sumi.curation.duplicates import find_pairs
from sumi.curation.embedding import embed_views, load_clip
from sumi.curation.fingerprint import hash_bits
from sumi.curation.picture_rights import NEAR_BITS
from sumi.curation.scan import PictureScan, scan_record
from sumi.curation.training_manifest import query_bits
from sumi.data.artwork import load_artwork, render
from sumi.data.picture_dataset import make_record
from sumi.evaluation.intervals import Share

SIZE_PX = 256
SAME_TO_THE_EYE = (
    "skin-tone",
    "-tone",
    "flag",
    "clock",
    "oclock",
    "thirty",
    "person",
    "man-",
    "woman-",
    "men-",
    "women-",
)
Transform = Callable[[Image.Image, random.Random], Image.Image]


def resize(image: Image.Image, rng: random.Random) -> Image.Image:
    side = round(SIZE_PX * rng.uniform(0.3, 0.8))
    return image.resize((side, side), Image.Resampling.LANCZOS)


def jpeg(image: Image.Image, rng: random.Random) -> Image.Image:
    file = io.BytesIO()
    flatten(image).save(file, "JPEG", quality=rng.randint(30, 80))
    return Image.open(io.BytesIO(file.getvalue())).convert("RGBA")


def crop(image: Image.Image, rng: random.Random) -> Image.Image:
    """Cut up to 8 per cent of each side of what the picture shows."""
    left, top, right, bottom = image.getchannel("A").getbbox() or (0, 0, *image.size)
    cut = [rng.uniform(0, 0.08) * side for side in (right - left, bottom - top, right - left, bottom - top)]
    return image.crop((round(left + cut[0]), round(top + cut[1]), round(right - cut[2]), round(bottom - cut[3])))


def mirror(image: Image.Image, rng: random.Random) -> Image.Image:
    return ImageOps.mirror(image)


def colour(image: Image.Image, rng: random.Random) -> Image.Image:
    """Change brightness and saturation by up to 20 per cent, and the hue by up to 10 degrees."""
    alpha, hsv = image.getchannel("A"), image.convert("RGB").convert("HSV")
    hue, saturation, value = hsv.split()
    turn = round(rng.uniform(-10, 10) / 360 * 255)
    turned = Image.merge("HSV", (hue.point(lambda level: (level + turn) % 256), saturation, value)).convert("RGB")
    changed = ImageEnhance.Color(ImageEnhance.Brightness(turned).enhance(rng.uniform(0.8, 1.2)))
    result = changed.enhance(rng.uniform(0.8, 1.2)).convert("RGBA")
    result.putalpha(alpha)
    return result


def border(image: Image.Image, rng: random.Random) -> Image.Image:
    """Put an even border around it, of 3 to 15 per cent, in any colour; what was transparent takes its colour."""
    width = round(SIZE_PX * rng.uniform(0.03, 0.15))
    ground = tuple(round(255 * level) for level in colorsys.hsv_to_rgb(rng.random(), rng.random(), rng.random()))
    page = Image.new("RGBA", (image.width + 2 * width, image.height + 2 * width), (*ground, 255))
    inner = flatten(image).convert("RGBA")
    page.paste(inner, (width, width))
    return page


TRANSFORMS: dict[str, Transform] = {
    "resize": resize, "jpeg": jpeg, "crop": crop, "mirror": mirror, "colour": colour, "border": border,
}  # fmt: skip


def flatten(image: Image.Image) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def draw_photograph(seed: int) -> Image.Image:
    """Return coloured noise with a spectrum of 1/f, and some shapes."""
    rng = np.random.default_rng(seed)
    waves = np.hypot(*np.meshgrid(np.fft.fftfreq(SIZE_PX), np.fft.fftfreq(SIZE_PX)))
    waves[0, 0] = 1
    spectrum = np.fft.fft2(rng.standard_normal((3, SIZE_PX, SIZE_PX))) / waves ** rng.uniform(1.0, 1.6)
    field = np.fft.ifft2(spectrum).real
    field = np.einsum("ij,jhw->ihw", rng.standard_normal((3, 3)) * 0.4 + np.eye(3), field)
    field = (field - field.mean()) / field.std() * 50 + 128
    image = Image.fromarray(field.clip(0, 255).astype(np.uint8).transpose(1, 2, 0)).convert("RGBA")
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(0, 5)):
        x, y, w, h = rng.uniform(0, SIZE_PX, 2).tolist() + rng.uniform(20, 120, 2).tolist()
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape((x, y, x + w, y + h), fill=tuple(rng.integers(0, 256, 3).tolist()))
    return image


def draw_artwork(folder: Path, count: int, rng: random.Random) -> list[Image.Image]:
    """Return drawings without variants that only differ in skin, hour or a word, each of another pixel content."""
    arts = [art for art in load_artwork(folder) if not any(sign in art.name for sign in SAME_TO_THE_EYE)]
    rng.shuffle(arts)
    images = []
    for art in arts[:count]:
        pixels = render(art.svg, SIZE_PX).transpose(1, 2, 0)
        images.append(
            Image.frombuffer("RGBa", (SIZE_PX, SIZE_PX), np.ascontiguousarray(pixels).tobytes()).convert("RGBA")
        )
    return images


def scan(image: Image.Image, name: str) -> PictureScan:
    file = io.BytesIO()
    image.save(file, "PNG")
    return scan_record(make_record(name, {}, file.getvalue, ("", 0)))


def measure(originals: list[PictureScan], copies: list[PictureScan], methods: list[str], embed: Any) -> dict[str, Any]:
    """Return recall and precision over the pairs that are found among originals and copies."""
    count = len(originals)
    pairs = {(pair.kept, pair.other) for pair in find_pairs([*originals, *copies], methods, embed)}
    found = [(number, number + count) in pairs for number in range(count)]
    wrong = sorted((a, b) for a, b in pairs if b - a != count)
    return {
        "recall": Share.of(found).to_json(),
        "precision": Share.of([True] * sum(found) + [False] * len(wrong)).to_json(),
        "missed": [originals[n].name for n, hit in enumerate(found) if not hit],
        "wrong": [[[*originals, *copies][n].name for n in pair] for pair in wrong],
    }


def measure_hashes(originals: list[PictureScan], copies: list[Image.Image]) -> dict[str, Any]:
    """Return how many copies `sumi rights who-saw` finds by hash alone, and how many it takes for another picture."""
    known = hash_bits([scan.fingerprint.phash for scan in originals])
    least = 1 - 2 * NEAR_BITS / 256
    near = np.array([(known @ query_bits(copy).T).max(axis=1) >= least for copy in copies])
    found, others = near.diagonal().tolist(), (near.sum(axis=1) - near.diagonal() > 0).tolist()
    return {"hash_recall": Share.of(found).to_json(), "hash_false": Share.of(others).to_json()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Recall and precision on planted copies.")
    parser.add_argument("--artwork", type=Path, default=Path("artwork"))
    parser.add_argument("-n", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--methods", default="perceptual,embedding", help="Or none: only who-saw is measured.")
    parser.add_argument("--json", type=Path)
    wish = parser.parse_args()
    torch.set_num_threads(1)
    rng = random.Random(wish.seed)
    images = draw_artwork(wish.artwork, wish.n, rng)
    images += [draw_photograph(1_000_000 * wish.seed + number) for number in range(wish.n)]
    names = [f"{'drawing' if number < wish.n else 'photograph'} {number}" for number in range(len(images))]
    originals = [scan(image, name) for image, name in zip(images, names, strict=True)]
    methods = wish.methods.split(",")
    embed = partial(embed_views, clip=load_clip(None)[1]) if "embedding" in methods else None
    results: dict[str, Any] = {"n": len(images), "seed": wish.seed, "methods": methods, "transforms": {}}
    for name, transform in TRANSFORMS.items():
        copies = [transform(image, rng) for image in images]
        scans = [scan(copy, f"{name} of {text}") for copy, text in zip(copies, names, strict=True)]
        result = measure(originals, scans, methods, embed) if methods != ["none"] else {}
        result |= measure_hashes(originals, copies)
        results["transforms"][name] = result
        shares = "  ".join(
            f"{what} {result[what]['share']:.3f} ({result[what]['low']:.3f} to {result[what]['high']:.3f})"
            for what in ("recall", "precision", "hash_recall", "hash_false")
            if what in result
        )
        print(f"{name:8} {shares}", flush=True)
    if wish.json:
        wish.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()

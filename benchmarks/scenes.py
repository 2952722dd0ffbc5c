"""How many scenes a second the generator draws on one core (or on a GPU), and where the time goes.

python benchmarks/scenes.py --artwork artwork [--mix cpu] [--size 64] [--count 4096] [--device cpu]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import torch

from sumi.data.artwork import load_artwork
from sumi.data.atlas import build_atlas
from sumi.data.generator import Mix, Scenes
from sumi.data.vocabulary import Vocabulary


def seconds(work: Callable[[], object], device: str) -> float:
    """Wall time of `work`, the device drained."""
    began = time.perf_counter()
    work()
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description="Scenes a second.")
    parser.add_argument("--artwork", type=Path, default=Path("artwork"))
    parser.add_argument("--mix", default="cpu")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--count", type=int, default=4096)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--device", default="cpu")
    wish = parser.parse_args()
    torch.set_num_threads(1)
    artworks = load_artwork(wish.artwork)
    vocabulary = Vocabulary.everyday(artworks)
    atlas = build_atlas(vocabulary, artworks, wish.artwork / "cache")
    scenes = Scenes(atlas, vocabulary, Mix.named(wish.mix), device=wish.device)
    scenes.batch(0, wish.batch, wish.size)

    numbers = range(wish.count)
    drawn = [scenes.scene(number) for number in numbers]

    def render() -> None:
        for first in range(0, wish.count, wish.batch):
            scenes.render(drawn[first : first + wish.batch], wish.size)

    parts = {
        "compose": seconds(lambda: [scenes.scene(number) for number in numbers], wish.device),
        "caption": seconds(lambda: [scenes.caption(drawn[k], k) for k in numbers], wish.device),
        "render": seconds(render, wish.device),
    }
    for name, spent in parts.items():
        print(f"{name:8} {spent / wish.count * 1e6:8.0f} us a scene")
    print(f"{wish.count / sum(parts.values()):8.0f} scenes a second ({wish.mix}, {wish.size} px, {wish.device})")


if __name__ == "__main__":
    main()

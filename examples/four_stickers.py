"""Four prompts, four stickers: what `make run` draws, and the whole Python interface in a few lines."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import sumi

PROMPTS = {
    "fox": "a fox",
    "butterfly": "a blue butterfly",
    "whale": "a whale",
    "panda": "a panda",
}


def main(folder: Path = Path("pictures")) -> None:
    """Draw each prompt into `folder` and say where it is."""
    folder.mkdir(parents=True, exist_ok=True)
    artist = sumi.load()
    for name, prompt in PROMPTS.items():
        started = time.perf_counter()
        (path,) = artist.generate(prompt, seed=7).save(folder / f"{name}.png")
        print(f"{path.resolve()}  {prompt}, {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    try:
        main()
    except sumi.SumiError as error:
        sys.exit(f"error: {error}")

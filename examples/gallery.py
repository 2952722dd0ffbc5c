"""A wall of prompts, a sticker each with its words below: `python examples/gallery.py [OUT] [PROMPTS.txt]`."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

import sumi

PROMPTS = (
    "a fox", "an astronaut riding a horse", "an umbrella", "a penguin wearing a top hat", "a castle",
    "a blue butterfly", "two cats and three dogs", "a strawberry", "a rocket above a mountain", "a pink elephant",
    "a whale", "five stars on a purple background", "a cactus", "a monkey riding a bicycle", "a telephone",
    "a teddy bear holding a balloon", "a birthday cake", "a snowman under a rainbow", "an airplane",
    "a cat left of a dog", "a broken heart", "a panda", "a frog and a mushroom", "an owl",
)  # fmt: skip
CELL_PX, COLUMNS, SEED = 160, 8, 7


def wall(prompts: tuple[str, ...], columns: int = COLUMNS) -> Image.Image:
    """Draw every prompt with the same seed and hang them side by side."""
    artist, font = sumi.load(), ImageFont.load_default(size=13)
    rows = -(-len(prompts) // columns)
    page = Image.new("RGB", (columns * CELL_PX, rows * (CELL_PX + 40)), "white")
    draw = ImageDraw.Draw(page)
    for number, prompt in enumerate(prompts):
        x, y = number % columns * CELL_PX, number // columns * (CELL_PX + 40)
        picture = artist.generate(prompt, seed=SEED)[0].image.convert("RGBA").resize((CELL_PX - 16, CELL_PX - 16))
        page.paste(picture, (x + 8, y + 8), picture)
        for line, words in enumerate(textwrap.wrap(prompt, 22)[:2]):
            width = draw.textlength(words, font=font)
            draw.text((x + (CELL_PX - width) / 2, y + CELL_PX - 4 + 16 * line), words, fill="#444", font=font)
    return page


if __name__ == "__main__":
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "pictures/gallery.png")
    chosen = tuple(Path(sys.argv[2]).read_text("utf-8").splitlines()) if len(sys.argv) > 2 else PROMPTS
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        wall(chosen).save(out, optimize=True)
    except sumi.SumiError as error:
        sys.exit(f"error: {error}")
    print(out.resolve())

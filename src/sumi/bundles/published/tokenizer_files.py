"""The files of tokenizers, by the names under which they are published."""

from __future__ import annotations

from pathlib import Path
from typing import Final

CLIP_FILES: Final = ("tokenizer.json", "vocab.json")
"""One of these is in every folder of CLIP's tokenizer."""
BPE_FILES: Final = (("encoder.json", "vocab.bpe"), ("vocab.json", "merges.txt"))
"""The tokens and the merges of a byte-pair encoding: as OpenAI calls them, and as transformers does."""
COMPRESSED: Final = ".gz"


def find_bpe(folder: Path) -> tuple[Path, Path] | None:
    """Return the tokens and the merges of a byte-pair encoding, each perhaps compressed; None where one is missing."""
    for tokens, merges in BPE_FILES:
        found = [first_file(folder, name) for name in (tokens, merges)]
        if found[0] is not None and found[1] is not None:
            return found[0], found[1]
    return None


def first_file(folder: Path, name: str) -> Path | None:
    """Return a file as it is, or compressed; None where there is neither."""
    return next((path for end in ("", COMPRESSED) if (path := folder / f"{name}{end}").is_file()), None)

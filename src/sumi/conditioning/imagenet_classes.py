"""The classes of ImageNet by name, for networks that were trained on them and are told a number.

The classes of ILSVRC 2012 (Russakovsky et al. 2015, arXiv 1409.0575) are synsets of WordNet 3.0, numbered in the order
of their ids. `imagenet_classes.tsv` has a line for each: the id, and the synset's lemmas.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from importlib import resources
from typing import Final

__all__ = ["IMAGENET_CLASSES", "class_name", "close_names", "find_classes"]

IMAGENET_CLASSES: Final = 1000
"""How many classes there are."""


@cache
def _lemmas() -> tuple[tuple[str, ...], ...]:
    table = (resources.files("sumi.conditioning") / "imagenet_classes.tsv").read_text("utf-8")
    return tuple(tuple(line.split("\t")[1].split(", ")) for line in table.splitlines())


@cache
def _numbers() -> Mapping[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for number, lemmas in enumerate(_lemmas()):
        for lemma in dict.fromkeys(map(str.casefold, lemmas)):
            found[lemma] = (*found.get(lemma, ()), number)
    return found


def class_name(number: int) -> str:
    """Return the first name of a class, 0 to 999."""
    return _lemmas()[number][0]


def find_classes(name: str) -> tuple[int, ...]:
    """Return the numbers of the classes of a name, in any case: none, one, or two (a crane is a bird and a machine)."""
    return _numbers().get(name.casefold(), ())


def close_names(name: str) -> list[str]:
    """Return up to three names that are spelt much as this one."""
    return get_close_matches(name.casefold(), _numbers(), cutoff=0.8)

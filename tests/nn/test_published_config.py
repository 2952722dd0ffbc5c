from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest

from sumi.nn.published.config import PublishedConfig, per_level


@dataclass(frozen=True, kw_only=True)
class Config(PublishedConfig):
    width: int
    kind: str = "plain"
    heads: int | tuple[int, ...] = 8
    neutral: ClassVar[dict[str, tuple[object, ...]]] = {"gate": (None, False)}
    unused: ClassVar[frozenset[str]] = frozenset({"dropout"})


def test_published_config_reads_fields_and_leaves_out_what_has_no_effect() -> None:
    read = Config.read({"width": 4, "heads": [1, 2], "gate": None, "dropout": 0.1, "_class_name": "X"})
    assert read == Config(width=4, heads=(1, 2))


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({}, "missing width"),
        ({"width": 4, "depth": 2}, "unknown depth"),
        ({"width": "4"}, "width is '4', not an integer"),
        ({"width": True}, "width is True, not an integer"),
        ({"width": 4, "heads": []}, r"heads is \[\], not an integer or a list \(each entry an integer\)"),
        ({"width": 4, "gate": True}, "gate is True, and only None or False is supported"),
    ],
)
def test_published_config_that_does_not_fit_names_the_key(given: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        Config.read(given)


def test_published_config_names_every_fault_at_once() -> None:
    with pytest.raises(ValueError, match=r"Config: missing width; unknown a; unknown b$"):
        Config.read({"a": 1, "b": 2})


def test_per_level_repeats_one_value_and_refuses_a_list_of_another_length() -> None:
    assert per_level(8, 3, "heads") == (8, 8, 8)
    with pytest.raises(ValueError, match="heads has 2 entries for 3 levels"):
        per_level((1, 2), 3, "heads")

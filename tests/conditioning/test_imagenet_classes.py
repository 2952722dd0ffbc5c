"""The classes of ImageNet have the numbers that its networks were trained with."""

from __future__ import annotations

import pytest

from sumi.conditioning.imagenet_classes import IMAGENET_CLASSES, class_name, close_names, find_classes


@pytest.mark.parametrize(
    ("name", "number"),
    [("tench", 0), ("golden retriever", 207), ("tabby cat", 281), ("Teddy Bear", 850), ("toilet tissue", 999)],
)
def test_class_is_found_by_any_of_its_names(name: str, number: int) -> None:
    assert find_classes(name) == (number,)


def test_every_class_is_found_by_its_first_name() -> None:
    assert all(number in find_classes(class_name(number)) for number in range(IMAGENET_CLASSES))


def test_name_of_two_classes_finds_both() -> None:
    assert find_classes("crane") == (134, 517)


def test_misspelt_name_is_near_a_class_and_nonsense_near_none() -> None:
    assert find_classes("golden retreiver") == () and close_names("Golden retreiver")[0] == "golden retriever"
    assert close_names("zzzzqqq") == []

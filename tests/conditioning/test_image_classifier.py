"""CLIP's image tower, trained as a classifier first."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from sumi.conditioning import ImageClassifier
from sumi.conditioning.clip import ResNetTower
from sumi.systems.tower_objective import TowerObjective, common_words
from sumi.training import Batch

TOWER = {"in_channels": 4, "size_px": 16, "patch": 4, "channels": [8], "blocks": [1], "width": 6}


def test_folded_norm_gives_the_features_that_the_classifiers_see() -> None:
    torch.manual_seed(0)
    classifier, x = ImageClassifier(TOWER, 5, 7), torch.randn(64, 4, 16, 16)
    for _ in range(100):
        classifier(x)  # the running statistics come to those of x
    torch.nn.init.uniform_(classifier.norm.weight, 0.5, 2.0)
    torch.nn.init.uniform_(classifier.norm.bias)
    classifier.eval()
    tower = ResNetTower(**TOWER).eval()
    tower.load_state_dict(classifier.standardised_tower())
    with torch.no_grad():
        concept, words = classifier(x)
        assert torch.allclose(classifier.concept(tower(x)), concept, atol=1e-4)
        assert torch.allclose(classifier.words(tower(x)), words, atol=1e-4)


def test_words_of_most_captions_and_padding_are_common() -> None:
    ids = np.array([[1, 2, 0], [1, 3, 0], [1, 4, 2], [1, 5, 6]], dtype=np.int16)
    assert common_words(ids, 8).nonzero().flatten().tolist() == [0, 1, 2]


def objective(classifier: ImageClassifier, concepts: list[int]) -> TowerObjective:
    pictures = np.zeros((len(concepts), 4, 16, 16), dtype=np.uint8)
    ids = np.array([[1, 2, 3, 0]] * len(concepts), dtype=np.int16)
    common = torch.tensor([True, True, False, False, False, False, False])
    return TowerObjective(classifier, pictures, np.array(concepts), ids, common)


@pytest.mark.parametrize(
    ("concepts", "expected"), [([0, 1], math.log(5) + 0.7 * math.log(7)), ([-1, -1], 0.7 * math.log(7))]
)
def test_loss_of_a_classifier_that_knows_nothing(concepts: list[int], expected: float) -> None:
    classifier = ImageClassifier(TOWER, 5, 7)
    for head in (classifier.concept, classifier.words):
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
    made = objective(classifier, concepts).loss(classifier, Batch(0, 1, torch.tensor([0, 1]), torch.Generator()))
    assert float(made["loss"].detach()) == pytest.approx(expected, rel=1e-5)


def test_loss_of_a_classifier_that_is_right_is_the_entropy_of_the_words() -> None:
    classifier = ImageClassifier(TOWER, 5, 7)
    for head, sure in ((classifier.concept, [4]), (classifier.words, [2, 3])):
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
        with torch.no_grad():
            head.bias[sure] = 40.0
    made = objective(classifier, [4, 4]).loss(classifier, Batch(0, 1, torch.tensor([0, 1]), torch.Generator()))
    assert float(made["loss"].detach()) == pytest.approx(0.7 * math.log(2), rel=1e-5) and made["named"] == 1

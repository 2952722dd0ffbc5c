"""A model on disk: a folder of configurations and weights, read strictly and written one way."""

from sumi.bundles.bundle import Bundle, default_bundle, is_published, save_bundle
from sumi.bundles.card import Card
from sumi.bundles.drawings import TrainingDrawings
from sumi.bundles.tensors import weight_hash

__all__ = ["Bundle", "Card", "TrainingDrawings", "default_bundle", "is_published", "save_bundle", "weight_hash"]

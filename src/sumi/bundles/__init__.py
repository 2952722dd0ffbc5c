"""A model on disk: a folder of configurations and weights, read strictly and written one way."""

from sumi.bundles.adapter import Adapter, AdapterRecord, save_adapter
from sumi.bundles.adapter_folder import (
    adapter_path,
    adapters_folder,
    add_adapter,
    list_adapters,
    list_unfinished,
    open_adapter,
    remove_adapter,
)
from sumi.bundles.bundle import Bundle, default_bundle, is_published, save_bundle
from sumi.bundles.card import Card
from sumi.bundles.drawings import TrainingDrawings
from sumi.bundles.tensors import weight_hash

__all__ = [
    "Adapter",
    "AdapterRecord",
    "Bundle",
    "Card",
    "TrainingDrawings",
    "adapter_path",
    "adapters_folder",
    "add_adapter",
    "default_bundle",
    "is_published",
    "list_adapters",
    "list_unfinished",
    "open_adapter",
    "remove_adapter",
    "save_adapter",
    "save_bundle",
    "weight_hash",
]

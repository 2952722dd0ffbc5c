"""Weights as others publish them: recognised before they are loaded, read without trust, mapped to our networks."""

from sumi.bundles.published.companions import with_flags, with_prediction, with_prior, with_tokenizer
from sumi.bundles.published.convert import import_weights
from sumi.bundles.published.dalle2_prior import DALLE2PriorConfig
from sumi.bundles.published.export import export_diffusers
from sumi.bundles.published.hub import Pulled, pull
from sumi.bundles.published.inspection import Inspection, PartInspection, inspect
from sumi.bundles.published.lora import merge_lora
from sumi.bundles.published.mapping import Move, load_mapped
from sumi.bundles.published.model import PublishedModel
from sumi.bundles.published.networks import PublishedPart
from sumi.bundles.published.opening import open_model
from sumi.bundles.published.tokenizer_files import find_bpe
from sumi.bundles.published.weights import Weights, open_weights

__all__ = [
    "DALLE2PriorConfig",
    "Inspection",
    "Move",
    "PartInspection",
    "PublishedModel",
    "PublishedPart",
    "Pulled",
    "Weights",
    "export_diffusers",
    "find_bpe",
    "import_weights",
    "inspect",
    "load_mapped",
    "merge_lora",
    "open_model",
    "open_weights",
    "pull",
    "with_flags",
    "with_prediction",
    "with_prior",
    "with_tokenizer",
]

"""Names that tensors carry in weights and checkpoints of earlier versions of Sumi.

Files are not rewritten, so their hashes stay: tensors are renamed when they are read. To rename an attribute of a
network, add its old name here. A tensor's old name follows from the classes on its path, also inside other networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from torch import Tensor, nn

OLD_ATTRIBUTES: Final[Mapping[str, Mapping[str, str]]] = {
    "ARPriorNetwork": {
        "caption_proj": "caption",
        "text_proj": "text",
        "token_embedding": "words",
        "proj_out": "head",
    },
    "AttentionPool": {"queries": "questions", "proj_out": "out"},
    "Classifier": {"conv_in": "mouth", "proj_out": "head"},
    "ConvRefiner": {"conv_in": "mouth", "conv_out": "head"},
    "DenseBlock": {"proj_in": "into", "cond_proj": "told", "proj_out": "out"},
    "DenseDecoder": {"proj_in": "mouth", "cond_proj": "told", "text_pool": "reader", "proj_out": "head"},
    "DiT": {"proj_in": "mouth", "text_proj": "words", "proj_out": "head"},
    "Discriminator": {"conv_in": "mouth", "proj_out": "head"},
    "Generator": {"proj_in": "mouth", "conv_out": "head"},
    "JointBlock": {"image": "picture", "text": "words"},
    "LayoutPlannerNetwork": {"connecting_words": "glue"},
    "MLP": {"proj_in": "mouth", "proj_out": "head"},
    "UNet": {"conv_in": "mouth", "conv_out": "head"},
    "VQVAE": {"codebook": "book"},
}
"""Of each class of module, its current attributes and what they were called."""


def old_tensor_names(module: nn.Module) -> dict[str, str]:
    """Map the old name of each tensor of a module to its current one, where they differ."""
    names = {_old_name(module, name): name for name in module.state_dict()}
    return {old: name for old, name in names.items() if old != name}


def _old_name(module: nn.Module | None, name: str) -> str:
    """The old dotted name of a tensor: each attribute on the path as its module's class once called it."""
    path = []
    for attribute in name.split("."):
        path.append(OLD_ATTRIBUTES.get(type(module).__name__, {}).get(attribute, attribute))
        module = getattr(module, attribute, None)
    return ".".join(path)


def rename_tensors(module: nn.Module, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors by the names of `module.state_dict()`, whether they carry these or old names."""
    names = old_tensor_names(module)
    return {names.get(name, name): value for name, value in tensors.items()}

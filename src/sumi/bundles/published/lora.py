"""LoRA files of Stable Diffusion, merged into the weights of a model: W + scale alpha / rank (up down).

Hu et al. 2021, arXiv 2106.09685, equation 3. Three spellings are read: kohya's (`lora_unet_..._to_q.lora_down.weight`
with an alpha each; for XL with the names of the original code), that of diffusers and PEFT
(`unet....to_q.lora_A.weight`), and diffusers' older ones (`lora.down`, `lora_linear_layer.down`,
`processor.to_q_lora.down`), in which alpha is the rank.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from torch import Tensor, nn

from sumi.bundles.published.mapping import bounded, shape_text
from sumi.bundles.published.original_unet import original_name
from sumi.bundles.published.weights import Weights
from sumi.errors import SumiError

KOHYA: Final = re.compile(r"(lora_unet|lora_te2|lora_te1|lora_te)_(.+)\.(lora_down|lora_up|alpha)(?:\.weight)?")
KOHYA_PARTS: Final = {
    "lora_unet": "unet", "lora_te": "text_encoder", "lora_te1": "text_encoder", "lora_te2": "text_encoder_2",
}  # fmt: skip
DIFFUSERS: Final = re.compile(
    r"(?:(unet|text_encoder|text_encoder_2)\.)?(.+?)\."
    r"(?:lora_|lora\.|lora_linear_layer\.|processor\.(\w+)_lora\.)(A|B|down|up)\.weight"
)
ROLES: Final = {"lora_down": "down", "lora_up": "up", "alpha": "alpha", "A": "down", "B": "up"}

Layers = dict[tuple[str, str], dict[str, str]]
"""The part and the module of each layer, and its tensors by their role: down, up, alpha."""


def merge_lora(networks: Mapping[str, nn.Module], weights: Weights, scale: float = 1.0) -> int:
    """Add a LoRA to networks in place.

    Args:
        networks: by the names of a model's parts: unet, text_encoder, text_encoder_2.
        weights: the opened file.
        scale: how much of it to add; 0 changes nothing.

    Returns:
        How many layers were changed.

    Raises:
        SumiError: names tensors of another kind, and layers that no network has or that do not fit. Nothing is changed.
    """
    layers = read_layers(networks, weights)
    changes = {}
    for (part, name), roles in layers.items():
        target = networks[part].get_submodule(name).weight
        assert isinstance(target, Tensor)
        changes[part, name] = target.float() + scale * change(target, roles, weights)
    for (part, name), merged in changes.items():
        layer = networks[part].get_submodule(name)
        layer.weight = nn.Parameter(merged.to(layer.weight.dtype), requires_grad=False)  # type: ignore[arg-type]
    return len(changes)


def read_layers(networks: Mapping[str, nn.Module], weights: Weights) -> Layers:
    """Return the layers of a file, each with a network's module; SumiError names what has none."""
    modules = {
        part: {name: name for name, module in network.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)}
        for part, network in networks.items()
    }
    if "unet" in networks:  # kohya's names for XL are those of the original code
        modules["unet"] |= original_names(networks["unet"], list(modules["unet"]))
    for names in modules.values():  # kohya writes a dot as an underscore
        names |= {name.replace(".", "_"): module for name, module in names.items()}
    layers: Layers = {}
    strange = []
    for name in sorted(weights.entries):
        part, module, role = place(name)
        found = modules.get(part, {}).get(module)
        if found is None:
            strange.append(name)
        else:
            layers.setdefault((part, found), {})[role] = name
    if strange:
        parts = ", ".join(networks)
        raise SumiError(f"{weights.path} changes what {parts} do not have, {len(strange)} tensors: {bounded(strange)}")
    for (part, module), roles in layers.items():
        if not {"down", "up"} <= roles.keys():
            raise SumiError(
                f"{weights.path} has only half of the change of {part}.{module}: {', '.join(roles.values())}"
            )
    return layers


def original_names(unet: nn.Module, modules: Sequence[str]) -> dict[str, str]:
    """Return the modules of a U-Net by the names of guided-diffusion."""
    resnets = [name for name, _ in unet.named_modules() if re.fullmatch(r"down_blocks\.0\.resnets\.\d+", name)]
    attended = {name.split(".attentions.")[0] for name in modules if ".attentions." in name}
    names = {original_name(module, len(resnets), attended.__contains__): module for module in modules}
    return {name: module for name, module in names.items() if name is not None}


def place(name: str) -> tuple[str, str, str]:
    """Return the part, module and role that the name of a tensor says; the part "" for one of another kind."""
    if found := KOHYA.fullmatch(name):
        return KOHYA_PARTS[found[1]], found[2], ROLES[found[3]]
    if found := DIFFUSERS.fullmatch(name):
        inner = {None: "", "to_out": ".to_out.0"}.get(found[3], f".{found[3]}")
        return found[1] or "unet", found[2] + inner, ROLES.get(found[4], found[4])
    return "", name, ""


def change(target: Tensor, roles: Mapping[str, str], weights: Weights) -> Tensor:
    """Return alpha / rank (up down) in the shape of the weight it changes; SumiError where it has another."""
    down, up = weights.tensor(roles["down"]).float(), weights.tensor(roles["up"]).float()
    rank = down.shape[0] if down.ndim else 0
    alpha = float(weights.tensor(roles["alpha"])) if "alpha" in roles else float(rank)
    fits = up.ndim >= 2 and up.shape[1:].numel() == rank and down.ndim >= 2 and rank > 0
    product = up.flatten(1) @ down.flatten(1) if fits else up
    if not fits or product.numel() != target.numel() or len(product) != len(target):
        found = f"{shape_text(up.shape)} times {shape_text(down.shape)}"
        raise SumiError(
            f"{weights.path}: {roles['down']} does not fit: {found} for a weight {shape_text(target.shape)}"
        )
    return alpha / rank * product.view(target.shape)

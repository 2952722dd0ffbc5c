"""The flags of a guided-diffusion network, in the words of its authors' scripts.

    --image_size 256 --num_channels 256 --num_head_channels 64 --noise_schedule linear --class_cond True

Its file holds tensors alone. Most flags show in their shapes, and are compared with them. Three do not: the heads, the
order of q, k and v, and the chain of noise; with wrong ones it draws noise without a word. A network of the shapes that
OpenAI published has its flags.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sumi.bundles.published.original_unet import OriginalUNet
from sumi.bundles.tensors import Entry
from sumi.errors import SumiError

SCHEDULES: Final = ("linear", "cosine")
UNSEEN: Final[Mapping[str, Any]] = {
    "num_heads": 4, "num_head_channels": -1, "use_new_attention_order": False, "noise_schedule": "linear",
}  # fmt: skip
"""Flags that no shape shows, with the defaults of the authors' scripts."""
FIXED: Final[Mapping[str, Any]] = {
    "diffusion_steps": 1000, "predict_xstart": False, "rescale_timesteps": False, "num_heads_upsample": -1,
}  # fmt: skip
"""Flags that would change what is drawn, and the values with which they do not."""
UNUSED: Final = frozenset(
    {
        "attention_resolutions", "channel_mult", "dropout", "use_fp16", "use_checkpoint", "use_kl",
        "rescale_learned_sigmas", "timestep_respacing",
    }
)  # fmt: skip
"""Flags that say nothing that is not in the shapes, or that do not change what is drawn."""
Shape = tuple[int, int, int, bool]
PUBLISHED: Final[Mapping[Shape, Mapping[str, Any]]] = {
    (64, 192, 3, True): {"num_head_channels": 64, "use_new_attention_order": True, "noise_schedule": "cosine"},
    (128, 256, 2, True): {"num_heads": 4},
    (256, 256, 2, True): {"num_head_channels": 64},
    (256, 256, 2, False): {"num_head_channels": 64},
    (512, 256, 2, True): {"num_head_channels": 64},
}
"""OpenAI's networks for ImageNet and LSUN: size, channels, residual blocks, and whether there are classes."""


@dataclass(frozen=True)
class ModelFlags:
    """What no shape shows. head_width: None where `heads` is the same at every level."""

    head_width: int | None
    heads: int | None
    new_order: bool
    noise_schedule: str
    image_size: int

    def unet(self, entries: Mapping[str, Entry]) -> OriginalUNet:
        """Return the network of a file, read with these flags."""
        return OriginalUNet(entries, "", self.head_width, None, self.heads, not self.new_order)


def seen_flags(entries: Mapping[str, Entry]) -> dict[str, Any]:
    """Return the flags that the shapes of a file show."""
    unet = OriginalUNet(entries, "")
    channels, level = unet.shape("time_embed.0.weight")[1], unet.shape("input_blocks.1.0.in_layers.2.weight")[0]
    return {
        "image_size": 2 ** (unet.levels + 2), "num_channels": channels, "num_res_blocks": unet.layers,
        "class_cond": unet.has("label_emb.weight"), "learn_sigma": unet.shape("out.2.weight")[0] == 6,
        "resblock_updown": not any(name.endswith(".op.weight") for name in entries),
        "use_scale_shift_norm": unet.shape("input_blocks.1.0.emb_layers.1.weight")[0] == 2 * level,
    }  # fmt: skip


def published_flags(entries: Mapping[str, Entry]) -> ModelFlags | None:
    """Return the flags of a network of the shapes that OpenAI published; None for any other."""
    seen = seen_flags(entries)
    shape = seen["image_size"], seen["num_channels"], seen["num_res_blocks"], seen["class_cond"]
    usual = seen["learn_sigma"] and seen["resblock_updown"] and seen["use_scale_shift_norm"]
    return make_flags({**UNSEEN, **PUBLISHED[shape]}, seen) if usual and shape in PUBLISHED else None


def read_flags(text: str, entries: Mapping[str, Entry]) -> ModelFlags:
    """Return flags as a person gives them; SumiError for those that are unknown, mistyped, or not those of the file."""
    seen, given = seen_flags(entries), split_flags(text)
    for name, value in given.items():
        if name in FIXED and value != FIXED[name]:
            raise SumiError(f"the flag --{name} {value} is not supported: only {FIXED[name]} is")
        # a network of any size may say which, and does so here: shapes show the levels alone
        if name in seen and name != "image_size" and value != seen[name]:
            raise SumiError(f"the flag --{name} {value} is not that of the file, whose shapes say {seen[name]}")
    return make_flags({**UNSEEN, **given}, {**seen, **given})


def split_flags(text: str) -> dict[str, Any]:
    """Return the names and values of flags; SumiError where they are not pairs, unknown, or of another type."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise SumiError(f"the flags {text[:60]!r} cannot be read: {error}") from None
    given: dict[str, Any] = {}
    types: dict[str, type] = {name: type(value) for name, value in {**UNSEEN, **FIXED}.items()}
    types |= {"image_size": int, "num_channels": int, "num_res_blocks": int, "class_cond": bool, "learn_sigma": bool}
    types |= {"resblock_updown": bool, "use_scale_shift_norm": bool}
    for name, value in zip(words[::2], [*words[1::2], ""], strict=False):
        flag = name.removeprefix("--")
        if not name.startswith("--") or (flag not in types and flag not in UNUSED):
            raise SumiError(f"unknown flag {name[:60]!r}: give those of guided-diffusion, as --num_head_channels 64")
        given[flag] = flag_value(flag, value, types.get(flag, str))
    if given.get("noise_schedule", "linear") not in SCHEDULES:
        raise SumiError(
            f"the flag --noise_schedule is one of {', '.join(SCHEDULES)}, not {given['noise_schedule']!r:.60}"
        )
    return given


def flag_value(flag: str, value: str, kind: type) -> Any:
    """Return the value of a flag in its type."""
    if kind is bool and value.casefold() in ("true", "false"):
        return value.casefold() == "true"
    if kind is int and value.lstrip("-").isdecimal():
        return int(value)
    if kind is str and value:
        return value
    wanted = {bool: "True or False", int: "a whole number", str: "a value"}[kind]
    raise SumiError(f"the flag --{flag} should be {wanted}, not {value[:60]!r}")


def make_flags(values: Mapping[str, Any], seen: Mapping[str, Any]) -> ModelFlags:
    """Return flags from their values; SumiError for heads or a size that no network has."""
    width = values["num_head_channels"]
    if width != -1 and not 1 <= width <= 2**12:
        raise SumiError(f"the flag --num_head_channels should be -1 or the channels of a head, not {width}")
    if width == -1 and not 1 <= values["num_heads"] <= 2**10:
        raise SumiError(f"the flag --num_heads should be a number of heads, not {values['num_heads']}")
    if not 8 <= seen["image_size"] <= 2048:
        raise SumiError(f"the flag --image_size should be 8 to 2048 pixels, not {seen['image_size']}")
    heads = None if width != -1 else values["num_heads"]
    return ModelFlags(
        None if width == -1 else width, heads, values["use_new_attention_order"], values["noise_schedule"],
        seen["image_size"],
    )  # fmt: skip

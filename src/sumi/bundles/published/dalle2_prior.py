"""A diffusion prior of DALLE2-pytorch: its network from the shapes of its file, the rest from prior_config.json.

The file holds tensors and the chain of noise. What the shapes do not show (whether words are read, how embeddings are
scaled, which CLIP they are of) stands in the configuration that is published beside it, whose keys are the arguments of
`DiffusionPrior` and of its network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import torch

from sumi.bundles.json_file import read_object
from sumi.bundles.published.mapping import Move, Table
from sumi.bundles.published.weights import Weights, inside
from sumi.bundles.tensors import Entry
from sumi.errors import SumiError
from sumi.nn.published import PublishedConfig

PRIOR_CONFIG: Final = "prior_config.json"
NET: Final = "net."
BETAS: Final = "noise_scheduler.betas"
LAYERS: Final = "net.causal_transformer."
STEPS: Final = 1000
OPENAI_CLIP: Final = ("openai", "x-clip", None)
"""Who made the CLIP whose embeddings a prior draws: x-clip's own where a configuration was written from the example."""


@dataclass(frozen=True, kw_only=True)
class DALLE2PriorConfig(PublishedConfig):
    """The arguments of DALLE2-pytorch's DiffusionPrior that change what is drawn.

    image_embed_scale: what embeddings of unit length are multiplied by, for the diffusion; None: sqrt(image_embed_dim).
    sample_timesteps: steps of DDIM; None: the whole chain.
    """

    net: dict[str, Any]
    image_embed_dim: int
    clip: dict[str, Any] | None = None
    condition_on_text_encodings: bool = True
    image_embed_scale: float | None = None
    sample_timesteps: int | None = None
    sampling_clamp_l2norm: bool = False
    sampling_final_clamp_l2norm: bool = False
    init_image_embed_l2norm: bool = False
    neutral: ClassVar[dict[str, tuple[object, ...]]] = {
        "predict_x_start": (True,), "predict_v": (False,), "timesteps": (STEPS,)
    }  # fmt: skip
    unused: ClassVar[frozenset[str]] = frozenset(
        {
            "beta_schedule", "clip_adapter_overrides", "cond_drop_prob", "image_channels", "image_cond_drop_prob",
            "image_size", "loss_type", "text_cond_drop_prob", "training_clamp_l2norm",
        }
    )  # fmt: skip


def dalle2_prior(entries: Mapping[str, Entry]) -> tuple[dict[str, Any], Table]:
    """Read the network's configuration off its shapes; its tensors keep their names."""
    first = f"{LAYERS}layers.0."
    shapes = {name: entry.shape for name, entry in entries.items()}
    dim, (_, dim_head) = shapes["net.learned_query"][0], shapes[f"{first}0.null_kv"]
    table, waves = "net.to_time_embeds.0.weight", "net.to_time_embeds.0.1.net.2.weight"
    freqs = shapes.get(f"{first}0.rotary_emb.freqs", (0,))[0]
    layers = {found[1] for name in entries if (found := re.match(re.escape(LAYERS) + r"layers\.(\d+)\.", name))}

    def count_of(name: str) -> int:
        return shapes[name][0] // dim if name in shapes else 1

    config = {
        "dim": dim, "depth": len(layers), "dim_head": dim_head, "heads": shapes[f"{first}0.to_q.weight"][0] // dim_head,
        "ff_dim": shapes[f"{first}1.5.weight"][1], "max_text_len": shapes["net.null_text_encodings"][1],
        "num_timesteps": shapes[table][0] if table in shapes else None,
        "num_time_embeds": shapes[table][1] // dim if table in shapes else count_of(waves),
        "num_image_embeds": count_of("net.to_image_embeds.0.weight"),
        "num_text_embeds": count_of("net.to_text_embeds.0.weight"),
        "norm_in": f"{LAYERS}init_norm.g" in shapes, "norm_out": f"{LAYERS}norm.g" in shapes,
        "final_proj": f"{LAYERS}project_out.weight" in shapes, "normformer": f"{first}1.3.g" in shapes,
        "rotary_dim": 2 * freqs,
    }  # fmt: skip
    if config["num_timesteps"] not in (None, STEPS):
        raise ValueError(f"its network knows {config['num_timesteps']} steps, and chains of {STEPS} are read")
    return config, [Move(name.removeprefix(NET), (name,)) for name in entries if name.startswith(NET)]


def read_settings(weights: Weights, network: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a prior samples: its configuration and its betas; nothing where no configuration lies beside it.

    Args:
        weights: of the file.
        network: the configuration that its shapes show.

    Raises:
        SumiError: for a configuration that does not fit the file, or asks for what is not supported.
    """
    path = weights.path.with_name(PRIOR_CONFIG)
    if not path.exists():
        return {}
    whole = read_object(inside(path.parent, path))
    try:
        prior = whole.get("prior", whole)
        read = DALLE2PriorConfig.read(prior if isinstance(prior, dict) else {})
    except ValueError as error:
        raise SumiError(f"{path} is no configuration of a prior of DALLE2-pytorch: {error}") from None
    check_network(path, read, network)
    betas = weights.tensor(BETAS)
    if betas.shape != (STEPS,) or not bool(((betas > 0) & (betas < 1)).all()):
        raise SumiError(f"the chain of noise in {weights.path} is not of {STEPS} betas between 0 and 1")
    return {"config": read, "betas": tuple(betas.to(torch.float64).tolist())}


def check_network(path: Path, read: DALLE2PriorConfig, network: Mapping[str, Any]) -> None:
    """Raise SumiError where a configuration and the shapes of the file say different things."""
    heads, rotary = network["dim_head"], network["rotary_dim"] > 0
    shown = {**network, "rotary_emb": rotary, "ff_mult": network["ff_dim"] / network["dim"], "self_cond": False}
    given = {"image_embed_dim": read.image_embed_dim, **read.net}
    shown["image_embed_dim"] = network["dim"]
    wrong = [
        f"{key} {value} instead of {shown[key]}"
        for key, value in given.items()
        if key in shown and value != shown[key] and not (key == "max_text_len" and value is None)
    ]
    if rotary and network["rotary_dim"] != min(32, heads):
        wrong.append(f"rotary embeddings of {network['rotary_dim']} features for heads of {heads}")
    if wrong:
        raise SumiError(f"{path} does not fit the file beside it: {'; '.join(wrong)[:400]}")

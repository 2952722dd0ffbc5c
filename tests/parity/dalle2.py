"""Priors of DALLE2-pytorch of random weights, and what the package answered, kept in `published/dalle2.safetensors`.

python tests/parity/dalle2.py        with dalle2-pytorch 1.15.6 installed: writes ANSWERS anew
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

ANSWERS = Path(__file__).parent / "published" / "dalle2.safetensors"
Tensors = dict[str, Tensor]
Shapes = dict[str, list[int]]

STEP, SEED, WORDS = 601, 5, 4
NETWORKS: dict[str, dict[str, Any]] = {
    # the example's options, small
    "small": {
        "dim": 12, "depth": 2, "heads": 3, "dim_head": 16, "max_text_len": 7, "num_timesteps": 1000, "normformer": True,
    },
    # every other option
    "other": {
        "dim": 32, "depth": 2, "heads": 2, "dim_head": 48, "max_text_len": 9, "num_timesteps": None, "ff_mult": 2,
        "num_time_embeds": 2, "num_image_embeds": 2, "num_text_embeds": 3, "norm_in": True, "norm_out": False,
        "final_proj": False, "rotary_emb": False,
    },
    # of a large prior's size
    "published": {
        "dim": 768, "depth": 24, "heads": 32, "dim_head": 64, "max_text_len": 77, "num_timesteps": 1000,
        "normformer": True,
    },
}  # fmt: skip
SAMPLING: dict[str, dict[str, Any]] = {
    "cosine": {"beta_schedule": "cosine"},
    "clamped": {"beta_schedule": "linear", "sampling_clamp_l2norm": True},
    "scaled": {
        "beta_schedule": "sigmoid", "sampling_final_clamp_l2norm": True, "init_image_embed_l2norm": True,
        "image_embed_scale": 2.5,
    },
}  # fmt: skip
"""How the small one samples; the betas of the last are none that Sumi has a formula for."""
LOOPS = [(16, 1.0), (16, 3.0), (1000, 1.0)]
"""Steps and guidance."""


def weights(shapes: Shapes, betas: Tensor) -> Tensors:
    """Random weights of about the scale that training gives them, in the order of their names, and the tables."""
    rng = torch.Generator().manual_seed(0)
    made = {}
    for name in sorted(shapes):
        shape = shapes[name]
        drawn = torch.randn(shape, generator=rng)
        if name.startswith("noise_scheduler."):
            made[name] = betas if name.endswith(".betas") else torch.zeros(shape)
        elif name.endswith(".freqs"):
            made[name] = 10000.0 ** -torch.arange(0, 1, 1 / shape[0])
        elif name.endswith(".g"):
            made[name] = 1 + 0.2 * drawn
        else:
            made[name] = drawn * (shape[-1] ** -0.5 if len(shape) > 1 and not name.startswith("net.null") else 1.0)
    return made


def inputs(network: dict[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
    """x, z_t of unit length, and words, of which the last are none."""
    rng = torch.Generator().manual_seed(1)
    x, z_t = torch.randn(2, network["dim"], generator=rng), torch.randn(2, network["dim"], generator=rng)
    words = torch.randn(2, network["max_text_len"] - 2, network["dim"], generator=rng)
    words[:, WORDS:] = 0
    return x, F.normalize(z_t, dim=-1), words


def read_answers() -> tuple[dict[str, Shapes], Tensors]:
    """The shapes of each prior's file, and what the package answers."""
    with safe_open(ANSWERS, "pt") as file:
        shapes = json.loads(file.metadata()["shapes"])
        return shapes, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def prior_config(name: str = "small", sampling: str = "cosine", **changes: Any) -> dict[str, Any]:
    """What is published beside a prior of that name."""
    network = NETWORKS[name]
    return {"net": network, "image_embed_dim": network["dim"], "cond_drop_prob": 0.1, **SAMPLING[sampling], **changes}


def write_prior(folder: Path, name: str = "small", sampling: str = "cosine", **changes: Any) -> Path:
    """Write a prior as the package saves it, and its configuration; returns the file."""
    shapes, answers = read_answers()
    folder.mkdir(exist_ok=True)
    torch.save({"model": weights(shapes[name], answers[f"betas/{sampling}"]), "step": 7}, folder / "best.pth")
    config = {"prior": prior_config(name, sampling, **changes), "train": {"epochs": 1}}
    (folder / "prior_config.json").write_text(json.dumps(config), "utf-8")
    return folder / "best.pth"


# What the package answers; nothing below is run by the tests but where it is at hand. --------------------------------


def package_prior(name: str, sampling: str) -> Any:
    """The package's own prior, with the weights that the tests give ours."""
    from dalle2_pytorch import DiffusionPrior, DiffusionPriorNetwork

    config = prior_config(name, sampling)
    network = DiffusionPriorNetwork(**config.pop("net"))
    prior = DiffusionPrior(net=network, clip=None, image_channels=3, **config).eval()
    state = prior.state_dict()
    made = weights({key: list(value.shape) for key, value in state.items()}, state["noise_scheduler.betas"])
    prior.load_state_dict({key: state[key] if key.startswith("noise_scheduler.") else made[key] for key in state})
    return prior


def record_network(name: str, shapes: dict[str, Shapes], answers: Tensors) -> None:
    """Ask a network for its answer with a condition and without."""
    prior = package_prior(name, "cosine")
    shapes[name] = {key: list(value.shape) for key, value in prior.state_dict().items()}
    x, z_t, words = inputs(NETWORKS[name])
    step, told = torch.tensor([STEP, 0]), {"text_embed": z_t, "text_encodings": words}
    answers[f"{name}/told"] = prior.net(x, step, **told)
    answers[f"{name}/not told"] = prior.net(x, step, **told, text_cond_drop_prob=1.0, image_cond_drop_prob=1.0)
    answers[f"{name}/without words"] = prior.net(x, step, text_embed=z_t)


def record_loops(shapes: dict[str, Shapes], answers: Tensors) -> None:
    """Ask for whole embeddings, by each way of sampling."""
    _, z_t, words = inputs(NETWORKS["small"])
    told = {"text_embed": z_t[:1], "text_encodings": words[:1]}
    for sampling in SAMPLING:
        prior = package_prior("small", sampling)
        answers[f"betas/{sampling}"] = prior.noise_scheduler.betas
        for steps, guidance in LOOPS:
            torch.manual_seed(SEED)
            shape = (1, NETWORKS["small"]["dim"])
            drawn = prior.p_sample_loop(shape, text_cond=told, cond_scale=guidance, timesteps=steps)
            answers[f"{sampling}/{steps}/{guidance:g}"] = drawn


def record() -> None:
    """Ask the package, and keep its answers."""
    shapes: dict[str, Shapes] = {}
    answers: Tensors = {}
    with torch.no_grad():
        for name in NETWORKS:
            record_network(name, shapes, answers)
        record_loops(shapes, answers)
    kept = {name: value.contiguous() for name, value in answers.items()}
    save_file(kept, ANSWERS, {"shapes": json.dumps(shapes, separators=(",", ":"))})


if __name__ == "__main__":
    record()

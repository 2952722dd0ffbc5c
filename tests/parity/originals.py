"""Small networks as the authors of GLIDE, guided-diffusion and the discrete VAE define them, and what those answer.

    python tests/parity/originals.py        with their repositories on PYTHONPATH: writes ANSWERS anew

Their code is in no package index, so its answers are kept beside the shapes of its tensors. Weights and inputs are
random numbers that both sides draw alike.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

ANSWERS = Path(__file__).parent / "published" / "originals.safetensors"
Tensors = dict[str, Tensor]
Shapes = dict[str, list[int]]

GLIDE_UNET: dict[str, Any] = {
    "in_channels": 3, "model_channels": 64, "out_channels": 6, "num_res_blocks": 1, "attention_resolutions": (2,),
    "channel_mult": (1, 2), "num_head_channels": 64, "use_scale_shift_norm": True, "resblock_updown": True,
}  # fmt: skip
GLIDE_TEXT: dict[str, Any] = {
    "text_ctx": 7, "xf_width": 128, "xf_layers": 2, "xf_heads": 2, "xf_final_ln": True, "xf_padding": True,
    "tokenizer": SimpleNamespace(n_vocab=60),
}  # fmt: skip
GLIDE = {
    "base": "Text2ImUNet", "upsample": "SuperResText2ImUNet", "base_inpaint": "InpaintText2ImUNet",
    "upsample_inpaint": "SuperResInpaintText2ImUnet",
}  # fmt: skip
GUIDED: dict[str, dict[str, Any]] = {
    "legacy": {"num_head_channels": 64, "num_classes": 10},
    "new": {"num_head_channels": 64, "num_classes": 10, "use_new_attention_order": True},
    "heads": {"num_heads": 4},
    "half": {"num_head_channels": 32, "channel_mult": (0.5, 1), "num_classes": 10},
    "plain": {"num_heads": 2, "resblock_updown": False, "use_scale_shift_norm": False, "out_channels": 3},
}
DVAE: dict[str, Any] = {"n_hid": 64, "n_blk_per_group": 1, "vocab_size": 512}
IDS = torch.tensor([[3, 9, 14, 59, 59, 59, 59]])
NULL = torch.full((1, 7), 59)
MASK, NO_WORDS = torch.arange(7)[None] < 3, torch.zeros(1, 7, dtype=torch.bool)
STEP, LABEL, SIDE = 601, 7, 16


def normal(*shape: int, seed: int = 1) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def picture(side: int, seed: int = 5) -> Tensor:
    return normal(1, 3, side, side, seed=seed).clamp(-1, 1)


def weights(shapes: Shapes) -> Tensors:
    """Random weights of about the scale that training gives them, in the order of their names."""
    rng = torch.Generator().manual_seed(0)
    made = {}
    for name in sorted(shapes):
        shape = shapes[name]
        drawn = torch.randn(shape, generator=rng)
        many = len(shape) > 1
        fan = int(np.prod(shape[1:])) if many else 1
        made[name] = drawn * fan**-0.5 if many else 0.1 * drawn + (1.0 if name.endswith("weight") else 0.0)
    return made


def known_part(side: int) -> tuple[Tensor, Tensor]:
    """A picture to be completed, and where it is known."""
    mask = torch.ones(1, 1, side, side)
    mask[:, :, side // 2 :] = 0
    return picture(side, seed=6), mask


def read_answers() -> tuple[dict[str, Shapes], Tensors]:
    """The shapes of each file of the authors' naming, and what their code answers."""
    with safe_open(ANSWERS, "pt") as file:
        shapes = json.loads(file.metadata()["shapes"])
        return shapes, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def write_glide(folder: Path, *names: str) -> Path:
    """Write networks of GLIDE as the authors published them, and a tokenizer of letters that fits."""
    shapes, _ = read_answers()
    for name in names:
        torch.save(weights(shapes[f"glide/{name}"]), folder / f"{name}.pt")
    letters = [*"abcdefghijklmnopqrstuvwxyz", "\u0120", "ca", "\u0120ca", *(f"unused {number}" for number in range(30))]
    tokens = {token: number for number, token in enumerate([*letters, "<|endoftext|>"])}
    (folder / "encoder.json").write_text(json.dumps(tokens), "utf-8")
    (folder / "vocab.bpe").write_text("#version: 0.2\nc a\n\u0120 ca\n", "utf-8")
    return folder


def write_guided(path: Path, name: str) -> Path:
    """Write a network of guided-diffusion as its authors published it."""
    shapes, _ = read_answers()
    torch.save(weights(shapes[f"guided/{name}"]), path)
    return path


def write_dvae(folder: Path) -> Path:
    """Write both halves of the discrete VAE; as tensors, where the authors pickled the modules."""
    shapes, _ = read_answers()
    for half in ("encoder", "decoder"):
        torch.save(weights(shapes[f"dvae/{half}"]), folder / f"{half}.pkl")
    return folder


# What the authors' code answers; nothing below is run by the tests but where that code is at hand. -------------------


def filled(module: torch.nn.Module) -> torch.nn.Module:
    """A network of theirs with the weights that the tests give ours."""
    module.load_state_dict(weights(shapes_of(module)))
    return module.eval()


def shapes_of(module: torch.nn.Module) -> Shapes:
    return {name: list(value.shape) for name, value in module.state_dict().items()}


def glide_answers(shapes: dict[str, Shapes], answers: Tensors) -> None:
    from glide_text2im import text2im_model
    from glide_text2im.gaussian_diffusion import get_named_beta_schedule
    from glide_text2im.respace import SpacedDiffusion, space_timesteps

    def spaced(schedule: str, steps: str) -> Any:
        return SpacedDiffusion(
            use_timesteps=space_timesteps(1000, steps), betas=get_named_beta_schedule(schedule, 1000)
        )

    models = {}
    for name, kind in GLIDE.items():
        models[name] = filled(getattr(text2im_model, kind)(**GLIDE_TEXT, **GLIDE_UNET))
        shapes[f"glide/{name}"] = shapes_of(models[name])
        known, mask = known_part(SIDE)
        more = {"low_res": picture(SIDE // 2)} if "upsample" in name else {}
        more |= {"inpaint_image": known, "inpaint_mask": mask} if "inpaint" in name else {}
        step = torch.tensor([STEP])
        answers[f"glide/{name}"] = models[name](normal(1, 3, SIDE, SIDE), step, tokens=IDS, mask=MASK, **more)
    text = models["base"].get_text_emb(IDS, MASK)
    answers["glide/text"], answers["glide/words"] = text["xf_proj"], text["xf_out"].permute(0, 2, 1)

    def guided(x: Tensor, ts: Tensor) -> Tensor:
        told, not_told = (models["base"](x, ts, tokens=i, mask=m) for i, m in ((IDS, MASK), (NULL, NO_WORDS)))
        eps = not_told[:, :3] + 3.0 * (told[:, :3] - not_told[:, :3])
        return torch.cat([eps, told[:, 3:]], dim=1)

    torch.manual_seed(3)
    base = spaced("squaredcos_cap_v2", "6")
    answers["glide/base drawn"] = base.p_sample_loop(guided, (1, 3, SIDE, SIDE), device="cpu")
    small = (picture(SIDE // 2) * 127.5 + 127.5).round() / 127.5 - 1
    words = {"tokens": IDS, "mask": MASK, "low_res": small}
    answers["glide/upsample drawn"] = spaced("linear", "fast27").ddim_sample_loop(
        models["upsample"], (1, 3, SIDE, SIDE), noise=0.997 * normal(1, 3, SIDE, SIDE), model_kwargs=words
    )
    known, mask = known_part(SIDE)
    words = {"tokens": IDS, "mask": MASK, "inpaint_image": known * mask, "inpaint_mask": mask}
    torch.manual_seed(3)
    answers["glide/base_inpaint drawn"] = base.p_sample_loop(
        models["base_inpaint"], (1, 3, SIDE, SIDE), model_kwargs=words,
        denoised_fn=lambda x: x * (1 - mask) + known * mask,
    )  # fmt: skip
    for steps in ("100", "27", "fast27", "250"):
        answers[f"glide/steps {steps}"] = torch.tensor(sorted(space_timesteps(1000, steps), reverse=True))


def guided_answers(shapes: dict[str, Shapes], answers: Tensors) -> None:
    from guided_diffusion import gaussian_diffusion as gd
    from guided_diffusion.respace import SpacedDiffusion, space_timesteps
    from guided_diffusion.unet import UNetModel

    common = {name: value for name, value in GLIDE_UNET.items() if name != "num_head_channels"} | {"image_size": SIDE}
    for name, flags in GUIDED.items():
        model = filled(UNetModel(**common | flags))
        shapes[f"guided/{name}"] = shapes_of(model)
        told = {"y": torch.tensor([LABEL])} if "num_classes" in flags else {}
        answers[f"guided/{name}"] = model(normal(1, 3, SIDE, SIDE), torch.tensor([STEP]), **told)
        learns = model.out_channels == 6
        for schedule in ("linear", "cosine"):
            variance = gd.ModelVarType.LEARNED_RANGE if learns else gd.ModelVarType.FIXED_LARGE
            spaced = SpacedDiffusion(
                use_timesteps=space_timesteps(1000, "5"), betas=gd.get_named_beta_schedule(schedule, 1000),
                model_mean_type=gd.ModelMeanType.EPSILON, model_var_type=variance, loss_type=gd.LossType.MSE,
            )  # fmt: skip
            torch.manual_seed(3)
            drawn = spaced.p_sample_loop(model, (1, 3, SIDE, SIDE), model_kwargs=told, device="cpu")
            answers[f"guided/{name} drawn, {schedule}"] = drawn
    ddim = SpacedDiffusion(
        use_timesteps=space_timesteps(1000, "ddim5"), betas=gd.get_named_beta_schedule("linear", 1000),
        model_mean_type=gd.ModelMeanType.EPSILON, model_var_type=gd.ModelVarType.LEARNED_RANGE,
        loss_type=gd.LossType.MSE,
    )  # fmt: skip
    model = filled(UNetModel(**common | GUIDED["heads"]))
    noise = normal(1, 3, SIDE, SIDE)
    answers["guided/heads drawn, ddim"] = ddim.ddim_sample_loop(model, noise.shape, noise=noise, device="cpu")


def dvae_answers(shapes: dict[str, Shapes], answers: Tensors) -> None:
    from dall_e import Decoder, Encoder, map_pixels, unmap_pixels

    encoder, decoder = filled(Encoder(**DVAE)), filled(Decoder(n_init=32, **DVAE))
    shapes["dvae/encoder"], shapes["dvae/decoder"] = shapes_of(encoder), shapes_of(decoder)
    logits = encoder(map_pixels((picture(32) + 1) / 2))
    tokens = logits.argmax(dim=1)
    told = torch.nn.functional.one_hot(tokens, DVAE["vocab_size"]).permute(0, 3, 1, 2).float()
    answers["dvae/logits"], answers["dvae/tokens"] = logits, tokens
    answers["dvae/picture"] = unmap_pixels(torch.sigmoid(decoder(told)[:, :3])) * 2 - 1


RECORDERS: dict[str, Callable[[dict[str, Shapes], Tensors], None]] = {
    "glide_text2im": glide_answers, "guided_diffusion": guided_answers, "dall_e": dvae_answers,
}  # fmt: skip
"""What the authors' packages answer, by the name under which each is imported."""


def record() -> None:
    """Ask the authors' code, and keep its answers."""
    shapes: dict[str, Shapes] = {}
    answers: Tensors = {}
    with torch.no_grad():
        for recorder in RECORDERS.values():
            recorder(shapes, answers)
    kept = {name: value.contiguous() for name, value in answers.items()}
    save_file(kept, ANSWERS, {"shapes": json.dumps(shapes, separators=(",", ":"))})


if __name__ == "__main__":
    record()

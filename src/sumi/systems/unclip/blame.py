"""Which stage of an unCLIP is to blame for bad drawings: each is given what a perfect stage before it would give.

decoder     draws from the true z_i; CLIP's cosine of each drawing to its picture, on a scale from
            0, a drawing of another picture, to 1, the picture itself after the codec
prior       the same with its own z_i: what is lost against the true one is its fault
upsampler   enlarges a true small picture; PSNR against the true large one, beside plain enlarging
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from sumi.conditioning import CLIP
from sumi.diffusion import DPMSolver2MSampler, NetworkDenoiser, guide, sample, seeded, uniform_times
from sumi.imaging.pixels import from_levels
from sumi.nn import Cond, EmbeddingDenoiser
from sumi.systems.objectives import take, to_picture, upsampled
from sumi.systems.run_diagnosis import RunFinding
from sumi.systems.unclip.objectives import DecoderObjective, PriorObjective, UpsamplerObjective
from sumi.training import Objective

__all__ = ["blame_stages", "judge_drawings", "judge_enlarged"]

DRAWN, ENLARGED, STEPS, GUIDANCE = 16, 6, 16, 2.0
CPU = torch.device("cpu")
GOOD, LOST = 0.3, 0.5
"""On the scale from another picture to the picture itself; the share of it that a prior may lose."""
TOLD_APART = 0.05
"""CLIP's cosines of a picture to itself and to another should differ by this."""
WORSE_DB = 3.0


@dataclass(frozen=True)
class Likeness:
    """Mean cosines to the true pictures: of drawings from the true z_i, of those from the prior's, and of two limits.

    itself: of the pictures after the codec. another: of each picture to another one.
    """

    true_z_i: float
    prior_z_i: float | None
    itself: float
    another: float

    def share(self, cosine: float) -> float:
        """Return a cosine on the scale from another picture, 0, to the picture itself, 1."""
        return (cosine - self.another) / max(1e-6, self.itself - self.another)


@torch.no_grad()
def blame_stages(objectives: Mapping[str, Objective]) -> list[RunFinding]:
    """Give every stage a perfect input, as far as the stages are there.

    objectives: by stage, their models with the weights of the run.
    """
    found = []
    clip, decoder = objectives.get("clip"), objectives.get("decoder")
    prior = objectives.get("prior")
    if clip is not None and isinstance(decoder, DecoderObjective) and isinstance(clip.model, CLIP):
        given = prior if isinstance(prior, PriorObjective) else None
        found += judge_drawings(measure_likeness(clip.model, decoder, given))
    found += [
        judge_enlarged(name, *measure_enlarged(upsampler))
        for name, upsampler in objectives.items()
        if isinstance(upsampler, UpsamplerObjective)
    ]
    return found


def measure_likeness(clip: CLIP, decoder: DecoderObjective, prior: PriorObjective | None) -> Likeness:
    """Draw some training pictures from the true z_i and from the prior's, and let CLIP compare them."""
    clip.eval()
    rows = torch.linspace(0, len(decoder) - 1, min(DRAWN, len(decoder))).long()
    x, told = take(decoder.latents, rows, CPU).float(), decoder.told(rows, CPU)
    assert told.vector is not None
    true, z_t = told.vector.chunk(2, dim=1)

    def see(latents: Tensor) -> Tensor:
        return F.normalize(clip.encode_image(from_levels(to_picture(decoder.codec.decode(latents)))), dim=1)

    seen, true = see(x), F.normalize(true, dim=1)
    shifted = true.roll(max(1, len(rows) // 2), dims=0)
    drawn = {"true": draw_latents(decoder, told, x.shape[1:])}
    if prior is not None:
        words = Cond(vector=z_t, tokens=told.tokens)
        guessed = Cond(torch.cat([draw_z_i(prior, words), z_t], dim=1), told.tokens)
        drawn["prior"] = draw_latents(decoder, guessed, x.shape[1:])
    cosines = {name: float((see(latents) * true).sum(dim=1).mean()) for name, latents in drawn.items()}
    return Likeness(
        cosines["true"],
        cosines.get("prior"),
        float((seen * true).sum(dim=1).mean()),
        float((seen * shifted).sum(1).mean()),
    )


def draw_latents(decoder: DecoderObjective, cond: Cond, shape: torch.Size) -> Tensor:
    """Draw latents (B, *shape) under a condition."""
    decoder.model.eval()
    count = len(cond.vector) if cond.vector is not None else 0
    rngs = seeded(range(count))
    noise = torch.stack([torch.randn(shape, generator=rng) for rng in rngs])
    denoise = guide(NetworkDenoiser(decoder.model, decoder.target, decoder.schedule), cond.null(), GUIDANCE)
    return sample(DPMSolver2MSampler(decoder.schedule), denoise, noise, uniform_times(STEPS), cond, rngs)


def draw_z_i(prior: PriorObjective, cond: Cond) -> Tensor:
    """Draw z_i (B, D) from captions."""
    network = prior.model.eval()
    assert isinstance(network, EmbeddingDenoiser) and cond.vector is not None
    rngs = seeded(range(len(cond.vector)))
    noise = torch.stack([torch.randn(network.size, generator=rng) for rng in rngs])
    denoise = guide(NetworkDenoiser(network, prior.target, prior.schedule), cond.null(), GUIDANCE)
    drawn = sample(DPMSolver2MSampler(prior.schedule), denoise, noise, uniform_times(STEPS), cond, rngs)
    return network.denormalise(drawn)


def judge_drawings(like: Likeness) -> list[RunFinding]:
    """Return whether decoder and prior are to blame."""
    values = {"itself": round(like.itself, 4), "another": round(like.another, 4)}
    if like.itself - like.another < TOLD_APART:
        text = (
            f"CLIP finds a picture as near to another ({like.another:.2f}) as to itself after the codec "
            f"({like.itself:.2f}), so its z_i tells the decoder nothing: CLIP or codec come first"
        )
        return [RunFinding("clip", "decoder", "wrong", text, values)]
    with_true = like.share(like.true_z_i)
    told = f"given the true z_i, its drawings come {with_true:.0%} of the way from another picture to the right one"
    known = values | {"true_z_i": round(like.true_z_i, 4), "share": round(with_true, 3)}
    if with_true < GOOD:
        text = f"{told}: the decoder is to blame, whatever the prior gives it"
        return [RunFinding("decoder", "decoder", "wrong", text, known)]
    found = [RunFinding("decoder", "decoder", "ok", told, known)]
    if like.prior_z_i is not None:
        with_prior = like.share(like.prior_z_i)
        told = (
            f"with its z_i in place of the true one, drawings come {with_prior:.0%} of the way, where the true one "
            f"gives {with_true:.0%}"
        )
        known = {
            "prior_z_i": round(like.prior_z_i, 4),
            "share": round(with_prior, 3),
            "true_share": round(with_true, 3),
        }
        if with_prior < (1 - LOST) * with_true:
            found.append(RunFinding("prior", "prior", "wrong", f"{told}: the prior is to blame", known))
        else:
            found.append(RunFinding("prior", "prior", "ok", told, known))
    return found


def measure_enlarged(upsampler: UpsamplerObjective) -> tuple[float, float]:
    """Return the PSNR in dB of true small pictures enlarged by the network, and by bicubic interpolation."""
    rows = torch.linspace(0, len(upsampler) - 1, min(ENLARGED, len(upsampler))).long()
    small, large = (from_levels(take(array, rows, CPU)) for array in (upsampler.small, upsampler.large))
    plain, rngs = upsampled(small, large.shape[-1]), seeded(range(len(rows)))
    noise = torch.stack([torch.randn(large.shape[1:], generator=rng) for rng in rngs])
    denoise = NetworkDenoiser(upsampler.model.eval(), upsampler.target, upsampler.schedule)
    sampler = DPMSolver2MSampler(upsampler.schedule)
    drawn = sample(sampler, denoise, noise, uniform_times(4), Cond(concat=plain), rngs)
    return psnr_db(drawn, large), psnr_db(plain, large)


def psnr_db(one: Tensor, other: Tensor) -> float:
    """Return the PSNR of signals in [-1, 1], in dB."""
    return float(10 * torch.log10(4 / (one.clamp(-1, 1) - other).square().mean().clamp(min=1e-8)))


def judge_enlarged(name: str, drawn_db: float, plain_db: float) -> RunFinding:
    """Return whether the upsampler is to blame."""
    values = {"enlarged_db": round(drawn_db, 2), "bicubic_db": round(plain_db, 2)}
    told = (
        f"given a true small picture, it comes to {drawn_db:.1f} dB, where plain enlarging comes to {plain_db:.1f} dB"
    )
    if drawn_db < plain_db - WORSE_DB:
        return RunFinding(name, "upsampler", "wrong", f"{told}: the upsampler is to blame", values)
    return RunFinding(name, "upsampler", "ok", told, values)

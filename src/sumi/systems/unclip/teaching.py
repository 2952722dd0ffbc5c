"""Teaching a model a new word from a few pictures, by LoRA, textual inversion and prior preservation.

    loss = decoder(x | z_i, words) + prior(z_i | words) + CLIP(words, z_i) + |adapted - base|^2 on other things

The networks stay frozen. Learned are the embedding of the new word (Gal et al. 2022, arXiv 2208.01618) and low-rank
changes of the prior and the decoder (Hu et al. 2021, arXiv 2106.09685). CLIP's image tower may see a new thing poorly,
but sees it the same way each time: the decoder learns to draw from the true z_i of the pictures, the prior learns to
find that z_i, and the word learns to lie near it. On the model's own pictures of other things the changed networks are
held to the answers of the unchanged ones, which is prior preservation (DreamBooth: Ruiz et al. 2022, arXiv 2208.12242,
eq. 2) with the model itself as teacher, so that it costs no variance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sumi.diffusion import (
    DenoisingLoss,
    FlowPrediction,
    FlowSchedule,
    LogitNormalTimes,
    Schedule,
    Target,
    UniformTimes,
    VPrediction,
    normal,
)
from sumi.hardware import autocast
from sumi.imaging.pixels import from_levels, to_levels
from sumi.nn import Cond, EmbeddingDenoiser, LoRA, drop_condition
from sumi.pipelines import EncodedText, UnCLIPPipeline, run
from sumi.pipelines.layered import sample_small
from sumi.pipelines.steps import Work, drive_to_end
from sumi.systems.objectives import Arrays, CaptionFeatures, sheet, take
from sumi.systems.unclip.adapted import Extended
from sumi.systems.unclip.artist import Sumi
from sumi.systems.unclip.model import parameterization
from sumi.systems.unclip.objectives import drop_parts
from sumi.training import Batch

__all__ = ["CaptionedLatents", "OwnPicture", "TeachingObjective", "draw_own", "encode_pictures"]

TAUGHT = ("prior", "decoder")
"""The parts that LoRA changes."""
DROP = 0.1
"""Of the examples, those without a condition, which guidance needs."""
CLIP_WEIGHT, OWN_WEIGHT, OWN_SHARE = 0.1, 1.0, 0.25
ENCODED_AT_ONCE = 64


@dataclass(frozen=True)
class OwnPicture:
    """A picture that the model drew: its prompt, its latents (C, side, side) and what it shows (4, S, S)."""

    prompt: str
    latents: Tensor
    levels: Tensor


@dataclass(frozen=True)
class CaptionedLatents:
    """What the networks make of captioned pictures: latents (N, C, side, side), z_i (N, D), token ids (N, L)."""

    latents: Arrays
    z_i: Arrays
    ids: Arrays

    def __len__(self) -> int:
        return len(self.ids)


def draw_own(model: Sumi, prompts: Sequence[str], seed: int) -> Work[list[OwnPicture]]:
    """Draw small pictures of prompts with the model as it is, one after another batch, with progress."""
    pipeline: UnCLIPPipeline = replace(model.pipeline, draws=1)
    text, seeds = pipeline.encode(prompts), [seed + number for number in range(len(prompts))]
    z_i = yield from pipeline.sample_prior(text, seeds)
    cond = pipeline.decoder_cond(text, z_i)
    latents = yield from run(pipeline.decoder, cond, seeds, batch=pipeline.batch)
    levels = torch.cat([to_levels(pipeline.decoder.decode(some)) for some in torch.split(latents, pipeline.batch)])
    return [OwnPicture(*one) for one in zip(prompts, latents, levels, strict=True)]


@torch.no_grad()
def encode_pictures(made: Extended, pictures: Any, captions: Sequence[str]) -> CaptionedLatents:
    """Return what the frozen networks make of pictures, premultiplied uint8 (N, 4, S, S), and their captions."""
    codec: Any = made.parts.get("codec")
    latents, z_i = [], []
    for some in torch.split(torch.from_numpy(pictures), ENCODED_AT_ONCE):
        x = from_levels(some)
        with autocast("cpu"):
            z_i.append(made.clip.encode_image(x).float())
            latents.append(x if codec is None else codec.encode(x).float())
    ids = made.tokenizer.encode(list(captions))
    return CaptionedLatents(torch.cat(latents).numpy(), torch.cat(z_i).numpy(), ids.numpy())


@dataclass(frozen=True)
class TeachingObjective:
    """Learn a new word, and how to draw what it means.

    Attributes:
        model: the learned changes.
        base: the networks with the new word, frozen.
        taught: a person's pictures. own: the model's own of other things. own_text: the captions of these, encoded.
        settings: of the stages of the bundle.
        shown: the model with the new word, whose networks the changes are attached to, for sheets of samples.
        prompts: of a sheet.
    """

    model: LoRA
    base: Extended
    taught: CaptionedLatents
    own: CaptionedLatents
    own_text: CaptionFeatures
    settings: Mapping[str, Any]
    shown: Sumi
    prompts: tuple[str, ...]
    name: str = "teach"

    def __len__(self) -> int:
        """How many captioned variations of the person's pictures."""
        return len(self.taught)

    @property
    def networks(self) -> dict[str, nn.Module]:
        """Those that are changed."""
        return {part: self.base.parts[part] for part in TAUGHT if part in self.base.parts}

    def loss(self, model: nn.Module, batch: Batch) -> Mapping[str, Tensor]:
        """Return the sum of the losses, and each."""
        assert isinstance(model, LoRA)
        rng = batch.rng
        count = max(1, round(OWN_SHARE * len(batch.indices)))
        others = torch.randint(len(self.own), (count,), generator=rng, device=rng.device).cpu()
        new, old = _Examples.of(self.taught, batch.indices, rng), _Examples.of(self.own, others, rng)
        captions, which = torch.unique(new.ids, dim=0, return_inverse=True)
        with model.attach(self.networks, self.base.clip.text.tokens):
            text = EncodedText(*self.base.clip.encode_text(captions), captions)
            losses = {"decoder": self._decoder_loss(new, text.pick(which.tolist()), rng)}
            losses["clip"] = self._clip_loss(new, which, old, text)
            if "prior" in self.networks:
                some = torch.stack([(which == number).nonzero()[0, 0] for number in range(len(captions))])
                losses["prior"] = self._prior_loss(new.z_i[some], text, rng)
        losses["own"] = self._own_loss(model, old, others, rng)
        loss = losses["decoder"] + losses.get("prior", 0.0) + CLIP_WEIGHT * losses["clip"] + OWN_WEIGHT * losses["own"]
        return {"loss": loss, **{name: value.detach() for name, value in losses.items()}}

    def _decoder_loss(self, new: _Examples, text: EncodedText, rng: torch.Generator) -> Tensor:
        """The diffusion loss of the decoder, given the true z_i; a share has no z_i, another no words."""
        target, schedule = self._parameterization("decoder")
        dice = torch.rand(len(new.ids), 1, generator=rng, device=rng.device)
        words = (dice >= DROP) & ((dice < 2 * DROP) | (dice >= 2.5 * DROP))
        cond = drop_parts(_decoder_cond(text, new.z_i), dice >= 2 * DROP, words)
        loss = DenoisingLoss(target, schedule, LogitNormalTimes(mean=0.5), _measure(schedule), min_sigma=0.1)
        return loss(self.networks["decoder"], new.latents, cond, rng).mean()

    def _prior_loss(self, z_i: Tensor, text: EncodedText, rng: torch.Generator) -> Tensor:
        """The diffusion loss of the prior, on one picture of each caption of the batch."""
        prior = self.networks["prior"]
        assert isinstance(prior, EmbeddingDenoiser)
        cond = drop_condition(Cond(vector=text.z_t, tokens=text.hidden), DROP, rng)
        return DenoisingLoss(*self._parameterization("prior"))(prior, prior.normalise(z_i), cond, rng).mean()

    def _clip_loss(self, new: _Examples, which: Tensor, old: _Examples, text: EncodedText) -> Tensor:
        """Cross-entropy of each picture's caption against the other captions' pictures (CLIP, figure 3)."""
        logits = self.base.clip.logits(text.z_t[which], torch.cat([new.z_i, old.z_i]))
        same = which[:, None] == which[None]
        same.fill_diagonal_(False)
        masked = logits.masked_fill(F.pad(same, (0, len(old.ids))), float("-inf"))
        return F.cross_entropy(masked, torch.arange(len(which), device=logits.device))

    def _own_loss(self, model: LoRA, old: _Examples, others: Tensor, rng: torch.Generator) -> Tensor:
        """How far the changed networks' answers are from the unchanged ones', on the model's own pictures."""
        text = EncodedText(*self.own_text(others, rng.device), old.ids)
        asked: dict[str, tuple[Tensor, Cond]] = {"decoder": (old.latents, _decoder_cond(text, old.z_i))}
        prior = self.networks.get("prior")
        if isinstance(prior, EmbeddingDenoiser):
            asked["prior"] = (prior.normalise(old.z_i), Cond(vector=text.z_t, tokens=text.hidden))
        total = torch.zeros((), device=rng.device)
        for part, (x, cond) in asked.items():
            target, schedule = self._parameterization(part)
            t, cond = UniformTimes()(len(x), rng).to(x), drop_condition(cond, DROP, rng)
            level = schedule(t)
            inputs = target.scale_inputs(level.add_noise(x, normal(x, rng)), t, level)
            with torch.no_grad():
                before = self.networks[part](*inputs, cond)
            with model.attach(self.networks):
                total = total + (self.networks[part](*inputs, cond) - before).float().square().mean()
        return total

    def _parameterization(self, part: str) -> tuple[Target, Schedule]:
        return parameterization(self.settings["asked"][part])

    @torch.no_grad()
    def picture(self, model: nn.Module) -> Tensor:
        """Return a row of pictures of the prompts, drawn small with what has been learned so far."""
        assert isinstance(model, LoRA)
        with model.attach(self.networks, self.base.clip.text.tokens):
            drawn = drive_to_end(sample_small(self.shown.pipeline, self.prompts, range(len(self.prompts))))
        return sheet([torch.stack(drawn)])


@dataclass(frozen=True)
class _Examples:
    """Some captioned pictures, on the device of training."""

    latents: Tensor
    z_i: Tensor
    ids: Tensor

    @classmethod
    def of(cls, source: CaptionedLatents, indices: Tensor, rng: torch.Generator) -> _Examples:
        latents, z_i, ids = (take(array, indices, rng.device) for array in (source.latents, source.z_i, source.ids))
        return cls(latents.float(), z_i.float(), ids)


def _decoder_cond(text: EncodedText, z_i: Tensor) -> Cond:
    return Cond(torch.cat([z_i, text.z_t], dim=1), text.hidden)


def _measure(schedule: Schedule) -> Target:
    """What the decoder's error is measured in: the velocity of its path, as in its own training."""
    return FlowPrediction() if isinstance(schedule, FlowSchedule) else VPrediction()

"""Training of the sticker model: from a folder of artwork to a bundle, one stage after another.

    artwork -> atlas -> pool of scenes -> codec, clip -> latents, embeddings -> prior, decoder, upsampler -> bundle
                        captions of scenes -> layout_planner

Every product is a file of the run's folder, made once, and made again only if its inputs change.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from sumi.autoregressive import PrincipalAxes
from sumi.bundles import Bundle, Card, save_bundle, weight_hash
from sumi.codecs import Autoencoder, Codec, PatchPCA
from sumi.conditioning import CLIP, ImageClassifier
from sumi.conditioning.transfer import same_towers, transfer_weights
from sumi.data import taught
from sumi.data.disk import check_disk
from sumi.data.pool import Pool
from sumi.data.rights import attribution
from sumi.data.scene import KINDS
from sumi.diffusion import (
    DenoisingLoss,
    FlowPrediction,
    LogitNormalTimes,
    NetworkDenoiser,
    RegressionLoss,
    X0Prediction,
)
from sumi.errors import SumiError
from sumi.imaging.pixels import from_levels
from sumi.nn import ConvNeXtDecoder, DenseDraft, EmbeddingDenoiser, LayoutPlannerNetwork, SuperResolutionNetwork
from sumi.systems.objectives import CaptionFeatures, CLIPObjective, CodecObjective, ConceptNames
from sumi.systems.sticker.disk_plan import disk_plan
from sumi.systems.sticker.drawings import drawings_of
from sumi.systems.sticker.features import compute_features
from sumi.systems.sticker.presets import FIRST, STAGES
from sumi.systems.sticker.training_data import StickerData, shown_alone
from sumi.systems.tower_objective import TowerObjective, common_words
from sumi.systems.unclip import SETTINGS, parameterization
from sumi.systems.unclip import objectives as lessons
from sumi.systems.unclip.degradation import DecoderDegradation, DecoderEstimate
from sumi.systems.unclip.layout_objective import LayoutPlannerObjective, connecting_words
from sumi.training import Objective, is_finished, load_ema, processes, read_config, train_stage

__all__ = ["StickerTraining"]

CLASSES: dict[str, type[nn.Module]] = {
    "clip": CLIP,
    "layout_planner": LayoutPlannerNetwork,
    "upsampler": SuperResolutionNetwork,
}

NAMED_FURTHER = 2_048
"""So many pictures besides those of the batch are named in each step of a CLIP with a locked image tower."""

MOST_AXES = 128
"""Of CLIP's embeddings' principal axes, so many are kept in a bundle."""


class StickerTraining(StickerData):
    """Everything one run of `sumi train sticker` makes, in `folder`, from the artwork in `artwork`.

    The parts of `start` stand in for stages that this run has not trained; a stage that is trained here begins with its
    weights where the architecture is the same, and afresh where it is not.
    """

    def check_disk(self) -> None:
        """Raise SumiError where what this run still has to write does not fit on its disk; see `disk_plan`."""
        written = sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())
        planned = sum(disk_plan(self.preset, self.device.type != "cpu").values())
        check_disk(self.folder, planned - written, f"training {self.preset.name}")

    # What learns.

    def network(self, stage: str) -> nn.Module:
        """Return the untrained network of a stage, the same every time."""
        if stage == "tower":
            torch.manual_seed(self.preset.seed)
            image = self.preset.networks["clip"]["image"]
            return ImageClassifier(image, len(self.vocabulary.names), self.tokenizer.size).to(self.device)
        config = json.loads(json.dumps(self.preset.networks["decoder" if stage == "draft" else stage]))
        if "text" in config:
            config["text"]["vocabulary_size"] = self.tokenizer.size
        if stage == "layout_planner":
            config["vocabulary_size"] = self.tokenizer.size
        chosen = {"codec": self.preset.codec, "prior": self.preset.prior}
        chosen |= dict.fromkeys(("draft", "decoder"), self.preset.decoder)
        made = {**chosen, **CLASSES}[stage]
        if made is ConvNeXtDecoder and isinstance(codec := self._codec_beside(), PatchPCA):
            config["deviations"] = codec.deviations
        torch.manual_seed(self.preset.seed)
        network = made(**config)
        if isinstance(network, ConvNeXtDecoder) and stage == "draft":
            return network.draft.to(self.device)
        if isinstance(network, ConvNeXtDecoder) and self._is_trained("draft"):
            network.draft.load_state_dict(load_ema(self.folder / "draft", network.draft))
            network.draft.requires_grad_(False)
        if self.start is not None and stage in self.start.parts:
            given = self.start.part(stage)
            if _same_architecture(given, network):
                if isinstance(network, CLIP) and isinstance(given, CLIP):
                    transfer_weights(given, self._start_tokenizer, network, self.tokenizer)
                else:
                    network.load_state_dict(given.state_dict())
            elif self._stands_in(stage) and stage not in self.training:
                raise SumiError(
                    f"the {stage} of {self.start.folder} has another architecture than the preset {self.preset.name}: "
                    f"train it too (--stage {stage})"
                )
        if isinstance(network, CLIP) and self._is_trained("tower"):
            network.image.load_state_dict(self.tower.standardised_tower())
            network.image.requires_grad_(False)
        return network.to(self.device)

    def _stands_in(self, stage: str) -> bool:
        """Whether the part of the model that we start from serves, for want of one trained here."""
        return not self._is_trained(stage) and self.start is not None and stage in self.start.parts

    def _is_trained(self, stage: str) -> bool:
        return read_config(self.folder / stage) is not None or self.is_fitted(stage)

    def is_fitted(self, stage: str) -> bool:
        """Whether a stage was fitted in one go, without steps."""
        return self._fitted_path(stage).exists()

    def _fitted_path(self, stage: str) -> Path:
        """Where the weights of a stage are that is fitted in one go, without steps."""
        return self.folder / f"{stage}.safetensors"

    def part(self, stage: str) -> nn.Module:
        """Return the trained network of a stage, averaged and frozen; SumiError if it is not trained yet."""
        if self._stands_in(stage):
            return self.network(stage).eval().requires_grad_(False)
        if not self._is_trained(stage):
            raise SumiError(f"the {stage} is not trained yet: run `sumi train sticker --stage {stage}` first")
        network = self.network(stage)
        if isinstance(network, PatchPCA):
            network.load_state_dict(load_file(self._fitted_path(stage), str(self.device)))
            return network.eval()
        if isinstance(network, EmbeddingDenoiser):
            self._standardise(network)
        network.load_state_dict(load_ema(self.folder / stage, network))
        if isinstance(network, Autoencoder):
            self._measure(network)
        return network.eval().requires_grad_(False)

    def _fit(self, codec: PatchPCA) -> None:
        """Fit a linear codec to the first few thousand pictures of the pool, and keep it."""
        codec.fit(from_levels(torch.from_numpy(np.array(self.pool.pictures(64)[:4096]))))
        self.folder.mkdir(parents=True, exist_ok=True)
        save_file(codec.state_dict(), self._fitted_path("codec"))

    def _measure(self, codec: Autoencoder) -> None:
        """Statistics of the latents over a fixed few thousand pictures."""
        pictures = self.pool.pictures(64)
        batches = [from_levels(torch.from_numpy(np.array(pictures[k : k + 256]))) for k in range(0, 4096, 256)]
        codec.fit_latent_stats([batch.to(self.device) for batch in batches if len(batch)])

    def _standardise(self, prior: EmbeddingDenoiser) -> None:
        """Mean and deviation of CLIP's image embeddings over the pool."""
        z_i = torch.from_numpy(np.asarray(self.z_i[:50_000], dtype=np.float32))
        prior.mean.copy_(z_i.mean(dim=0))
        prior.std.copy_(z_i.std(dim=0).clamp(min=1e-4))

    def _codec_beside(self) -> Codec | None:
        """The codec of the decoder's latents, if there is one yet."""
        return self.codec if self._is_trained("codec") or self._stands_in("codec") else None

    @cached_property
    def codec(self) -> Codec:
        """The trained codec."""
        part = self.part("codec")
        assert isinstance(part, Codec)
        return part

    @cached_property
    def clip(self) -> CLIP:
        """The trained CLIP."""
        part = self.part("clip")
        assert isinstance(part, CLIP)
        return part

    @cached_property
    def tower(self) -> ImageClassifier:
        """The classifier whose tower is CLIP's image tower."""
        part = self.part("tower")
        assert isinstance(part, ImageClassifier)
        return part

    def _tower_features(self, name: str, pool: Pool, clip: CLIP) -> Any:
        """Features (N, width) of a pool's pictures by a locked image tower."""
        image = clip.image.eval()
        return self._features(name, image, pool.pictures(64), lambda x: image(from_levels(x)))

    @cached_property
    def latents(self) -> Any:
        """The codec's latents of the pool, float16 (N, C, side, side)."""
        return self._features(
            "latents", self.part("codec"), self.pool.pictures(64), lambda x: self.codec.encode(from_levels(x))
        )

    @cached_property
    def words(self) -> CaptionFeatures:
        """What CLIP makes of the pool's captions; on an accelerator that is sooner computed than read."""
        if self.device.type != "cpu":
            return CaptionFeatures(self.clip, self.ids)
        different, which = np.unique(np.asarray(self.ids), axis=0, return_inverse=True)
        kept = self._features("words", self.clip, different, lambda ids: self.clip.encode_text(ids.long())[1])
        return CaptionFeatures(self.clip, self.ids, kept, torch.from_numpy(which))

    @cached_property
    def z_i(self) -> Any:
        """CLIP's embeddings of the pool's pictures, float16 (N, D)."""
        clip = self.clip
        if self._is_trained("tower"):
            features = self._tower_features("tower", self.pool, clip)
            return self._features("z_i", clip, features, lambda h: clip.project(h.float()))
        return self._features("z_i", clip, self.pool.pictures(64), lambda x: clip.encode_image(from_levels(x)))

    @property
    def axes(self) -> PrincipalAxes:
        """The principal axes of those embeddings; where CLIP is the one that we start from, so are they."""
        taken = self.start.part("pca") if self._stands_in("clip") and self._stands_in("pca") and self.start else None
        if isinstance(taken, PrincipalAxes):
            return taken
        z_i = torch.from_numpy(np.asarray(self.z_i[:50_000], dtype=np.float32))
        return PrincipalAxes.fit(z_i, MOST_AXES)

    def _features(
        self, name: str, network: nn.Module, examples: Any, compute: Callable[[torch.Tensor], torch.Tensor]
    ) -> Any:
        folder, made_by = self.folder / "features", weight_hash(network)
        return compute_features(folder, name, made_by, examples, compute, self.device, self.progress)

    def _concept_names(self, pool: Pool) -> ConceptNames:
        """What each picture shows, and a prompt for every concept."""
        prompts = self.tokenizer.encode([f"a {name}" for name in self.vocabulary.names])
        return ConceptNames(prompts, shown_alone(pool))

    def objective(self, stage: str) -> Objective:
        """Return the objective of a stage; SumiError naming the stage that must be trained before it."""
        _check_stage(stage)
        if stage == "codec":
            return CodecObjective(self.network(stage), self.pool.pictures(64))  # type: ignore[arg-type]
        if stage == "clip":
            clip, pool = self.network(stage), self.contrasts
            assert isinstance(clip, CLIP)
            ids = self.ids if pool is self.pool else self._encoded("ids-contrasts", pool)
            names = self._concept_names(pool) if self.preset.group > 1 else None
            pictures, group = pool.pictures(64), self.preset.group
            if not self._is_trained("tower"):
                return CLIPObjective(clip, pictures, ids, group=group, names=names)
            features = self._tower_features("tower-contrasts", pool, clip)
            names = None if names is None else replace(names, candidates=len(names.ids))
            return CLIPObjective(
                clip, pictures, ids, group=group, names=names, features=features, further=NAMED_FURTHER
            )
        if stage == "tower":
            classifier, ids = self.network(stage), self.ids
            assert isinstance(classifier, ImageClassifier)
            common = common_words(ids, self.tokenizer.size)
            return TowerObjective(classifier, self.pool.pictures(64), shown_alone(self.pool), ids, common)
        if stage == "layout_planner":
            planner = self.network(stage)
            assert isinstance(planner, LayoutPlannerNetwork)
            planner.connecting_words.copy_(connecting_words(*self.briefs, self.tokenizer.size))
            return LayoutPlannerObjective(planner, self.clip, *self.briefs)
        if stage == "draft":
            draft, told = self.network(stage), lessons.DecoderCondition(self.z_i, self.words)
            assert isinstance(draft, DenseDraft)
            return lessons.DraftObjective(draft, self.codec, self.latents, told)
        target, schedule = parameterization(self.preset.asked[stage])
        if stage == "prior":
            prior = self.network(stage)
            assert isinstance(prior, EmbeddingDenoiser)
            self._standardise(prior)
            return lessons.PriorObjective(prior, self.z_i, self.words, target, schedule)
        # A clean answer is judged by the velocity it implies, as in JiT (Li & He 2025, arXiv 2511.13720, table 1).
        measure = FlowPrediction() if isinstance(target, X0Prediction) else None
        loss = DenoisingLoss(target, schedule, LogitNormalTimes(), measure, min_sigma=0.1)
        if stage == "decoder":
            loss = replace(loss, times=LogitNormalTimes(mean=self.preset.decoder_noise))
            told = lessons.DecoderCondition(self.z_i, self.words)
            return lessons.DecoderObjective(
                self.network(stage), self.codec, self.latents, told, target, schedule, loss, self.singles
            )
        large, small = self.pairs.pictures(256), self.pairs.pictures(64)
        decoder_target, decoder_schedule = parameterization(self.preset.asked["decoder"])
        denoiser = NetworkDenoiser(self.part("decoder"), decoder_target, decoder_schedule)
        degrade = DecoderDegradation(self.codec, DecoderEstimate(denoiser, decoder_schedule, self.clip))
        return lessons.UpsamplerObjective(
            self.network(stage), large, small, degrade, target, schedule, RegressionLoss()
        )

    @property
    def singles(self) -> Any:
        """Numbers of the pool's scenes of one thing, int64."""
        return np.flatnonzero(self.pool.kinds == KINDS.index("single"))

    def train(
        self,
        stage: str,
        hours: float | None = None,
        resume: bool = True,
        extend: bool = False,
        num_steps: int | None = None,
        quiet: bool = False,
        dials: Mapping[str, Any] | None = None,
    ) -> bool:
        """Train one stage; `hours` is the budget of the whole model, of which the stage has its share.

        dials: fields of the `TrainConfig` in place of the preset's. The others: see `train_stage`.
        """
        _check_stage(stage)
        first = FIRST.get(stage, stage)
        waits = first != stage and first in self.preset.plans and not is_finished(self.folder / first)
        if waits and not self.train(first, hours, resume, extend, num_steps, quiet, dials):
            return False
        self.training.add(stage)
        with processes().first_alone():
            if isinstance(network := self.network(stage), PatchPCA):
                if not self._is_trained(stage):
                    self._fit(network)
                return True
        return train_stage(
            lambda: self.objective(stage),
            replace(self.preset.plans[stage], **(dials or {})),
            self.folder / stage,
            seconds=None if hours is None else 3600 * hours * self.preset.shares[stage],
            num_steps=num_steps,
            resume=resume,
            extend=extend,
            device=self.device,
            quiet=quiet,
        )

    # What is handed over.

    def missing(self) -> list[str]:
        """Return the stages that have no weights yet."""
        return [stage for stage in STAGES if not self._is_trained(stage) and not self._stands_in(stage)]

    def export(self, folder: Path, card: Card) -> Bundle:
        """Write the bundle: every trained part, the tokenizer, the vocabulary, and the rights of the artwork."""
        parts = {stage: self.part(stage) for stage in STAGES} | {"pca": self.axes}
        concepts = {concept.name: list(concept.words) for concept in self.vocabulary}
        roles = {concept.name for concept in self.vocabulary if concept.person}
        clip_hash = weight_hash(parts["clip"])
        return save_bundle(
            folder,
            system="unclip",
            parts=parts,
            tokenizer=self.tokenizer,
            vocabulary={
                **taught.record(concepts, roles, self.tokenizer.words, self.atlas.hands),
                "drawings": self.preset.drawings,
            },
            rights=attribution([row.rights for row in self.atlas.rows]),
            settings={**SETTINGS, "asked": dict(self.preset.asked)},
            trained_on={stage: {"clip": clip_hash} for stage in ("layout_planner", "prior", "decoder", "pca")},
            card=card,
            drawings=drawings_of(self.atlas, self.clip),
        )


def _same_architecture(one: nn.Module, other: nn.Module) -> bool:
    """Whether the weights of one fit the other; a CLIP may have another vocabulary."""
    if isinstance(one, CLIP) and isinstance(other, CLIP):
        return same_towers(one, other)
    return type(one) is type(other) and one.config == other.config


def _check_stage(stage: str) -> None:
    if stage not in (*STAGES, *FIRST.values()):
        raise SumiError(f"there is no stage '{stage}': choose from {', '.join(STAGES)}")

"""The presets of the wide vocabulary fit together, and a run says what it needs before it starts."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sumi.bundles import Card
from sumi.codecs import PatchPCA
from sumi.conditioning import CLIP, WordTokenizer
from sumi.data.artwork import ARTISTS, ICON_SETS
from sumi.data.atlas import level_bytes
from sumi.data.augmentation import Augmentation
from sumi.data.contrasts import contrasts
from sumi.data.generator import Mix
from sumi.data.vocabulary import VOCABULARIES
from sumi.errors import SumiError
from sumi.imaging.pixels import from_levels
from sumi.nn import Cond, ConvNeXtDecoder, DensePrior
from sumi.systems.objectives import CLIPObjective, ConceptNames, encode_captions
from sumi.systems.sticker.disk_plan import disk_plan
from sumi.systems.sticker.presets import CPU, EMBEDDING, PRESETS, STAGES, Preset
from sumi.systems.sticker.train_sticker import StickerTraining
from sumi.systems.unclip import assemble
from sumi.training import Batch, load_ema

from .test_sticker import tiny


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_preset_decodes_the_canvas_that_its_codec_makes(preset: Preset) -> None:
    with torch.device("meta"):
        codec = preset.codec(**preset.networks["codec"])
        decoder = preset.decoder(**preset.networks["decoder"])
        latents = codec.encode(torch.zeros(2, 4, 64, 64))
        text = preset.networks["clip"]["text"]
        condition = Cond(torch.zeros(2, 2 * EMBEDDING), torch.zeros(2, text["context"], text["width"]))
        assert decoder(latents, torch.ones(2), condition).shape == latents.shape


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_preset_names_vocabularies_and_shares_that_there_are(preset: Preset) -> None:
    assert {preset.vocabulary, preset.drawings} <= set(VOCABULARIES)
    assert sum(preset.shares.values()) == pytest.approx(1)
    assert (preset.contrasts is None) == (preset.group == 1) and preset.num_contrasts % preset.group == 0


def test_default_preset_is_as_the_shipped_model_was_trained() -> None:
    assert (CPU.vocabulary, CPU.drawings, CPU.augmentation, CPU.contrasts) == ("everyday", "full", None, None)


def test_disk_plan_counts_what_the_pools_hold() -> None:
    plan = disk_plan(PRESETS["wide"])
    preset = PRESETS["wide"]
    assert plan["scenes"] >= preset.num_scenes * level_bytes(1, 64)
    assert plan["pairs"] >= preset.num_pairs * (level_bytes(1, 64) + level_bytes(1, 256))
    assert plan["words"] > 0 == disk_plan(preset, accelerated=True)["words"]
    assert plan["latents"] == preset.num_scenes * 8192 * 2


def test_run_that_the_disk_cannot_hold_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage._replace(free=10**9))
    with pytest.raises(SumiError, match=r"training cpu takes \d+\.\d GB in .*, and 1\.0 GB of its disk are free"):
        StickerTraining(CPU, tmp_path, tmp_path / "run").check_disk()


def test_further_artist_without_the_wide_vocabulary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SumiError, match="the preset cpu has artists of its own: a further one needs"):
        StickerTraining(CPU, tmp_path, tmp_path / "run", artists=(*ARTISTS, "openmoji"))


def test_share_alike_sets_are_in_no_preset() -> None:
    assert {icons.artist for icons in ICON_SETS if not icons.shared} == {"openmoji", "emojione-v1"}


class Colours(nn.Module):
    """Stands for CLIP: the embedding of a picture is its first colour, that of a caption its first token."""

    def encode_image(self, x: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(((x[:, 0, 0, 0] + 1) * 127.5).round().long(), 256).float()

    def encode_text(self, ids: Tensor) -> tuple[Tensor, None]:
        return torch.nn.functional.one_hot(ids[:, 0].long(), 256).float(), None


def test_clip_objective_brings_whole_groups_into_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    numbers = np.arange(24, dtype=np.uint8)
    pictures = np.broadcast_to(numbers[:, None, None, None], (24, 4, 2, 2)).copy()
    clip = CLIP.__new__(CLIP)
    nn.Module.__init__(clip)
    toy = Colours()
    monkeypatch.setattr(CLIP, "encode_image", lambda self, x: toy.encode_image(x))
    monkeypatch.setattr(CLIP, "encode_text", lambda self, ids: (seen.append(ids[:, 0]), toy.encode_text(ids))[1])
    monkeypatch.setattr(CLIP, "logits", lambda self, z_t, z_i: 100 * z_t @ z_i.T)
    monkeypatch.setattr("sumi.systems.objectives.soften", lambda x, rng: x)
    objective = CLIPObjective(clip, pictures, numbers[:, None].astype(np.int16), group=4)
    assert len(objective) == 6
    figures = objective.loss(clip, Batch(0, 1, torch.tensor([5, 2]), torch.Generator()))
    assert sorted(torch.cat(seen).tolist()) == [8, 9, 10, 11, 20, 21, 22, 23] and figures["matched"] == 1


def test_captions_encoded_by_length_are_those_encoded_at_full_length() -> None:
    torch.manual_seed(0)
    image = {"in_channels": 4, "size_px": 16, "patch": 4, "channels": [8], "blocks": [1], "width": 6}
    text = {"vocabulary_size": 30, "context": 12, "width": 16, "depth": 2, "heads": 2}
    clip, lengths = CLIP(8, image, text).eval(), torch.tensor([3, 12, 1, 5, 5, 2, 9])
    ids = torch.randint(1, 30, (7, 12)) * (torch.arange(12) < lengths[:, None])
    with torch.no_grad():
        assert torch.allclose(encode_captions(clip, ids), clip.encode_text(ids)[0], atol=1e-5)


def test_locked_image_tower_names_further_pictures_at_each_step() -> None:
    torch.manual_seed(0)
    image = {"in_channels": 4, "size_px": 16, "patch": 4, "channels": [8], "blocks": [1], "width": 6}
    clip = CLIP(8, image, {"vocabulary_size": 30, "context": 4, "width": 16, "depth": 1, "heads": 2})
    features = torch.randn(40, 6).numpy()
    shown, seen = np.arange(40) % 5, []
    names = ConceptNames(torch.tensor([[1, k, 0, 0] for k in range(2, 7)]), shown, candidates=5)
    locked = CLIPObjective(clip, None, torch.randint(1, 30, (40, 4)).numpy(), names=names, features=features, further=9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            ConceptNames,
            "loss",
            lambda self, model, z_i, indices, rng: (seen.append((z_i, indices)), (z_i.sum(), z_i.sum()))[1],
        )
        locked.loss(clip, Batch(0, 1, torch.tensor([3, 7]), torch.Generator().manual_seed(0)))
    ((z_i, indices),) = seen
    assert len(indices) == 11 and indices[:2].tolist() == [3, 7]
    assert torch.equal(z_i, clip.project(torch.from_numpy(features[indices.numpy()])))


def test_contrasts_pool_feeds_clip_and_the_tokenizer(artwork_folder: Path, tmp_path: Path) -> None:
    clip = {**CPU.networks["clip"], "text": {"context": 16, "width": 32, "depth": 1, "heads": 2}}
    few = {"num_scenes": 12, "num_contrasts": 24, "contrasts": Mix.contrasting(), "group": 4}
    preset = replace(CPU, name="tiny", networks={**CPU.networks, "clip": clip}, **few)
    training = StickerTraining(preset, artwork_folder, tmp_path)
    objective = training.objective("clip")
    assert isinstance(objective, CLIPObjective) and (len(objective), objective.group) == (6, 4)
    assert training.contrasts.record["group"] == 4 and training.pool.record["group"] == 1
    alone = WordTokenizer.learn(training.pool.captions, 16)
    assert set(alone.words) < set(training.tokenizer.words), "the words of contrasts are learned too"
    scenes = training.scenes(Mix.contrasting(), preset.seed + 3, 4)
    assert any(contrasts(training.contrasts.scene(scenes, number)) for number in range(0, 24, 4))


def test_tiny_run_of_the_wide_kind_trains_every_stage_exports_and_draws(artwork_folder: Path, tmp_path: Path) -> None:
    preset = tiny()
    tower = {"in_channels": 4, "size_px": 64, "patch": 4, "channels": [16, 32], "blocks": [1, 1], "width": 32}
    networks = {
        **preset.networks,
        "clip": preset.networks["clip"] | {"image": tower},
        "codec": {"in_channels": 4, "latent_channels": 6, "factor": 8},
        "prior": {"size": 16, "token_width": 32, "width": 32, "depth": 1},
        "decoder": {
            "channels": 6,
            "side": 8,
            "vector_width": 32,
            "token_width": 32,
            "width": 16,
            "depth": 1,
            "draft": [16, 1],
        },
    }
    plans = preset.plans | {"tower": preset.plans["clip"], "draft": preset.plans["decoder"]}
    chosen = replace(
        preset, vocabulary="wide", drawings="wide", codec=PatchPCA, prior=DensePrior, networks=networks,
        decoder=ConvNeXtDecoder, augmentation=Augmentation(),
        contrasts=Mix.contrasting(), num_contrasts=24, group=4, plans=plans,
    )  # fmt: skip
    training = StickerTraining(chosen, artwork_folder, tmp_path / "run")
    for stage in STAGES:
        assert training.train(stage, quiet=True, num_steps=2)
    bundle = training.export(tmp_path / "bundle", Card("tiny"))
    assert bundle.vocabulary["drawings"] == "wide" and "in noto style" in str(bundle.vocabulary["styles"])
    (picture,) = assemble(bundle).generate("a fox", steps=1)
    assert picture.image.size == (256, 256)
    again = StickerTraining(chosen, artwork_folder, tmp_path / "run")
    assert not again.missing()
    for name, value in bundle.part("codec").state_dict().items():
        assert torch.equal(again.part("codec").state_dict()[name], value), name
    assert again.contrasts.record == training.contrasts.record, "pools are opened again, not drawn again"
    tower, clip = again.tower.standardised_tower(), again.clip
    assert tower.keys() == clip.image.state_dict().keys(), "CLIP sees with the tower that learned to classify"
    for name, value in tower.items():
        assert torch.equal(value, clip.image.state_dict()[name]), name
    learned, begun = load_ema(again.folder / "draft", again.network("draft")), again.network("decoder")
    assert isinstance(begun, ConvNeXtDecoder) and begun.config["deviations"] == again.codec.deviations
    for name, value in begun.draft.state_dict().items():
        assert torch.equal(value, learned[name]), f"the decoder begins with the draft that was learned: {name}"
    drawn = again.part("decoder")
    assert isinstance(drawn, ConvNeXtDecoder)
    for name, value in drawn.draft.state_dict().items():
        assert torch.equal(value, learned[name]), f"and keeps it: {name}"
    seen = clip.encode_image(from_levels(torch.from_numpy(np.array(again.pool.pictures(64)[:8]))))
    assert torch.allclose(torch.from_numpy(np.array(again.z_i[:8])).float(), seen, atol=2e-2)


def test_clip_trained_on_from_a_model_learns_the_words_that_are_new(artwork_folder: Path, tmp_path: Path) -> None:
    first = StickerTraining(tiny(), artwork_folder, tmp_path / "first")
    for stage in STAGES:
        assert first.train(stage, quiet=True, num_steps=1)
    model = first.export(tmp_path / "bundle", Card("tiny"))
    wide = replace(tiny(), vocabulary="wide", contrasts=Mix.contrasting(), num_contrasts=24, group=4)
    further = StickerTraining(wide, artwork_folder, tmp_path / "further", start=model)
    assert further.train("clip", quiet=True, num_steps=1)
    words, known = further.tokenizer.words, first.tokenizer.words
    assert set(words) - set(known) and further.part("clip").config["text"]["vocabulary_size"] == further.tokenizer.size
    again = StickerTraining(wide, artwork_folder, tmp_path / "further", start=model)
    assert again.tokenizer.words == words, "the run keeps its own words"


class Named(nn.Module):
    """Stands for CLIP: embeddings are one-hot, of a picture's first colour and of a prompt's first token."""

    def encode_text(self, ids: Tensor) -> tuple[Tensor, None]:
        return torch.nn.functional.one_hot(ids[:, 0].long(), 40).float(), None

    def logits(self, z_t: Tensor, z_i: Tensor) -> Tensor:
        return 10 * z_t @ z_i.T


def test_concept_names_ask_for_the_name_of_every_picture_of_one_thing() -> None:
    prompts, shown = torch.arange(1, 33)[:, None], np.array([3, -1, 30, 3])
    z_i = torch.nn.functional.one_hot(torch.tensor([4, 9, 31, 7]), 40).float()  # the last one is taken for another
    clip, rng = Named(), torch.Generator().manual_seed(0)
    _, right = ConceptNames(prompts, shown, 32).loss(clip, z_i, torch.arange(4), rng)  # type: ignore[arg-type]
    assert right.item() == pytest.approx(2 / 3), "the picture of several things is not asked about"
    few = ConceptNames(prompts, shown, candidates=8)
    loss, _ = few.loss(clip, z_i[:1], torch.tensor([0]), rng)  # type: ignore[arg-type]
    either = [math.log1p(others * math.exp(-10)) for others in (7, 8)]  # the right name may be among the eight drawn
    assert any(loss.item() == pytest.approx(value, rel=1e-3) for value in either)
    nothing, _ = few.loss(clip, z_i[1:2], torch.tensor([1]), rng)  # type: ignore[arg-type]
    assert nothing.item() == 0

"""The whole sticker workshop at a tiny size: trains, resumes identically, saves, loads and draws."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sumi.bundles import Bundle, Card
from sumi.data.split import Combination, is_held_out
from sumi.diffusion import FlowSchedule, X0Prediction
from sumi.errors import SumiError
from sumi.imaging.pixels import from_levels, to_image
from sumi.systems.objectives import upsampled
from sumi.systems.sticker.drawings import taught
from sumi.systems.sticker.presets import CPU, STAGES, Preset, preset
from sumi.systems.sticker.train_sticker import StickerTraining
from sumi.systems.unclip import assemble
from sumi.systems.unclip.objectives import DecoderObjective, UpsamplerObjective
from sumi.systems.unclip.system import loss_of as unclip_loss
from sumi.training import TrainConfig, load_ema

from .spy import share, silent, told
from .toys import coins


def tiny() -> Preset:
    networks = json.loads(json.dumps(dict(CPU.networks)))
    text = {"context": 16, "width": 32, "depth": 1, "heads": 2}
    networks["codec"] |= {"latent_channels": 4, "channels": [16, 32], "blocks": [1, 1], "decoder_blocks": [1, 1]}
    networks["clip"] |= {"size": 16, "text": text}
    networks["clip"]["image"] |= {"channels": [16, 32], "blocks": [1, 1], "width": 32, "depth": 1, "heads": 2}
    networks["layout_planner"] |= {"context": 16, "token_width": 32, "width": 16, "depth": 1, "heads": 2}
    networks["prior"] |= {"size": 16, "token_width": 32, "context": 16, "width": 32, "depth": 1, "heads": 2}
    networks["decoder"] = {
        "channels": 4, "side": 8, "vector_width": 32, "token_width": 32, "width": 32, "depth": 1, "refiner": [16, 1],
    }  # fmt: skip
    networks["upsampler"] |= {"channels": [16, 16], "blocks": [1, 1]}
    plan = TrainConfig(4, 4, warmup_steps=1, precision="fp32")
    return replace(
        CPU,
        name="tiny",
        num_scenes=48,
        num_pairs=8,
        num_briefs=40,
        networks=networks,
        plans={stage: plan for stage in STAGES},
    )


@pytest.fixture(scope="module")
def trained(artwork_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> StickerTraining:
    folder = tmp_path_factory.mktemp("run")
    workshop = StickerTraining(tiny(), artwork_folder, folder)
    for stage in STAGES:
        assert workshop.train(stage, quiet=True)
    return workshop


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_stopped_and_resumed_ends_in_the_same_bytes(
    trained: StickerTraining, stage: str, tmp_path: Path
) -> None:
    from sumi.training import train

    lesson, plan = trained.objective(stage), trained.preset.plans[stage]
    stopped = [False]
    for report in train(lesson, replace(plan, log_s=0.0), tmp_path / stage, stop=lambda: stopped[0]):
        stopped[0] = report.step >= 2
    for _ in train(trained.objective(stage), plan, tmp_path / stage):
        pass
    resumed, straight = load_ema(tmp_path / stage), load_ema(trained.folder / stage)
    assert resumed.keys() == straight.keys()
    for name, weight in straight.items():
        assert torch.equal(resumed[name], weight), name


def test_the_bundle_draws_and_knows_who_taught_it(trained: StickerTraining, tmp_path: Path) -> None:
    bundle = trained.export(tmp_path / "bundle", Card("tiny"))
    model = assemble(Bundle.load(bundle.folder))
    (picture,) = model.generate("a fox", seed=3, size=64)
    assert picture.image.size == (64, 64) and picture.image.mode == "RGBA"
    shown = [each.recipe.options["dims"] for each in model.explore(picture.image, size=64, steps=1)]
    assert shown == [1, 2, 4, 8, 16], "it knows the principal axes of what CLIP sees"
    rights = json.loads((bundle.folder / "rights.json").read_text("utf-8"))
    assert rights and "licence" in json.dumps(rights)
    taught = json.loads((bundle.folder / "vocabulary.json").read_text("utf-8"))
    assert set(taught["concepts"]) == set(trained.vocabulary.names)


def test_the_bundle_carries_the_drawings_that_were_taught(trained: StickerTraining, tmp_path: Path) -> None:
    bundle = trained.export(tmp_path / "bundle", Card("tiny"))
    model, atlas, drawings = assemble(Bundle.load(bundle.folder)), trained.atlas, bundle.drawings
    assert drawings is not None and drawings.clip == bundle.hashes["clip"]
    numbers = taught(atlas)
    assert [row["concept"] for row in drawings.rows] == [atlas.rows[number].concept for number in numbers]
    assert not [row for row in drawings.rows if is_held_out(Combination("concept", (row["concept"],)))]
    for number in numbers[:6]:
        image = to_image(atlas.pictures[number])
        first = min(model.nearest(image, 2), key=lambda near: near.distance)
        assert first.distance < 0.01, "but for a straight picture's rounding, it is itself"
    rights = json.loads((bundle.folder / "rights.json").read_text("utf-8"))
    assert sum(row["thumbnails"] for row in rights) == len(numbers)


def test_a_run_goes_on_from_a_model(trained: StickerTraining, tmp_path: Path) -> None:
    bundle = trained.export(tmp_path / "bundle", Card("tiny"))
    further = StickerTraining(tiny(), trained.artwork, tmp_path / "further", start=bundle)
    assert further.missing() == [] and further.tokenizer.words == trained.tokenizer.words
    assert further.axes is bundle.part("pca"), "as long as CLIP is the one that they are of"
    for stage in ("clip", "prior"):
        begun, given = further.network(stage).state_dict(), bundle.part(stage).state_dict()
        assert all(torch.equal(begun[name], given[name]) for name in given)
    assert further.train("prior", quiet=True)
    trained_on = load_ema(further.folder / "prior")["out.weight"]
    assert torch.equal(further.part("prior").get_parameter("out.weight"), trained_on)
    assert not torch.equal(bundle.part("prior").get_parameter("out.weight"), trained_on)


def test_part_with_another_architecture_cannot_stand_in_and_is_trained_afresh(
    trained: StickerTraining, tmp_path: Path
) -> None:
    bundle = trained.export(tmp_path / "bundle", Card("tiny"))
    wider = tiny()
    wider.networks["prior"]["width"] = 64
    workshop = StickerTraining(wider, trained.artwork, tmp_path / "wider", start=bundle)
    with pytest.raises(SumiError, match=r"another architecture .* train it too .--stage prior"):
        workshop.part("prior")
    assert workshop.train("prior", quiet=True)
    assert workshop.part("prior").config["width"] == 64


@pytest.mark.parametrize("loss_of", ["sticker", "unclip"])
def test_loss_of_a_clean_answer_is_bounded_where_there_is_little_noise(loss_of: str, trained: StickerTraining) -> None:
    """An error e in the clean answer is one of e / sigma in v, and of e (1 + alpha / sigma) in the velocity."""
    if loss_of == "sticker":
        lesson = trained.objective("decoder")
        assert isinstance(lesson, DecoderObjective)
        loss, target = lesson.loss_of, lesson.target
    else:
        target = X0Prediction()
        loss = unclip_loss(target, FlowSchedule())
    assert isinstance(target, X0Prediction)
    x = torch.randn(4000, 1, generator=coins())
    costs = loss(lambda x_t, t, cond: x + 0.5, x, None, coins(1))
    highest = (0.5 * (1 + 1 / 0.1)) ** 2  # sigma is held above 0.1
    assert 0.8 * highest < costs.max().item() <= highest


def test_a_stage_out_of_order_names_what_must_come_first(artwork_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SumiError, match="clip is not trained yet"):
        StickerTraining(tiny(), artwork_folder, tmp_path).objective("prior")


def test_an_unknown_preset_or_stage_is_named(trained: StickerTraining) -> None:
    with pytest.raises(SumiError, match="choose from cpu, gpu"):
        preset("tpu")
    with pytest.raises(SumiError, match="there is no stage 'sky'"):
        trained.train("sky")


def test_the_upsampler_is_taught_on_what_a_decoder_leaves_and_the_decoder_loses_its_condition(
    trained: StickerTraining,
) -> None:
    lesson = trained.objective("upsampler")
    assert isinstance(lesson, UpsamplerObjective)
    cond = told(lesson, 40)
    assert cond.concat is not None
    clean = upsampled(from_levels(torch.from_numpy(lesson.small[torch.arange(40).numpy() % len(lesson)])), 256)
    assert cond.concat.shape[2:] == (lesson.crop_px, lesson.crop_px), "a crop of the larger picture"
    away = (lesson.degrade(clean[:8, :, ::4, ::4], coins()) - clean[:8, :, ::4, ::4]).flatten(1).abs().amax(dim=1)
    assert (away > 0.005).all(), "all are shown a little noisy, at least"
    decoder = told(trained.objective("decoder"), 400)
    assert decoder.vector is not None and 0.1 < share(silent(decoder.vector.chunk(2, dim=1)[0])) < 0.3
    assert 0.04 < share(silent(told(trained.objective("prior"), 400).vector)) < 0.17

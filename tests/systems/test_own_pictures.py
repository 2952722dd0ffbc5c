"""unCLIP on one's own pictures goes on from a model: its words and weights stay, and new words are added."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

import sumi
from sumi.bundles import Bundle, save_bundle, weight_hash
from sumi.codecs import PatchPCA
from sumi.conditioning import CLIP, WordTokenizer, softmax_loss
from sumi.errors import SumiError
from sumi.nn import Cond, DenseDecoder
from sumi.systems import SYSTEMS, Examples
from sumi.systems.dataset import TrainingData
from sumi.systems.train_system import Budget, TrainingRun, save_run_bundle
from sumi.systems.training_plan import StagePlan, TrainingPlan, compare
from sumi.systems.unclip import own_pictures
from sumi.systems.unclip.own_pictures import PRESETS, UnCLIPFromModel, continue_model, deepen, measure_codec
from sumi.systems.unclip.own_training import expect

CAPTIONS = ["a crimson gear", "a teal gear", "a crimson fox"] * 4


@pytest.fixture
def examples() -> Examples:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 4, 16, 16), dtype=np.uint8)
    pixels[:, 3] = 255
    return Examples(pixels, CAPTIONS)


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    plans = {
        stage: replace(plan, batch_size=4, precision="fp32", warmup_steps=1)
        for stage, plan in UnCLIPFromModel.plans.items()
    }
    monkeypatch.setattr(UnCLIPFromModel, "plans", plans)


def test_tokenizer_with_words_keeps_every_id_and_adds_words_that_occur_twice() -> None:
    tokenizer = WordTokenizer(("a", "fox"), 8)
    grown = tokenizer.with_words(["a teal fox", "a teal gear"])
    assert grown.words == ("a", "fox", "teal") and grown.context == 8
    assert grown.ids("a fox") == tokenizer.ids("a fox") and len(grown.ids("teal")) == 1


def test_new_words_get_embeddings_of_their_own_and_known_captions_keep_theirs(tiny_bundle: Bundle) -> None:
    method, clip = continue_model(tiny_bundle, PRESETS["tiny"], CAPTIONS), tiny_bundle.part("clip")
    pixels = np.zeros((12, 4, 16, 16), dtype=np.uint8)
    grown = method.objective("clip", Examples(pixels, CAPTIONS), {}).model
    assert isinstance(clip, CLIP) and isinstance(grown, CLIP)
    known, words = tiny_bundle.tokenizer().encode(["a red fox"]), method.tokenizer
    assert torch.equal(words.encode(["a red fox"]), known)
    assert torch.equal(grown.encode_text(known)[0], clip.encode_text(known)[0])
    fresh = grown.text.tokens.weight[-3:]
    assert words.words[-3:] == ("crimson", "gear", "teal") and len(fresh.unique(dim=0)) == 3


def test_codec_that_is_linear_is_kept_by_every_preset(tiny_bundle: Bundle, tmp_path: Path) -> None:
    parts = {name: tiny_bundle.part(name) for name in ("clip", "prior", "decoder")}
    codec = PatchPCA(4, 2, 1)
    tokenizer = tiny_bundle.tokenizer()
    linear = save_bundle(tmp_path / "linear", system="unclip", parts={**parts, "codec": codec}, tokenizer=tokenizer)
    assert continue_model(linear, PRESETS["small"], CAPTIONS).stages == ("clip", "prior", "decoder")


def test_softmax_loss_does_not_tell_equal_captions_apart() -> None:
    logits = torch.randn(4, 4, generator=torch.Generator().manual_seed(0))
    distinct = softmax_loss(logits, torch.arange(4))
    assert distinct.item() == pytest.approx(softmax_loss(logits).item(), rel=1e-5)
    pairs = torch.tensor([0, 0, 1, 1])
    ideal = 50.0 * (pairs[:, None] == pairs)
    assert softmax_loss(ideal, pairs).item() == pytest.approx(math.log(2), rel=1e-4)  # the least there is
    assert softmax_loss(logits, pairs).item() > math.log(2)


def test_deepen_draws_the_same_with_more_weights() -> None:
    torch.manual_seed(0)
    decoder = DenseDecoder(2, 4, 8, 6, width=16, depth=2, cond_width=8, num_queries=2, refiner=(8, 1))
    for weight in decoder.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    deeper = deepen(decoder, 3)
    cond = Cond(vector=torch.randn(2, 8), tokens=torch.randn(2, 3, 6))
    x, t = torch.randn(2, 2, 4, 4), torch.tensor([0.2, 0.7])
    assert len(deeper.blocks) == 6 and torch.equal(deeper(x, t, cond), decoder(x, t, cond))
    assert type(deeper)(**deeper.config).state_dict().keys() == deeper.state_dict().keys()


def test_stages_begin_with_the_weights_of_the_model(tiny_bundle: Bundle, examples: Examples) -> None:
    method = continue_model(tiny_bundle, PRESETS["small"], CAPTIONS)
    assert method.stages == ("codec", "clip", "prior", "decoder", "upsampler")
    parts = {}
    for stage in method.stages:
        objective = method.objective(stage, examples, parts)
        given = tiny_bundle.part(stage).state_dict()
        taken = objective.model.state_dict()
        same = {name for name, value in taken.items() if value.shape == given[name].shape and value.equal(given[name])}
        fresh = {"clip": {"text.tokens.weight"}, "prior": {"mean", "std"}}.get(stage, set())
        assert taken.keys() - same == fresh
        assert all(weight.requires_grad for weight in objective.model.parameters())
        parts[stage] = objective.model.eval()


def test_continue_model_refuses_a_model_without_the_parts_it_needs(tmp_path: Path, tiny_bundle: Bundle) -> None:
    parts = {"clip": tiny_bundle.part("clip")}
    bare = save_bundle(tmp_path / "bare", system="unclip", parts=parts, tokenizer=tiny_bundle.tokenizer())
    with pytest.raises(
        SumiError, match="should be an unCLIP model with codec, clip, prior, decoder, and it has no codec"
    ):
        continue_model(bare, PRESETS["tiny"], CAPTIONS)


def test_measure_codec_returns_the_ratio_of_signal_to_error(tiny_bundle: Bundle, examples: Examples) -> None:
    codec = tiny_bundle.part("codec")
    assert 0 < measure_codec(codec, examples.pictures) < 30  # type: ignore[arg-type]


@pytest.mark.usefixtures("brief")
def test_trained_bundle_draws_with_new_words_and_keeps_codec_and_upsampler(
    tiny_bundle: Bundle, examples: Examples, tmp_path: Path
) -> None:
    method = continue_model(tiny_bundle, PRESETS["tiny"], CAPTIONS)
    data = TrainingData(examples, 16, told="twelve pictures", origin=method.origin, rights=[{"source": "mine"}])
    run = TrainingRun(SYSTEMS["unclip"], data, tmp_path / "run", Budget(2), method, quiet=True)
    plan = run.rehearse()
    assert plan is not None and [stage.num_steps for stage in plan.stages] == [2, 2, 2]
    parts = run.train()
    assert parts is not None
    bundle = save_run_bundle(run.system, parts, data, tmp_path / "model", run.method)
    assert {name: bundle.hashes[name] == tiny_bundle.hashes[name] for name in ("codec", "upsampler", "clip")} == {
        "codec": True, "upsampler": True, "clip": False,
    }  # fmt: skip
    assert bundle.trained_on("decoder") == {"clip": weight_hash(bundle.part("clip"))}
    assert "layout_planner" not in bundle.parts
    artist = sumi.load(tmp_path / "model")
    picture = artist.generate("a crimson gear", seed=1)[0]
    assert (
        picture.image.size == (32, 32)
        and "Training went on from the model tiny" in (bundle.folder / "README.md").read_text()
    )
    assert [line.split()[0] for line in run.compare()] == ["stage", "clip", "prior", "decoder"]

    other = replace(data, origin="another model")
    with pytest.raises(SumiError, match=r"it began from the model tiny .* and would begin from another model"):
        TrainingRun(SYSTEMS["unclip"], other, tmp_path / "run", Budget(2), method, quiet=True)


def plan_of(decoder_steps: int) -> TrainingPlan:
    stages = tuple(StagePlan(name, 1000, decoder_steps, 64, 30.0, 0.5, 0.5, 100) for name in ("clip", "decoder"))
    return TrainingPlan(stages, 10**9, 10**8, "bf16")


@pytest.mark.parametrize(
    ("steps", "count", "from_model", "hopeless", "says"),
    [
        (4_000, 2_000, True, False, "recognisable"),
        (400, 300, True, False, "shapes of your things"),
        (50, 300, True, True, "50 steps of the decoder are too few"),
        (4_000, 3, True, True, "3 pictures are too few"),
        (4_000, 300, False, True, "300 pictures are too few"),
    ],
)
def test_expect_refuses_a_plan_that_draws_noise(
    steps: int, count: int, from_model: bool, hopeless: bool, says: str
) -> None:
    found = expect(plan_of(steps), count, from_model)
    assert found.hopeless is hopeless and says in found.text and bool(found.least) is hopeless
    assert from_model or "without --from-scratch" in found.least
    if from_model and steps == 50:
        assert found.least == "--minutes 4"  # 1.1 (60 s + 150 steps of 0.5 s, which are half of the time)


def test_compare_puts_what_a_stage_took_beside_its_plan(tmp_path: Path) -> None:
    lines = compare({"clip": {"num_steps": 10, "seconds": 60}}, {"clip": 75.0}, tmp_path)
    assert lines[1].split() == ["clip", "10", "0", "60", "s", "75", "s", "+25%"]
    assert compare({}, {}, tmp_path) == []


def test_presets_grow_in_time_and_size() -> None:
    rows = list(PRESETS.values())
    assert [row.name for row in rows] == ["tiny", "small", "base", "large"] == list(PRESETS)
    for smaller, larger in pairwise(rows):
        assert (smaller.minutes, smaller.width) < (larger.minutes, larger.width) and smaller.depth <= larger.depth
    assert own_pictures.ENOUGH_PSNR_DB > 20

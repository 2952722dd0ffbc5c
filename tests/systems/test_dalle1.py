"""Pictures as texts: two stages that train, resume, save and load; drawing, completing and keeping the best."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from same_picture import ROUNDING, apart
from torch import Tensor, nn

from sumi.autoregressive import TokenSampling, sample_tokens
from sumi.bundles import Bundle, save_bundle
from sumi.codecs import DVAE, VQVAE
from sumi.conditioning import CLIP, WordTokenizer
from sumi.diffusion import seeded
from sumi.errors import SumiError
from sumi.nn import TokenTransformer
from sumi.pipelines.steps import drive_to_end
from sumi.systems import Examples
from sumi.systems.dalle1 import DALLE1, best, by_clip
from sumi.systems.pipeline import SampleRequest
from sumi.systems.vqvae import VQVAE_2017, TokenObjective, TokenSystem
from sumi.training import Batch, TrainConfig, load_ema, train

WORDS = ("blue", "green", "red")
TOWER: dict[str, Any] = {"in_channels": 4, "channels": [16], "blocks": [1], "codes": 12, "patch": 4}
SMALL = {"width": 32, "depth": 3, "heads": 2}
SYSTEMS = {
    "dalle1": replace(
        DALLE1, codec=lambda size_px: DVAE(**TOWER), tokenizer=WordTokenizer(WORDS, 4), network={**SMALL, "kernel": 3}
    ),
    "vqvae": replace(
        VQVAE_2017, codec=lambda size_px: VQVAE(**TOWER, width=4), network={**SMALL, "patterns": ["full"] * 3}
    ),
}


def examples() -> Examples:
    rng = torch.Generator().manual_seed(0)
    squares = torch.randint(0, 256, (24, 4, 4, 4), generator=rng).float()
    pictures = F.interpolate(squares, scale_factor=4.0).to(torch.uint8)
    return Examples(pictures.numpy(), captions=[WORDS[k % 3] for k in range(24)])


def fresh(name: str) -> tuple[TokenSystem, dict[str, nn.Module]]:
    """A system with random parts, rounded as a bundle would."""
    torch.manual_seed(0)
    system, parts = SYSTEMS[name], {}
    for stage in system.stages:
        part = system.objective(stage, examples(), parts).model
        for weight in part.parameters():  # what starts at zero would make all pictures alike
            nn.init.normal_(weight, std=0.3)
        if isinstance(part, VQVAE):
            part.codebook.normal_()
        parts[stage] = part.bfloat16().float().eval()
    return system, parts


@pytest.mark.parametrize("name", SYSTEMS)
def test_both_stages_stopped_and_resumed_end_in_the_same_bytes(name: str, tmp_path: Path) -> None:
    plan = TrainConfig(4, 4, warmup_steps=1, precision="fp32", log_s=0.0)
    system, parts = SYSTEMS[name], {}

    def lesson(stage: str) -> Any:
        torch.manual_seed(1)
        return system.objective(stage, examples(), parts)

    for stage in system.stages:
        learned = lesson(stage)
        sheets = [report.picture for report in train(learned, plan, tmp_path / stage)]
        assert sheets[-1] is not None
        stopped = [False]
        for report in train(lesson(stage), plan, tmp_path / "again" / stage, stop=lambda: stopped[0]):  # noqa: B023
            stopped[0] = report.step >= 2
        for _ in train(lesson(stage), plan, tmp_path / "again" / stage):
            pass
        straight, resumed = load_ema(tmp_path / stage), load_ema(tmp_path / "again" / stage)
        assert all(torch.equal(resumed[key], weight) for key, weight in straight.items())
        parts[stage] = learned.model.eval()


@pytest.mark.parametrize("name", SYSTEMS)
def test_both_stages_learn_in_sixteen_bits_too(name: str, tmp_path: Path) -> None:
    system, parts = SYSTEMS[name], {}
    for stage in system.stages:
        learned = system.objective(stage, examples(), parts)
        (*_, last) = train(learned, TrainConfig(2, 4, precision="bf16"), tmp_path / stage)
        assert last.loss == last.loss and "skipped" not in last.metrics
        parts[stage] = learned.model.eval()


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_system_saved_and_loaded_draws_the_same_a_seed_at_a_time(name: str, tmp_path: Path) -> None:
    system, parts = fresh(name)
    bundle = save_bundle(tmp_path / name, system=name, parts=parts, tokenizer=system.tokenizer)
    opened = Bundle.load(bundle.folder)
    loaded = {part: opened.part(part) for part in system.stages}
    again = replace(system, tokenizer=opened.tokenizer())
    wish = SampleRequest(seeds=(3, 4, 5), size_px=16, captions=("red", "blue", "red"))
    drawn = drive_to_end(system.pipeline(parts).sample(wish))
    assert drawn.shape == (3, 4, 16, 16) and drawn.dtype == torch.uint8 and len(drawn.unique(dim=0)) == 3
    assert torch.equal(drive_to_end(again.pipeline(loaded).sample(wish)), drawn)
    assert (
        apart(
            drive_to_end(again.pipeline(loaded).sample(SampleRequest(seeds=(5,), size_px=16, captions=("red",))))[0],
            drawn[2],
        )
        <= ROUNDING
    )


def test_loss_of_a_token_objective_weighs_the_caption_by_an_eighth() -> None:
    logits = torch.randn(3, 9, 5, generator=torch.Generator().manual_seed(0))
    text, image = logits[:, :4], logits[:, 4:]
    ids, tokens = torch.arange(12).view(3, 4) % 5, torch.arange(15).view(3, 5) % 5
    objective = TokenObjective("toy", nn.Identity(), None, ids, tokens)
    batch = Batch(0, 1, torch.arange(3), torch.Generator())
    parts = objective.loss(lambda ids, tokens: (text, image), batch)  # type: ignore[arg-type]
    each = F.cross_entropy(text.mT, ids), F.cross_entropy(image.mT, tokens)
    torch.testing.assert_close(parts["loss"], each[0] / 8 + each[1] * 7 / 8)
    torch.testing.assert_close(torch.stack([parts["text"], parts["image"]]), torch.stack(each))


def test_dalle_hears_its_caption_and_vqvae_does_not() -> None:
    heard = {}
    for name in SYSTEMS:
        system, parts = fresh(name)
        red, blue = (drive_to_end(system.complete(parts, [word] * 4, range(4))) for word in ("red", "blue"))
        heard[name] = not torch.equal(red, blue)
    assert heard == {"dalle1": True, "vqvae": False}


def test_drawing_through_the_cache_draws_what_reading_all_anew_draws() -> None:
    system, parts = fresh("dalle1")
    model, ids, rngs = parts["transformer"], system.tokenizer.encode(["red", "green", "blue"]), seeded(range(3))
    assert isinstance(model, TokenTransformer)
    fast = sample_tokens(model, ids, ids[:, :0], seeded(range(3)))
    slow = ids[:, :0]
    for _place in range(model.length):
        slow = torch.cat([slow, TokenSampling().sample(model(ids, slow)[1][:, -1], rngs)[:, None]], dim=1)
    assert torch.equal(fast, slow)


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_given_top_stays_and_the_rest_is_drawn_below_it(name: str) -> None:
    system, parts = fresh(name)
    codec: Any = parts["codec"]
    top = torch.rand(1, 4, 8, 16, generator=torch.Generator().manual_seed(2)) * 2 - 1
    whole = drive_to_end(system.complete(parts, ["red"] * 4, range(4), top.expand(4, -1, -1, -1)))
    known = codec.encode(top)
    assert whole.shape == (4, 4, 16, 16) and len(whole.unique(dim=0)) == 4
    tokens = sample_tokens(parts["transformer"], system.tokenizer.encode(["red"] * 4), known.flatten(1).expand(4, -1),
                  seeded(range(4)))  # fmt: skip
    assert torch.equal(tokens[:, :8], known.flatten(1).expand(4, -1))
    assert torch.equal(codec.decode(tokens.view(4, 4, 4)), whole)


@pytest.mark.parametrize("shape", [(8, 12), (6, 16), (16, 16), (0, 16)])
def test_a_top_that_does_not_fit_is_named(shape: tuple[int, int]) -> None:
    system, parts = fresh("dalle1")
    with pytest.raises(SumiError, match=f"a top of {shape[1]} x {shape[0]} px does not fit 16 px, 4 px a token"):
        drive_to_end(system.complete(parts, ["red"], [0], torch.zeros(1, 4, *shape)))


def test_the_best_of_many_are_those_that_the_ranking_puts_highest() -> None:
    system, parts = fresh("dalle1")
    asked: list[int] = []

    def brightness(pictures: Tensor) -> Tensor:
        asked.append(len(pictures))
        return pictures.mean(dim=(1, 2, 3))

    kept, scores = best(system, parts, "red", range(7), brightness, keep=3, batch=4)
    everything = drive_to_end(system.complete(parts, ["red"] * 7, range(7)))
    order = everything.mean(dim=(1, 2, 3)).argsort(descending=True)
    assert asked == [7] and torch.equal(kept, everything[order[:3]])
    torch.testing.assert_close(scores, everything.mean(dim=(1, 2, 3))[order[:3]])
    with pytest.raises(SumiError, match="cannot keep the best 8 of 7 pictures"):
        best(system, parts, "red", range(7), brightness, keep=8)


def test_clip_ranks_by_the_cosine_to_the_caption() -> None:
    torch.manual_seed(3)
    tokenizer = WordTokenizer(WORDS, 4)
    image = {"in_channels": 4, "size_px": 16, "patch": 2, "channels": [16], "blocks": [1]}
    text = {"vocabulary_size": tokenizer.size, "context": 4}
    size = {"width": 16, "depth": 1, "heads": 2}
    clip = CLIP(8, image | size, text | size).eval()
    pictures = torch.rand(5, 4, 16, 16) * 2 - 1
    z_t, _ = clip.encode_text(tokenizer.encode(["red"]))
    expected = F.cosine_similarity(clip.encode_image(pictures), z_t)
    torch.testing.assert_close(by_clip(clip, tokenizer, "red")(pictures), expected)


def test_it_learns_what_each_caption_looks_like(tmp_path: Path) -> None:
    """Caption k goes with tokens that count up from 4 k, row by row, so that nothing is left to chance."""
    torch.manual_seed(4)
    system, captions = SYSTEMS["dalle1"], torch.arange(48) % 3
    tokens = 4 * captions[:, None, None] + torch.arange(4)[None, :, None].expand(48, 4, 4)
    ids = system.tokenizer.encode([WORDS[k] for k in captions])
    model = TokenTransformer(system.tokenizer.size, 4, 12, 4, **system.network)
    lesson = TokenObjective("toy", model, DVAE(**TOWER), ids, tokens.flatten(1))
    for _ in train(lesson, TrainConfig(100, 12, lr=6e-3, warmup_steps=10, precision="fp32", ema=0.9), tmp_path):
        pass
    drawn = sample_tokens(model.eval(), ids[:12], ids[:12, :0], seeded(range(12)))
    assert (drawn == tokens[:12].flatten(1)).float().mean() > 0.95


@pytest.mark.parametrize(("size_px", "side"), [(8, 4), (16, 8), (32, 8), (64, 8)])
def test_pictures_of_any_size_become_about_as_many_tokens(size_px: int, side: int) -> None:
    for system in (DALLE1, VQVAE_2017):
        codec: Any = system.codec(size_px)
        x = torch.zeros(1, 4, size_px, size_px)
        assert codec.encode(x).shape == (1, side, side) and codec.decode(codec.encode(x)).shape == x.shape

"""Diffusion in a codec's latents, told by CLIP: three stages, silence, guidance, and what reaches which network."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from same_picture import ROUNDING, apart
from torch import Tensor, nn

from sumi.codecs import Autoencoder
from sumi.conditioning import CLIP, WordTokenizer
from sumi.errors import SumiError
from sumi.nn import Cond, DiT, UNet
from sumi.pipelines import run
from sumi.pipelines.steps import drive_to_end
from sumi.systems import SYSTEMS, Examples, load, save
from sumi.systems.diffusion_spec import signals
from sumi.systems.latent import LATENT_2022, LATENT_2024, Latent, encoded, text_condition
from sumi.systems.objectives import CaptionFeatures, to_picture
from sumi.systems.pipeline import SampleRequest
from sumi.training import Batch, TrainConfig, train

from .toys import coins, taught

WORDS = ("blue", "green", "red")
TOWER = {"width": 16, "depth": 1, "heads": 2}


def codec(size_px: int) -> Autoencoder:
    return Autoencoder(4, 3, [16, 16], [1, 1], [1, 1], patch=1)


def clip(size_px: int, tokenizer: WordTokenizer) -> CLIP:
    eye = {"in_channels": 4, "size_px": size_px, "patch": 2, "channels": [16], "blocks": [1]}
    return CLIP(8, eye | TOWER, {"vocabulary_size": tokenizer.size, "context": tokenizer.context} | TOWER)


def unet(channels: int, vector_width: int, context_width: int) -> UNet:
    return UNet(channels, channels, [16, 16], [1, 1], [False, True], context_width=context_width, head_width=8)


def dit(channels: int, vector_width: int, context_width: int) -> DiT:
    return DiT(channels, channels, 1, 16, 2, 2, vector_width=vector_width, context_width=context_width)


SMALL: dict[str, Latent] = {
    name: replace(system, network=network, codec=codec, clip=clip, tokenizer=WordTokenizer(WORDS, 5))
    for name, system, network in (("latent", LATENT_2022, unet), ("latent_dit", LATENT_2024, dit))
}
PICTURES = torch.randint(0, 256, (6, 4, 8, 8), generator=coins()).to(torch.uint8)
EXAMPLES = Examples(PICTURES, captions=[WORDS[k % 3] for k in range(6)])
WISH = SampleRequest(seeds=[3, 4, 5], size_px=8, captions=["red", "blue", "a red red"], num_steps=3)


def fresh(name: str) -> tuple[Latent, dict[str, Any]]:
    """A system with random parts, rounded as a bundle would."""
    torch.manual_seed(0)
    system, parts = SMALL[name], dict[str, Any]()
    for stage in system.stages:
        part: Any = system.objective(stage, EXAMPLES, parts).model
        for weight in part.parameters():  # what starts at zero would make all pictures alike
            nn.init.normal_(weight, std=0.2)
        parts[stage] = part.bfloat16().float().eval().requires_grad_(False)
    parts["codec"].latent_mean.copy_(parts["codec"].latent_mean.bfloat16())
    parts["codec"].latent_std.copy_(parts["codec"].latent_std.bfloat16())
    return system, parts


def after(count: int) -> Callable[[], bool]:
    """True from the `count`-th time on that it is asked."""
    asked = itertools.count(1)
    return lambda: next(asked) >= count


@pytest.mark.parametrize("name", SMALL)
def test_all_stages_stopped_and_resumed_end_in_the_same_bytes(name: str, tmp_path: Path) -> None:
    plan = TrainConfig(2, 3, warmup_steps=1, precision="fp32", picture_s=10_000)

    def trained(sessions: int) -> Mapping[str, nn.Module]:
        system, parts = SMALL[name], dict[str, nn.Module]()
        for stage in system.stages:
            for _ in range(sessions):
                torch.manual_seed(0)
                lesson = system.objective(stage, EXAMPLES, parts)
                list(train(lesson, plan, tmp_path / str(sessions) / stage, stop=after(3 - sessions)))
            parts[stage] = lesson.model.eval()
        return parts

    whole, halted = trained(1), trained(2)
    for stage, part in whole.items():
        for (key, weight), other in zip(part.state_dict().items(), halted[stage].state_dict().values(), strict=True):
            assert torch.equal(weight, other), (stage, key)


@pytest.mark.parametrize("name", SMALL)
def test_saved_and_loaded_it_draws_the_same_a_seed_at_a_time(name: str, tmp_path: Path) -> None:
    system, parts = fresh(name)
    save(name, parts, tmp_path / "model")
    row, loaded = load(tmp_path / "model")
    assert row == SYSTEMS[name] and tuple(loaded) == row.method().stages
    drawn = drive_to_end(system.pipeline(parts).sample(WISH))
    assert drawn.shape == (3, 4, 8, 8) and drawn.dtype == torch.uint8 and len(drawn.unique(dim=0)) == 3
    assert torch.equal(drive_to_end(system.pipeline(loaded).sample(WISH)), drawn)
    alone = drive_to_end(system.pipeline(loaded).sample(replace(WISH, seeds=[5], captions=["a red red"])))
    assert apart(alone[0], drawn[2]) <= ROUNDING


@pytest.mark.parametrize("name", SMALL)
def test_guidance_one_is_the_told_network_and_silence_needs_no_guidance(name: str) -> None:
    system, parts = fresh(name)
    cond = text_condition(parts["clip"], system.tokenizer.encode(WISH.captions))
    bare = system.spec.stage(system.spec.denoiser(parts["network"]), (3, 4, 4))
    bare = replace(bare, settings=replace(bare.settings, steps=WISH.num_steps))

    def walked(cond: Cond) -> Tensor:
        return to_picture(parts["codec"].decode(drive_to_end(run(bare, cond, WISH.seeds, stream=""))))

    heard, silent = walked(cond), walked(cond.null())
    assert not torch.equal(heard, silent)
    assert torch.equal(drive_to_end(replace(system, guidance=1.0).pipeline(parts).sample(WISH)), heard)
    assert not torch.equal(drive_to_end(replace(system, guidance=3.0).pipeline(parts).sample(WISH)), heard)
    for captions in (["", "", ""], []):
        assert torch.equal(drive_to_end(system.pipeline(parts).sample(replace(WISH, captions=captions))), silent)


def test_what_is_told_is_what_clip_reads_and_nothing_where_nothing_is_heard() -> None:
    system, parts = fresh("latent")
    cond = text_condition(parts["clip"], system.tokenizer.encode(["red", ""]))
    z_t, words = parts["clip"].encode_text(system.tokenizer.encode(["red"]))
    assert cond.vector is not None and cond.tokens is not None
    torch.testing.assert_close(cond.vector[:1], 8**0.5 * z_t)  # so that its entries are about one
    torch.testing.assert_close(cond.tokens[:1], words)
    assert not cond.vector[1:].any() and not cond.tokens[1:].any()
    lesson = replace(system, drop=1.0).objective("network", EXAMPLES, {**parts, "network": None})
    taught = lesson.cond(Batch(0, 1, torch.arange(4), coins()))  # type: ignore[attr-defined]
    assert not taught.vector.any() and not taught.tokens.any()


def test_words_read_once_are_the_words() -> None:
    system, parts = fresh("latent")
    words = CaptionFeatures(parts["clip"], system.tokenizer.encode(EXAMPLES.captions))
    some, device = torch.tensor([5, 0, 3]), torch.device("cpu")
    for read, once in zip(words(some, device), words.once()(some, device), strict=True):
        torch.testing.assert_close(once, read)
    assert words.once().kept is not None and len(words.once().kept) == 3  # six captions, three of them different


def test_the_unet_hears_the_words_and_the_transformer_their_sum_too() -> None:
    x, t = torch.randn(2, 3, 4, 4, generator=coins()), torch.tensor([0.3, 0.6])
    z_t, words = torch.randn(2, 8, generator=coins(1)), torch.randn(2, 5, 16, generator=coins(2))
    cond = Cond(z_t, words)
    hears = {}
    for name in SMALL:
        network = fresh(name)[1]["network"]
        whole = network(x, t, cond)
        deaf = (Cond(0 * z_t, words), Cond(z_t, 0 * words))
        hears[name] = [not torch.allclose(whole, network(x, t, less)) for less in deaf]
    assert hears == {"latent": [False, True], "latent_dit": [True, True]}


def test_latents_are_standardised_and_decode_to_their_pictures() -> None:
    _, parts = fresh("latent")
    latents = encoded(parts["codec"], PICTURES)
    torch.testing.assert_close(latents.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(latents.std((0, 2, 3)), torch.ones(3), atol=1e-4, rtol=0)
    raw, _ = parts["codec"].posterior(signals(PICTURES, torch.arange(6)))
    drawn = parts["codec"].decode_raw(raw).clamp(-1, 1)
    torch.testing.assert_close(parts["codec"].decode(latents), drawn, atol=1e-5, rtol=1e-4)


def test_a_caption_decides_what_is_drawn() -> None:
    """Two pictures, two captions: each caption draws its own, whatever the seed."""
    torch.manual_seed(0)
    system, parts = fresh("latent_dit")
    both = torch.stack([torch.full((4, 8, 8), 40), torch.full((4, 8, 8), 220)]).to(torch.uint8)
    examples = Examples(both.repeat(16, 1, 1, 1), captions=["red", "blue"] * 16)
    reader = system.objective("clip", examples, {})
    taught(reader, 40, batch_size=16, lr=1e-2)
    parts["clip"] = reader.model.requires_grad_(False)
    lesson = system.objective("network", examples, {**parts, "network": None})
    taught(lesson, 80, batch_size=32, lr=1e-2)
    latents = encoded(parts["codec"], both)
    cond = text_condition(parts["clip"], system.tokenizer.encode(["red", "blue"] * 4))
    stage = replace(system.spec, num_steps=8).stage(system.spec.denoiser(lesson.model), (3, 4, 4))
    drawn = drive_to_end(run(stage, cond, range(8), stream=""))
    nearest = (drawn[:, None] - latents[None]).square().flatten(2).sum(2).argmin(1)
    assert nearest.tolist() == [0, 1] * 4


def test_a_lesson_shows_what_it_draws_and_wants_a_caption_for_each_picture() -> None:
    system, parts = fresh("latent")
    small = replace(system, spec=replace(system.spec, num_steps=2))
    sheet = small.objective("network", EXAMPLES, parts).picture(parts["network"])
    assert sheet is not None and sheet.shape == (4, 16, 48) and torch.equal(sheet[:, :8, :8], PICTURES[0])
    with pytest.raises(SumiError, match="one caption each"):
        system.objective("codec", Examples(PICTURES), {})


@pytest.mark.parametrize(
    ("wish", "match"),
    [
        (replace(WISH, captions=["red"]), "latent needs one caption a seed: 3, not 1"),
        (replace(WISH, size_px=10), "multiples of 4 px, not 10"),
    ],
)
def test_a_wish_that_cannot_be_drawn_is_one_line(wish: SampleRequest, match: str) -> None:
    system, parts = fresh("latent")
    with pytest.raises(SumiError, match=match):
        drive_to_end(system.pipeline(parts).sample(wish))


@pytest.mark.parametrize("size_px", [8, 32, 64])
def test_the_networks_as_they_stand_fit_pictures_of_any_size(size_px: int) -> None:
    for system in (LATENT_2022, LATENT_2024):
        drawer: Any = system.codec(size_px)
        reader: Any = system.clip(size_px, system.tokenizer)
        x = torch.zeros(1, 4, size_px, size_px)
        z = drawer.encode(x)
        assert z.shape[-1] == min(8, size_px // 4) and reader.encode_image(x).shape == (1, 128)
        cond = text_condition(reader, system.tokenizer.encode(["a red fox"]))
        network = system.network(z.shape[1], reader.size, reader.config["text"]["width"])
        assert network(z, torch.ones(1), cond).shape == z.shape

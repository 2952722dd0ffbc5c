"""GLIDE: stages that train, resume, save and load; guidance both ways; holes filled and nothing else touched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from same_picture import ROUNDING, apart
from torch import Tensor, nn

from sumi.conditioning import NoisedCLIP, WordTokenizer
from sumi.diffusion import VPSchedule
from sumi.errors import SumiError
from sumi.nn import Cond, TextUNet
from sumi.pipelines.steps import drive_to_end
from sumi.systems import SYSTEMS, Examples, load, save
from sumi.systems.cascade import larger, smaller, thumbnails
from sumi.systems.glide import GLIDE, Glide, NoisedPairs
from sumi.systems.inpainting import mask_out, random_masks
from sumi.systems.pipeline import SampleRequest
from sumi.training import Batch, TrainConfig, train

from .toys import coins, halve, stepping

WORDS = ("blue", "green", "red")
SMALL = replace(GLIDE, tokenizer=WordTokenizer(WORDS, 4))
BOTH = replace(SMALL, guided_by="clip", scale=2.0)
PICTURES = torch.randint(0, 255, (6, 4, 8, 8), generator=coins()).to(torch.uint8)
PICTURES = torch.cat([torch.minimum(PICTURES[:, :3], PICTURES[:, 3:]), PICTURES[:, 3:]], dim=1)  # premultiplied
EXAMPLES = Examples(PICTURES, captions=[WORDS[k % 3] for k in range(6)])
WISH = SampleRequest(seeds=[5, 6], size_px=8, captions=["red", "blue"], num_steps=2)
T = torch.tensor([0.3, 0.8])


def trained(method: Glide, folder: Path, halt: int = 2) -> dict[str, nn.Module]:
    """Two steps of every stage; each stops after `halt` of them, and goes on."""
    parts: dict[str, nn.Module] = {}
    for stage in method.stages:
        torch.manual_seed(0)
        lesson = method.objective(stage, EXAMPLES, parts)
        plan, steps = TrainConfig(num_steps=2, batch_size=3, warmup_steps=1, precision="fp32"), iter(range(1, 3))
        for _ in range(3 - halt):
            list(train(lesson, plan, folder / stage, stop=lambda steps=steps: next(steps) >= halt))  # type: ignore[misc]
        parts[stage] = lesson.model.eval()
    return parts


def woken(method: Glide = SMALL) -> dict[str, Any]:
    """Random parts, awake everywhere: what starts at zero hides what it is connected to."""
    parts: dict[str, Any] = {}
    for stage in method.stages:
        torch.manual_seed(1)
        parts[stage] = method.network(stage, parts).eval().requires_grad_(False)
        for weight in parts[stage].parameters():
            if weight.count_nonzero() == 0:
                nn.init.normal_(weight, std=0.1)
    return parts


def test_it_trains_saves_loads_and_draws(tmp_path: Path) -> None:
    parts = trained(SMALL, tmp_path / "run")
    save("glide", parts, tmp_path / "model")
    system, loaded = load(tmp_path / "model")
    assert system == SYSTEMS["glide"] and tuple(loaded) == SMALL.stages
    halve(parts)
    made = drive_to_end(SMALL.pipeline(loaded).sample(WISH))
    assert made.shape == (2, 4, 8, 8) and made.dtype == torch.uint8 and (made[:, :3] <= made[:, 3:]).all()
    assert torch.equal(made, drive_to_end(SMALL.pipeline(parts).sample(WISH)))
    alone = drive_to_end(SMALL.pipeline(loaded).sample(replace(WISH, seeds=[6], captions=["blue"])))
    assert apart(alone[0], made[1]) <= ROUNDING


def test_stopping_and_going_on_changes_nothing(tmp_path: Path) -> None:
    whole, halted = (trained(BOTH, tmp_path / str(halt), halt) for halt in (2, 1))
    assert list(whole) == ["base", "inpaint", "upsampler", "clip"]
    for stage, part in whole.items():
        for (key, weight), other in zip(part.state_dict().items(), halted[stage].state_dict().values(), strict=True):
            assert torch.equal(weight, other), (stage, key)


@pytest.mark.parametrize("method", [SMALL, BOTH], ids=lambda method: method.guided_by)
def test_the_least_guidance_is_the_network_under_its_caption(method: Glide) -> None:
    parts, x_t = woken(method), torch.randn(2, 4, 4, 4, generator=coins())
    cond = method.cond(parts, ["red", "blue"])
    bare = method.base.denoiser(parts["base"])
    least = replace(method, scale=1.0 if method.guided_by == "free" else 0.0)
    heard = bare(x_t, T, cond).mean
    assert torch.equal(stepping(least.stage(parts), cond)(x_t, T, cond).mean, heard.clamp(-1, 1))
    guided = stepping(method.stage(parts), cond)(x_t, T, cond).mean
    assert not torch.allclose(guided, heard.clamp(-1, 1))
    if method.guided_by == "free":
        silent = bare(x_t, T, method.cond(parts, ["", ""])).mean
        expected = silent + 3 * (heard - silent)
        torch.testing.assert_close(guided, expected.clamp(-1, 1), atol=1e-4, rtol=1e-4)


def test_silence_guides_nowhere() -> None:
    parts, x_t = woken(), torch.randn(2, 4, 4, 4, generator=coins())
    cond = SMALL.cond(parts, ["", ""])
    guided, bare = stepping(SMALL.stage(parts), cond), SMALL.base.denoiser(parts["base"])
    torch.testing.assert_close(guided(x_t, T, cond).mean, bare(x_t, T, cond).mean.clamp(-1, 1))
    assert torch.equal(
        drive_to_end(SMALL.pipeline(parts).sample(replace(WISH, captions=[]))),
        drive_to_end(SMALL.pipeline(parts).sample(replace(WISH, captions=["", ""]))),
    )


def test_the_network_hears_words_and_time_each_example_alone() -> None:
    network: TextUNet = woken()["upsampler"]
    noisy, low = (torch.randn(2, 4, 8, 8, generator=coins(k)) for k in (0, 1))
    ids = SMALL.tokenizer.encode(WORDS[:2])
    out = network(noisy, T, Cond(tokens=ids, concat=low))
    for other in (
        network(noisy, T.flip(0), Cond(tokens=ids, concat=low)),
        network(noisy, T, Cond(tokens=ids.flip(0), concat=low)),
        network(noisy, T, Cond(tokens=ids, concat=low.flip(0))),
    ):
        assert not torch.allclose(out, other)
    alone = network(noisy[1:], T[1:], Cond(tokens=ids[1:], concat=low[1:]))
    torch.testing.assert_close(out[1:], alone, atol=1e-5, rtol=1e-4)
    with pytest.raises(ValueError, match="for no condition pass ids of zero"):
        network(noisy, T, Cond(concat=low))


def test_a_text_dropped_is_the_empty_text() -> None:
    """All of it dropped: whatever the captions were, the network learns the same."""
    losses = []
    for captions in (WORDS * 2, [""] * 6):
        torch.manual_seed(0)
        lesson = replace(SMALL, drop=1.0).objective("base", Examples(PICTURES, captions), {})
        for weight in lesson.model.parameters():
            nn.init.normal_(weight, std=0.1)
        losses.append(lesson.loss(lesson.model, Batch(0, 1, torch.arange(6), coins()))["loss"])
    assert torch.equal(*losses)


def test_fine_tuning_begins_where_the_base_stands() -> None:
    parts, x_t = woken(), torch.randn(2, 4, 4, 4, generator=coins())
    cond, shown = SMALL.cond(parts, ["red", "blue"]), torch.randn(2, 5, 4, 4, generator=coins(1))
    fresh: Any = SMALL.network("inpaint", parts)
    torch.testing.assert_close(fresh(x_t, T, replace(cond, concat=shown)), parts["base"](x_t, T, cond))
    nn.init.normal_(fresh.unet.conv_in.weight)  # and may learn to hear the new channels
    heard, unheard = (fresh(x_t, T, replace(cond, concat=concat)) for concat in (shown, 0 * shown))
    assert not torch.allclose(heard, unheard)


@pytest.mark.parametrize("method", [SMALL, BOTH], ids=lambda method: method.guided_by)
def test_a_hole_is_filled_and_what_is_known_stays_to_the_bit(method: Glide) -> None:
    parts, picture = woken(method), PICTURES[0]
    redraw = torch.zeros(8, 8, dtype=torch.bool)
    redraw[1:6, 3:] = True
    made = drive_to_end(method.pipeline(parts).fill(WISH, picture, redraw))
    assert made.shape == (2, 4, 8, 8) and made.dtype == torch.uint8
    assert torch.equal(made[:, :, ~redraw], picture[:, ~redraw].expand(2, -1, -1))
    assert not torch.equal(made[0], made[1]) and not torch.equal(made[0], picture)
    assert (made[:, :3] <= made[:, 3:]).all()


def test_the_network_that_fills_a_hole_is_shown_the_hole_with_words_and_without() -> None:
    parts, shown = woken(), list[Tensor]()
    network = parts["inpaint"]

    def record(x_t: Tensor, t: Tensor, cond: Cond) -> Tensor:
        assert cond.concat is not None
        shown.extend(cond.concat)
        return network(x_t, t, cond)  # type: ignore[no-any-return]

    redraw = torch.zeros(8, 8, dtype=torch.bool)
    redraw[1:6, 3:] = True
    drive_to_end(SMALL.pipeline({**parts, "inpaint": record}).fill(WISH, PICTURES[0], redraw))
    assert len(shown) > 2 and all(torch.equal(each, shown[0]) for each in shown) and shown[0].any()


def test_what_lies_in_the_hole_is_never_looked_at() -> None:
    parts, redraw = woken(), torch.zeros(8, 8, dtype=torch.bool)
    redraw[2:7, 1:5] = True
    first, second = (torch.where(redraw, PICTURES[k], PICTURES[0]) for k in (0, 1))
    assert torch.equal(
        drive_to_end(SMALL.pipeline(parts).fill(WISH, first, redraw)),
        drive_to_end(SMALL.pipeline(parts).fill(WISH, second, redraw)),
    )


def test_holes_are_rectangles_of_a_ninth_on_average() -> None:
    """Two corners a third of the side apart on average, on each axis."""
    known = random_masks(4000, 12, coins())
    assert set(known.flatten().tolist()) == {0.0, 1.0}
    assert (1 - known).mean() == pytest.approx(1 / 9, abs=0.01)
    hole = 1 - known[:, 0]
    assert torch.equal(hole, hole.amax(1, keepdim=True) * hole.amax(2, keepdim=True))
    x = torch.randn(4000, 4, 12, 12, generator=coins(1))
    shown = mask_out(x, known)
    assert torch.equal(shown[:, :4], torch.where(known > 0, x, 0.0)) and torch.equal(shown[:, 4:], known)


def test_a_noised_clip_learns_which_caption_goes_with_which_noisy_picture() -> None:
    torch.manual_seed(0)
    tower: Any = BOTH.network("clip", {})
    assert isinstance(tower, NoisedCLIP)
    x, ids = torch.randn(3, 4, 4, 4, generator=coins()), BOTH.tokenizer.encode(WORDS)
    loss, rule = NoisedPairs(VPSchedule()), torch.optim.Adam(tower.parameters(), 1e-3)
    for step in range(60):
        value = loss(tower, x, Cond(tokens=ids), coins(step))
        assert value.shape == (3,)
        rule.zero_grad()
        value.mean().backward()  # type: ignore[no-untyped-call]
        rule.step()
    z_t, z_i = tower.encode_text(ids), tower(x, torch.full((3,), 0.05), Cond())
    torch.testing.assert_close(z_i.norm(dim=1), torch.ones(3))
    assert (z_t @ z_i.T).argmax(1).tolist() == [0, 1, 2]


def test_a_cascade_halves_and_doubles() -> None:
    x = torch.randn(2, 4, 8, 8, generator=coins())
    flat = torch.ones(2, 4, 8, 8)
    assert torch.equal(larger(smaller(flat)), flat) and larger(smaller(x)).shape == x.shape
    torch.testing.assert_close(smaller(x).mean((2, 3)), x.mean((2, 3)))
    small = thumbnails(EXAMPLES, batch=4)
    assert small.shape == (6, 4, 4, 4) and small.dtype == torch.uint8
    assert torch.equal(small, thumbnails(Examples(PICTURES.numpy())))


BAD: list[tuple[Any, str]] = [
    (lambda p: replace(SMALL, guided_by="luck"), "guided by 'free' or 'clip', not 'luck'"),
    (lambda p: drive_to_end(SMALL.pipeline(p).sample(replace(WISH, captions=["red"]))), "one caption a seed: 2, not 1"),
    (lambda p: drive_to_end(SMALL.pipeline(p).sample(replace(WISH, size_px=10))), "multiple of 4 px, not 10"),
    (lambda p: SMALL.objective("base", Examples(PICTURES), p), "6 pictures and 0 captions"),
    (lambda p: SMALL.objective("base", Examples(PICTURES[..., :6], captions=WORDS * 2), p), "multiple of 4 px, not 6"),
    (
        lambda p: drive_to_end(SMALL.pipeline(p).fill(WISH, PICTURES[0], torch.ones(4, 4).bool())),
        "these are 4 x 8 x 8 and 4 x 4",
    ),
    (
        lambda p: drive_to_end(SMALL.pipeline(p).fill(WISH, PICTURES[0], torch.zeros(8, 8).bool())),
        "the mask covers nothing",
    ),
]


@pytest.mark.parametrize(("wrong", "told"), BAD, ids=[told for _, told in BAD])
def test_what_cannot_be_is_one_line(wrong: Any, told: str) -> None:
    with pytest.raises(SumiError, match=told) as caught:
        wrong(woken())
    assert "\n" not in str(caught.value)


def test_the_larger_picture_hangs_on_the_smaller() -> None:
    parts = woken()
    cond = SMALL.cond(parts, ["red", "blue"])
    pipeline = SMALL.pipeline(parts)

    def enlarged(low: Tensor) -> Tensor:
        return drive_to_end(pipeline.enlarge(low, cond, WISH))

    dark, light = (torch.full((2, 4, 4, 4), value) for value in (-1.0, 1.0))
    assert not torch.allclose(enlarged(dark), enlarged(light))
    assert torch.equal(enlarged(light), enlarged(2 * light))  # what leaves the range of pictures is brought back

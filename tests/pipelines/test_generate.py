"""Words in, pictures out: the same picture for the same seed, alone, in a batch, ranked, replayed."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from same_picture import ROUNDING, apart

from sumi import SumiError
from sumi.pipelines import Picture, Pictures, Progress, Request, read_recipe
from sumi.systems.unclip.artist import Sumi


def test_a_seed_draws_the_same_picture_alone_and_in_any_batch(tiny: Sumi) -> None:
    together = tiny.generate("a red fox", n=5, seed=10)  # two batches of the tiny model's three
    assert [picture.seed for picture in together] == [10, 11, 12, 13, 14]
    for number in (0, 2, 4):
        alone = tiny.generate("a red fox", seed=10 + number)[0]
        assert apart(alone.image, together[number].image) <= ROUNDING
        assert alone.score == pytest.approx(together[number].score, abs=1e-3)
    assert apart(together[0].image, together[1].image) > 1, "another seed is another picture"


def test_the_best_of_several_are_those_clip_ranks_first(tiny: Sumi) -> None:
    every = tiny.generate("a red fox", n=5, seed=10)
    best = tiny.generate("a red fox", n=2, seed=10, best_of=5)
    ranked = sorted(every, key=lambda picture: -picture.score)
    assert [picture.seed for picture in best] == [picture.seed for picture in ranked[:2]]
    assert apart(best[0].image, ranked[0].image) <= ROUNDING


def test_progress_covers_every_stage_and_batch(tiny: Sumi) -> None:
    events = list(tiny.stream(Request("a fox", n=4, seed=1)))
    steps = Counter(event.stage for event in events if isinstance(event, Progress))
    assert steps == {"prior": 6, "decoder": 8, "upsampler": 4}, "two batches of 3, 4 and 2 steps"
    for stage in steps:
        counted = [(event.step, event.of) for event in events if isinstance(event, Progress) and event.stage == stage]
        assert counted == [(number, steps[stage]) for number in range(1, steps[stage] + 1)]
    assert sum(isinstance(event, Picture) for event in events) == 4


def test_a_step_can_be_looked_at(tiny: Sumi) -> None:
    for event in tiny.stream(Request("a fox", n=2, seed=1)):
        if isinstance(event, Progress):
            seen = tiny.pipeline.preview(event)
            side = {"prior": None, "decoder": 16, "upsampler": 32}[event.stage]
            assert (seen is None) == (side is None)
            if seen is not None:
                assert seen.shape == (2, 4, side, side) and seen.dtype == torch.uint8
                assert event.seeds == (1, 2)


def test_sizes_and_backgrounds(tiny: Sumi) -> None:
    assert tiny.pipeline.sizes == (16, 32)
    assert tiny.generate("fox", seed=1).images[0].size == (32, 32)
    small = tiny.generate("fox", seed=1, size=16, background="transparent").images[0]
    assert small.size == (16, 16) and small.mode == "RGBA"
    asked = tiny.generate("fox on a transparent background", seed=1, size=16).images[0]
    assert apart(small, asked.convert("RGBA")) == 0, "to ask for transparency is to say so"
    for background in ("opaque", "#123456"):
        assert tiny.generate("fox", seed=1, size=16, background=background).images[0].mode == "RGB"


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        ({"size": 512}, "unknown size '512': choose one of 16, 32"),
        ({"sampler": "dpmpp"}, "unknown sampler 'dpmpp': choose one of .*did you mean dpmpp-2m"),
        ({"n": 0}, "n should be"),
    ],
)
def test_what_the_model_cannot_do_is_said_before_it_starts(wish: dict[str, object], says: str, tiny: Sumi) -> None:
    with pytest.raises(SumiError, match=says):
        tiny.generate("a fox", **wish)


def test_the_request_is_checked_before_the_first_event_is_asked_for(tiny: Sumi) -> None:
    with pytest.raises(SumiError):
        tiny.stream(Request("a fox", size=5))


CHANGES: tuple[dict[str, Any], ...] = (
    {"prompt": "a blue car"},
    {"seed": 4},
    {"steps": 7},
    {"guidance": 7.0},
    {"sampler": "ddpm"},
    {"negative": "blue hat"},
)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
def test_generate_with_another_setting_draws_another_picture(change: dict[str, Any], tiny: Sumi) -> None:
    settings: dict[str, Any] = {"prompt": "a red fox", "seed": 3, "size": 16}
    default = tiny.generate(**settings).images[0]
    changed, again = (tiny.generate(**{**settings, **change}).images[0] for _ in range(2))
    assert apart(default, changed) > ROUNDING
    assert apart(changed, again) <= ROUNDING, "the same settings drew two different pictures"


def test_generate_without_guidance_ignores_the_negative_prompt(tiny: Sumi) -> None:
    plain, negative = (
        tiny.generate("a red fox", seed=3, size=16, guidance=1.0, negative=text).images[0] for text in ("", "blue hat")
    )
    assert apart(plain, negative) <= ROUNDING


@pytest.mark.parametrize("prompt", ["狐", "ثعلب", "a\0fox", "\ud800 fox", "🦊🦊", "x" * 4000, '"' * 99, "\u202efox"])
def test_any_prompt_is_drawn_and_kept(prompt: str, tiny: Sumi, tmp_path: Path) -> None:
    pictures = tiny.generate(prompt, seed=2, size=16, anyway=True)
    pictures.save(tmp_path / "a.png")
    assert read_recipe(tmp_path / "a.png")[1].prompt == prompt


def test_a_saved_picture_is_drawn_again_from_its_file(tiny: Sumi, tmp_path: Path) -> None:
    wish = dict(n=2, seed=5, steps=3, guidance=1.5, sampler="ddpm", negative="dog", background="#ffffff")
    paths = tiny.generate("a blue car", **wish).save(tmp_path / "car.png")
    assert [path.name for path in paths] == ["car-1.png", "car-2.png"]
    image, recipe = read_recipe(paths[1])
    assert recipe.stages["decoder"].sampler == "ddpm" and recipe.seed == 6
    (again,) = [event for event in tiny.replay(recipe) if isinstance(event, Picture)]
    assert apart(image, again.image) <= ROUNDING
    assert again.recipe.stages == recipe.stages


def test_saving(tiny: Sumi, tmp_path: Path) -> None:
    pictures = tiny.generate("fox", size=16)
    assert isinstance(pictures, Pictures) and 0 <= pictures[0].seed < 10**6
    (tmp_path / "fox.png").write_text("old")
    assert pictures.save(tmp_path / "fox.png") == [tmp_path / "fox.png"]
    assert read_recipe(tmp_path / "fox.png")[0].size == (16, 16)
    with pytest.raises(SumiError, match=r"name the file fox\.png, not 'fox\.jpg'"):
        pictures.save(tmp_path / "fox.jpg")
    with pytest.raises(SumiError, match="cannot write"):
        pictures.save(tmp_path / "absent" / "fox.png")


def test_notes_say_what_was_never_taught(tiny: Sumi) -> None:
    assert tiny.generate("a red fox", size=16).notes == ()
    notes = tiny.notes(Request("a foxx 🐙", negative="catt", guidance=1.0))
    assert notes[0] == "drawn as: a fox (fox for foxx). Not known: octopus"
    assert notes[1] == "negative: Not known: catt"
    assert notes[2:] == ["a negative prompt does nothing at guidance 1"]
    assert "only the beginning" in tiny.notes(Request("a red fox " * 40))[-1]


def test_ranking_and_naming(tiny: Sumi, tmp_path: Path) -> None:
    pictures = tiny.generate("a red fox", n=3, seed=1)
    scores = tiny.rank(pictures.images, "a red fox")
    assert len(scores) == 3 and all(-1 <= score <= 1 for score in scores)
    path = pictures[0].save(tmp_path / "a.png")
    assert tiny.rank([path], "a red fox")[0] == pytest.approx(scores[0], abs=1e-5)
    chances = tiny.classify(path, ["fox", " dog ", "car", "fox", ""])
    assert set(chances) == {"fox", "dog", "car"} and sum(chances.values()) == pytest.approx(1)
    assert list(chances.values()) == sorted(chances.values(), reverse=True)
    with pytest.raises(SumiError, match="at least one picture"):
        tiny.rank([], "fox")
    for labels in (["fox"], [], ["fox", "fox "], ["x" * 5000, "y"], [str(number) for number in range(1001)]):
        with pytest.raises(SumiError):
            tiny.classify(path, labels)
    with pytest.raises(SumiError, match="prompt is empty"):
        tiny.rank([path], " ")


def test_a_model_may_draw_several_candidates_by_default(tiny: Sumi) -> None:
    several = replace(tiny, pipeline=replace(tiny.pipeline, best_of=3))
    drawn = several.generate("a red fox", n=2, seed=10)
    each = [tiny.generate("a red fox", n=3, best_of=3, seed=seed) for seed in (10, 13)]
    assert [picture.seed for picture in drawn] == [max(some, key=lambda one: one.score).seed for some in each]
    assert [picture.seed for picture in several.generate("a red fox", n=2, best_of=2, seed=10)] == [
        picture.seed for picture in tiny.generate("a red fox", n=2, best_of=2, seed=10)
    ], "what a request says goes"
    again = next(event for event in several.replay(drawn[0].recipe) if isinstance(event, Picture))
    assert again.seed == drawn[0].seed and apart(again.image, drawn[0].image) <= ROUNDING


def test_a_request_says_how_many_candidates_it_draws() -> None:
    assert Request("a fox", n=3).candidates(4) == 12 and Request("a fox", n=3, best_of=5).candidates(4) == 5
    assert Request("a fox", n=64).candidates(16) == 256

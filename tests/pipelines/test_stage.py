"""One loop runs every stage, and a seed draws the same numbers wherever it stands."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sumi import SumiError
from sumi.diffusion import SAMPLERS, Estimate, FlowSchedule, uniform_times
from sumi.nn import Cond
from sumi.pipelines import Progress, Settings, Stage, run, seeded_generators
from sumi.pipelines.stage import initial_x
from sumi.pipelines.steps import drive, drive_to_end


def towards(x_t: Tensor, t: Tensor, cond: Cond, /) -> Estimate:
    """Knows the answer: the condition's vector."""
    assert cond.vector is not None
    return Estimate(cond.vector + 0.1 * x_t)


STAGE = Stage("decoder", towards, FlowSchedule(), uniform_times, (3,), Settings("ddpm", 5, 1.0))


def cond(count: int) -> Cond:
    return Cond(vector=torch.arange(count * 3.0).reshape(count, 3))


def test_an_upsampler_may_begin_with_what_it_is_shown() -> None:
    asked: list[float] = []

    def listening(x_t: Tensor, t: Tensor, cond: Cond, /) -> Estimate:
        asked.append(float(t[0]))
        return Estimate(x_t)

    begun = replace(STAGE, denoiser=listening, settings=Settings("euler", 2, start=0.5))
    shown = Cond(concat=torch.full((2, 3), 100.0))
    first = initial_x(begun, shown, seeded_generators([7, 8], "decoder"))
    plain = initial_x(STAGE, shown, seeded_generators([7, 8], "decoder"))
    assert torch.allclose(first, 50 + plain / 2), "half the picture, half the noise"
    drive_to_end(run(begun, shown, [7, 8]))
    assert asked == [0.5, 0.25]


def test_each_step_says_how_far_it_is_and_the_last_is_the_sample() -> None:
    events, steps = [], drive(run(STAGE, cond(2), [7, 8]))
    while True:
        try:
            events.append(next(steps))
        except StopIteration as end:
            x = end.value
            break
    assert [(event.step, event.of) for event in events] == [(1, 5), (2, 5), (3, 5), (4, 5), (5, 5)]
    assert all(isinstance(event, Progress) and event.seeds == (7, 8) for event in events)
    assert torch.equal(x, events[-1].mean), "at the data, the sample is the estimate"


def test_the_second_batch_counts_on() -> None:
    first = next(drive(run(STAGE, cond(1), [9], part=(1, 3))))
    assert isinstance(first, Progress)
    assert (first.step, first.of) == (6, 15)


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_a_seed_draws_the_same_in_any_batch(sampler: str) -> None:
    stage = STAGE.with_settings(sampler=sampler, steps=3)
    together = drive_to_end(run(stage, cond(3), [5, 6, 7]))
    alone = drive_to_end(run(stage, cond(3)[1:2], [6]))
    assert torch.allclose(together[1:2], alone, atol=1e-6)


def test_guidance_leads_away_from_silence_or_from_what_is_given() -> None:
    stage = replace(STAGE, settings=Settings("euler", 4, 3.0))
    plain = drive_to_end(run(replace(STAGE, settings=Settings("euler", 4)), cond(1), [1]))
    guided = drive_to_end(run(stage, cond(1), [1]))
    assert not torch.allclose(guided, plain)
    assert torch.allclose(drive_to_end(run(stage, cond(1), [1], null=cond(1))), plain), "away from itself is nowhere"


def test_streams_and_repeated_seeds_have_numbers_of_their_own() -> None:
    def numbers(seeds: list[int], stream: str) -> list[float]:
        return [float(torch.rand(1, generator=rng)) for rng in seeded_generators(seeds, stream)]

    first, second = numbers([4, 4], "prior")
    assert first != second
    assert numbers([4], "prior") == [first]
    assert numbers([3, 4, 5, 4], "prior")[1::2] == [first, second]
    assert len({first, second, *numbers([4], "decoder"), *numbers([5], "prior")}) == 4


def test_an_unknown_sampler_is_answered_with_the_names() -> None:
    with pytest.raises(SumiError, match=r"choose one of ddpm, ddim, .*; did you mean heun"):
        STAGE.with_settings(sampler="huen")


def test_settings_change_only_where_asked() -> None:
    assert STAGE.with_settings().settings == STAGE.settings
    assert STAGE.with_settings("heun", 9, 2.0).settings == Settings("heun", 9, 2.0)

"""Many requests share the steps of one model, in a fair order, with the pictures of a run alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from same_picture import ROUNDING, apart

from sumi.autoregressive import EmbeddingTokens
from sumi.diffusion import SAMPLERS
from sumi.nn import ARPriorNetwork
from sumi.pipelines import Blend, Edit, Img2img, Picture, Request, Restyle, Settings, Task, TokenPrior, Upscale, Vary
from sumi.serving import FinishedPicture, JobStarted, SchedulerLimits, StepDone
from sumi.serving.scheduler import run_steps_safely
from sumi.systems.unclip.artist import Sumi

from .conftest import SchedulerHarness, images, steps

SMALL = {"size": 16}
MASK = Image.new("L", (16, 16))
MASK.paste(255, (4, 4, 12, 12))


def alone(sumi: Sumi, task: Task, *pictures: Image.Image) -> list[Image.Image]:
    return [event.image for event in sumi.stream(task, *pictures) if isinstance(event, Picture)]


# Same seed, same picture.


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_batched_requests_draw_what_each_draws_alone(sampler: str, harness: SchedulerHarness, tiny: Sumi) -> None:
    tasks = [
        Request(prompt, seed=seed, steps=count, guidance=guidance, sampler=sampler, negative=negative, **SMALL)
        for prompt, seed, count, guidance, negative in [
            ("a red fox", 1, 2, 1.0, ""), ("a dog", 2, 4, 4.0, ""), ("the car", 3, 3, 0.5, "red"), ("fox", 1, 3, 2, ""),
        ]
    ]  # fmt: skip
    handles = [harness.submit(task) for task in tasks]
    harness.run()
    assert max(harness.batch_rows["decoder"]) > 4, "they did share"
    for task, handle in zip(tasks, handles, strict=True):
        assert handle.status == "succeeded"
        assert apart(images(handle)[0], alone(tiny, task)[0]) <= ROUNDING


def tasks_of_every_kind(leaf: Image.Image) -> list[tuple[Task, list[Image.Image]]]:
    return [
        (Request("a red fox", n=3, seed=5, best_of=4), []),
        (Vary(seed=1, n=2), [leaf]),
        (Vary(seed=1, eta=0.5, steps=5), [leaf]),
        (Edit("a dog", seed=2, steps=5, rounds=2), [leaf, MASK]),
        (Edit(seed=3, sampler="ddpm"), [leaf, MASK]),
        (Blend(seed=1, frames=3, steps=4), [leaf, leaf.rotate(90)]),
        (Restyle("a red fox", "a blue dog", seed=4, steps=4), [leaf]),
        (Img2img("a hat", seed=9, strength=0.6), [leaf]),
        (Upscale(seed=7), [leaf]),
    ]


def test_tasks_of_every_kind_run_side_by_side(harness: SchedulerHarness, tiny: Sumi, leaf: Image.Image) -> None:
    tasks = tasks_of_every_kind(leaf)
    handles = [harness.submit(task, *pictures, key=str(number % 3)) for number, (task, pictures) in enumerate(tasks)]
    harness.run()
    for (task, pictures), handle in zip(tasks, handles, strict=True):
        drawn, expected = images(handle), alone(tiny, task, *pictures)
        assert len(drawn) == len(expected) > 0
        assert max(map(apart, drawn, expected)) <= ROUNDING, task.operation


WISHES = st.builds(
    Request,
    prompt=st.sampled_from(["a red fox", "a dog", "the blue car"]),
    seed=st.integers(0, 9),
    n=st.integers(1, 2),
    steps=st.integers(1, 4),
    guidance=st.sampled_from([1.0, 2.0, 5.0]),
    sampler=st.sampled_from(["dpmpp-2m", "unipc", "ddpm"]),
    size=st.just(16),
)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arrivals=st.lists(st.tuples(WISHES, st.integers(0, 6), st.sampled_from("ab")), min_size=2, max_size=4))
def test_picture_is_the_same_whenever_others_arrive(arrivals: list[tuple[Request, int, str]], tiny: Sumi) -> None:
    harness = SchedulerHarness(tiny, SchedulerLimits(rows=7, running=3, pictures=2, step_s=1e9))
    handles = []
    for wish, ticks, key in arrivals:
        handles.append(harness.submit(wish, key=key))
        for _ in range(ticks):
            harness.scheduler.tick()
    harness.run()
    for (wish, _, _), handle in zip(arrivals, handles, strict=True):
        for drawn, expected in zip(images(handle), alone(tiny, wish), strict=True):
            assert apart(drawn, expected) <= ROUNDING


# Sharing.


def test_many_requests_take_as_many_network_calls_as_one(tiny: Sumi) -> None:
    calls = []
    for count in (1, 6):
        harness = SchedulerHarness(tiny)
        for seed in range(count):
            harness.submit(Request("a fox", seed=seed))
        harness.run()
        calls.append({stage: len(rows) for stage, rows in harness.batch_rows.items()})
    one, six = calls
    assert six == one == {"prior": 3, "decoder": 4, "upsampler": 2}


def test_request_joins_between_two_steps_and_leaves_when_done(harness: SchedulerHarness) -> None:
    long = harness.submit(Request("a fox", seed=1, steps=30, guidance=1.0, **SMALL))
    harness.run(until=lambda: len(harness.batch_rows["decoder"]) == 10)
    short = harness.submit(Request("a dog", seed=2, steps=4, guidance=1.0, **SMALL))
    harness.run(until=lambda: short.ended)
    assert short.status == "succeeded" and long.status == "running"
    assert harness.batch_rows["decoder"].count(2) == 4, "its four steps were shared"
    harness.run()
    assert sum(harness.batch_rows["decoder"]) == 34, "and nothing was evaluated twice"


def test_guidance_evaluates_twice_only_rows_in_its_interval(harness: SchedulerHarness) -> None:
    harness.submit(Request("a fox", seed=1, steps=10, guidance=1.0, **SMALL))
    harness.submit(Request("a dog", seed=2, steps=10, guidance=3.0, **SMALL))
    harness.run()
    assert sum(harness.batch_rows["decoder"]) == 10 + 10 + 8, (
        "its interval is [0.2, 0.9], and t runs over 1.0, 0.9 ... 0.1"
    )


def test_batch_holds_no_more_rows_than_the_limit(tiny: Sumi) -> None:
    harness = SchedulerHarness(tiny, SchedulerLimits(rows=5, step_s=1e9))
    handles = [harness.submit(Request("a fox", seed=seed, guidance=1.0, **SMALL)) for seed in range(9)]
    harness.run()
    assert max(harness.batch_rows["decoder"]) <= 5 and all(handle.status == "succeeded" for handle in handles)


def test_batch_holds_no_more_rows_than_its_time_allows(tiny: Sumi) -> None:
    harness = SchedulerHarness(tiny, SchedulerLimits(step_s=1.0))
    for _ in range(50):
        harness.meter.count_step("decoder", rows=1, seconds=0.4)
    for seed in range(6):
        harness.submit(Request("a fox", seed=seed, guidance=1.0, steps=2, **SMALL))
    harness.run(until=lambda: bool(harness.batch_rows["decoder"]))
    assert harness.batch_rows["decoder"] == [2]


# Whose turn it is.


def order(harness: SchedulerHarness, wishes: list[tuple[str, int]]) -> list[str]:
    """Return the keys in the order in which their requests end."""
    done: list[str] = []

    def encode(key: str) -> Callable[[Picture], bytes]:
        return lambda picture: done.append(key) or b""  # type: ignore[func-returns-value]

    for number, (key, priority) in enumerate(wishes):
        harness.submit(Request("a fox", seed=number, **SMALL), key=key, priority=priority, encode=encode(key))
    harness.run()
    return done


@pytest.mark.parametrize("limits", [SchedulerLimits(running=2, step_s=1e9), SchedulerLimits(rows=4, step_s=1e9)])
def test_key_with_many_requests_does_not_delay_others(limits: SchedulerLimits, tiny: Sumi) -> None:
    done = order(SchedulerHarness(tiny, limits), [("greedy", 0)] * 10 + [("modest", 0)] * 2)
    assert set(done[:4]) == {"greedy", "modest"}, "though ten came before it"
    assert max(number for number, key in enumerate(done) if key == "modest") <= 5


def test_idle_key_saves_up_no_credit(tiny: Sumi) -> None:
    harness = SchedulerHarness(tiny, SchedulerLimits(running=1, step_s=1e9))
    for seed in range(12):
        harness.submit(Request("a fox", seed=seed, **SMALL), key="steady")
    harness.run(until=lambda: harness.meter.read(0, 0).ended.get("succeeded", 0) == 6)
    recent = [harness.submit(Request("a fox", seed=seed, **SMALL), key="late") for seed in range(6)]
    before = harness.meter.read(0, 0).ended["succeeded"]
    harness.run(until=lambda: sum(handle.ended for handle in recent) == 4)
    others = harness.meter.read(0, 0).ended["succeeded"] - before - 4
    assert others >= 3, "turn by turn from now on"


def test_request_of_higher_priority_runs_first(tiny: Sumi) -> None:
    harness = SchedulerHarness(tiny, SchedulerLimits(running=1, step_s=1e9))
    assert order(harness, [("a", 0), ("b", 0), ("c", 5), ("d", 1)]) == ["c", "d", "a", "b"]


def test_requests_of_one_key_run_in_order(tiny: Sumi) -> None:
    harness, done = SchedulerHarness(tiny, SchedulerLimits(running=1, step_s=1e9)), list[int]()
    for seed in range(5):
        harness.submit(
            Request("fox", seed=seed, **SMALL),
            encode=lambda picture: done.append(picture.seed) or b"",  # type: ignore[func-returns-value]
        )
    harness.run()
    assert done == [0, 1, 2, 3, 4]


def test_token_prior_does_not_block_other_requests(tiny: Sumi) -> None:
    """Between two tokens of one request's prior, another request takes a step."""
    harness = SchedulerHarness(tiny, SchedulerLimits(step_s=1e-9))  # as little as can be done at a time
    words = EmbeddingTokens.fit(*torch.nn.functional.normalize(torch.randn(2, 64, 8), dim=-1), buckets=16)
    network = ARPriorNetwork(8, 16, 12, words.dims, words.buckets, 16, 1, 2)
    words.store_in(network)
    priors = {**harness.sumi.pipeline.priors, "ar": TokenPrior(network, Settings("tokens", network.length, 1.5))}
    harness.sumi = replace(harness.sumi, pipeline=replace(harness.sumi.pipeline, priors=priors))
    before: list[int] = []  # each word: how many steps the other had taken
    network.proj_out.register_forward_hook(lambda *_: before.append(len(harness.batch_rows["decoder"])))
    draws = harness.submit(Request("a fox", seed=1, steps=40, **SMALL))
    harness.run(until=lambda: len(harness.batch_rows["decoder"]) == 2)
    writes = harness.submit(Request("a dog", seed=1, prior="ar", **SMALL))
    harness.run()
    assert [report.step for report in steps(writes) if report.stage == "ar_prior"] == list(range(1, network.length + 1))
    assert len(set(before)) == network.length - 1, "the first word is not asked of the network"
    assert draws.status == writes.status == "succeeded"


# Calling off, and failing.


def test_canceled_request_ends_within_a_step(harness: SchedulerHarness) -> None:
    gone = harness.submit(Request("a fox", seed=1, steps=50, guidance=1.0, **SMALL))
    stays = harness.submit(Request("a dog", seed=2, steps=50, guidance=1.0, **SMALL))
    harness.run(until=lambda: len(harness.batch_rows["decoder"]) == 10)
    gone.cancel()
    harness.run()
    assert harness.batch_rows["decoder"] == [2] * 10 + [1] * 40
    assert gone.status == "canceled" and stays.status == "succeeded" and not images(gone)


def test_request_canceled_in_the_queue_never_starts(tiny: Sumi) -> None:
    harness = SchedulerHarness(tiny, SchedulerLimits(running=1, step_s=1e9))
    harness.submit(Request("a fox", seed=1, **SMALL))
    second = harness.submit(Request("a fox", seed=2, **SMALL))
    harness.scheduler.tick()
    second.cancel()
    harness.run()
    assert second.status == "canceled" and list(second) == []


def test_failing_request_leaves_others_unharmed(harness: SchedulerHarness, tiny: Sumi) -> None:
    """The failing step breaks its whole batch at first."""
    inner = harness.sumi.pipeline.decoder.denoiser.denoiser  # type: ignore[attr-defined]

    def fragile(x_t: torch.Tensor, t: torch.Tensor, cond: object, /) -> object:
        if float(t.min()) < 0.2:
            raise RuntimeError("broken")
        return inner(x_t, t, cond)

    object.__setattr__(harness.sumi.pipeline.decoder.denoiser, "denoiser", fragile)
    wishes = [
        Request("a fox", seed=1, steps=4, sampler="ddpm", **SMALL),
        Request("a dog", seed=2, steps=12, sampler="ddpm", **SMALL),
    ]
    fine, broken = (harness.submit(wish) for wish in wishes)
    harness.run()
    assert fine.status == "succeeded" and apart(images(fine)[0], alone(tiny, wishes[0])[0]) <= ROUNDING
    assert broken.status == "failed"
    with pytest.raises(RuntimeError, match="broken"):
        list(broken)


def test_failing_encoder_fails_its_request_alone(harness: SchedulerHarness) -> None:
    def refuse(picture: Picture) -> bytes:
        raise OSError("disk full")

    broken, fine = (harness.submit(Request("a fox", seed=1, **SMALL), encode=how) for how in (refuse, Picture.png))
    harness.run()
    assert (broken.status, fine.status) == ("failed", "succeeded")


def test_retried_step_draws_the_same_random_numbers(harness: SchedulerHarness) -> None:
    work = harness.sumi.work(Request("a fox", seed=1, **SMALL))
    ask = next(work)
    before = ask.rngs[0].get_state()  # type: ignore[union-attr]
    assert not any(isinstance(step, Exception) for step in run_steps_safely([ask, ask]))  # type: ignore[list-item]
    assert torch.equal(before, ask.rngs[0].get_state()), "DDIM draws none"  # type: ignore[union-attr]


# News.


def test_handle_gets_every_step_and_every_picture(harness: SchedulerHarness) -> None:
    handle = harness.submit(Request("a fox", seed=1, n=2))
    harness.run()
    reports = list(handle)
    assert isinstance(reports[0], JobStarted)
    told = [(report.stage, report.step, report.of) for report in reports if isinstance(report, StepDone)]
    expected = [("prior", 3), ("decoder", 4), ("upsampler", 2)]
    assert told == [(stage, step, of) for stage, of in expected for step in range(1, of + 1)]
    drawn = [report for report in reports if isinstance(report, FinishedPicture)]
    assert [report.picture.seed for report in drawn] == [1, 2]
    assert all(report.data.startswith(b"\x89PNG") for report in drawn)


def test_previews_call_no_denoiser(tiny: Sumi) -> None:
    asked = []
    for previews in (0, 100):
        harness = SchedulerHarness(tiny)
        handles = [harness.submit(Request("a fox", seed=seed, n=2), previews=previews) for seed in (1, 5)]
        harness.run()
        asked.append(harness.batch_rows)
    assert asked[0] == asked[1]
    seen = [(report.stage, [image.size for image in report.previews]) for report in steps(handles[1])]
    sizes = {"prior": [], "decoder": [(16, 16)] * 2, "upsampler": [(32, 32)] * 2}
    assert all(shown == sizes[stage] for stage, shown in seen)


def test_last_preview_equals_the_picture(harness: SchedulerHarness) -> None:
    handle = harness.submit(Request("a fox", seed=1, background="transparent", **SMALL), previews=1)
    other = harness.submit(Request("a dog", seed=1, **SMALL), previews=1)
    harness.run()
    reports = list(handle)
    shown = [report for report in reports if isinstance(report, StepDone) and report.previews]
    assert [report.step for report in shown] == [4], "one preview is that of the last step"
    (drawn,) = [report.picture.image for report in reports if isinstance(report, FinishedPicture)]
    assert apart(shown[0].previews[0], drawn) <= ROUNDING and other.status == "succeeded"


@pytest.mark.parametrize(("previews", "shown"), [(0, []), (2, [3, 6]), (3, [2, 4, 6]), (6, [1, 2, 3, 4, 5, 6])])
def test_previews_are_evenly_spread_over_the_steps(previews: int, shown: list[int], harness: SchedulerHarness) -> None:
    handle = harness.submit(Request("a fox", seed=1, steps=6, **SMALL), previews=previews)
    harness.run()
    assert [report.step for report in steps(handle) if report.previews] == shown


def test_meter_counts_every_row_and_step(harness: SchedulerHarness) -> None:
    for seed in range(3):
        harness.submit(Request("a fox", seed=seed, guidance=1.0, **SMALL))
    harness.run()
    figures = harness.meter.read(waiting=0, running=harness.scheduler.running)
    assert figures.running == 0 and figures.ended == {"succeeded": 3}
    decoder = figures.stages["decoder"]
    assert decoder.rows == 3 * 4 == sum(harness.batch_rows["decoder"])
    assert decoder.steps == sum(decoder.sizes.values()) == len(harness.batch_rows["decoder"])
    assert decoder.seconds > 0 and figures.other_s > 0

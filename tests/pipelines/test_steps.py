"""A pipeline asks for steps and does not know who takes them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from sumi.diffusion import SAMPLERS, DDIMSampler, Estimate, FlowSchedule, Sampler, guide, trajectory, uniform_times
from sumi.nn import Cond
from sumi.pipelines import Progress, Settings, Stage, run, seeded_generators
from sumi.pipelines.edit import Resampled
from sumi.pipelines.steps import Inpainting, Pause, StepRequest, Work, drive, drive_to_end, run_steps, without_progress


def bent(x_t: Tensor, t: Tensor, cond: Cond, /) -> Estimate:
    assert cond.vector is not None
    return Estimate(torch.tanh(cond.vector + 0.3 * x_t * t[:, None]))


STAGE = Stage("decoder", bent, FlowSchedule(), uniform_times, (3,), Settings("ddim", 4, 2.0, (0.3, 1.0)))


def told(count: int, start: float = 0.0) -> Cond:
    return Cond(vector=torch.linspace(start, start + 1, count * 3).reshape(count, 3))


def asked(work: Work[Tensor]) -> StepRequest:
    said = next(work)
    assert isinstance(said, StepRequest)
    return said


def together(*works: Work[Tensor]) -> list[Tensor]:
    """Drive works of one kind side by side, each to its own end."""
    asks = {number: asked(work) for number, work in enumerate(works)}
    ends: dict[int, Tensor] = {}
    while asks:
        for number, step in zip(list(asks), run_steps(list(asks.values())), strict=True):
            assert isinstance(works[number].send(step), Progress)
            try:
                asks[number] = asked(works[number])
            except StopIteration as end:
                ends[number] = end.value
                del asks[number]
    return [ends[number] for number in range(len(works))]


@pytest.mark.parametrize("make", SAMPLERS.values(), ids=SAMPLERS)
def test_steps_taken_together_are_those_taken_alone(make: type) -> None:
    """However many steps each has, however it is guided, and though one is told a part of the answer."""
    sampler: Sampler[object] = make(FlowSchedule())
    stages = [replace(STAGE, settings=Settings("ddim", steps, guidance, (0.1, 0.8))) for steps, guidance in
              ((2, 1.0), (5, 3.0), (3, 0.5))]  # fmt: skip
    known = Inpainting(torch.tensor([[5.0, 0.0, 0.0]]), torch.tensor([[1.0, 0.0, 0.0]]))
    stages[1] = replace(stages[1], inpainting=known)

    def works() -> list[Work[Tensor]]:
        return [run(replace(stage, sampler=sampler), told(n, n), range(n)) for n, stage in enumerate(stages, start=1)]

    drawn = together(*works())
    assert drawn[1][:, 0].tolist() == [5, 5]
    for one, work in zip(drawn, works(), strict=True):
        torch.testing.assert_close(one, drive_to_end(work), atol=1e-5, rtol=1e-5)


def test_walking_a_step_again_spares_those_who_arrive() -> None:
    sampler = Resampled(DDIMSampler(FlowSchedule(), 1.0), FlowSchedule(), rounds=3)
    stages = [STAGE.with_settings(steps=steps) for steps in (2, 5)]

    def works() -> list[Work[Tensor]]:
        return [run(replace(stage, sampler=sampler), told(2), [1, 2]) for stage in stages]

    for one, work in zip(together(*works()), works(), strict=True):
        torch.testing.assert_close(one, drive_to_end(work), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("make", SAMPLERS.values(), ids=SAMPLERS)
def test_the_loop_of_a_stage_is_the_trajectory(make: type) -> None:
    x, cond, sampler = torch.randn(2, 3), told(2), make(FlowSchedule())
    denoise = guide(bent, cond.null(), 2.0, (0.3, 1.0))
    *_, last = trajectory(sampler, denoise, x, uniform_times(4), cond, seeded_generators([1, 2], STAGE.name))
    torch.testing.assert_close(drive_to_end(run(replace(STAGE, sampler=sampler), cond, [1, 2], x=x)), last.x)


def test_kinds_tell_apart_what_cannot_be_taken_together() -> None:
    def kind(stage: Stage = STAGE, cond: Cond | None = None) -> object:
        return asked(run(stage, cond or told(1), [1])).kind

    assert kind() == kind(STAGE.with_settings(steps=9, guidance=1.0)) == kind(cond=told(1, 5.0))
    for other in (STAGE.with_settings(sampler="heun"), replace(STAGE, denoiser=lambda x, t, cond: bent(x, t, cond))):
        assert kind(other) != kind()
    assert kind(cond=Cond(torch.zeros(1, 3), torch.zeros(1, 4))) != kind()


def test_quiet_work_asks_but_does_not_tell() -> None:
    assert list(drive(without_progress(run(STAGE, told(2), [1, 2])))) == []
    assert torch.equal(
        drive_to_end(without_progress(run(STAGE, told(2), [1, 2]))), drive_to_end(run(STAGE, told(2), [1, 2]))
    )


def test_a_pause_is_for_whoever_drives() -> None:
    def work() -> Work[int]:
        yield Pause()
        yield from without_progress(run(STAGE, told(1), [1]))
        return 7

    assert list(drive(work())) == [] and drive_to_end(work()) == 7

"""unCLIP's forward pass: short enough for a screen, and the road that every request takes."""

from __future__ import annotations

import inspect

import pytest
from same_picture import apart

from sumi import Sumi
from sumi.imaging.pixels import to_image
from sumi.pipelines import Request
from sumi.pipelines.events import Event, Sample
from sumi.pipelines.steps import Pause, drive_to_end, map_events
from sumi.systems.unclip import forward as module

LONGEST = 40


def test_forward_fits_a_screen_and_calls_the_steps_of_the_paper_in_order() -> None:
    source = inspect.getsource(module.forward)
    steps = ["unclip.encode(", "unclip.sample_prior(", "unclip.sample_decoder(", "unclip.score(", "unclip.upsample("]
    assert source.count("\n") <= LONGEST
    assert [source.index(step) for step in steps] == sorted(source.index(step) for step in steps)


@pytest.mark.parametrize("prompt", ["a red fox", "a red fox and a blue dog"])
def test_request_is_drawn_by_forward_and_by_nothing_else(
    prompt: str, arranging: Sumi, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    forward = module.forward

    def counted(*args: object, **settings: object) -> object:
        calls.append(args)
        return forward(*args, **settings)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "forward", counted)
    arranging.generate([prompt, "a car"], n=2, seed=3)
    assert len(calls) == 2, "one call for each request"


def test_forward_gives_the_pictures_of_the_product(tiny: Sumi) -> None:
    drawn: list[Sample] = []

    def collect(event: Event | Pause | Sample) -> Event | Pause | Sample:
        if isinstance(event, Sample):
            drawn.append(event)
        return Pause()

    pipeline, _ = tiny.pipeline.settle(Request("a red fox"))
    drive_to_end(map_events(module.forward(pipeline, ["a red fox"] * 3, [5, 6, 7], keep=2), collect))
    pictures = tiny.generate("a red fox", n=2, best_of=3, seed=5)
    assert [sample.seed for sample in drawn] == [picture.seed for picture in pictures]
    for sample, picture in zip(drawn, pictures, strict=True):
        assert apart(to_image(sample.image), picture.image.convert("RGBA")) == 0

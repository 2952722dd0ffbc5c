"""The Python interface as people use it: signatures, what is printed and shown, many prompts, progress, exports."""

from __future__ import annotations

import html.parser
import inspect
import io
import subprocess
import sys
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
from PIL import Image

import sumi
from sumi import SumiError
from sumi.bundles import Bundle
from sumi.pipelines import Artist, Picture, Pictures, Progress, Request
from sumi.pipelines.tasks import TASKS, Edit, Explore, Vary
from sumi.systems.unclip.artist import Sumi

GIVEN = {"self", "image", "one", "other", "mask", "progress"}
"""What a verb takes beside the settings of its task."""
SET_BY_SUMI = {"interpretations", "adapters"}
"""Fields of a task that are no settings of a person's, or those that `with_adapters` sets."""


# Signatures.


@pytest.mark.parametrize("verb", TASKS)
def test_a_verb_takes_just_the_settings_of_its_task(verb: str) -> None:
    kind = TASKS[verb]
    wanted = {field.name: field for field in fields(kind) if field.name not in {*kind.without, *SET_BY_SUMI}}
    parameters = {
        name: value for name, value in inspect.signature(getattr(Artist, verb)).parameters.items() if name not in GIVEN
    }
    assert parameters.keys() == wanted.keys()
    for name, parameter in parameters.items():
        assert parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        if name != "prompt":
            assert parameter.annotation == wanted[name].type, name
        default = wanted[name].default
        assert (
            parameter.default == default
            or (parameter.default, default) == (parameter.empty, inspect._empty)
            or (parameter.default is parameter.empty and name in ("prompt", "before", "after"))
        ), name


@pytest.mark.parametrize("verb", TASKS)
def test_a_verb_gives_every_setting_to_its_task(verb: str, tiny: Sumi, monkeypatch: pytest.MonkeyPatch) -> None:
    unlike: dict[str, Any] = {
        "n": 3, "seed": 5, "size": 16, "steps": 2, "guidance": 1.5, "negative": "a dog", "background": "opaque",
        "best_of": 4, "sampler": "ddim", "prior": "diffusion", "whole": True, "eta": 0.5, "rounds": 2, "frames": 3,
        "expand": (1, 2, 3, 4), "amount": 0.25, "noise": "fixed", "dims": 2, "strength": 0.5, "prompt": "a fox",
        "before": "a fox", "after": "a hat", "anyway": True, "balance": True,
    }  # fmt: skip
    kind, seen = TASKS[verb], []
    monkeypatch.setattr(Sumi, "_events", lambda self, tasks, images: seen.extend(tasks) or iter(()))
    monkeypatch.setattr(Sumi, "notes", lambda self, task, *images: [])
    names = set(inspect.signature(getattr(Artist, verb)).parameters)
    images = {name: Image.new("L", (9, 9)) for name in names & {"image", "one", "other", "mask"}}
    given = {name: unlike[name] for name in names - GIVEN}
    getattr(tiny, verb)(**images, **given)
    assert seen == [kind.of(**given)]


@pytest.mark.parametrize("verb", TASKS)
def test_a_verb_says_what_each_of_its_settings_is(verb: str) -> None:
    text = inspect.getdoc(getattr(Artist, verb)) or ""
    for name in set(inspect.signature(getattr(Artist, verb)).parameters) - {"self"}:
        assert f"{name}:" in text or f" {name}," in text or f"{name}, " in text, name


@pytest.mark.parametrize("verb", TASKS)
def test_a_setting_that_there_is_not_is_an_error_of_python(verb: str, tiny: Sumi) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        getattr(tiny, verb)(colour="red")


# What is printed.


def test_whatever_is_printed_is_short(tiny: Sumi, tiny_bundle: Bundle) -> None:
    image = Image.effect_noise((300, 200), 50)
    events = list(tiny.stream(Vary(seed=1), image))
    drawn = tiny.vary(image, n=2, seed=1)
    things: list[object] = [
        tiny, tiny.pipeline, tiny_bundle, tiny.model, *events, *drawn, drawn, Pictures([]), drawn[0].recipe,
        Request("x" * 4000), Edit("a fox", expand=(1, 2, 3, 4)), Explore(), *tiny.pipeline.stages.values(),
        tiny.pipeline.prior, explained := tiny.explain(tiny.generate("a red fox", seed=1)[0].recipe), *explained.words,
        Pictures(drawn, ["this model was never taught " + "x" * 4000]),
    ]  # fmt: skip
    for thing in things:
        assert len(repr(thing)) <= 400 and "\n" not in repr(thing), repr(thing)[:500]
        assert len(str(thing)) <= 400


def test_what_is_printed_says_what_it_is(tiny: Sumi) -> None:
    drawn = tiny.generate("a fox", n=2, seed=7)
    assert repr(tiny) == "<Sumi tiny: 16 or 32 px by prior, decoder, upsampler>"
    assert repr(drawn) == "<2 pictures of 'a fox'>"
    assert repr(drawn[0]).startswith("<Picture 32x32 RGBA of 'a fox', seed 7, score ")
    varied = tiny.vary(drawn[0], seed=8)
    assert repr(varied) == "<1 picture by vary>" and repr(varied[0]).startswith("<Picture 32x32 RGBA by vary, seed 8")
    assert repr(Pictures([])) == "<0 pictures>"
    assert repr(Request("a fox", n=4, guidance=2.0)) == "Request(prompt='a fox', n=4, guidance=2)"
    progress = next(tiny.stream(Request("a fox", seed=7)))
    assert repr(progress) == "Progress(stage='prior', step=1, of=3, mean=<2x8 float32>, seeds=(7, 7))"


@pytest.mark.parametrize("verb", TASKS)
def test_a_task_is_printed_as_it_is_written(verb: str) -> None:
    given = {"before": "a fox", "after": "a hat"} if verb == "restyle" else {}
    given |= {} if {"prompt"} & set(TASKS[verb].without) else {"prompt": "a fox"}
    task = TASKS[verb].of(**given, seed=7)
    assert eval(repr(task), vars(sumi.pipelines.tasks)) == task  # type: ignore[attr-defined]


# What a notebook shows.


class Page(html.parser.HTMLParser):
    """The tags, the sources and the text of a piece of HTML; it must be well nested."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.text = ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert tag in ("div", "figure", "figcaption", "img"), tag
        if tag == "img":
            self.sources.append(dict(attributes)["src"] or "")
        else:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_notebook_shows_pictures_and_notes(tiny: Sumi) -> None:
    drawn = tiny.generate('a <b>fox</b> & "dog"', n=3, seed=7)
    page = Page(drawn._repr_html_())
    assert len(page.sources) == 3 and all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert 'a <b>fox</b> & "dog" · seed 7' in page.text and all(note in page.text for note in drawn.notes)
    assert Image.open(io.BytesIO(drawn[0]._repr_png_())).size == (32, 32)
    whole = drawn._repr_png_()
    assert whole is not None and Image.open(io.BytesIO(whole)).width > 64
    assert len(Page(drawn[1]._repr_html_()).sources) == 1


def test_a_notebook_shows_no_pictures(tiny: Sumi) -> None:
    assert Page(Pictures([])._repr_html_()).sources == [] and Pictures([])._repr_png_() is None
    varied = tiny.vary(tiny.generate("a fox", seed=7)[0], seed=8)
    assert "vary · seed 8" in Page(varied._repr_html_()).text


# Many prompts.


def test_each_of_several_prompts_draws_what_it_draws_alone(tiny: Sumi) -> None:
    prompts = ["a red fox", "a blue dog", "a hat", "a car", "the fox"]  # two batches of the tiny model's three
    together = tiny.generate(prompts, seed=7)
    assert [picture.recipe.prompt for picture in together] == prompts and {one.seed for one in together} == {7}
    for prompt, picture in zip(prompts, together, strict=True):
        (alone,) = tiny.generate(prompt, seed=7)
        apart = np.asarray(alone.image.convert("RGBA")).astype(int) - np.asarray(picture.image.convert("RGBA"))
        assert np.abs(apart).max() <= 8 and alone.recipe.stages == picture.recipe.stages


def test_several_prompts_draw_n_pictures_each_in_their_order(tiny: Sumi) -> None:
    drawn = tiny.generate(("a red fox", "a blue dog"), n=2, seed=7, best_of=3)
    assert [picture.recipe.prompt for picture in drawn] == ["a red fox"] * 2 + ["a blue dog"] * 2
    assert drawn[0].score >= drawn[1].score and drawn[2].score >= drawn[3].score, "the best of each first"
    one = tiny.generate(iter(["a red fox"]), n=2, seed=7)
    assert [picture.seed for picture in one] == [7, 8]


def test_a_list_in_which_one_prompt_cannot_be_draws_nothing(tiny: Sumi) -> None:
    seen: list[Progress] = []
    for prompts in ([], ["a fox", ""], ["a fox", 7], ["a fox", None], None, 7, b"a fox"):
        with pytest.raises(SumiError) as caught:
            tiny.generate(prompts, progress=seen.append)  # type: ignore[arg-type]
        assert "\n" not in str(caught.value)
    assert seen == []


# Progress.


def test_a_function_hears_of_every_step(tiny: Sumi) -> None:
    heard: list[Progress] = []
    drawn = tiny.generate("a fox", seed=7, progress=heard.append)
    told = [event for event in tiny.stream(Request("a fox", seed=7)) if isinstance(event, Progress)]
    assert [(event.stage, event.step, event.of) for event in heard] == [(e.stage, e.step, e.of) for e in told]
    assert len(drawn) == 1 and heard


def test_an_error_of_the_function_stops_the_drawing(tiny: Sumi) -> None:
    class StopError(Exception):
        pass

    def stop(event: Progress) -> None:
        raise StopError

    with pytest.raises(StopError):
        tiny.generate("a fox", progress=stop)


@pytest.mark.parametrize("value", [False, None, True])
def test_a_bar_is_shown_on_stderr_and_cleared(value: bool | None, tiny: Sumi, capsys: pytest.CaptureFixture) -> None:  # type: ignore[type-arg]
    drawn = tiny.generate("a fox", seed=7, progress=value)
    assert len(drawn) == 1 and capsys.readouterr().out == ""


@pytest.mark.parametrize("verb", TASKS)
def test_every_verb_tells_how_far_it_is(verb: str, tiny: Sumi) -> None:
    heard: list[Progress] = []
    white = np.ones((16, 16), bool)
    image = Image.new("RGB", (16, 16), "red")
    given: dict[str, tuple[Any, ...]] = {
        "generate": ("a fox",), "edit": (image, "a fox", white), "blend": (image, image),
        "restyle": (image, "a fox", "a dog"), "img2img": (image, "a fox"),
    }  # fmt: skip
    assert getattr(tiny, verb)(*given.get(verb, (image,)), seed=1, progress=heard.append) and heard


def test_other_kinds_of_progress_are_refused(tiny: Sumi) -> None:
    with pytest.raises(SumiError, match="progress should be True or a function"):
        tiny.generate("a fox", progress="yes")  # type: ignore[arg-type]


# What `import sumi` offers.


def test_all_that_is_public_is_there_and_documented() -> None:
    for name in sumi.__all__:
        thing = getattr(sumi, name)
        assert name in dir(sumi) and (name in ("Event", "__version__") or inspect.getdoc(thing)), name
    assert {kind.__name__ for kind in TASKS.values()} <= set(sumi.__all__)
    with pytest.raises(AttributeError):
        sumi.nothing  # noqa: B018


def test_importing_sumi_imports_no_torch() -> None:
    said = "import sys, sumi; sumi.Request('a fox'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", said], check=False).returncode == 0


def test_a_picture_is_a_picture() -> None:
    assert sumi.Picture is Picture and sumi.Request is Request


@pytest.mark.parametrize(
    ("changes", "noted"),
    [({}, False), ({"guidance": 1.0}, True), ({"guidance": 3.0}, False), ({"guidance": 1.0, "negative": ""}, False)],
)
def test_notes_say_that_a_negative_prompt_does_nothing_at_guidance_1(
    changes: dict[str, Any], noted: bool, tiny: Sumi
) -> None:
    notes = tiny.notes(Request("a fox", **{"negative": "a dog", **changes}))
    assert ("a negative prompt does nothing at guidance 1" in notes) is noted

"""A picture carries what it was made from, whatever the prompt held, and a stranger's file is not believed."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from sumi import SumiError
from sumi.pipelines.recipe import Recipe, Settings, read_recipe, write_png

DECODER = Settings("heun", 20, 2.5, (0.1, 0.9))
HOSTILE = {
    "controls": "a\x00b\x1b[2Jc\x7f",
    "lines": "a fox\nSteps: 1, Sampler: evil, Seed: 666\nNegative prompt: dog",
    "surrogates": "\ud83e alone",
    "astral": "🦊👩\u200d🚀" * 50,
    "bidi": "\u202eabc\u2066",
    "arabic": "ثعلب أحمر",
    "decomposed": "e\u0301" * 100,
    "markup": '</script><script>alert("x")</script>',
    "quotes": "say \"hi\", it's 'fine': ok",
    "long": "狐" * 4000,
    "latin": "Füchse für alle ×",
}


def recipe(**changes: Any) -> Recipe:
    values = dict(prompt="a fox", seed=42, size=256, stages={"prior": Settings("ddim", 9), "decoder": DECODER})
    values |= dict(model="tiny", version="1.2", hashes={"clip": "c" * 64, "decoder": "d" * 64}, score=0.25)
    return Recipe(**(values | changes))


def written(one: Recipe) -> io.BytesIO:
    file = io.BytesIO()
    write_png(file, Image.new("RGBA", (4, 4), (255, 0, 0, 128)), one)
    file.seek(0)
    return file


@pytest.mark.parametrize("case", HOSTILE)
def test_any_prompt_comes_back_exactly(case: str, tmp_path: Path) -> None:
    one = recipe(prompt=HOSTILE[case], negative=HOSTILE[case][::-1])
    path = tmp_path / "a.png"
    path.write_bytes(written(one).getvalue())
    image, read = read_recipe(path)
    assert (read.prompt, read.negative) == (one.prompt, one.negative)
    assert image.getpixel((0, 0)) == (255, 0, 0, 128)
    assert (read.seed, read.size, read.stages, read.hashes) == (one.seed, one.size, one.stages, one.hashes)
    text = image.info["parameters"]
    assert text.count("\n") == 2, "no prompt can add a line"
    assert text.splitlines()[-1].startswith("Steps: 20, Sampler: heun, CFG scale: 2.5, Seed: 42")


@given(st.text(st.characters(), max_size=40))
def test_any_prompt_can_be_written(prompt: str) -> None:
    info = Image.open(written(recipe(prompt=prompt))).info
    assert json.loads(info["sumi"])["prompt"] == prompt
    assert info["sumi"].isascii()


def test_other_tools_find_what_they_look_for() -> None:
    image = Image.open(written(recipe(negative="dog")))
    assert image.info["parameters"] == (
        "a fox\nNegative prompt: dog\nSteps: 20, Sampler: heun, CFG scale: 2.5, Seed: 42, Size: 256x256, "
        "Model hash: dddddddddd, Model: tiny, Version: sumi 1.2"
    )
    assert set(image.info) == {"parameters", "sumi", "xmp", "XML:com.adobe.xmp"}, (
        "prompt and workflow belong to another tool"
    )


def test_a_value_with_a_comma_is_quoted() -> None:
    assert 'Model: "a, b: c"' in recipe(model="a, b: c").parameters()


def test_a_recipe_is_the_wish_for_one_picture() -> None:
    wish = recipe(background="#ff0000", negative="dog").request()
    assert (wish.prompt, wish.negative, wish.seed, wish.size, wish.n) == ("a fox", "dog", 42, 256, 1)
    assert wish.background == "#ff0000"


def foreign(path: Path, text: str | None, kind: str = "PNG") -> Path:
    info = PngInfo()
    if text is not None:
        info.add_text("sumi", text)
    Image.new("RGB", (4, 4)).save(path, kind, **({"pnginfo": info} if kind == "PNG" else {}))
    return path


def without(name: str) -> str:
    values = recipe().to_json()
    del values[name]
    return json.dumps(values)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "{",
        "null",
        "[]",
        "3",
        '"text"',
        "{}",
        "[" * 100_000,
        without("seed"),
        without("stages"),
        json.dumps(recipe().to_json() | {"prompt": 7}),
        json.dumps(recipe().to_json() | {"prompt": ""}),
        json.dumps(recipe().to_json() | {"seed": "42"}),
        json.dumps(recipe().to_json() | {"seed": None}),
        json.dumps(recipe().to_json() | {"seed": -1}),
        json.dumps(recipe().to_json() | {"size": 1e9}),
        json.dumps(recipe().to_json() | {"stages": []}),
        json.dumps(recipe().to_json() | {"stages": {"decoder": 3}}),
        json.dumps(recipe().to_json() | {"stages": {"decoder": {"sampler": "heun", "steps": 10**9}}}),
        json.dumps(recipe().to_json() | {"stages": {"decoder": {"sampler": "heun", "steps": 3, "x": 1}}}),
        json.dumps(recipe().to_json() | {"background": "url(x)"}),
        json.dumps(recipe().to_json() | {"hashes": None}),
        json.dumps(recipe().to_json() | {"model": 5}),
    ],
)
def test_a_strange_recipe_is_refused_in_one_line(text: str | None, tmp_path: Path) -> None:
    with pytest.raises(SumiError) as caught:
        read_recipe(foreign(tmp_path / "a.png", text))
    assert "\n" not in str(caught.value)


def test_what_is_no_png_of_ours_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SumiError, match="only a PNG file that Sumi wrote"):
        read_recipe(foreign(tmp_path / "a.jpg", None, "JPEG"))


@pytest.mark.parametrize(
    "values",
    [
        {"steps": 3},
        {"sampler": "heun"},
        {"sampler": "heun", "steps": None},
        {"sampler": 3, "steps": 3},
        {"sampler": "heun", "steps": 0},
        {"sampler": "heun", "steps": 3, "guidance": float("nan")},
        {"sampler": "heun", "steps": 3, "interval": 3},
        {"sampler": "heun", "steps": 3, "interval": [0.5]},
        {"sampler": "heun", "steps": 3, "interval": [0.5, 0.5]},
        {"sampler": "heun", "steps": 3, "interval": ["a", 1]},
        {"sampler": "heun", "steps": 3, "interval": [-1, 1]},
        {"sampler": "heun", "steps": 3, "eta": 1},
        [],
    ],
)
def test_settings_that_cannot_be_are_named(values: Any) -> None:
    with pytest.raises(SumiError):
        Settings.from_json(values)

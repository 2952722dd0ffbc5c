"""Layers: things laid where they belong, drawn each alone, and looked at together."""

from __future__ import annotations

import io
import zipfile
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image
from same_picture import ROUNDING, apart

from sumi.autoregressive import LayoutBox
from sumi.imaging.openraster import openraster
from sumi.imaging.pixels import over
from sumi.pipelines import Picture, Progress, Request
from sumi.pipelines.layered import Layered, arrange_layers, sample_small
from sumi.pipelines.layered_image import Composition, LayeredImage, LayerSpec, layer_count, place_layer
from sumi.pipelines.steps import drive_to_end
from sumi.systems.unclip.artist import Sumi

RED, BLUE = torch.tensor([255, 0, 0, 255]), torch.tensor([0, 0, 255, 255])


def block(colour: torch.Tensor, top: int, left: int, high: int, wide: int) -> torch.Tensor:
    sticker = torch.zeros(4, 32, 32, dtype=torch.uint8)
    sticker[:, top : top + high, left : left + wide] = colour[:, None, None]
    return sticker


def box_of(canvas: torch.Tensor) -> tuple[int, int, int, int]:
    inked = canvas[3] > 0.5
    rows, columns = inked.any(1).nonzero()[:, 0], inked.any(0).nonzero()[:, 0]
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


@pytest.mark.parametrize(("top", "left"), [(0, 0), (5, 11), (20, 12)])
def test_the_tight_box_of_a_thing_is_brought_to_its_spot(top: int, left: int) -> None:
    sticker = block(RED, top, left, 6, 12)
    assert box_of(place_layer(sticker, LayoutBox(0.5, 0.25, 0.5))) == (8, 4, 24, 12), (
        "12 x 6 becomes 16 x 8 about (16, 8)"
    )


def test_what_lies_outside_the_frame_is_cut_off() -> None:
    sticker = block(RED, 8, 8, 16, 16)
    assert box_of(place_layer(sticker, LayoutBox(0.0, 0.5, 0.5))) == (0, 8, 8, 24)
    assert not place_layer(sticker, LayoutBox(-2.0, 0.5, 0.5)).any()
    assert not place_layer(torch.zeros(4, 32, 32, dtype=torch.uint8), LayoutBox(0.5, 0.5, 0.5)).any(), (
        "nothing stays nothing"
    )


def test_laying_is_over_as_porter_and_duff_have_it() -> None:
    rng = torch.Generator().manual_seed(0)
    a, b, c = ((alpha := torch.rand(1, 4, 4, generator=rng)) * torch.rand(4, 4, 4, generator=rng) for _ in range(3))
    for layer in (a, b, c):
        layer[3] = layer.max(dim=0).values
    torch.testing.assert_close(over(c, over(b, a)), over(over(c, b), a))
    torch.testing.assert_close(over(a, torch.zeros_like(a)), a)
    assert alpha.shape == (1, 4, 4)


def test_later_layers_hide_earlier_ones_and_the_ground_is_behind_all() -> None:
    middle = LayoutBox(0.5, 0.5, 0.5)
    made = Composition(
        (LayerSpec("red", (LayoutBox(0.5, 0.5, 1.0),)), LayerSpec("blue", (middle,))), ground=(0.0, 1.0, 0.0)
    )
    flat = LayeredImage((block(RED, 0, 0, 16, 32), block(BLUE, 0, 0, 32, 32)), made).flat()
    assert flat[:, 16, 16].tolist() == BLUE.tolist()
    assert flat[:, 16, 2].tolist() == RED.tolist()
    assert flat[:, 1, 16].tolist() == [0, 255, 0, 255]


def test_the_ground_is_the_lowest_layer() -> None:
    made = Composition((LayerSpec("red", (LayoutBox(0.5, 0.5, 0.5),)),), ground=(0.0, 1.0, 0.0))
    sketch = LayeredImage((block(RED, 0, 0, 32, 32),), made)
    (name, ground), (_, thing) = sketch.layers()
    assert name == "background" and ground[:, 16, 16].tolist() == [0, 255, 0, 255]
    merged = over(thing / 255, over(ground / 255, torch.zeros(4, 32, 32))).mul(255).round()
    assert torch.equal(merged.to(torch.uint8), sketch.flat()), "the layers do not add up to the picture"


def test_a_sketch_without_a_composition_is_its_sticker() -> None:
    sticker = block(RED, 3, 4, 5, 6)
    assert LayeredImage((sticker,)).flat() is sticker and LayeredImage((sticker,)).layers() == []


def test_only_what_is_several_or_has_a_ground_is_composed() -> None:
    one = LayerSpec("a fox", (LayoutBox(0.5, 0.5, 0.8),))
    assert not Composition(()).composed and not Composition((one,)).composed
    assert Composition((one,), (1.0, 1.0, 1.0)).composed and Composition((one, one)).composed
    assert Composition((LayerSpec("a fox", one.spots * 2),)).composed


def pixels(picture: Picture) -> np.ndarray:
    return np.asarray(picture.image.convert("RGBA")).astype(int)


def test_one_thing_is_drawn_as_it_is_without_a_layout_planner(tiny: Sumi, arranging: Sumi) -> None:
    plain, same = tiny.generate("a red fox", seed=3)[0], arranging.generate("a red fox", seed=3)[0]
    assert np.array_equal(pixels(plain), pixels(same)) and same.layers == ()
    whole = arranging.generate("a red fox and a blue dog", seed=3, whole=True)[0]
    assert np.array_equal(pixels(whole), pixels(tiny.generate("a red fox and a blue dog", seed=3)[0]))
    assert whole.recipe.options == {"whole": True}


def test_several_things_are_drawn_alone_and_laid_down(arranging: Sumi) -> None:
    picture = arranging.generate("a red fox and a blue dog", seed=3)[0]
    assert [prompt for prompt, _ in picture.layers] == ["a red fox", "a blue dog"]
    stack = Image.new("RGBA", picture.image.size)
    for _, layer in picture.layers:
        stack.alpha_composite(layer)
    assert apart(stack, picture.image) <= ROUNDING


def test_a_seed_draws_the_same_layers_alone_and_in_any_batch(arranging: Sumi) -> None:
    together = arranging.generate("a red fox and a blue dog", n=5, seed=10)  # two batches of the tiny model's three
    for number in (0, 2, 4):
        alone = arranging.generate("a red fox and a blue dog", seed=10 + number)[0]
        assert apart(alone.image, together[number].image) <= ROUNDING
        assert alone.score == pytest.approx(together[number].score, abs=1e-3)


def test_different_prompts_may_be_sketched_together(arranging: Sumi) -> None:
    prompts, pipeline = ["a red fox", "a red fox and a blue dog", "the car", "a dog and a hat"], arranging.pipeline
    arranged = arrange_layers(pipeline, prompts, range(4))
    assert isinstance(arranged, Layered)
    assert [layer_count(one) for one in arranged.compositions] == [1, 2, 1, 2]
    pictures = drive_to_end(sample_small(pipeline, prompts, range(4)))
    alone = drive_to_end(sample_small(pipeline, prompts[1:2], [1]))[0]
    assert apart(alone, pictures[1]) <= ROUNDING


def test_every_step_is_counted_and_seen_with_the_layers_that_are_done(arranging: Sumi) -> None:
    seen = []
    for event in arranging.stream(Request("a red fox and a blue dog", n=2, seed=1)):
        if isinstance(event, Progress) and event.stage == "decoder":
            seen.append((event.step, event.of))
            levels = arranging.pipeline.preview(event)
            assert levels is not None and levels.shape == (2, 4, 16, 16)
            if event.step <= 4:
                assert not levels[:, 3, :, 9:].any(), "the second is not there before its turn"
    assert seen == [(step, 8) for step in range(1, 9)], "two layers of four steps"


def test_the_layers_travel_as_openraster(arranging: Sumi) -> None:
    picture = arranging.generate("a red fox and a blue dog", seed=3)[0]
    archive = zipfile.ZipFile(io.BytesIO(openraster(picture.image, picture.layers)))
    first = archive.infolist()[0]
    assert first.filename == "mimetype" and first.compress_type == zipfile.ZIP_STORED
    assert archive.read("mimetype") == b"image/openraster"
    stack = ElementTree.fromstring(archive.read("stack.xml"))
    assert [layer.get("name") for layer in stack.iter("layer")] == ["a blue dog", "a red fox"], "the topmost first"
    for layer in stack.iter("layer"):
        assert Image.open(io.BytesIO(archive.read(layer.attrib["src"]))).size == picture.image.size
    assert {"mergedimage.png", "Thumbnails/thumbnail.png"} <= set(archive.namelist())


def test_a_colour_that_was_asked_for_is_a_layer_too(arranging: Sumi) -> None:
    picture = arranging.generate("a red fox and a blue dog", seed=3, background="#ff8800")[0]
    assert [prompt for prompt, _ in picture.layers] == ["background", "a red fox", "a blue dog"]
    assert picture.layers[0][1].getpixel((0, 0)) == (255, 136, 0, 255)

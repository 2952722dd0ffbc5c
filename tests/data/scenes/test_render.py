"""What is drawn is what the scene says: measured on the pixels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from sumi.data.generator import Mix, Scenes
from sumi.data.glyphs import FIGURES
from sumi.data.render import thing_boxes
from sumi.data.scene import COLOURS, Background, Lettering, Place, Scene, Shape, Thing
from sumi.imaging.letters import LETTERS, line_width

HERE = (Place(0.5, 0.5, 0.8),)


def alone(thing: Thing) -> Scene:
    return Scene("single", (thing,))


def box(picture: Tensor) -> tuple[float, float, float, float]:
    """Tight box of what is visible, as fractions of the frame."""
    seen = picture[3] > 127
    rows, columns = seen.any(1).nonzero(), seen.any(0).nonzero()
    size = picture.shape[-1]
    edges = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
    return tuple(float(edge) / size for edge in edges)  # type: ignore[return-value]


def blobs(picture: Tensor) -> int:
    """How many separate things are visible: every pixel takes the highest number in reach until none changes."""
    seen = (picture[3] > 100).float()
    names = (torch.arange(1.0, seen.numel() + 1).view_as(seen) * seen)[None, None]
    while True:
        spread = names
        for _ in range(16):
            spread = torch.nn.functional.max_pool2d(spread, 3, 1, 1) * seen
        if torch.equal(spread, names):
            return int(names[names > 0].unique().numel())
        names = spread


def test_colour_never_exceeds_alpha(scenes: Scenes) -> None:
    for size_px in (32, 64):
        pictures = scenes.render([scenes.scene(k) for k in range(300)], size_px)
        assert pictures.shape == (300, 4, size_px, size_px) and pictures.dtype == torch.uint8
        assert (pictures[:, :3] <= pictures[:, 3:]).all()


def test_a_thing_lies_where_its_place_says(scenes: Scenes) -> None:
    for concept, hand, place in (
        ("fox", "noto", Place(0.4, 0.6, 0.5)),
        ("car", "fluent", Place(0.5, 0.3, 0.7)),
    ):
        thing = Thing(concept, hand, (place,))
        drawn = box(scenes.render([alone(thing)], 128)[0])
        assert drawn == pytest.approx(thing_boxes(thing, scenes.sprites)[0], abs=0.012)


def test_nothing_is_cut_by_the_frame(scenes: Scenes) -> None:
    for scene in map(scenes.scene, range(1500)):
        boxes = [found for thing in scene.things for found in thing_boxes(thing, scenes.sprites)]
        boxes += [(s.place.x - s.place.side / 2, s.place.y - s.place.side / 2,
                   s.place.x + s.place.side / 2, s.place.y + s.place.side / 2) for s in scene.shapes]  # fmt: skip
        assert all(min(found) > 0 and max(found) < 1 for found in boxes), scene


@pytest.mark.parametrize("kind", ["single", "pair", "count", "accessory", "word", "bongard", "person"])
def test_64_and_256_are_the_same_picture(scenes: Scenes, kind: str) -> None:
    one_kind = Scenes(scenes.atlas, scenes.vocabulary, Mix.sticker().only(kind), seed=3)
    drawn = [one_kind.scene(k) for k in range(24)]
    small, large = one_kind.render(drawn, 64).float(), one_kind.render(drawn, 256).float()
    shrunk = torch.nn.functional.avg_pool2d(large, 4)
    apart = (small - shrunk).abs().mean(dim=(1, 2, 3))
    assert apart.max() < 12 and apart.mean() < 4


def test_counts_are_countable(atlas: object, scenes: Scenes) -> None:
    counts = Scenes(scenes.atlas, scenes.vocabulary, Mix(styled=0, background=0).only("count"), seed=5)
    seen = set()
    for index in range(40):
        scene = counts.scene(index)
        assert blobs(counts.render([scene], 192)[0]) == scene.things[0].count
        seen.add(scene.things[0].count)
    assert seen >= {2, 3, 4, 5, 6}


def test_relations_hold_between_the_boxes(scenes: Scenes) -> None:
    pairs = Scenes(scenes.atlas, scenes.vocabulary, Mix(three=0).only("pair"), seed=7)
    checked = set()
    for index in range(300):
        scene = pairs.scene(index)
        if scene.relation is None or scene.shapes:
            continue
        (left, top, right, bottom), (left2, top2, right2, bottom2) = (
            thing_boxes(thing, pairs.sprites)[0] for thing in scene.things
        )
        holds = {
            "left of": right < left2,
            "right of": left > right2,
            "above": bottom < top2,
            "below": top > bottom2,
            "on": abs(bottom - top2) < 0.1 and min(right, right2) > max(left, left2) and top < top2,
            "inside": left > left2 and right < right2 and top > top2 - 0.01 and bottom < bottom2,
        }
        assert holds[scene.relation.name], scene
        checked.add(scene.relation.name)
    assert checked == {"left of", "right of", "above", "below", "on", "inside"}


def test_a_small_thing_is_small(scenes: Scenes) -> None:
    mix = Mix(sized=1, styled=0, single_styled=0, extra=0).only("single")
    sized = Scenes(scenes.atlas, scenes.vocabulary, mix, seed=2)
    for index in range(60):
        thing = sized.scene(index).things[0]
        assert thing.places[0].side < 0.5 if thing.size == "small" else thing.places[0].side > 0.9


def test_painted_things_are_unmistakably_their_colour(scenes: Scenes) -> None:
    for concept in ("fox", "penguin", "ghost", "tree"):
        painted = [alone(Thing(concept, "noto", HERE, colour)) for colour in COLOURS]
        pictures = scenes.render(painted, 64).float()
        for colour, picture in zip(COLOURS, pictures, strict=True):
            mean = picture[:3].sum((1, 2)) / picture[3].sum() * 255
            away = {name: (mean - torch.tensor(rgb)).norm() for name, rgb in COLOURS.items()}
            assert min(away, key=lambda name: float(away[name])) == colour, (concept, colour)


def test_painting_keeps_lines_and_shading(scenes: Scenes) -> None:
    blue = scenes.render([alone(Thing("fox", "noto", HERE, "blue"))], 128)[0].float()
    line = blue[:3, 64, 30:98].mean(0)
    assert line.min() < 60 < 100 < line.max()
    assert blue[:3, 30, 64].mean() > blue[:3, 98, 64].mean()


def test_backgrounds_are_opaque_and_exact(scenes: Scenes) -> None:
    scene = Scene("single", (Thing("fox", "noto", HERE),), background=Background("blue", (10, 20, 200)))
    picture = scenes.render([scene], 64)[0]
    assert (picture[3] == 255).all() and picture[:3, 0, 0].tolist() == [10, 20, 200]


def test_every_letter_fits_its_line(scenes: Scenes) -> None:
    for letter in LETTERS:
        width = line_width(letter * 2, "bold") * 0.4
        word = Lettering(letter * 2, Place(0.5, 0.5, width), 0.4, "black")
        left, _, right, _ = box(scenes.render([Scene("word", lettering=word)], 128)[0])
        assert right - left == pytest.approx(width, abs=0.04), letter


def test_figures_fill_their_place(scenes: Scenes) -> None:
    for name in FIGURES:
        left, top, right, bottom = box(
            scenes.render([Scene("bongard", shapes=(Shape(name, Place(0.5, 0.5, 0.6), "red"),))], 128)[0]
        )
        assert max(right - left, bottom - top) == pytest.approx(0.6, abs=0.02), name


def test_an_open_figure_has_a_gap(scenes: Scenes) -> None:
    """The inside of a closed line cannot be reached from the frame; that of an open one can."""
    for closed in (True, False):
        shape = Shape("circle", Place(0.5, 0.5, 0.8), "red", filled=False, closed=closed)
        picture = scenes.render([Scene("bongard", shapes=(shape,))], 64)[0]
        hollow = torch.where(picture[3] > 100, 0, 255)
        assert blobs(hollow.expand(4, -1, -1)) == (2 if closed else 1)


@pytest.mark.parametrize(("what", "pieces"), [("touching", 1), ("apart", 2)])
def test_figures_touch_or_stand_apart(scenes: Scenes, what: str, pieces: int) -> None:
    bongards = Scenes(scenes.atlas, scenes.vocabulary, Mix(background=0).only("bongard"), seed=9)
    drawn = [s for s in map(bongards.scene, range(200)) if s.relation is not None]
    # A random concave polygon may be pinched thinner than a pixel: only named figures are measured.
    found = [s for s in drawn if s.relation.name == what and all(f.name in FIGURES for f in s.shapes)]  # type: ignore[union-attr]
    assert len(found) > 5
    for scene in found:
        assert blobs(bongards.render([scene], 64)[0]) == pieces

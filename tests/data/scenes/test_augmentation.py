"""Shapes varied: numbered like scenes, said by no caption, and still the same thing in the same place."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch

from sumi.data.atlas import Atlas
from sumi.data.augmentation import STROKES, Augmentation, affine, elastic_grid, in_palette, outlined, palettes
from sumi.data.generator import Mix, Scenes
from sumi.data.render import Sprites, render
from sumi.data.scene import BEARINGS, Place, Scene, Thing, Variation
from sumi.data.vocabulary import Vocabulary

ALWAYS = Augmentation(mirror=1, affine=1, elastic=1, stroke=1, palette=1)
NEVER = Augmentation(mirror=0, affine=0, elastic=0, stroke=0, palette=0)


def drawn(sprites: Sprites, variation: Variation | None, concept: str = "car", size_px: int = 64) -> torch.Tensor:
    """Return one thing in the middle as levels in [0, 1], (4, size_px, size_px)."""
    thing = Thing(concept, "noto", (Place(0.5, 0.5, 0.8),), variation=variation)
    return render([Scene("single", (thing,))], size_px, sprites)[0].float() / 255


@pytest.fixture(scope="module")
def sprites(atlas: Atlas) -> Sprites:
    """The atlas, ready to draw."""
    return Sprites(atlas)


def test_augmented_scene_differs_in_its_variations_alone(atlas: Atlas, vocabulary: Vocabulary) -> None:
    plain, varied = (
        Scenes(atlas, vocabulary, Mix.sticker(), 3, augmentation=augmentation) for augmentation in (None, ALWAYS)
    )
    for index in range(60):
        scene, other = plain.scene(index), varied.scene(index)
        assert varied.scene(index) == other
        bare = replace(other, things=tuple(replace(thing, variation=None) for thing in other.things))
        assert bare == scene and varied.caption(other, index) == plain.caption(scene, index)
        bears = scene.relation is not None and scene.relation.name in BEARINGS
        for thing in other.things:
            assert (thing.variation is None) == (bears or (scene.relation is not None and thing.variation is None))
        assert Scene.from_json(other.to_json()) == other


def test_augmentation_is_part_of_a_pool_s_record_and_never_of_an_exam(atlas: Atlas, vocabulary: Vocabulary) -> None:
    scenes = Scenes(atlas, vocabulary, Mix.sticker(), 3, augmentation=ALWAYS)
    assert scenes.record()["augmentation"] == ALWAYS.to_json()
    exam = scenes.held_out("colour")
    assert all(thing.variation is None for index in range(8) for thing in exam.scene(index).things)


def test_augmentation_draws_nothing_where_its_dials_are_zero() -> None:
    assert all(NEVER.draw(random.Random(k), True, ["noto"]) is None for k in range(50))
    assert not any(drawn.mirror for k in range(50) if (drawn := ALWAYS.draw(random.Random(k), False, ())))
    assert {drawn.palette for k in range(50) if (drawn := ALWAYS.draw(random.Random(k), True, ()))} == {None}


def test_mirrored_drawing_is_the_mirror_image(sprites: Sprites) -> None:
    plain, mirrored = (drawn(sprites, variation) for variation in (None, Variation(mirror=True)))
    torch.testing.assert_close(mirrored, plain.flip(2), atol=1.5 / 255, rtol=0)


@pytest.mark.parametrize("variation", [Variation(turn=0.05), Variation(stretch=0.3), Variation(shear=0.2)])
def test_leaned_drawing_stays_within_its_place(sprites: Sprites, variation: Variation) -> None:
    plain, leaned = drawn(sprites, None), drawn(sprites, variation)
    assert (plain - leaned).abs().mean() > 0.01
    rows, columns = (leaned[3] > 0.1).nonzero().T
    longest = max(int(rows.max() - rows.min()), int(columns.max() - columns.min())) + 1
    assert 0.85 * 0.8 * 64 < longest <= 0.8 * 64 + 1, "the box around it is the place's, however it leans"
    assert abs(float(rows.float().mean()) - 31.5) < 2 and abs(float(columns.float().mean()) - 31.5) < 2


def test_affine_without_variation_puts_the_tight_box_onto_the_place() -> None:
    box, place = (0.1, 0.2, 0.9, 0.7), Place(0.3, 0.6, 0.4)
    (scale, across, shift), (down, same, drop) = affine(place, box, None)
    assert (scale, across, down, same) == (2.0, 0.0, 0.0, 2.0)
    assert scale * (2 * 0.3 - 1) + shift == pytest.approx(0.0) and same * (2 * 0.6 - 1) + drop == pytest.approx(-0.1)


def test_elastic_field_moves_no_point_further_than_it_says() -> None:
    assert elastic_grid(16, [None, Variation(mirror=True)], [1.0, 1.0]) is None
    moved = elastic_grid(16, [Variation(elastic=0.03, field=5), None], [0.5, 1.0])
    assert moved is not None and 0 < moved[0].abs().max() <= 2 * 0.03 * 0.5 * 1.3 and not moved[1].any()


def test_outline_surrounds_the_drawing_and_leaves_it_as_it_is(sprites: Sprites) -> None:
    plain, outline = drawn(sprites, None), drawn(sprites, Variation(stroke=STROKES[1]))
    solid = plain[3] == 1
    assert torch.equal(outline[:, solid], plain[:, solid])
    assert outline[3].sum() > 1.05 * plain[3].sum() and not outline[:, :3, :3].any()
    assert torch.equal(outlined(torch.zeros(1, 4, 32, 32), STROKES[0]), torch.zeros(1, 4, 32, 32))


def test_palette_moves_lively_colours_and_keeps_greys() -> None:
    def flat(red: float, green: float, blue: float) -> torch.Tensor:
        return torch.tensor([red, green, blue, 1.0]).view(1, 4, 1, 1).expand(1, 4, 8, 8)

    red, blue = ((flat(*rgb) * 255).round().to(torch.uint8) for rgb in ((0.9, 0.1, 0.1), (0.1, 0.2, 0.9)))
    moved = in_palette(flat(0.9, 0.1, 0.1), palettes(red), palettes(blue))
    torch.testing.assert_close(moved, flat(0.1, 0.2, 0.9), atol=0.01, rtol=0)
    grey = in_palette(flat(0.5, 0.5, 0.5), palettes(red), palettes(blue))
    torch.testing.assert_close(grey, flat(0.5, 0.5, 0.5))

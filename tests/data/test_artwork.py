"""Reading icon sets: every drawing with its rights, rendered as premultiplied RGBA."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from sumi.data.artwork import frame_svg, load_artwork, premultiply, render, tight_box
from sumi.data.rights import Rights, attribution, attribution_text
from sumi.errors import SumiError

pytest.importorskip("resvg_py")


def test_each_drawing_is_read_once_by_each_hand(artwork_folder: Path) -> None:
    artworks = load_artwork(artwork_folder)
    assert [art.hand for art in artworks] == sorted(art.hand for art in artworks)
    names = [art.name for art in artworks if art.hand == "noto"]
    assert "turned-fox" in names, "a mirrored alias is another drawing"
    assert "red-fox" not in names, "a plain alias is another name of the same drawing"
    assert "old-fox" not in names, "a hidden icon is left out"
    fox = next(art for art in artworks if art.name == "fox")
    assert fox.aliases == ("red-fox",)


def test_rights_go_with_every_picture(artwork_folder: Path) -> None:
    artworks = load_artwork(artwork_folder)
    for art in artworks:
        assert art.rights.sha256 == hashlib.sha256(art.svg.encode()).hexdigest()
        assert art.rights.licence and art.rights.author and art.rights.version == "1.2.3"
        assert Rights.from_json(json.loads(json.dumps(art.rights.to_json()))) == art.rights
    rows = attribution(art.rights for art in artworks)
    assert {row["licence"] for row in rows} == {"Apache-2.0", "MIT", "CC-BY-4.0"}
    assert sum(int(row["pictures"]) for row in rows) == len(artworks)
    assert "CC-BY-4.0" in attribution_text(art.rights for art in artworks)


def test_licence_of_drawings_wins_over_that_of_the_code(artwork_folder: Path) -> None:
    sets = artwork_folder / "node_modules" / "@iconify-json"
    (sets / "noto").rename(sets / "fxemoji")
    drawn = [art for art in load_artwork(artwork_folder) if art.hand == "fxemoji"]
    assert {art.rights.licence for art in drawn} == {"CC-BY-4.0"}, "the package says Apache-2.0"


def test_a_record_with_a_field_missing_is_refused(artwork_folder: Path) -> None:
    record = load_artwork(artwork_folder)[0].rights.to_json()
    del record["licence"]
    with pytest.raises(SumiError, match="licence"):
        Rights.from_json(record)


def test_rendered_colour_is_premultiplied(artwork_folder: Path) -> None:
    fox = next(art for art in load_artwork(artwork_folder) if art.name == "fox")
    picture = render(fox.svg, 64)
    assert picture.shape == (4, 64, 64) and picture.dtype == np.uint8
    assert (picture[:3] <= picture[3]).all(), "no colour can exceed its alpha"
    assert abs(int(picture[3, 32, 10]) - 128) <= 1 and abs(int(picture[0, 32, 10]) - 128) <= 1
    assert not picture[:, :, 40:].any(), "transparent is zero in all four channels"


def test_a_mirrored_alias_is_the_mirror_image(artwork_folder: Path) -> None:
    drawn = {art.name: art for art in load_artwork(artwork_folder) if art.hand == "fluent"}
    assert np.array_equal(render(drawn["turned-fox"].svg, 64), render(drawn["fox"].svg, 64)[:, :, ::-1])


def test_a_wide_drawing_is_centred_and_keeps_its_shape(artwork_folder: Path) -> None:
    fish = next(art for art in load_artwork(artwork_folder) if art.name == "fish")
    assert fish.canvas[2] == fish.canvas[3]
    assert tight_box(render(fish.svg, 64)) == (0, 16, 64, 48)


def test_a_shared_shape_is_drawn(artwork_folder: Path) -> None:
    dog = next(art for art in load_artwork(artwork_folder) if art.name == "dog")
    assert render(dog.svg, 32)[3, 16, 16] == 255, "an xlink reference is resolved"


def test_a_framed_drawing_is_the_same_seen_closer(artwork_folder: Path) -> None:
    hat = next(art for art in load_artwork(artwork_folder) if art.name == "top-hat")
    left, top, width, height = hat.canvas
    closer = frame_svg(hat.svg, (left + width / 4, top + height / 4, width / 2, height / 2))
    assert tight_box(render(closer, 64)) == (0, 0, 64, 64)


def test_premultiplying_rounds_to_nearest() -> None:
    straight = np.array([[[255, 128, 1, 128], [9, 9, 9, 0]]], dtype=np.uint8)
    assert premultiply(straight)[:, 0, 0].tolist() == [128, 64, 1, 128]
    assert not premultiply(straight)[:, 0, 1].any()


def test_an_empty_picture_has_an_empty_box() -> None:
    assert tight_box(np.zeros((4, 8, 8), dtype=np.uint8)) == (0, 0, 0, 0)


def test_missing_artwork_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SumiError, match="make artwork"):
        load_artwork(tmp_path)


def test_a_damaged_set_is_named(artwork_folder: Path) -> None:
    path = artwork_folder / "node_modules" / "@iconify-json" / "noto" / "icons.json"
    path.write_text("{", "utf-8")
    with pytest.raises(SumiError, match=r"icons\.json"):
        load_artwork(artwork_folder)


def test_what_is_no_svg_is_refused() -> None:
    with pytest.raises(SumiError, match="SVG"):
        render("no drawing", 8)

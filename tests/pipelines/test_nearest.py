"""Which drawing a picture is nearest to: a drawing to itself, wherever it lies in the frame and however large it is."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from conftest import SIZE_PX
from PIL import Image
from torch import Tensor

from sumi import Sumi, SumiError
from sumi.bundles import TrainingDrawings
from sumi.explain.nearest_drawings import LEVELS, aligned, all_distances, distances
from sumi.explain.neighbor_sheet import neighbor_sheet
from sumi.imaging.pixels import premultiply

SIDE = 12


def shapes() -> list[Image.Image]:
    """Twelve bars and blocks of as many colours."""
    made = []
    for number in range(12):
        image = Image.new("RGBA", (48, 48))
        image.paste((20 * number, 255 - 20 * number, 90, 255), (8, 8, 40, 16 + 2 * number))
        made.append(image)
    return made


@pytest.fixture
def taught(tiny: Sumi) -> Sumi:
    pictures = [premultiply(image) for image in shapes()]
    seen = tiny.pipeline.embed(torch.stack([aligned(picture, SIZE_PX) for picture in pictures]))
    own = {"person": "", "icon": "x", "source": "s", "version": "1", "licence": "MIT", "author": "A", "url": ""}
    rows = [{"concept": f"shape {number}", **own} for number in range(len(pictures))]
    small = torch.stack([aligned(picture, SIDE) for picture in pictures])
    return replace(tiny, drawings=lambda: TrainingDrawings(seen, small, rows, ""))


def test_a_drawing_is_nearest_to_itself_at_no_distance(taught: Sumi) -> None:
    for number, image in enumerate(shapes()):
        found = taught.nearest(image, 3)
        first = min(found, key=lambda near: near.distance)
        assert (first.row["concept"], first.distance) == (f"shape {number}", 0.0)
        assert max(near.cosine for near in found) == pytest.approx(1, abs=1e-4)
        assert [near.cosine for near in found[:-1]] == sorted((near.cosine for near in found[:-1]), reverse=True)


def test_a_copy_is_found_elsewhere_and_larger(taught: Sumi) -> None:
    moved = Image.new("RGBA", (200, 120))
    moved.paste(shapes()[5].resize((96, 96), Image.Resampling.NEAREST), (90, 3))
    first = min(taught.nearest(moved, 3), key=lambda near: near.distance)
    assert first.row["concept"] == "shape 5" and first.distance < 0.02


def test_the_nearest_by_pixels_is_shown_even_if_clip_sees_others(taught: Sumi) -> None:
    drawings = taught.drawings()
    assert drawings is not None
    blind = replace(drawings, embeddings=-drawings.embeddings)  # type: ignore[type-var]
    last = replace(taught, drawings=lambda: blind).nearest(shapes()[2], 4)[-1]
    assert (last.row["concept"], last.distance) == ("shape 2", 0.0)


def test_distance_is_a_root_mean_square() -> None:
    black, white = torch.zeros(4, 5, 5, dtype=torch.uint8), torch.full((4, 5, 5), 255, dtype=torch.uint8)
    half = black.clone()
    half[:2] = 255
    others = torch.stack([black, half, white])
    torch.testing.assert_close(distances(black, others), torch.tensor([0, 0.5**0.5, 1]))
    torch.testing.assert_close(all_distances(others, others)[0], distances(black, others))


def test_what_is_aligned_stays_as_it_is() -> None:
    def again(picture: Tensor) -> Tensor:
        return aligned(picture.float() / 255, SIDE)

    for image in shapes():
        once = aligned(premultiply(image), SIDE)
        assert torch.equal(again(once), once) and len(once.unique()) <= LEVELS
    assert not aligned(torch.zeros(4, 9, 9), SIDE).any(), "nothing is seen, so nothing is compared"


def test_faults_are_said_in_one_line(tiny: Sumi, taught: Sumi) -> None:
    with pytest.raises(SumiError, match="carries no drawings"):
        tiny.nearest(shapes()[0])
    with pytest.raises(SumiError, match="k should be a whole number from 1 to 12, not 13"):
        taught.nearest(shapes()[0], 13)


def test_the_shelf_shows_the_picture_and_each_drawing(taught: Sumi) -> None:
    image = shapes()[0]
    assert neighbor_sheet(image, taught.nearest(image, 5)).width > neighbor_sheet(image, taught.nearest(image, 2)).width

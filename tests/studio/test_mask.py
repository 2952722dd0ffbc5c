"""Painting a mask with real mouse, keyboard and touch events."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from live_studio import Studio

UNDO, REDO = "Control+z", "Control+Shift+z"


@pytest.fixture
def painting(studio: Studio) -> Iterator[Studio]:
    """The viewer with the panel for editing open."""
    job = studio.draw("a red fox", n="1", seed="11")
    studio.finished(job)
    studio.table(job)
    studio.page.click("dialog button:text-is('Edit')")
    studio.page.wait_for_selector("canvas.mask")
    yield studio


def painted(studio: Studio) -> int:
    """Return how many pixels the mask covers."""
    count: int = studio.page.eval_on_selector(
        "canvas.mask",
        """canvas => canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data
           .filter((value, index) => index % 4 === 3 && value > 127).length""",
    )
    return count


def at(studio: Studio, x: float, y: float) -> tuple[float, float]:
    """Return the position on the page of a point of the mask, given as shares of its width and height."""
    box = studio.page.locator("canvas.mask").bounding_box()
    assert box is not None
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def stroke(studio: Studio, *points: tuple[float, float]) -> None:
    mouse = studio.page.mouse
    mouse.move(*at(studio, *points[0]))
    mouse.down()
    for point in points[1:]:
        mouse.move(*at(studio, *point), steps=4)
    mouse.up()


def test_mask_click_paints_a_dot(painting: Studio) -> None:
    painting.page.mouse.click(*at(painting, 0.5, 0.5))
    assert painted(painting) > 0


def test_mask_is_painted_with_the_keyboard(painting: Studio) -> None:
    keyboard = painting.page.keyboard
    painting.page.focus("canvas.mask")
    assert painting.page.locator(".brush").is_visible()
    keyboard.press("Space")
    dot = painted(painting)
    assert dot > 0
    for _ in range(10):
        keyboard.press("ArrowRight")
    assert painted(painting) == dot
    keyboard.press("Space")
    assert painted(painting) > dot
    before = painted(painting)
    keyboard.down("Space")  # held, it paints along the way
    for _ in range(8):
        keyboard.press("ArrowDown")
    keyboard.up("Space")
    assert painted(painting) > before


def test_mask_is_painted_by_touch(painting: Studio) -> None:
    x, y = at(painting, 0.3, 0.3)
    session = painting.page.context.new_cdp_session(painting.page)
    for kind, dx in (("touchStart", 0), ("touchMove", 30), ("touchMove", 60), ("touchEnd", None)):
        points = [] if dx is None else [{"x": x + dx, "y": y}]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    painting.page.wait_for_function(
        "() => document.querySelector('dialog .toolbar button:nth-child(3)').disabled === false"
    )
    assert painted(painting) > 0


def test_mask_strokes_are_undone_and_redone(painting: Studio) -> None:
    keyboard, counts = painting.page.keyboard, [painted(painting)]
    for y in (0.2, 0.5, 0.8):
        stroke(painting, (0.2, y), (0.8, y))
        counts.append(painted(painting))
    assert counts == sorted(set(counts))
    for expected in (counts[2], counts[1], counts[0]):
        keyboard.press(UNDO)
        assert painted(painting) == expected
    assert painting.page.is_disabled("dialog button:text-is('Undo')")
    for expected in counts[1:]:
        keyboard.press(REDO)
        assert painted(painting) == expected
    painting.page.click("dialog button:text-is('Undo')")
    assert painted(painting) == counts[2]
    painting.page.click("dialog button:text-is('Clear')")
    assert painted(painting) == 0
    painting.page.click("dialog button:text-is('Undo')")
    assert painted(painting) == counts[2], "clearing can be undone"


def test_mask_eraser_removes_paint(painting: Studio) -> None:
    stroke(painting, (0.2, 0.5), (0.8, 0.5))
    before = painted(painting)
    painting.page.keyboard.press("e")
    assert painting.page.get_attribute("dialog button:text-is('Eraser')", "aria-pressed") == "true"
    stroke(painting, (0.5, 0.5), (0.8, 0.5))
    assert 0 < painted(painting) < before
    painting.page.keyboard.press("b")
    stroke(painting, (0.5, 0.5), (0.8, 0.5))
    assert painted(painting) == before


def test_brackets_change_the_brush_size(painting: Studio) -> None:
    page = painting.page
    page.mouse.click(*at(painting, 0.5, 0.5))
    small = painted(painting)
    page.keyboard.press(UNDO)
    for _ in range(4):
        page.keyboard.press("]")
    page.mouse.click(*at(painting, 0.5, 0.5))
    assert painted(painting) > small
    size = int(page.input_value("dialog [name=brush]"))
    page.keyboard.press("[")
    assert int(page.input_value("dialog [name=brush]")) < size


def test_shortcuts_in_a_text_field_type_letters(painting: Studio) -> None:
    page = painting.page
    page.mouse.click(*at(painting, 0.5, 0.5))
    before = painted(painting)
    page.fill("dialog [name=prompt]", "")
    page.focus("dialog [name=prompt]")
    page.keyboard.type("be [ ]")
    page.keyboard.press(UNDO)
    assert painted(painting) == before
    assert page.get_attribute("dialog button:text-is('Brush')", "aria-pressed") == "true"


def test_stroke_that_ends_outside_keeps_the_dialog_open(painting: Studio) -> None:
    mouse = painting.page.mouse
    mouse.move(*at(painting, 0.5, 0.5))
    mouse.down()
    mouse.move(5, 5, steps=4)
    mouse.up()
    assert painting.page.locator("dialog[open] canvas.mask").count() == 1 and painted(painting) > 0


def test_margins_are_shown_before_drawing(painting: Studio) -> None:
    page = painting.page
    size = page.eval_on_selector("canvas.mask", "canvas => canvas.width")
    page.fill("dialog [name=Right]", str(size // 2))
    page.wait_for_selector(".board[data-margins]")
    board, base = (page.locator(f"dialog {name}").bounding_box() for name in (".board", ".base"))
    assert board is not None and base is not None
    assert board["width"] / board["height"] == pytest.approx(1.5, rel=0.02)
    assert base["x"] == pytest.approx(board["x"], abs=2)
    assert base["width"] == pytest.approx(board["width"] / 1.5, rel=0.02)
    page.mouse.click(*at(painting, 0.5, 0.5))
    assert painted(painting) > 0, "the brush is not where the mouse is"
    page.fill("dialog [name=Right]", "0")
    page.wait_for_selector(".board:not([data-margins])")


def test_edit_without_mask_and_margins_is_explained(painting: Studio) -> None:
    painting.page.click("dialog .panel button:text-is('Edit')")
    painting.page.wait_for_selector("dialog .wrong:has-text('Paint over what should change')")

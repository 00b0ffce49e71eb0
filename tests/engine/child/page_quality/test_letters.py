"""The connected pieces of ink on a page."""

import pytest
from PIL import Image, ImageDraw

from app.engine.child.page_quality import letters
from app.engine.child.page_quality.letters import ink_of, pieces_of


def test_pieces_of_any_shape_are_one_piece_each() -> None:
    """A spiral, a ring, an H and touching corners are one piece each, with their boxes and areas."""
    page = Image.new("L", (60, 20), 255)
    draw = ImageDraw.Draw(page)
    draw.line([(1, 1), (15, 1), (15, 15), (3, 15), (3, 5), (11, 5), (11, 11), (7, 11)], fill=0)
    draw.ellipse((20, 2, 30, 12), outline=0)
    draw.line([(35, 2), (35, 12)], fill=0)
    draw.line([(40, 2), (40, 12)], fill=0)
    draw.line([(35, 7), (40, 7)], fill=0)
    draw.point([(50, 5), (51, 6), (52, 5)], fill=0)

    found = sorted(pieces_of(ink_of(page)), key=lambda each: each.left)

    boxes = [(each.left, each.top, each.right, each.bottom) for each in found]
    assert boxes == [(1, 1, 16, 16), (20, 2, 31, 13), (35, 2, 41, 13), (50, 5, 53, 7)]
    assert [found[2].area, found[3].area] == [11 + 11 + 4, 3]


def test_only_the_upper_part_of_a_page_full_of_ink_is_examined(monkeypatch: pytest.MonkeyPatch) -> None:
    """The number of runs is bounded."""
    page = Image.new("L", (100, 100), 255)
    page.paste(Image.new("L", (1, 100), 0), (10, 0))
    page.paste(Image.new("L", (1, 100), 0), (20, 0))
    monkeypatch.setattr(letters, "MAX_RUNS", 50)

    assert {each.bottom for each in pieces_of(ink_of(page))} <= set(range(20, 30))

"""Which pages are blank."""

from pathlib import Path

import pytest
from PIL import Image

from app.engine.child.images.blank_pages import is_blank


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize(("spot", "blank"), [(None, True), (251, True), (200, False), (0, False)])
def test_a_page_of_one_colour_is_blank(tmp_path: Path, mode: str, spot: int | None, blank: bool) -> None:  # noqa: FBT001
    """A page is blank if its pixels hardly differ; a single dark pixel makes it a page."""
    page = Image.new(mode, (50, 40), "white")
    if spot is not None:
        page.putpixel((20, 20), spot if mode == "L" else (255, 255, spot))
    page.save(tmp_path / "page.png")

    assert is_blank(tmp_path / "page.png") == blank

"""Bounds how often a PDF repeats a pattern. PDFium draws each tile, and cannot be interrupted meanwhile."""

import math

from pypdf.generic import ArrayObject, DictionaryObject

from app.errors import ImageTooLarge

MAX_TILES = 5_000_000
"""How many tiles of one pattern a page may show. A tile of half a point by half a point fills A4 with 2 million."""
TILING = 1
IDENTITY = (1.0, 0.0, 0.0, 1.0)


def check_tiles(pattern: DictionaryObject, page_area: float) -> None:
    """Raise ImageTooLarge if a page shows too many tiles of a pattern.

    `page_area` is the area of the page in square units of its user space. A pattern that does not consist of tiles
    passes. The specification forbids a step of zero; PDFium uses the side of the pattern's box instead, and so does
    this check.
    """
    if pattern.get("/PatternType") != TILING:
        return
    box = _numbers(pattern.get("/BBox"), 4) or (0.0, 0.0, 1.0, 1.0)
    a, b, c, d = _numbers(pattern.get("/Matrix"), 4) or IDENTITY
    steps = [
        abs(_number(pattern.get(name)) or side)
        for name, side in (("/XStep", box[2] - box[0]), ("/YStep", box[3] - box[1]))
    ]
    tile_area = steps[0] * steps[1] * abs(a * d - b * c)
    if tile_area > 0 and page_area / tile_area > MAX_TILES:
        raise ImageTooLarge(f"a pattern with more than {MAX_TILES} tiles on a page", "that many")


def _numbers(value: object, count: int) -> tuple[float, ...] | None:
    """Return the first `count` numbers of an array; None if the array has fewer."""
    if not isinstance(value, ArrayObject) or len(value) < count:
        return None
    return tuple(_number(each.get_object()) for each in value[:count])


def _number(value: object) -> float:
    """Return `value` if it is a finite number, else 0."""
    if not isinstance(value, int | float):
        return 0.0
    try:
        number = float(value)
    except OverflowError:
        return 0.0
    return number if math.isfinite(number) else 0.0

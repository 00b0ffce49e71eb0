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
    passes. So does one whose tiles have no area, because a step is zero or its matrix cannot be inverted: PDFium draws
    nothing of it.
    """
    if pattern.get("/PatternType") != TILING:
        return
    a, b, c, d = _numbers(pattern.get("/Matrix"), 4) or IDENTITY
    steps = [_number(pattern.get(name)) for name in ("/XStep", "/YStep")]
    tile_area = abs(steps[0] * steps[1] * (a * d - b * c))
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

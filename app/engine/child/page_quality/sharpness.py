"""Measures how blurred the letters of a page are, compared with their size."""

from collections.abc import Sequence
from statistics import median

from PIL import Image, ImageChops

from app.engine.child.page_quality.letters import Piece

HEIGHT = 8
"""The page is reduced until the usual height of its letters is about this many pixels, so that noise counts little."""
MOST_PIECES = 120
"""How many pieces of ink are measured, from the whole page."""
LEAST_WIDTH = 0.25
"""The least width of a measured piece, in usual heights of letters: narrower ones, such as an l, have too few edges."""
MARGIN = 2
"""How many pixels around a piece, in the reduced page, are measured with it: its edges reach beyond it."""
FAINTEST_STEP = 4
"""The least difference between two neighbouring pixels that counts as part of an edge: less is noise."""
LEAST_CONTRAST = 20
"""Pieces with less contrast are not measured."""


def blur_of(page: Image.Image, words: Sequence[Piece], usual: float) -> float:
    """Return how wide the edges of letters are, in heights of letters: about 0.25 for sharp text, 1 for a strong blur.

    `page` is grey, `words` are its letters or words, and `usual` is their usual height. An edge that is W pixels wide
    has W steps, each of the contrast divided by W. The mean of the steps, weighted by their size, gives W. The median
    of all measured pieces is returned, so pictures on the page count little; 0.0 if there is nothing to measure.
    """
    factor = max(1, round(usual / HEIGHT))
    reduced = page.reduce(factor) if factor > 1 else page
    inked = [each for each in words if each.width >= LEAST_WIDTH * usual]
    widths = [_edge_width(reduced, each, factor) for each in inked[:: len(inked) // MOST_PIECES + 1]]
    measured = [width for width in widths if width]
    return median(measured) * factor / usual if measured else 0.0


def _edge_width(page: Image.Image, piece: Piece, factor: int) -> float:
    """Return the width of a piece's edges in pixels; 0.0 for a piece without contrast.

    The wider of the horizontal and the vertical edges counts: a camera that moves blurs one of them.
    """
    left, top = max(0, piece.left // factor - MARGIN), max(0, piece.top // factor - MARGIN)
    right, bottom = (-(-side // factor) + MARGIN for side in (piece.right, piece.bottom))
    part = page.crop((left, top, min(page.width, right), min(page.height, bottom)))
    levels = [level for level, count in enumerate(part.histogram()) if count]
    contrast = levels[-1] - levels[0]
    if contrast < LEAST_CONTRAST:
        return 0.0
    return max(contrast / step if (step := _mean_step(part, *by)) else 0.0 for by in ((1, 0), (0, 1)))


def _mean_step(part: Image.Image, right: int, down: int) -> float:
    """Return the mean difference between neighbours, weighted by the differences; 0.0 if there is none."""
    first = part.crop((0, 0, part.width - right, part.height - down))
    steps = ImageChops.difference(first, part.crop((right, down, part.width, part.height))).histogram()
    counted = list(enumerate(steps))[FAINTEST_STEP:]
    total = sum(step * count for step, count in counted)
    return sum(step * step * count for step, count in counted) / total if total else 0.0

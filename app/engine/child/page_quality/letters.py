"""Finds the connected pieces of ink on a page: letters, parts of letters such as the dot of an i, and other things.

Pillow has no function for that, and numpy is not a dependency of the service. The pieces are found row by row, from the
runs of ink that a regular expression finds.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from PIL import Image

RUN = re.compile(rb"\x01+")
MAX_RUNS = 300_000
"""How many runs of ink are examined at most: those of a dense page. Below, the page is not examined."""
LEAST_HEIGHT = 4
"""The least height of a letter in pixels."""
WIDEST = 4.0
"""The greatest width of a letter, in heights: letters may touch each other."""
WIDEST_WORD = 15.0
"""The greatest width of a word whose letters a blur has joined, in heights."""


@dataclass(slots=True)
class Piece:
    """A connected piece of ink. `right` and `bottom` are outside the piece."""

    left: int
    top: int
    right: int
    bottom: int
    area: int
    """How many pixels have ink."""

    @property
    def width(self) -> int:
        """The width in pixels."""
        return self.right - self.left

    @property
    def height(self) -> int:
        """The height in pixels."""
        return self.bottom - self.top

    def absorb(self, other: "Piece") -> None:
        """Extend this piece by another one that touches it."""
        self.left, self.top = min(self.left, other.left), min(self.top, other.top)
        self.right, self.bottom = max(self.right, other.right), max(self.bottom, other.bottom)
        self.area += other.area


def ink_of(page: Image.Image) -> Image.Image:
    """Return an image in mode L that is 1 where a grey page has ink and 0 elsewhere.

    The threshold separates the two groups of brightness best (Otsu). Ink is the group with fewer pixels, so white text
    on black is ink too.
    """
    histogram = page.histogram()
    threshold = threshold_of(histogram)
    is_dark_ink = sum(histogram[: threshold + 1]) * 2 <= sum(histogram)
    return page.point([int((level <= threshold) == is_dark_ink) for level in range(256)])


def pieces_of(ink: Image.Image) -> list[Piece]:
    """Return the connected pieces of an image that `ink_of` returned, from top to bottom, at most of MAX_RUNS runs."""
    width, data = ink.width, ink.tobytes()
    pieces: dict[int, Piece] = {}
    owners: list[int] = []
    """For each number of a piece, the number of the piece that has absorbed it, or its own."""
    above: list[tuple[int, int, int]] = []
    """The runs of the row above, as start, end and number of the piece."""
    total = 0
    for y in range(ink.height):
        row = data[y * width : (y + 1) * width]
        runs: list[tuple[int, int, int]] = []
        at = 0
        for match in RUN.finditer(row) if 1 in row else ():
            start, end = match.span()
            piece, number = Piece(start, y, end, y + 1, end - start), -1
            while at < len(above) and above[at][1] < start:
                at += 1
            for _, _, other in _touching(above, at, end):
                owner = _owner(owners, other)
                if number < 0:
                    number = owner
                    pieces[owner].absorb(piece)
                elif owner != number:
                    pieces[number].absorb(pieces.pop(owner))
                    owners[owner] = number
            if number < 0:
                number = len(owners)
                owners.append(number)
                pieces[number] = piece
            runs.append((start, end, number))
        total += len(runs)
        if total > MAX_RUNS:
            break
        above = runs
    return list(pieces.values())


def letters_of(pieces: Sequence[Piece], widest: float = WIDEST) -> list[Piece]:
    """Return the pieces that may be letters by their size and shape, but not the much larger and smaller ones.

    `widest` is the greatest width in heights; with WIDEST_WORD, words whose letters touch are returned too.
    """
    candidates = [each for each in pieces if each.height >= LEAST_HEIGHT and each.width <= widest * each.height]
    if not candidates:
        return []
    usual = usual_height(candidates)
    return [each for each in candidates if 0.6 * usual <= each.height <= 2.2 * usual]


def usual_height(pieces: Sequence[Piece]) -> float:
    """Return the median height of pieces, weighted by their heights, so that dots and specks do not count much."""
    heights = sorted(each.height for each in pieces)
    half, total = sum(heights) / 2, 0
    for height in heights:
        total += height
        if total >= half:
            return float(height)
    return float(median(heights or [0]))


def capital_height(letters: Sequence[Piece]) -> float:
    """Return the height that a fifth of the letters reach: that of the letters with full height."""
    heights = sorted(each.height for each in letters)
    return float(heights[len(heights) * 4 // 5]) if heights else 0.0


def _touching(above: Sequence[tuple[int, int, int]], at: int, end: int) -> Sequence[tuple[int, int, int]]:
    """Return the runs of the row above, from number `at` on, that begin before `end` or touch it."""
    last = at
    while last < len(above) and above[last][0] <= end:
        last += 1
    return above[at:last]


def _owner(owners: list[int], number: int) -> int:
    while owners[number] != number:
        owners[number] = owners[owners[number]]
        number = owners[number]
    return number


def threshold_of(histogram: Sequence[int]) -> int:
    """Return the brightest level of the darker group, so that the groups differ most (Otsu's method)."""
    count, total = sum(histogram), sum(level * pixels for level, pixels in enumerate(histogram))
    darker = darker_total = 0
    best, found = -1.0, 127
    for level, pixels in enumerate(histogram):
        darker += pixels
        darker_total += level * pixels
        if not darker or darker == count:
            continue
        distance = darker_total / darker - (total - darker_total) / (count - darker)
        if (spread := darker * (count - darker) * distance**2) > best:
            best, found = spread, level
    return found

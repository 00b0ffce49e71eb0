"""Finds letters that have accents: marks above them that are no dots of i and j."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from app.engine.child.page_quality.letters import LEAST_HEIGHT, Piece, letters_of, usual_height

CELL = 64
"""The width in pixels of the columns of the page by which letters are looked up."""
FARTHEST = 0.35
"""The greatest gap between a letter and a mark, in heights of the letter. The line above is farther away."""
LARGEST_MARK = 0.45, 0.8
"""The greatest height and width of a mark, in usual heights of letters."""
LEAST_MARK = 0.06
"""The least height of a mark, in usual heights of letters: smaller specks are noise."""
LEAST_SIDE = 2
"""The least height and width of a mark in pixels."""
FLAT = 1.5
"""How many times wider than high a mark must be to be no dot."""
LEAST_FLAT = 4
"""The least width of such a mark in pixels: a dot of 3 x 2 pixels is flat too."""
SPARSE = 0.66
"""The largest part of its box that a slanted or hollow mark fills. A round dot fills 0.78."""


def accented_letters(pieces: Sequence[Piece]) -> int:
    """Return how many letters have a mark that is no single dot: two dots, or one that is flat, slanted or hollow.

    Marks that touch their letters, marks below and single dots above, as of the Polish z, are not found.
    """
    letters = letters_of(pieces)
    if not letters:
        return 0
    usual = usual_height(letters)
    specks = [each for each in pieces if _is_mark(each, usual)]
    if len(specks) > len(letters):  # noise, or a picture in dots
        return 0
    columns: dict[int, list[Piece]] = defaultdict(list)
    for letter in letters:
        for column in range(letter.left // CELL, letter.right // CELL + 1):
            columns[column].append(letter)
    marks: dict[int, list[Piece]] = defaultdict(list)
    for speck in specks:
        below = _letter_below(speck, columns[(speck.left + speck.right) // 2 // CELL])
        if below is not None:
            marks[id(below)].append(speck)
    return sum(_is_accent(each) for each in marks.values())


def _is_mark(piece: Piece, usual: float) -> bool:
    highest, widest = (part * usual for part in LARGEST_MARK)
    return max(LEAST_SIDE, LEAST_MARK * usual) <= piece.height <= highest and LEAST_SIDE <= piece.width <= widest


def _letter_below(mark: Piece, letters: Iterable[Piece]) -> Piece | None:
    """Return the letter closely below a mark, or None if there is none."""
    centre = (mark.left + mark.right) / 2
    for letter in letters:
        gap = letter.top - mark.bottom
        if letter.left <= centre <= letter.right and -1 <= gap <= FARTHEST * letter.height:
            return letter
    return None


def _is_accent(marks: Sequence[Piece]) -> bool:
    if len(marks) == 2:  # noqa: PLR2004 - two dots
        first, second = sorted(marks, key=lambda each: each.left)
        return first.right <= second.left and abs(first.top - second.top) <= max(1, first.height // 2)
    (mark, *others) = marks
    if others:
        return False
    fill = mark.area / (mark.width * mark.height)
    return mark.width >= max(FLAT * mark.height, LEAST_FLAT) or (mark.height >= LEAST_HEIGHT and fill <= SPARSE)

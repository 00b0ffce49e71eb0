"""The words of a line with their boxes.

The vendor states the box of a line, not the boxes of its words. So the box of a word is estimated: the line's width is
divided among the letters by the usual widths of letters in print.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from app.engine.child.documents.pages import Box, PlacedLine

NARROW, WIDE = set("iljtfrI.,:;'`|!()[]{}/\\-\"*°"), set("mwMW@%&")
SPACE = 0.55
"""The width of a space; a letter of usual width is 1."""
RIGHT_TO_LEFT = {"R", "AL"}
"""The Unicode classes of letters that are written from right to left."""
JOINERS = {"\u200d", "\u200c"}


@dataclass(frozen=True, slots=True)
class Word:
    """One word with its box on the page. The letters are in the order of speech."""

    clusters: Sequence[str]
    """The letters, each with the marks that are printed on it."""
    box: Box
    is_right_to_left: bool
    is_vertical: bool
    """Whether the word is read from top to bottom, as in a line that is much higher than wide."""

    @property
    def text(self) -> str:
        """The letters."""
        return "".join(self.clusters)


def words_of(line: PlacedLine) -> list[Word]:
    """Return the words of a line in the order of speech, each with its estimated box."""
    texts = [clusters_of(text) for text in line.text.split()]
    directions = [_direction(clusters) for clusters in texts]
    base = is_right_to_left(line.text)
    order = _visual_order([base if each is None else each for each in directions], base=base)
    is_vertical = len(line.text.strip()) > 1 and line.box.height > 2 * line.box.width
    widths = {n: sum(map(width_of, texts[n])) for n in order}
    space = _space(sum(widths.values()), len(order) - 1, line.box, is_vertical)
    total = sum(widths.values()) + space * (len(order) - 1)
    starts = _starts([widths[n] for n in order], space, total)
    boxes = {
        n: _part(line.box, start, widths[n] / total, base, is_vertical) for n, start in zip(order, starts, strict=True)
    }
    return [
        Word(clusters, boxes[n], bool(directions[n]) and not is_vertical, is_vertical)
        for n, clusters in enumerate(texts)
    ]


def clusters_of(text: str) -> list[str]:
    """Return the letters of a text, each with the marks and joiners that follow it."""
    clusters: list[str] = []
    for before, character in pairwise(f" {text}"):
        follows = unicodedata.category(character).startswith("M") or character in JOINERS or before in JOINERS
        if clusters and follows:
            clusters[-1] += character
        else:
            clusters.append(character)
    return clusters


def width_of(cluster: str) -> float:
    """Return the usual width of a letter in print; that of most letters is 1."""
    letter = cluster[0]
    if unicodedata.east_asian_width(letter) in {"W", "F"}:
        return 2
    if letter in NARROW:
        return 0.6
    return 1.5 if letter in WIDE else 1.2 if letter.isupper() else 1


def is_right_to_left(text: str) -> bool:
    """Return whether a line is written from right to left, as its first letter is."""
    return _direction(text) or False


def _direction(clusters: Sequence[str]) -> bool | None:
    """Return whether a word is written from right to left; None if it has only digits and signs."""
    for cluster in clusters:
        kind = unicodedata.bidirectional(cluster[0])
        if kind == "L" or kind in RIGHT_TO_LEFT:
            return kind != "L"
    return None


def _visual_order(directions: Sequence[bool], *, base: bool) -> list[int]:
    """Return the numbers of the words in the order in which a reader of the line's direction meets them.

    Words of the other direction that follow each other, such as an English name in an Arabic line, are reversed.
    """
    order: list[int] = []
    for direction, run in groupby(range(len(directions)), key=lambda n: directions[n]):
        numbers = list(run)
        order += numbers if direction == base else numbers[::-1]
    return order


def _space(letters: float, count: int, box: Box, is_vertical: bool) -> float:  # noqa: FBT001
    """Return the width of one of `count` spaces in a line whose letters are `letters` wide together.

    A space is at most half as wide as the line is high, else readers would take the words for columns.
    """
    length, height = (box.height, box.width) if is_vertical else (box.width, box.height)
    widest = height / 2
    if not count or length * SPACE / (letters + SPACE * count) <= widest:
        return SPACE
    return letters * widest / (length - widest * count)


def _starts(widths: Sequence[float], space: float, total: float) -> Iterator[float]:
    """Yield where each word begins, as a fraction of the line's length."""
    at = 0.0
    for width in widths:
        yield at / total
        at += width + space


def _part(line: Box, start: float, length: float, base: bool, is_vertical: bool) -> Box:  # noqa: FBT001
    if is_vertical:
        return Box(line.x, line.y + line.height * start, line.width, line.height * length)
    left = 1 - start - length if base else start
    return Box(line.x + line.width * left, line.y, line.width * length, line.height)

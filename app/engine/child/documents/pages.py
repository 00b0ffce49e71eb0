"""Recognised pages as documents show them: lines in order, grouped into paragraphs, each with its box on the page."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import count, pairwise
from statistics import median
from typing import Any

NOT_IN_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
"""Matches the characters that XML 1.0 cannot hold, not even escaped. DOCX, XLSX, hOCR and ALTO are XML."""
DEFAULT_SIZE = (1240, 1754)
"""Width and height in pixels of a page whose size the vendor does not tell: A4 at 150 dots per inch."""


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, in pixels of the recognised image, from its upper left corner."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """The right edge."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """The lower edge."""
        return self.y + self.height

    @classmethod
    def around(cls, boxes: Sequence["Box"]) -> "Box":
        """Return the smallest rectangle that contains all these rectangles."""
        x, y = min(box.x for box in boxes), min(box.y for box in boxes)
        return cls(x, y, max(box.right for box in boxes) - x, max(box.bottom for box in boxes) - y)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text, without line breaks."""

    text: str
    box: Box | None
    """The rectangle of the line on the page; None if the vendor does not state it."""


@dataclass(frozen=True, slots=True)
class PlacedLine:
    """One line of text with its rectangle on the page."""

    text: str
    box: Box


@dataclass(frozen=True, slots=True)
class Page:
    """One recognised page."""

    number: int
    width: int
    height: int
    lines: Sequence[Line]
    """The lines in reading order; a line without text separates paragraphs."""
    rows: Sequence[Sequence[str]] | None
    """The page as a table; None if no table was requested."""
    skew_degrees: float | None
    """The skew of the page that was sent, in degrees, as the vendor measured it; None if the skew was not measured."""

    def paragraphs(self) -> list[list[Line]]:
        """Return the lines that have text, grouped where a gap between two lines is larger than usual on the page."""
        usual = _usual_gap(self.lines)
        groups: list[list[Line]] = [[]]
        last: Box | None = None
        for line in self.lines:
            if not line.text.strip() or _is_gap(last, line.box, usual):
                groups.append([])
            if line.text.strip():
                groups[-1].append(line)
                last = line.box
        return [group for group in groups if group]

    def placed_paragraphs(self) -> list[list[PlacedLine]]:
        """Return the paragraphs as lists of lines, each line with a box inside the page.

        If the vendor has not stated the box of every line, all lines are spread over the page from top to bottom, since
        the text must be in the document. Without a license, the vendor states no boxes for a short page.
        """
        groups = self.paragraphs()
        lines = [line for group in groups for line in group]
        height = self.height / (len(lines) + 1)
        spread = (Box(self.width * 0.05, height * (n + 0.5), self.width * 0.9, height * 0.7) for n in count())
        is_placed = all(line.box for line in lines)
        return [
            [
                PlacedLine(line.text, self._inside(line.box if is_placed and line.box else next(spread)))
                for line in group
            ]
            for group in groups
        ]

    def _inside(self, box: Box) -> Box:
        """Return the part of a box inside the page, at least one pixel wide and high."""
        x, y = (min(max(at, 0), size - 1) for at, size in ((box.x, self.width), (box.y, self.height)))
        return Box(x, y, min(max(box.right, x + 1), self.width) - x, min(max(box.bottom, y + 1), self.height) - y)


def pages_of(fields: Sequence[dict[str, Any]]) -> list[Page]:
    """Build pages from the fields that `app.engine.child.results.page_fields` makes.

    A page has the lines that the vendor recognised, or the lines of the page's text if that text has more letters.
    """
    return [_page(each) for each in fields]


def _page(fields: dict[str, Any]) -> Page:
    lines = [Line(_clean(each["text"]).strip(), Box(**each["box"])) for each in fields["lines"]]
    text = [Line(_clean(each).strip(), None) for each in str(fields["text"]).splitlines()]
    table = fields.get("table")
    default_width, default_height = DEFAULT_SIZE
    return Page(
        number=fields["number"],
        width=fields["width"] or default_width,
        height=fields["height"] or default_height,
        lines=lines if _letters(lines) >= _letters(text) else text,
        rows=None if table is None else [[_clean(cell) for cell in row.split("\t")] for row in table.splitlines()],
        skew_degrees=fields["skew_degrees"],
    )


def _clean(text: str) -> str:
    """Return a text without line breaks, and with U+FFFD in place of each character that XML cannot hold."""
    return NOT_IN_XML.sub("\ufffd", " ".join(text.splitlines()))


def _letters(lines: Sequence[Line]) -> int:
    return sum(len("".join(line.text.split())) for line in lines)


def _gaps(lines: Sequence[Line]) -> Iterator[float]:
    for above, below in pairwise(lines):
        if above.box and below.box and below.box.y >= above.box.y:
            yield below.box.y - above.box.bottom


def _usual_gap(lines: Sequence[Line]) -> float | None:
    """Return the largest gap between lines of one paragraph, in pixels; None if there are no gaps to compare."""
    gaps = list(_gaps(lines))
    heights = [line.box.height for line in lines if line.box]
    return max(median(gaps), 0) * 1.5 + median(heights) * 0.4 if gaps else None


def _is_gap(above: Box | None, below: Box | None, usual: float | None) -> bool:
    """Return whether a paragraph ends between two lines: at a large gap, or if the next line is higher up."""
    if above is None or below is None or usual is None:
        return False
    return below.y - above.bottom > usual or below.bottom <= above.y

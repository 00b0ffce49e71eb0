"""The invisible text of a page of a searchable PDF, as a content stream."""

from dataclasses import dataclass
from itertools import chain
from math import cos, radians, sin

from app.engine.child.documents.glyphless_font import NAME, UNITS, GlyphlessFont, width_units
from app.engine.child.documents.pages import Page
from app.engine.child.documents.words import Word, words_of


@dataclass(frozen=True, slots=True)
class Placement:
    """How pixels of the recognised image become points of a PDF page: x' = a x + c y + e, y' = b x + d y + f."""

    a: float
    b: float
    c: float
    d: float
    e: float
    f: float

    @classmethod
    def of(cls, size: tuple[float, float], box: tuple[float, float, float, float], rotation: int) -> "Placement":
        """Return the placement of an image of this size that shows a page as a viewer does.

        `box` is the shown rectangle in the PDF's own coordinates: left, lower, right, upper. `rotation` is the angle in
        degrees by which a viewer turns the page clockwise: 0, 90, 180 or 270.
        """
        left, lower, right, upper = box
        across, down = right - left, upper - lower
        is_on_its_side = rotation in {90, 270}
        width, height = (down, across) if is_on_its_side else (across, down)
        x, y = width / size[0], height / size[1]
        return {
            0: cls(x, 0, 0, -y, left, upper),
            90: cls(0, x, y, 0, left, lower),
            180: cls(-x, 0, 0, y, right, lower),
            270: cls(0, -x, -y, 0, right, upper),
        }[rotation]

    def of_turned(self, size: tuple[float, float], turned: tuple[float, float], degrees: float) -> "Placement":
        """Return the placement of an image that was turned before it was recognised.

        `size` is the size of the image before it was turned, for which this placement holds. `turned` is the size of
        the canvas on which the vendor turned the image counterclockwise around its centre, by `degrees`.
        """
        cosine, sine = cos(radians(degrees)), sin(radians(degrees))
        # The vendor may have scaled the image too.
        scale = turned_size(size, degrees)[0] / turned[0]
        x, y = scale * cosine, scale * sine
        a, b = self.along(x, y)
        c, d = self.along(-y, x)
        centre = self.at(size[0] / 2, size[1] / 2)
        half_x, half_y = turned[0] / 2, turned[1] / 2
        return Placement(a, b, c, d, centre[0] - a * half_x - c * half_y, centre[1] - b * half_x - d * half_y)

    def at(self, x: float, y: float) -> tuple[float, float]:
        """Return the point of the PDF page for a pixel."""
        return self.a * x + self.c * y + self.e, self.b * x + self.d * y + self.f

    def along(self, x: float, y: float) -> tuple[float, float]:
        """Convert a distance in pixels to the distance on the PDF page, which does not depend on where it begins."""
        return self.a * x + self.c * y, self.b * x + self.d * y


def turned_size(size: tuple[float, float], degrees: float) -> tuple[float, float]:
    """Return the size of the smallest canvas that holds an image of this size after a turn around its centre."""
    cosine, sine = abs(cos(radians(degrees))), abs(sin(radians(degrees)))
    return size[0] * cosine + size[1] * sine, size[0] * sine + size[1] * cosine


def text_layer(page: Page, placement: Placement, font: GlyphlessFont) -> bytes:
    """Return the content stream that writes the words of a page invisibly where the page shows them."""
    shown = []
    for line in chain.from_iterable(page.placed_paragraphs()):
        # Readers of PDF expect the words of a line from left to right in every script, and turn them round themselves.
        words = sorted(words_of(line), key=lambda word: (word.box.x, word.box.y))
        shown += [_shown(word, placement, font) for word in words]
    # Text rendering mode 3 is invisible.
    return "\n".join(["q BT 3 Tr", f"{NAME} 1 Tf", *shown, "ET Q", ""]).encode("ascii")


def _shown(word: Word, placement: Placement, font: GlyphlessFont) -> str:
    """Return the PDF operators that show a word: a matrix that stretches the font to the word's box, and its codes."""
    box = word.box
    length, height = (box.height, box.width) if word.is_vertical else (box.width, box.height)
    stretched = length * UNITS / sum(map(width_units, word.clusters))
    if word.is_vertical:
        along, up, start = placement.along(0, stretched), placement.along(height, 0), placement.at(box.x, box.y)
    else:
        along, up = placement.along(stretched, 0), placement.along(0, -height)
        start = placement.at(box.x, box.bottom)
    matrix = " ".join(f"{value:.4f}" for value in (*along, *up, *start))
    shown = word.clusters[::-1] if word.is_right_to_left else word.clusters
    # A space after each word, for readers that do not see a gap as a space.
    codes = font.codes_of([*shown, " "])
    return f"{matrix} Tm <{codes.hex()}> Tj"

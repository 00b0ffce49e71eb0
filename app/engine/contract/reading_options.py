"""The options of recognition that have parts of their own: pages, kinds of images, filters and regions."""

from dataclasses import dataclass
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class PageRange:
    """A range of consecutive pages of a document, counted from 1."""

    first: int
    last: int | None = None
    """The last page of the range; None for the last page of the document."""


class ReadingKind(StrEnum):
    """What an image shows. For most kinds the vendor has a separate call."""

    TEXT = "text"
    LINE = "line"
    """A single line of text; the vendor does not search for text areas."""
    RECEIPT = "receipt"
    INVOICE = "invoice"
    ID_CARD = "id_card"
    PASSPORT = "passport"
    CAR_PLATE = "car_plate"
    HANDWRITING = "handwriting"


class ReadingMode(StrEnum):
    """How thoroughly text is read."""

    ACCURATE = "accurate"
    FAST = "fast"
    """Read in less time and with more errors; return the text only, without lines and boxes."""


class FilterName(StrEnum):
    """A filter of the vendor that changes the image before recognition."""

    BINARIZE = "binarize"
    """Make the image black and white; the engine chooses the threshold."""
    THRESHOLD = "threshold"
    """Make the image black and white, with this threshold from 0 to 255."""
    INVERT = "invert"
    """Make the negative of the image."""
    GRAYSCALE = "grayscale"
    MEDIAN = "median"
    """Remove small dots."""
    DILATE = "dilate"
    """Thicken bright areas."""
    SCALE = "scale"
    """Multiply width and height by this factor."""
    RESIZE = "resize"
    """Change to this width and height, in pixels."""
    ROTATE = "rotate"
    """Turn counterclockwise by this angle, in degrees."""


@dataclass(frozen=True, slots=True)
class ImageFilter:
    """A filter with its values."""

    name: FilterName
    values: tuple[float, ...] = ()

    def __str__(self) -> str:
        """Return the filter as it is written in the option `filters`, such as `resize:900x300`."""
        return ":".join([self.name, "x".join(f"{value:g}" for value in self.values)]) if self.values else self.name


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle, in pixels of the image after the filters."""

    x: int
    y: int
    width: int
    height: int

    def __str__(self) -> str:
        """Return the region as it is written in the option `regions`."""
        return f"{self.x},{self.y},{self.width},{self.height}"

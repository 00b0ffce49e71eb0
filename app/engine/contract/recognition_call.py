"""The recognition call: what the service asks the engine process for, and where the engine process writes the result.

The service writes the image into a separate folder and sends its path. The engine process writes the pages, and the
document if one is requested, into the same folder.
"""

from dataclasses import dataclass

PAGES_FILE = "pages.json"
"""The name of the file that the pages are written to, beside the image."""


@dataclass(frozen=True, slots=True)
class ImageLimits:
    """How large an image may be."""

    max_pixels: int
    """The most pixels of one page."""
    max_pages: int
    """The most pages of one call."""


@dataclass(frozen=True, slots=True)
class RecognitionOptions:
    """How to read an image."""

    language: str
    """A name of the vendor's `Language`, in lower case."""
    areas: str
    """A name of the vendor's `DetectAreasMode`, in lower case."""
    auto_skew: bool
    """Whether to turn skewed pages upright."""
    upscale: bool
    """Whether to enlarge small text first."""
    pages: tuple[int, int] | None
    """The first and the last page to read, counted from 1; None for all."""
    save_as: str | None
    """The document to write besides the pages: a value of `DocumentFormat`."""
    tables: bool = False
    """Whether each page also gets a `table`: one line for each row, a tab between two cells."""

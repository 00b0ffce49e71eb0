"""The recognition call: what the service asks the engine process for, and where the engine process writes the result.

The service writes the image into a separate folder and sends its path. The engine process writes the pages, and the
document if one is requested, into the same folder.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.engine.contract.reading_options import FilterName, ImageFilter, PageRange, ReadingKind, ReadingMode, Region

PAGES_FILE = "pages.json"
"""The name of the file, beside the image, to which the engine process writes the fields of the pages."""


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
    pages: tuple[PageRange, ...] | None
    """The pages to read, each once and in the document's order; None for all."""
    save_as: str | None
    """The document to write besides the pages: a value of `DocumentFormat`."""
    tables: bool = False
    """Whether each page's fields also have `table`: a text with a line for each row and a tab between two cells."""
    kind: ReadingKind = ReadingKind.TEXT
    """What the image shows."""
    mode: ReadingMode = ReadingMode.ACCURATE
    """How thoroughly to read."""
    filters: tuple[ImageFilter, ...] = ()
    """The filters to apply first, in this order."""
    regions: tuple[Region, ...] = ()
    """The only parts of each page to read, in this order; empty for the whole page."""
    allowed_characters: str | None = None
    """The only characters that the text may have; None for all."""
    ignored_characters: str | None = None
    """The characters that the text must not have; None for none."""
    detects_skew: bool = False
    """Whether to measure the skew of each page, without turning the page."""
    dictionary: str | None = None
    """A name of the vendor's `SpellCheckLanguage`, in lower case: the dictionary that corrects the text; None for no
    correction."""

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> "RecognitionOptions":
        """Build the options from their fields as JSON values."""
        return cls(
            **{
                **fields,
                "pages": None if fields["pages"] is None else tuple(PageRange(**each) for each in fields["pages"]),
                "kind": ReadingKind(fields["kind"]),
                "mode": ReadingMode(fields["mode"]),
                "filters": tuple(
                    ImageFilter(FilterName(each["name"]), tuple(each["values"])) for each in fields["filters"]
                ),
                "regions": tuple(Region(**each) for each in fields["regions"]),
            }
        )

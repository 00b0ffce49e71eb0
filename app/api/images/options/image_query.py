"""The options of routes that read an image: parameters of the query, or fields of the form."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, field_validator
from pydantic.json_schema import SkipJsonSchema

from app.api.images.options.filters import filters_of
from app.api.images.options.page_ranges import PAGES, ranges_of
from app.api.images.options.vendor_names import LanguageName
from app.engine.contract.reading_options import ImageFilter, PageRange


class ImageQuery(BaseModel):
    """How to read an image, for text or for tables."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid")

    language: LanguageName = "latin"
    """A language (`eng`, `deu`) or a script (`latin`, `ext_latin`). `latin`, `eng` and half of the other names,
    such as `ita`, `nld` and `afr`, drop the accents of letters; `ext_latin` does not. Scripts other than Latin need an
    OCR model."""
    auto_skew: bool = False
    """Turn skewed pages upright. The engine garbles some pages that are already upright."""
    upscale: bool = False
    """Enlarge small text before recognition."""
    pages: Annotated[str | SkipJsonSchema[None], PAGES] = None
    """The pages of a TIFF, PDF or DjVu document to read: single pages and ranges, such as `3`, `2-5` or `1,3,5-`."""
    filters: str | SkipJsonSchema[None] = None
    """Filters to apply to each page first, in this order: `binarize`, `threshold:128`, `invert`, `grayscale`,
    `median`, `dilate`, `scale:2`, `resize:900x300`, `rotate:-90` (degrees
    counterclockwise, so -90 turns to the right), with commas between them."""

    @classmethod
    def names(cls) -> frozenset[str]:
        """Return the names of the options."""
        return frozenset(cls.model_fields)

    @property
    def page_ranges(self) -> tuple[PageRange, ...] | None:
        """The pages to read; None for all."""
        return None if self.pages is None else ranges_of(self.pages)

    @property
    def image_filters(self) -> tuple[ImageFilter, ...]:
        """The filters to apply, in order."""
        return () if self.filters is None else filters_of(self.filters)

    @field_validator("pages")
    @classmethod
    def _pages_in_order(cls, pages: str | None) -> str | None:
        if pages is not None:
            ranges_of(pages)
        return pages

    @field_validator("filters")
    @classmethod
    def _known_filters(cls, filters: str | None) -> str | None:
        if filters is not None:
            filters_of(filters)
        return filters

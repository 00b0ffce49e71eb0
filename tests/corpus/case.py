"""One file of the corpus, and the page that most of them show."""

import io
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from app.engine.contract.page_warnings import PageWarningCode
from app.errors import ImageError
from tests.support.files import pictures

LINES = ("Invoice 4711", "Paid in full")
PAGE = pictures.page(*LINES, points=28, mode="L")
"""The page that each file shows to a person, unless its case has other lines."""


@dataclass(frozen=True, slots=True)
class Case:
    """One file of the corpus."""

    name: str
    make: Callable[[], bytes]
    warnings: tuple[PageWarningCode, ...] = ()
    """The warnings that the file's first page must have."""
    error: type[ImageError] | None = None
    """The error that the file must have; None if it is read."""
    page_count: int = 1
    password: str | None = None
    lines: tuple[str, ...] = LINES
    """The text that the file shows."""
    language: str = "latin"
    """The language that the service and the vendor's library are told."""
    tesseract: str = "eng"
    """The language that tesseract is told."""

    def __str__(self) -> str:
        return self.name


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    """Return the image in one of Pillow's formats."""
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def oriented(orientation: int, page: Image.Image = PAGE) -> tuple[Image.Image, Image.Exif]:
    """Return a page as a camera stores it that was held in this Exif orientation, and the Exif data."""
    to_stored = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    exif = Image.Exif()
    exif[274] = orientation
    return (page if to_stored is None else page.transpose(to_stored)), exif

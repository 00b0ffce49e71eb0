"""Checks of an image before the vendor gets it. They run in the engine process, which hostile input may hang or kill.

Sizes are read from headers and checked before any pixel is decoded. Then each image is decoded once, because the
vendor reads a truncated image as an empty page, without an error.
"""

import struct
import zlib
from pathlib import Path

from PIL import Image, ImageFile
from pypdf import PdfReader
from pypdf.errors import PyPdfError

from app.engine.contract.image_formats import FORMAT_NAMES, IMAGE_FORMATS, PDF
from app.engine.contract.recognition_call import ImageLimits
from app.errors import EncryptedPdf, ImageTooLarge, UnreadableImage, UnsupportedImage

# Turns off Pillow's limit, which only warns; `_check_size` has stricter ones.
Image.MAX_IMAGE_PIXELS = None

PILLOW_FORMATS = tuple(each.pillow_format for each in IMAGE_FORMATS if each.pillow_format)
"""The formats that Pillow tries to open."""
MEDIA_TYPE_OF_FORMAT = {
    name: each.media_type for each in IMAGE_FORMATS for name in (each.pillow_format, *each.pillow_variants) if name
}
"""The media type of each format name that Pillow may report."""
MAX_SIDE_PIXELS = 20_000
"""The longest side of a page: on an image of 100,000 x 1 pixels the vendor fails after 17 s."""
PDF_DOTS_PER_POINT = 150 / 72
"""The vendor renders the pages of a PDF at 150 dots per inch."""
BROKEN = (OSError, SyntaxError, ValueError, EOFError, KeyError, IndexError, TypeError, OverflowError)
BROKEN_IMAGE = (*BROKEN, struct.error, zlib.error, MemoryError)
"""The exceptions that Pillow raises for a broken image."""
BROKEN_PDF = (*BROKEN, PyPdfError, RecursionError, AttributeError, zlib.error)
"""The exceptions that pypdf raises for a broken PDF."""


def examine(
    path: Path, announced: str | None, pages: tuple[int, int] | None, limits: ImageLimits
) -> tuple[str, int, int]:
    """Check that an image can be read; return its media type, the first page (counted from 0) and the number of pages.

    `announced` is the media type that the caller names, or None. Raises UnsupportedImage, UnreadableImage,
    ImageTooLarge and EncryptedPdf.
    """
    with path.open("rb") as file:
        head = file.read(1024)
    if not head:
        raise UnreadableImage("it is empty")
    media_type = PDF if b"%PDF-" in head else _image_type(path)
    if announced not in {None, media_type}:
        raise UnsupportedImage(f"{media_type}, not {announced} as announced", FORMAT_NAMES)
    if media_type == PDF:
        first, count = _examine_pdf(path, pages, limits)
    else:
        first, count = _examine_image(path, pages, limits)
    return media_type, first, count


def _image_type(path: Path) -> str:
    try:
        with Image.open(path, formats=PILLOW_FORMATS) as image:
            return MEDIA_TYPE_OF_FORMAT[image.format or ""]
    except BROKEN_IMAGE as exc:
        raise UnreadableImage(f"it is not {FORMAT_NAMES}, or its header is broken") from exc


def _examine_image(path: Path, pages: tuple[int, int] | None, limits: ImageLimits) -> tuple[int, int]:
    try:
        with Image.open(path, formats=PILLOW_FORMATS) as image:
            # Only the first frame of an animation is read.
            total = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
            first, count = _selected(pages, total, limits)
            for number in range(first, first + count):
                if total > 1:
                    image.seek(number)
                _check_size(*image.size, limits)
                _decode(image)
    except BROKEN_IMAGE as exc:
        raise UnreadableImage(f"it is broken or ends early ({_shown(exc)})") from exc
    return first, count


def _decode(image: Image.Image) -> None:
    assert not ImageFile.LOAD_TRUNCATED_IMAGES  # noqa: S101 - Pillow's default, on which this check rests
    image.load()


def _examine_pdf(path: Path, pages: tuple[int, int] | None, limits: ImageLimits) -> tuple[int, int]:
    try:
        with PdfReader(path) as reader:
            if reader.is_encrypted:
                raise EncryptedPdf
            first, count = _selected(pages, len(reader.pages), limits)
            for page in reader.pages[first : first + count]:
                box = page.mediabox
                width, height = float(box.width), float(box.height)
                _check_size(round(width * PDF_DOTS_PER_POINT), round(height * PDF_DOTS_PER_POINT), limits)
                _check_pictures(page.get("/Resources"), limits)
    except BROKEN_PDF as exc:
        raise UnreadableImage(f"the PDF is broken ({_shown(exc)})") from exc
    return first, count


def _check_pictures(resources: object, limits: ImageLimits) -> None:
    """Check the sizes of the images that are resources of a PDF page; images nested in forms are not checked."""
    resources = resources.get_object() if hasattr(resources, "get_object") else resources
    pictures = resources.get("/XObject", {}) if isinstance(resources, dict) else {}
    for picture in pictures.get_object().values() if hasattr(pictures, "get_object") else ():
        stream = picture.get_object()
        if stream.get("/Subtype") == "/Image":
            _check_size(int(stream["/Width"]), int(stream["/Height"]), limits)


def _selected(pages: tuple[int, int] | None, total: int, limits: ImageLimits) -> tuple[int, int]:
    """Return the first page to read, counted from 0, and the number of pages to read."""
    if total < 1:
        raise UnreadableImage("it has no pages")
    first, last = pages or (1, total)
    if first > total:
        raise UnreadableImage(f"page {first} was requested, but the last page is {total}")
    count = min(last, total) - first + 1
    if count > limits.max_pages:
        raise ImageTooLarge(
            f"{count} pages", f"{limits.max_pages} in one call (OCR_MAX_IMAGE_PAGES); choose with pages="
        )
    return first - 1, count


def _check_size(width: int, height: int, limits: ImageLimits) -> None:
    size = f"a page of {width} x {height} pixels"
    if max(width, height) > MAX_SIDE_PIXELS:
        raise ImageTooLarge(size, f"{MAX_SIDE_PIXELS} on a side")
    if width * height > limits.max_pixels:
        raise ImageTooLarge(size, f"{limits.max_pixels} pixels (OCR_MAX_IMAGE_PIXELS)")
    if min(width, height) < 1:
        raise UnreadableImage(f"it has {size}")


def _shown(exc: BaseException) -> str:
    return f"{type(exc).__name__}: {exc}"[:200]

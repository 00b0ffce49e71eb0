"""An image file as a PDF with one page for each page read, at the size and resolution that the file states.

JPEG and PNG data go into the PDF unchanged, if a PDF can hold them. Otherwise the PDF has the pixels of the upright PNG
that was recognised; only for a black and white page of a TIFF it has the pixels of the file, which CCITT compresses
much better.
"""

import io
import traceback
from collections.abc import Sequence

import img2pdf
from PIL import ExifTags, Image

from app.engine.child.documents.source import Source

DEFAULT_RESOLUTION = 96.0
"""Dots per inch of an image that states none."""
MIN_RESOLUTION, MAX_RESOLUTION = 10.0, 10_000.0
"""A stated resolution outside these limits is ignored. Some programs write 1 dot per inch."""
MIN_SIDE, MAX_SIDE = 3, 14_400
"""The shortest and the longest side of a PDF page, in points, that every viewer shows."""
POINTS = 72
"""Points in an inch."""
KEPT = {"JPEG": {"L", "RGB", "CMYK"}, "MPO": {"L", "RGB"}, "PNG": {"1", "L", "P", "RGB"}}
"""By Pillow's name of a format, the modes in which a PDF can hold the data unchanged. Of an MPO, the first image is
taken."""
TURNS = {1: img2pdf.Rotation["0"], 3: img2pdf.Rotation["180"], 6: img2pdf.Rotation["90"], 8: img2pdf.Rotation["270"]}
"""How a viewer turns an image, by the image's EXIF orientation. All other orientations are mirrored, which a PDF page
cannot state."""

Resolution = tuple[float, float]
"""Dots per inch across and down."""


def pdf_of_image(source: Source) -> bytes:
    """Return a PDF with the image's pages, as a viewer of the image shows them."""
    if not source.is_picture:
        return _of_pages(source)
    with Image.open(source.path) as image:
        try:
            if image.format == "TIFF":
                return _with_frames(image, source)
            turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
            if turn and image.mode in KEPT.get(image.format or "", set()) and "transparency" not in image.info:
                return _converted([source.path.read_bytes()], [_resolution(image.info.get("dpi"))], turn)
        except Exception as exc:  # noqa: BLE001 - img2pdf refuses some files, with many kinds of exceptions
            # To the log: the PDF gets the pixels instead of the data.
            traceback.print_exception(exc)
    return _of_pages(source)


def _of_pages(source: Source) -> bytes:
    """Return a PDF with the upright PNGs of the pages that were recognised."""
    pictures = [page.path.read_bytes() for page in source.pages]
    return _converted(pictures, [_stated(page.dots_per_inch) for page in source.pages], TURNS[1])


def _with_frames(image: Image.Image, source: Source) -> bytes:
    """Return a PDF of a TIFF's pages: black and white pages from the file, other pages from the recognised PNGs."""
    pictures, resolutions = [], []
    for page in source.pages:
        image.seek(page.number - 1)
        if image.mode == "1":
            file = io.BytesIO()
            image.save(file, "PNG")
            pictures.append(file.getvalue())
            resolutions.append(_resolution(image.info.get("dpi")))
        else:
            pictures.append(page.path.read_bytes())
            resolutions.append(_stated(page.dots_per_inch))
    return _converted(pictures, resolutions, TURNS[1])


def _converted(pictures: Sequence[bytes], resolutions: Sequence[Resolution], turn: img2pdf.Rotation) -> bytes:
    remaining = iter(resolutions)

    def layout(width: int, height: int, _stated: Resolution) -> tuple[float, float, float, float]:
        across, down = next(remaining)
        sides = width * POINTS / across, height * POINTS / down
        shrunk = min(1, MAX_SIDE / max(sides))
        shown_width, shown_height = (max(side * shrunk, MIN_SIDE) for side in sides)
        return shown_width, shown_height, shown_width, shown_height

    return bytes(img2pdf.convert(list(pictures), layout_fun=layout, rotation=turn, first_frame_only=True))


def _stated(dots_per_inch: float | None) -> Resolution:
    return _resolution((dots_per_inch, dots_per_inch) if dots_per_inch else None)


def _resolution(stated: Sequence[float] | None) -> Resolution:
    """Return a stated resolution, or DEFAULT_RESOLUTION if it is missing or outside the limits."""
    values = [float(value) for value in stated or ()]
    if len(values) == 2 and all(MIN_RESOLUTION <= value <= MAX_RESOLUTION for value in values):  # noqa: PLR2004
        return values[0], values[1]
    return DEFAULT_RESOLUTION, DEFAULT_RESOLUTION

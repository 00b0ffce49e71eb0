"""Decodes images as a viewer shows them: upright, on white paper, in 8 bits of grey or RGB, with square pixels.

The vendor's library ignores the orientation that cameras record, and reads a page that it cannot decode as an empty
one, without an error. So Pillow decodes, and the vendor gets the result.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from PIL import ExifTags, Image, ImageFile

from app.engine.child.images.file_types import PILLOW_FORMATS
from app.engine.child.images.image_sizes import check_size
from app.engine.contract.page_warnings import PageWarning, PageWarningCode
from app.engine.contract.recognition_call import ImageLimits

TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By Exif orientation, Pillow's operation that turns an image upright."""
SIDEWAYS = {5, 6, 7, 8}
"""The orientations that exchange width and height."""
SIXTEEN_BITS = 65_535
DIM = 4_096
"""A 16-bit image without a value of at least this is dim, so its values are stretched: scanners with 12 bits write such
files."""
CONTRAST = 32
"""The least contrast that a transparent image must have on white. With less contrast, the image is put on black."""
MOST_MISSING = 0.05
"""The largest fraction of a JPEG's rows that may be missing because the file ends early."""
BLOCK_ROWS = 64
"""How many rows a JPEG decoder may hold back until it gets more data: up to two rows of blocks, which may be scaled
twice."""
STRETCHED = (1.1, 4.0)
"""By how much the horizontal and the vertical resolution may differ for the image to be stretched to square pixels: a
fax in standard quality has 204 x 98 dots per inch."""
LEAST_DOTS, MOST_DOTS = 20, 10_000
"""The lowest and the highest resolution that is believed, in dots per inch. For a TIFF that states none, Pillow reports
1."""
SEVERAL_VIEWS = {"MPO"}
"""Formats whose further frames are other views of one picture, which no viewer shows."""


@dataclass(slots=True)
class DecodedPage:
    """A page as a viewer shows it."""

    image: Image.Image
    dots_per_inch: float | None
    """The resolution that the file states, or at which the page was rendered; None if the file states none."""
    warnings: list[PageWarning]


def page_count(path: Path) -> int:
    """Return the number of pages of an image. Only a TIFF has several: an animation is one page, its first frame."""
    with _opened(path) as image:
        return int(getattr(image, "n_frames", 1)) if image.format == "TIFF" else 1


def decode_page(path: Path, number: int, limits: ImageLimits) -> DecodedPage:
    """Decode page `number`, counted from 1. Raises ImageError, and what Pillow raises for a broken file."""
    with _opened(path) as image:
        if number > 1:
            image.seek(number - 1)
        check_size(*image.size, limits)
        orientation = _orientation(image)
        warnings = _unread_frames(image)
        loaded, is_cut = _loaded(path, image)
        if is_cut:
            warnings.append(PageWarning(PageWarningCode.IMAGE_CUT_SHORT, "the file ends early; its end may be missing"))
        x_dots, y_dots = _resolution(image)
        page = _flat(loaded)
    if orientation in TRANSPOSITIONS:
        page = page.transpose(TRANSPOSITIONS[orientation])
        x_dots, y_dots = (y_dots, x_dots) if orientation in SIDEWAYS else (x_dots, y_dots)
    page = _with_square_pixels(page, x_dots, y_dots, limits)
    return DecodedPage(page, max(x_dots, y_dots) or None, warnings)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image as a file object: given the path, Pillow maps some TIFFs into memory and does not turn them."""
    with path.open("rb") as file, Image.open(file, formats=PILLOW_FORMATS) as image:
        yield image


def _orientation(image: Image.Image) -> int:
    """Return the Exif orientation; 1, which is upright, if there is none or the Exif data is broken.

    Returns 1 for TIFF and HEIF too, because Pillow and the reader of HEIF turn such images themselves.
    """
    if image.format in {"TIFF", "HEIF"}:
        return 1
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001 - viewers show the image if its Exif data is broken; so what this raises is no matter
        return 1


def _unread_frames(image: Image.Image) -> list[PageWarning]:
    is_one = image.format in {"TIFF", *SEVERAL_VIEWS} or not getattr(image, "is_animated", False)
    detail = "the image has several frames; only the first one is read"
    return [] if is_one else [PageWarning(PageWarningCode.FRAMES_NOT_READ, detail)]


def _loaded(path: Path, image: Image.Image) -> tuple[Image.Image, bool]:
    """Return the decoded image, and whether its file ends early. Raises OSError if too much of the image is missing."""
    assert not ImageFile.LOAD_TRUNCATED_IMAGES  # noqa: S101 - Pillow's default, on which this check rests
    try:
        image.load()
    except OSError:
        if image.format not in {"JPEG", "MPO"} or _missing_rows(image) > max(BLOCK_ROWS, MOST_MISSING * image.height):
            raise
        with _tolerating_cut_files(), _opened(path) as again:
            again.load()
            return again.copy(), True
    return image, False


def _missing_rows(image: Image.Image) -> int:
    """Return how many rows at the bottom of an image were not decoded; 0 for a progressive JPEG."""
    if "progressive" in image.info:
        return 0
    box = image._new(image.im).getbbox() if image._im else None  # noqa: SLF001
    return int(image.height - (box[3] if box else 0))


@contextmanager
def _tolerating_cut_files() -> Iterator[None]:
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = False


def _resolution(image: Image.Image) -> tuple[float, float]:
    """Return the horizontal and the vertical resolution in dots per inch; 0 for an unknown one."""
    try:
        x, y = (float(each) for each in image.info["dpi"])
    except Exception:  # noqa: BLE001 - without a resolution, or with a broken one, the image is still shown
        return 0, 0
    return (x, y) if all(LEAST_DOTS <= each <= MOST_DOTS for each in (x, y)) else (0, 0)


def _flat(image: Image.Image) -> Image.Image:
    """Return an image in mode L or RGB, as a viewer shows it."""
    if image.mode.startswith("I;16") or image.mode in {"I", "F"}:
        return _eight_bits(image)
    if image.has_transparency_data:
        return _on_paper(image.convert("RGBA"))
    return image.convert("L" if image.mode in {"1", "L"} else "RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Convert an image with more than 8 bits a pixel to 8 bits. Values of unknown range are stretched to 0 to 255."""
    numbers = image.convert("F")
    low, high = cast("tuple[float, float]", numbers.getextrema())
    if image.mode == "F" or low < 0 or high > SIXTEEN_BITS:
        low, high = (0.0, 1.0) if image.mode == "F" and low >= 0 and CONTRAST / 255 < high <= 1 else (low, high)
    else:
        low, high = 0, high if high < DIM else SIXTEEN_BITS
    scale = 255 / (high - low) if high > low else 1.0
    return numbers.point(lambda value: value * scale + -low * scale).convert("L")


def _on_paper(image: Image.Image) -> Image.Image:
    """Return a transparent image on white paper, or on black if the image can hardly be seen on white."""
    alpha = image.getchannel("A")
    papers = []
    for colour in ("white", "black"):
        paper = Image.new("RGB", image.size, colour)
        paper.paste(image, mask=alpha)
        papers.append(paper)
        low, high = cast("tuple[int, int]", paper.convert("L").getextrema())
        if high - low >= CONTRAST:
            return paper
    return papers[0]


def _with_square_pixels(page: Image.Image, x_dots: float, y_dots: float, limits: ImageLimits) -> Image.Image:
    if not x_dots or not y_dots:
        return page
    ratio = max(x_dots, y_dots) / min(x_dots, y_dots)
    if not STRETCHED[0] <= ratio <= STRETCHED[1]:
        return page
    most = max(x_dots, y_dots)
    size = round(page.width * most / x_dots), round(page.height * most / y_dots)
    check_size(*size, limits)
    return page.resize(size, Image.Resampling.BICUBIC)

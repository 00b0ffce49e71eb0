"""Checks an image before the vendor's library reads it.

The checks run in the engine process, because hostile input may hang or kill a process. Sizes are read from headers and
checked before any pixel is decoded. Then each image is decoded once, because the vendor reads a truncated image as an
empty page, without an error.
"""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, ImageFile, UnidentifiedImageError

from app.engine.child.images.image_sizes import check_size, limited_time, select_pages
from app.engine.child.images.pdf_checks import examine_pdf
from app.engine.child.images.tiff_directories import check_directories
from app.engine.contract.image_formats import FORMAT_NAMES, IMAGE_FORMATS, PDF, TIFF
from app.engine.contract.recognition_call import ImageLimits
from app.errors import ImageError, ImageTooLarge, UnreadableImage, UnsupportedImage

# Turns off Pillow's limit on pixels, which only warns; `check_size` applies stricter limits.
Image.MAX_IMAGE_PIXELS = None

PILLOW_FORMATS = tuple(each.pillow_format for each in IMAGE_FORMATS if each.pillow_format)
"""The formats that Pillow tries to open."""
MEDIA_TYPE_OF_FORMAT = {
    name: each.media_type for each in IMAGE_FORMATS for name in (each.pillow_format, *each.pillow_variants) if name
}
"""The media type of each format name that Pillow may report."""


def examine(
    path: Path, announced: str | None, pages: tuple[int, int] | None, limits: ImageLimits
) -> tuple[str, int, int]:
    """Check that an image can be read; return its media type, the first page (counted from 0) and the number of pages.

    `announced` is the media type that the caller names, or None. Raises UnsupportedImage, UnreadableImage,
    ImageTooLarge and EncryptedPdf, and no other error for any bytes.
    """
    with path.open("rb") as file:
        head = file.read(1024)
    if not head:
        raise UnreadableImage("it is empty")
    with limited_time():
        media_type = PDF if b"%PDF-" in head else _image_type(path)
        if announced not in {None, media_type}:
            raise UnsupportedImage(f"{media_type}, not {announced} as announced", FORMAT_NAMES)
        if media_type == PDF:
            with _refusing("the PDF is broken"):
                first, count = examine_pdf(path, pages, limits)
        else:
            with _refusing("it is broken or ends early"):
                if media_type == TIFF:
                    check_directories(path)
                first, count = _examine_image(path, pages, limits)
    return media_type, first, count


@contextmanager
def _refusing(what: str) -> Iterator[None]:
    """Raise UnreadableImage for any exception of a parser: hostile bytes can make a parser raise any exception."""
    try:
        yield
    except ImageError:
        raise
    except UnidentifiedImageError as exc:
        raise UnreadableImage(what) from exc  # its text is the path of a file of this service
    except MemoryError as exc:
        raise ImageTooLarge("a page that does not fit into the engine's memory", "the memory that it can get") from exc
    except Exception as exc:
        traceback.print_exc()  # to the log, because the exception may be a defect of the checks
        raise UnreadableImage(f"{what} ({_shown(exc)})") from exc


def _image_type(path: Path) -> str:
    with (
        _refusing(f"it is not {FORMAT_NAMES}, or its header is broken"),
        Image.open(path, formats=PILLOW_FORMATS) as image,
    ):
        return MEDIA_TYPE_OF_FORMAT[image.format or ""]


def _examine_image(path: Path, pages: tuple[int, int] | None, limits: ImageLimits) -> tuple[int, int]:
    with Image.open(path, formats=PILLOW_FORMATS) as image:
        # Only the first frame of an animation is read.
        total = getattr(image, "n_frames", 1) if image.format == "TIFF" else 1
        first, count = select_pages(pages, total, limits)
        for number in range(first, first + count):
            if total > 1:
                image.seek(number)
            check_size(*image.size, limits)
            _decode(image)
    return first, count


def _decode(image: Image.Image) -> None:
    assert not ImageFile.LOAD_TRUNCATED_IMAGES  # noqa: S101 - Pillow's default, on which this check rests
    image.load()


def _shown(exc: BaseException) -> str:
    return f"{type(exc).__name__}: {exc}"[:200]

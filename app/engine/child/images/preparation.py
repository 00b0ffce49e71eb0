"""Prepares a file for recognition: checks it, and writes each requested page as an upright PNG beside it.

This runs in the engine process, because hostile input may hang or kill a process. Sizes are read from headers and
checked before any pixel is decoded. The vendor gets only the PNGs, so it reads what a viewer shows, whatever the format
of the file, and every page is either decoded completely, read with a warning, or refused.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from app.engine.child.images.file_types import format_of
from app.engine.child.images.guarded_parsing import refusing
from app.engine.child.images.image_sizes import limited_time, select_pages
from app.engine.child.images.pdf_checks import examine_pdf, is_encrypted
from app.engine.child.images.pdf_pages import open_pdf, unlock
from app.engine.child.images.tiff_directories import check_directories
from app.engine.child.images.upright_images import DecodedPage, decode_page, page_count
from app.engine.contract.image_formats import PDF, TIFF
from app.engine.contract.page_warnings import PageWarning, PageWarningCode
from app.engine.contract.recognition_call import ImageLimits
from app.errors import UnreadableImage

BROKEN_IMAGE = "it is broken or ends early"
BROKEN_PDF = "the PDF is broken"
FASTEST = 1
"""The compression level of the PNGs, which are read once: five times as fast as the default, and a fifth larger."""
MAX_SHOWN_NAMES = 5
MAX_SHOWN_CHARS = 60


@dataclass(frozen=True, slots=True)
class PreparedPage:
    """One page, as the vendor gets it."""

    number: int
    """The number of the page in the document, counted from 1."""
    path: Path
    """The path of a PNG in grey or RGB with 8 bits."""
    dots_per_inch: float | None
    """The resolution of the PNG; None if the file states none."""
    size: tuple[int, int]
    """The width and the height of the PNG in pixels."""
    warnings: tuple[PageWarning, ...]


@dataclass(frozen=True, slots=True)
class _Document:
    """An open file whose structure has been checked."""

    numbers: list[int]
    """The numbers of the requested pages."""
    total: int
    decode: Callable[[int], DecodedPage]
    warnings: list[PageWarning] = field(default_factory=list)
    """Warnings about the document."""


def prepare(
    path: Path, pages: tuple[int, int] | None, limits: ImageLimits, password: str | None = None
) -> list[PreparedPage]:
    """Write the requested pages as PNGs beside the file.

    `pages` is the first and the last page, None for all; `password` opens an encrypted PDF. Warnings about the document
    belong to the first page. Raises any ImageError but no other error for any bytes, and OSError if the disk is full.
    """
    with ExitStack() as stack:
        with limited_time():
            kind = format_of(path).media_type
            opened = _open_pdf(path, pages, limits, password) if kind == PDF else _open_image(path, pages, limits, kind)
            document = stack.enter_context(opened)
        prepared: list[PreparedPage] = []
        for number in document.numbers:
            with limited_time():
                decoded = document.decode(number)
            file = path.with_name(f"page-{number}.png")
            dots = decoded.dots_per_inch
            decoded.image.save(file, compress_level=FASTEST, dpi=(dots, dots) if dots else None)
            warnings = (*(document.warnings if not prepared else ()), *decoded.warnings)
            prepared.append(PreparedPage(number, file, dots, decoded.image.size, warnings))
    return prepared


@contextmanager
def _open_image(path: Path, pages: tuple[int, int] | None, limits: ImageLimits, media_type: str) -> Iterator[_Document]:
    def decode(number: int) -> DecodedPage:
        with refusing(BROKEN_IMAGE if total == 1 else f"page {number} is broken, ends early or cannot be decoded"):
            return decode_page(path, number, limits)

    with refusing(BROKEN_IMAGE):
        if media_type == TIFF:
            check_directories(path)
        total = page_count(path)
    numbers = select_pages(pages, total, limits)
    yield _Document(numbers, total, decode, _beyond(pages, total))


@contextmanager
def _open_pdf(
    path: Path, pages: tuple[int, int] | None, limits: ImageLimits, password: str | None
) -> Iterator[_Document]:
    with refusing(BROKEN_PDF):
        plain = unlock(path, password) if is_encrypted(path) else path
        facts = examine_pdf(plain, pages, limits)
    with open_pdf(plain) as rendered:
        if len(rendered) != facts.total:
            raise UnreadableImage(f"its page tree states {len(rendered)} pages, and {facts.total} can be found")

        def decode(number: int) -> DecodedPage:
            with refusing(f"page {number} of the PDF is broken"):
                return rendered.render(number, facts.user_units[number], limits)

        warnings = [*_beyond(pages, facts.total), *_attached([*rendered.attachments, *facts.attached])]
        yield _Document(facts.numbers, facts.total, decode, warnings)


def _beyond(pages: tuple[int, int] | None, total: int) -> list[PageWarning]:
    if not pages or pages[1] <= total:
        return []
    detail = f"page {pages[1]} was requested, and the last page is {total}"
    return [PageWarning(PageWarningCode.PAGES_BEYOND_END, detail)]


def _attached(names: list[str]) -> list[PageWarning]:
    if not names:
        return []
    shown = ", ".join(repr(name[:MAX_SHOWN_CHARS]) for name in names[:MAX_SHOWN_NAMES])
    more = f" and {len(names) - MAX_SHOWN_NAMES} more" if len(names) > MAX_SHOWN_NAMES else ""
    detail = f"files are attached to the PDF and were not read: {shown}{more}"
    return [PageWarning(PageWarningCode.ATTACHMENTS_NOT_READ, detail)]

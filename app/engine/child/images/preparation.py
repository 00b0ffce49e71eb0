"""Prepares a file for recognition: checks the file, and writes each requested page as an upright PNG beside the file.

The preparation runs in the engine process, because hostile input may hang or kill a process. Sizes are read from
headers and checked before any pixel is decoded. The vendor gets only the PNGs, so the vendor reads what a viewer shows,
for every format of file. Every page is decoded completely, read with a warning, or refused.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from app.engine.child.images.archives import unpack
from app.engine.child.images.file_types import format_of
from app.engine.child.images.guarded_parsing import refusing
from app.engine.child.images.image_sizes import limited_time, select_pages
from app.engine.child.images.pdf_checks import examine_pdf, is_encrypted
from app.engine.child.images.pdf_pages import open_pdf, unlock
from app.engine.child.images.tiff_directories import check_directories
from app.engine.child.images.upright_images import DecodedPage, decode_page, page_count
from app.engine.contract import image_formats
from app.engine.contract.image_formats import FORMAT_NAMES
from app.engine.contract.page_warnings import PageWarning, PageWarningCode
from app.engine.contract.reading_options import PageRange
from app.engine.contract.recognition_call import ImageLimits
from app.errors import ImageError, UnreadableImage, UnsupportedImage

BROKEN_IMAGE = "it is broken or ends early"
BROKEN_PDF = "the PDF is broken"
FASTEST = 1
"""The compression level of the PNGs. Each PNG is read once only, so speed matters: five times as fast as the default
level, with files a fifth larger."""
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
    source: str | None = None
    """The name of the page's file in a ZIP archive, or None."""


@dataclass(frozen=True, slots=True)
class _Document:
    """An open file whose structure has been checked."""

    numbers: list[int]
    """The numbers of the requested pages."""
    decode: Callable[[int], DecodedPage]
    warnings: list[PageWarning]
    """Warnings about the document."""
    sources: dict[int, str] = field(default_factory=dict)
    """The names of the pages' files in a ZIP archive, by the number of the page."""


def prepare(
    path: Path, pages: tuple[PageRange, ...] | None, limits: ImageLimits, password: str | None = None
) -> list[PreparedPage]:
    """Write the requested pages as PNGs beside the file.

    `pages` are the ranges of pages, None for all; `password` opens an encrypted PDF. Warnings about the document
    belong to the first page. Raises any ImageError but no other error for any bytes, and OSError if the disk is full.
    """
    with ExitStack() as stack:
        with limited_time():
            kind = format_of(path).media_type
            document = stack.enter_context(_opened(kind, path, pages, limits, password))
        prepared: list[PreparedPage] = []
        for number in document.numbers:
            with limited_time():
                decoded = document.decode(number)
            file = path.with_name(f"page-{number}.png")
            dots = decoded.dots_per_inch
            decoded.image.save(file, compress_level=FASTEST, dpi=(dots, dots) if dots else None)
            warnings = (*(document.warnings if not prepared else ()), *decoded.warnings)
            source = document.sources.get(number)
            prepared.append(PreparedPage(number, file, dots, decoded.image.size, warnings, source))
    return prepared


def _opened(
    media_type: str, path: Path, pages: tuple[PageRange, ...] | None, limits: ImageLimits, password: str | None
) -> AbstractContextManager[_Document]:
    match media_type:
        case image_formats.ZIP:
            return _open_archive(path, pages, limits, password)
        case image_formats.PDF:
            return _open_pdf(path, pages, limits, password)
        case image_formats.DJVU:
            return _open_djvu(path, pages, limits)
        case _:
            return _open_image(path, pages, limits, media_type)


@contextmanager
def _open_archive(
    path: Path, pages: tuple[PageRange, ...] | None, limits: ImageLimits, password: str | None
) -> Iterator[_Document]:
    """Open a ZIP archive as one document: the pages of its images, one after another, in the order of the archive."""
    with refusing("the ZIP archive is broken"):
        entries = unpack(path)
    found: list[tuple[_Document, int, str]] = []
    warnings, unread = [], []
    with ExitStack() as stack:
        for entry in entries:
            try:
                media_type = format_of(entry.path).media_type
            except ImageError:
                media_type = image_formats.ZIP
            if media_type == image_formats.ZIP:
                unread.append(entry.name)
                continue
            document = stack.enter_context(_opened(media_type, entry.path, None, limits, password))
            found += [(document, number, entry.name) for number in document.numbers]
            warnings += document.warnings

        def decode(number: int) -> DecodedPage:
            document, inner, name = found[number - 1]
            with refusing(f"{name!r:.100} in the ZIP archive is broken"):
                return document.decode(inner)

        if not found:
            raise UnsupportedImage("a ZIP archive without an image", FORMAT_NAMES)
        numbers = select_pages(pages, len(found), limits)
        warnings += _named(PageWarningCode.FILES_NOT_READ, "files of the ZIP archive are no images", unread)
        sources = {number: found[number - 1][2] for number in numbers}
        yield _Document(numbers, decode, [*_beyond(pages, len(found)), *warnings], sources)


@contextmanager
def _open_image(
    path: Path, pages: tuple[PageRange, ...] | None, limits: ImageLimits, media_type: str
) -> Iterator[_Document]:
    def decode(number: int) -> DecodedPage:
        with refusing(BROKEN_IMAGE if total == 1 else f"page {number} is broken, ends early or cannot be decoded"):
            return decode_page(path, number, limits)

    with refusing(BROKEN_IMAGE):
        if media_type == image_formats.TIFF:
            check_directories(path)
        total = page_count(path)
    numbers = select_pages(pages, total, limits)
    yield _Document(numbers, decode, _beyond(pages, total))


@contextmanager
def _open_djvu(path: Path, pages: tuple[PageRange, ...] | None, limits: ImageLimits) -> Iterator[_Document]:
    # Imported here, because few files are DjVu.
    from app.engine.child.images.djvu_pages import open_djvu  # noqa: PLC0415

    with refusing("the DjVu document is broken"):
        document = open_djvu(path)

    def decode(number: int) -> DecodedPage:
        with refusing(f"page {number} of the DjVu document is broken"):
            return document.render(number, limits)

    yield _Document(select_pages(pages, len(document), limits), decode, _beyond(pages, len(document)))


@contextmanager
def _open_pdf(
    path: Path, pages: tuple[PageRange, ...] | None, limits: ImageLimits, password: str | None
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

        attached = [*rendered.attachments, *facts.attached]
        warnings = _named(
            PageWarningCode.ATTACHMENTS_NOT_READ, "files are attached to the PDF and were not read", attached
        )
        yield _Document(facts.numbers, decode, [*_beyond(pages, facts.total), *rendered.warnings, *warnings])


def _beyond(pages: tuple[PageRange, ...] | None, total: int) -> list[PageWarning]:
    if (last := max((each.last or 0 for each in pages or ()), default=0)) <= total:
        return []
    detail = f"page {last} was requested, and the last page is {total}"
    return [PageWarning(PageWarningCode.PAGES_BEYOND_END, detail)]


def _named(code: PageWarningCode, what: str, names: list[str]) -> list[PageWarning]:
    """Return a list with one warning that states the first few of `names`; an empty list if `names` is empty."""
    if not names:
        return []
    shown = ", ".join(repr(name[:MAX_SHOWN_CHARS]) for name in names[:MAX_SHOWN_NAMES])
    more = f" and {len(names) - MAX_SHOWN_NAMES} more" if len(names) > MAX_SHOWN_NAMES else ""
    return [PageWarning(code, f"{what}: {shown}{more}")]

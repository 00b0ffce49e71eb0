"""Searchable PDF: the pages as they were sent, with the recognised text, invisible, where the page shows it.

The text is drawn before the page's own content. So the page looks as before, and a colour or scale that its content
sets does not change the text. The pages of a PDF stay as they are; an image becomes a page of the image's size and
resolution.
"""

import io
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

from pikepdf import Dictionary, Name, Object, PasswordError, Pdf, Rectangle
from pikepdf import Page as PdfPage

from app.engine.child.documents.glyphless_font import NAME, GlyphlessFont
from app.engine.child.documents.pages import Page
from app.engine.child.documents.picture_pdf import pdf_of_image
from app.engine.child.documents.source import Source
from app.engine.child.documents.text_layer import Placement, text_layer, turned_size
from app.engine.child.images.guarded_parsing import refusing
from app.errors import UnreadableImage

SAME_SHAPE = 0.02
"""By how much the aspect ratios of two images of one page may differ, as a fraction, since sizes are whole pixels."""
NO_PDF = "no searchable PDF can be made of it, though its text can be read; ask for another format"


def write_pdf(target: Path, pages: Sequence[Page], source: Source, *, is_text_only: bool) -> None:
    """Write a PDF of the recognised pages of `source`.

    With `is_text_only`, the pages have their size and their text, and nothing else. Raises UnreadableImage if pikepdf
    cannot read the PDF.
    """
    # The PDF of an image is the service's own: an exception there would be a defect.
    with refusing(NO_PDF) if source.is_pdf else nullcontext(), _opened(source) as pdf:
        if source.is_pdf:
            _keep(pdf, {page.number for page in pages})
        if len(pdf.pages) != len(pages):
            raise UnreadableImage(f"{NO_PDF}: it has {len(pdf.pages)} of the {len(pages)} pages that were read")
        _add_text(pdf, pages, source, is_text_only=is_text_only)
        pdf.save(target)


def _opened(source: Source) -> Pdf:
    if not source.is_pdf:
        return Pdf.open(io.BytesIO(pdf_of_image(source)))
    try:
        return Pdf.open(source.path)
    except PasswordError:
        return Pdf.open(source.path, password=source.password or "")


def _add_text(pdf: Pdf, pages: Sequence[Page], source: Source, *, is_text_only: bool) -> None:
    font = GlyphlessFont()
    for page, prepared, sheet in zip(pages, source.pages, pdf.pages, strict=True):
        if is_text_only:
            _empty(sheet)
        degrees = source.turned_degrees + ((page.skew_degrees or 0) if source.is_deskewed else 0)
        sheet.contents_add(text_layer(page, _placement(page, prepared.size, sheet, degrees), font), prepend=True)
    added = font.added_to(pdf)
    for sheet in pdf.pages:
        _fonts_of(sheet)[NAME] = added


def _keep(pdf: Pdf, numbers: set[int]) -> None:
    """Remove from a PDF all pages but those with these numbers."""
    for number in range(len(pdf.pages), 0, -1):
        if number not in numbers:
            del pdf.pages[number - 1]


def _empty(sheet: PdfPage) -> None:
    for key in set(sheet.obj.keys()) - {"/Type", "/Parent", "/MediaBox", "/CropBox", "/Rotate", "/UserUnit"}:
        del sheet.obj[key]
    sheet.obj[Name.Resources] = Dictionary()


def _placement(page: Page, size: tuple[int, int], sheet: PdfPage, degrees: float) -> Placement:
    """Return the placement that maps pixels of the recognised image to the PDF page, as viewers show the page.

    `size` is the size of the page in pixels before the vendor turned it by `degrees`, counterclockwise.
    """
    media, crop = Rectangle(sheet.mediabox), Rectangle(sheet.cropbox)
    box = (max(media.llx, crop.llx), max(media.lly, crop.lly), min(media.urx, crop.urx), min(media.ury, crop.ury))
    if box[0] >= box[2] or box[1] >= box[3]:
        box = (media.llx, media.lly, media.urx, media.ury)
    # A turn that is no multiple of 90 degrees is not allowed; PDFium rounds it towards 0.
    rotation = int(sheet.rotation / 90) % 4 * 90
    if degrees and _have_one_shape(turned_size(size, degrees), (page.width, page.height)):
        return Placement.of(size, box, rotation).of_turned(size, (page.width, page.height), degrees)
    return Placement.of((page.width, page.height), box, rotation)


def _have_one_shape(size: tuple[float, float], other: tuple[float, float]) -> bool:
    """Return whether two sizes have about the same aspect ratio.

    If not, the vendor did not turn the page as reported.
    """
    return abs(size[0] * other[1] / (size[1] * other[0]) - 1) < SAME_SHAPE


def _fonts_of(sheet: PdfPage) -> Object:
    """Return the fonts of a page, in resources of its own.

    Resources may be inherited, or shared with other pages; then the page first gets a copy.
    """
    resources = _copied(_inherited(sheet.obj, Name.Resources))
    resources[Name.Font] = _copied(resources.get(Name.Font))
    sheet.obj[Name.Resources] = resources
    return sheet.obj.Resources.Font


def _copied(dictionary: Object | None) -> Dictionary:
    return Dictionary(dict(dictionary.items()) if isinstance(dictionary, Dictionary) else {})


def _inherited(node: Object | None, key: Name) -> Object | None:
    """Return the attribute `key` of a page, which the page may inherit from a node above it in the page tree."""
    while node is not None:
        if key in node:
            return node[key]
        node = node.get(Name.Parent)
    return None

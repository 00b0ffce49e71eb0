"""Renders the pages of a PDF with PDFium, as a viewer shows them: boxes, rotation, forms, annotations, fonts.

The file must have passed `pdf_checks`. Only `unlock` opens a file before: an encrypted PDF is decrypted before its
check.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from math import ceil, sqrt
from pathlib import Path

import pypdfium2 as pdfium
from pypdfium2 import raw as pdfium_c

from app.engine.child.images.image_sizes import MAX_SIDE_PIXELS, check_size
from app.engine.child.images.pdf_losses import font_warnings, form_warnings
from app.engine.child.images.upright_images import DecodedPage
from app.engine.contract.page_warnings import PageWarning
from app.engine.contract.recognition_call import ImageLimits
from app.errors import EncryptedPdf, UnreadableImage

DOTS_PER_INCH = 200
"""The resolution at which a page is rendered."""
LEAST_DOTS_PER_INCH = 150
"""The lowest resolution to which a page is reduced if it would have too many pixels otherwise. A page that has too many
even then is refused."""
POINTS_PER_INCH = 72


def unlock(path: Path, password: str | None) -> Path:
    """Write a decrypted copy of an encrypted PDF into the same folder, and return the path of the copy.

    A PDF that only restricts what readers may do opens without a password. Raises EncryptedPdf and UnreadableImage.
    """
    unlocked = path.with_name("unlocked.pdf")
    for attempt in dict.fromkeys(("", password or "")):
        try:
            with pdfium.PdfDocument(path, password=attempt) as document:
                document.save(unlocked, flags=pdfium_c.FPDF_REMOVE_SECURITY)
        except pdfium.PdfiumError as exc:
            if exc.err_code not in {pdfium_c.FPDF_ERR_PASSWORD, pdfium_c.FPDF_ERR_SECURITY}:
                raise UnreadableImage("the PDF is encrypted and broken") from exc
            continue
        return unlocked
    raise EncryptedPdf(is_password_wrong=bool(password))


class PdfPages:
    """The pages of one open PDF."""

    def __init__(self, document: pdfium.PdfDocument) -> None:
        self._document = document

    def __len__(self) -> int:
        return len(self._document)

    @property
    def attachments(self) -> list[str]:
        """The names of the files that are attached to the document."""
        return [
            self._document.get_attachment(number).get_name() for number in range(self._document.count_attachments())
        ]

    @property
    def warnings(self) -> list[PageWarning]:
        """Warnings about the document as a whole."""
        return form_warnings(self._document)

    def render(self, number: int, user_unit: float, limits: ImageLimits) -> DecodedPage:
        """Render page `number`, counted from 1; `user_unit` is the size of the page's unit in points.

        Raises ImageError.
        """
        try:
            page = self._document[number - 1]
        except pdfium.PdfiumError as exc:
            raise UnreadableImage(f"page {number} of the PDF is broken or missing") from exc
        try:
            width, height = (side * user_unit / POINTS_PER_INCH for side in page.get_size())
            least = round(width * LEAST_DOTS_PER_INCH), round(height * LEAST_DOTS_PER_INCH)
            check_size(*least, limits)
            dots = resolution(width, height, limits)
            bitmap = page.render(scale=dots * user_unit / POINTS_PER_INCH, rev_byteorder=True, may_draw_forms=True)
            return DecodedPage(bitmap.to_pil().convert("RGB"), dots, font_warnings(page))
        finally:
            page.close()


def resolution(width: float, height: float, limits: ImageLimits) -> float:
    """Return the dots per inch for a page of this size in inches, which fits at LEAST_DOTS_PER_INCH."""
    most = min((MAX_SIDE_PIXELS - 1) / max(width, height), sqrt(limits.max_pixels / (width * height)))
    fitting = min(float(DOTS_PER_INCH), most)
    while ceil(width * fitting) * ceil(height * fitting) > limits.max_pixels and fitting > LEAST_DOTS_PER_INCH:
        fitting *= 0.99
    return max(fitting, float(LEAST_DOTS_PER_INCH))


@contextmanager
def open_pdf(path: Path) -> Iterator[PdfPages]:
    """Open a PDF without encryption. Raises UnreadableImage."""
    try:
        document = pdfium.PdfDocument(path)
    except pdfium.PdfiumError as exc:
        raise UnreadableImage("the PDF is broken") from exc
    with document:
        document.init_forms()
        yield PdfPages(document)

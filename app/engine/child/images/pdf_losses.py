"""Finds what a page of a PDF loses when PDFium renders it: letters of fonts that are not embedded, and XFA forms.

PDFium has built-in fonts for Western letters only, and no other font is installed in a container. What PDFium does was
measured with pypdfium2 5.15: a letter that no font has gets a box without height and is drawn as nothing, such as each
Chinese letter, and the `ź` of a font that is called Arial and not embedded. If a font states only the numbers of
glyphs, PDFium reports an error for the letter's meaning, and draws the letter that has this number in another font.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import pypdfium2 as pdfium
from pypdfium2 import raw as pdfium_c

from app.engine.contract.page_warnings import PageWarning, PageWarningCode

MAX_LETTERS = 5_000
"""How many letters of a page are examined at most. If the page has more, every second or third letter is, and so on."""
MAX_OBJECTS = 50_000
"""A page with more objects than this is not examined, because finding its letters would take long."""
LEAST_HEIGHT = 0.001
"""The height of a letter's box, in letter heights, below which nothing is drawn."""
MAX_SHOWN_FONTS = 3
INVISIBLE = (pdfium_c.FPDF_TEXTRENDERMODE_INVISIBLE, pdfium_c.FPDF_TEXTRENDERMODE_CLIP)
"""The render modes of text that is not to be seen, such as the text that lies on the picture of a searchable PDF."""
ADVICE = "embed the fonts in the PDF, or send the pages as images"


@dataclass(frozen=True, slots=True)
class _Letter:
    """A letter in a font that is not embedded."""

    font: str
    is_drawn: bool
    is_known: bool
    """Whether PDFium knows which letter it is."""


def form_warnings(document: pdfium.PdfDocument) -> list[PageWarning]:
    """Return a list with the warning about a form that no page shows; an empty list if there is no such form."""
    if document.get_formtype() != pdfium_c.FORMTYPE_XFA_FULL:
        return []
    detail = (
        "the PDF is a dynamic XFA form, and its pages show only a placeholder; open the form in Adobe Acrobat Reader, "
        "print it to a new PDF and send that"
    )
    return [PageWarning(PageWarningCode.FORM_NOT_SHOWN, detail)]


def font_warnings(page: pdfium.PdfPage) -> list[PageWarning]:
    """Return a list with the warning about letters of fonts that are not embedded; an empty list if none is lost."""
    if pdfium_c.FPDFPage_CountObjects(page) > MAX_OBJECTS:
        return []
    try:
        letters = list(_letters(page))
    except pdfium.PdfiumError:  # the page was rendered; only its text cannot be examined
        return []
    lost = [each for each in letters if not each.is_drawn]
    doubtful = [each for each in letters if each.is_drawn and not each.is_known]
    if not lost and not doubtful:
        return []
    names = sorted({each.font for each in lost + doubtful})
    shown = ", ".join(names[:MAX_SHOWN_FONTS]) + (", ..." if len(names) > MAX_SHOWN_FONTS else "")
    what = " and ".join(
        [
            *(["some of its letters are not drawn at all"] if lost else []),
            *(["some of its letters may be drawn as other letters"] if doubtful else []),
        ]
    )
    detail = f"the PDF does not contain all fonts that it uses ({shown}), and {what}; {ADVICE}"
    return [PageWarning(PageWarningCode.FONTS_MISSING, detail)]


def _letters(page: pdfium.PdfPage) -> Iterator[_Letter]:
    """Yield the visible letters of a page whose fonts are not embedded, but no spaces."""
    text = page.get_textpage()
    try:
        count = text.count_chars()
        for number in range(0, count, count // MAX_LETTERS + 1):
            if chr(pdfium_c.FPDFText_GetUnicode(text, number)).isspace():
                continue
            drawn = text.get_textobj(number)
            if drawn is None or pdfium_c.FPDFTextObj_GetTextRenderMode(drawn) in INVISIBLE:
                continue
            font = drawn.get_font()
            if font.is_embedded:
                continue
            _, bottom, _, top = text.get_charbox(number)
            _, lowest, _, highest = text.get_charbox(number, loose=True)
            is_drawn = top - bottom > LEAST_HEIGHT * (highest - lowest)
            yield _Letter(font.get_base_name(), is_drawn, not pdfium_c.FPDFText_HasUnicodeMapError(text, number))
    finally:
        text.close()

"""Warnings about PDFs whose pages do not show all that they hold: fonts that are not embedded, and XFA forms."""

import io
from pathlib import Path

import pytest
import reportlab
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas

from app.engine.child.images import pdf_losses
from app.engine.child.images.preparation import prepare
from app.engine.contract.page_warnings import PageWarning, PageWarningCode
from app.engine.contract.recognition_call import ImageLimits
from tests.support.files.hostile_images import CATALOG, pdf, stream

HELVETICA = b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>"
WAIT = b"(Please wait...)"


def text_pdf(font: bytes, text: bytes, *objects: bytes, catalog: bytes = CATALOG, mode: int = 0) -> bytes:
    """Return a PDF of one page with a text in a font; the further objects have the numbers from 6."""
    return pdf(
        catalog,
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 400 200]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>",
        stream(b"", b"BT %d Tr /F 24 Tf 20 120 Td %s Tj ET" % (mode, text)),
        font,
        *objects,
    )


def composite(name: bytes, encoding: bytes, ordering: bytes, text: bytes, mode: int = 0) -> bytes:
    """Return a PDF whose font for many letters is not embedded, as Chinese and Japanese PDFs often are."""
    return text_pdf(
        b"<</Type/Font/Subtype/Type0/BaseFont/%s/Encoding/%s/DescendantFonts[6 0 R]>>" % (name, encoding),
        text,
        b"<</Type/Font/Subtype/CIDFontType0/BaseFont/%s/FontDescriptor 7 0 R"
        b"/CIDSystemInfo<</Registry(Adobe)/Ordering(%s)/Supplement 2>>>>" % (name, ordering),
        descriptor(name),
        mode=mode,
    )


def western(name: bytes, text: bytes, differences: bytes = b"") -> bytes:
    """Return a PDF with a font of 256 letters that is not embedded."""
    encoding = b"<</Type/Encoding/BaseEncoding/WinAnsiEncoding/Differences[65%s]>>" % differences
    return text_pdf(
        b"<</Type/Font/Subtype/TrueType/BaseFont/%s/Encoding%s/FontDescriptor 6 0 R/FirstChar 32/LastChar 255"
        b"/Widths[%s]>>" % (name, encoding, b"600 " * 224),
        text,
        descriptor(name),
    )


def descriptor(name: bytes) -> bytes:
    return (
        b"<</Type/FontDescriptor/FontName/%s/Flags 32/FontBBox[0 -200 1000 900]/ItalicAngle 0/Ascent 900/Descent -200"
        b"/CapHeight 700/StemV 80>>" % name
    )


def coded(text: str) -> bytes:
    return b"<%s>" % text.encode("utf-16-be").hex().encode()


def form(needs_rendering: bytes, forms: bytes) -> bytes:
    catalog = b"<</Type/Catalog/Pages 2 0 R%s/AcroForm<</Fields[]%s>>>>" % (needs_rendering, forms)
    return text_pdf(HELVETICA, WAIT, stream(b"", b"<xdp/>"), catalog=catalog)


def embedded(text: str) -> bytes:
    """Return a PDF with an embedded font."""
    pdfmetrics.registerFont(TTFont("Vera", str(Path(reportlab.__file__).with_name("fonts") / "Vera.ttf")))
    file = io.BytesIO()
    canvas = Canvas(file)
    canvas.setFont("Vera", 20)
    canvas.drawString(50, 500, text)
    canvas.save()
    return file.getvalue()


LOST = {
    "Chinese": composite(b"STSong-Light", b"UniGB-UCS2-H", b"GB1", coded("你好世界")),
    "Japanese": composite(b"HeiseiMin-W3", b"UniJIS-UCS2-H", b"Japan1", coded("日本語 and Latin")),
    "Polish": western(b"Arial", b"(ABCD and others)", b"/lslash/zacute/eogonek/ccaron"),
    "Cyrillic": western(b"Arial", b"(ABC)", b"/afii10017/afii10018/afii10019"),
}
WHOLE = {
    "Helvetica": text_pdf(HELVETICA, b"(Hello)"),
    "Arial, which is drawn with another font": western(b"Arial", b"(Hello M\xfcller)", b"/A"),
    "a font that nobody has": western(b"ABCDEF+FrutigerNext-Bold", b"(Hello)", b"/A"),
    "Latin in a Chinese font": composite(b"STSong-Light", b"UniGB-UCS2-H", b"GB1", coded("Hello 123")),
    "Chinese that is not to be seen": composite(b"STSong-Light", b"UniGB-UCS2-H", b"GB1", coded("你好"), mode=3),
    "an embedded font": embedded("Größe, naïf"),
    "a form without XFA": form(b"/NeedsRendering true", b""),
    "an XFA form with pages": form(b"", b"/XFA 6 0 R"),
    "spaces only": composite(b"STSong-Light", b"UniGB-UCS2-H", b"GB1", coded("  \u3000")),
}


def warnings_of(content: bytes, folder: Path) -> list[PageWarning]:
    (folder / "image").write_bytes(content)
    (page,) = prepare(folder / "image", None, ImageLimits(4_000_000, 1))
    return list(page.warnings)


@pytest.mark.parametrize("name", LOST)
def test_letters_that_are_not_drawn(name: str, tmp_path: Path) -> None:
    """Letters that no built-in font has are not drawn; a warning names the font and what to do."""
    (warning,) = warnings_of(LOST[name], tmp_path)

    assert warning.code == PageWarningCode.FONTS_MISSING
    assert "not drawn at all; embed the fonts" in warning.detail
    assert any(font in warning.detail for font in ("STSong-Light", "HeiseiMin-W3", "Arial"))


def test_letters_that_are_drawn_as_others(tmp_path: Path) -> None:
    """A font that states only numbers of glyphs is drawn with the glyphs of another font."""
    (warning,) = warnings_of(composite(b"Arial", b"Identity-H", b"Identity", b"<002400250026>"), tmp_path)

    assert warning.code == PageWarningCode.FONTS_MISSING
    assert "drawn as other letters" in warning.detail


@pytest.mark.parametrize("name", WHOLE)
def test_pages_that_show_all_their_text(name: str, tmp_path: Path) -> None:
    """Fonts that are not embedded are no matter if their letters are drawn; neither is text that is not to be seen."""
    assert warnings_of(WHOLE[name], tmp_path) == []


def test_a_form_that_only_adobe_shows(tmp_path: Path) -> None:
    """The pages of a dynamic XFA form show a placeholder, and a warning says how to get the form."""
    (warning,) = warnings_of(form(b"/NeedsRendering true", b"/XFA 6 0 R"), tmp_path)

    assert warning.code == PageWarningCode.FORM_NOT_SHOWN
    assert "print it to a new PDF" in warning.detail


def test_a_page_with_many_letters_is_examined_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many letters only some are examined, from the whole page, and a page of very many objects is not examined."""
    content = composite(b"STSong-Light", b"UniGB-UCS2-H", b"GB1", coded("a" * 30 + "你好世界" * 3))
    monkeypatch.setattr(pdf_losses, "MAX_LETTERS", 10)
    assert [warning.code for warning in warnings_of(content, tmp_path)] == [PageWarningCode.FONTS_MISSING]

    monkeypatch.setattr(pdf_losses, "MAX_OBJECTS", 0)
    assert warnings_of(content, tmp_path) == []

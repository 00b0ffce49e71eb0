"""Searchable PDF: each letter of each script in its place, over pages that stay as they were sent."""

import contextlib
import io
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pikepdf
import pypdfium2
import pytest
from PIL import Image, ImageChops, ImageStat
from pypdf import PdfReader

from app.engine.child.documents import write_document
from app.engine.child.documents.source import Source
from app.engine.child.images.preparation import PreparedPage
from app.engine.contract.document_formats import DocumentFormat
from app.errors import UnreadableImage
from tests.corpus.case import PAGE
from tests.corpus.djvu_files import BOTH
from tests.engine.child.documents.recognised import (
    FRENCH,
    GERMAN,
    POLISH,
    SCRIPTS,
    SIGNS,
    SIZE,
    TURKISH,
    blank,
    fields,
    written,
)
from tests.support.files import pictures

HEBREW, ARABIC = "שלום עולם וברוכים הבאים", "هذا نص عربي في السطر"
Box = tuple[float, float, float, float]


def pdftotext(path: Path, *options: str) -> str:
    return subprocess.run(["pdftotext", *options, path, "-"], check=True, capture_output=True, text=True).stdout


def by_pypdf(path: Path) -> str:
    return PdfReader(path).pages[0].extract_text()


def by_pdfium(path: Path) -> str:
    with pypdfium2.PdfDocument(path) as pdf:
        return str(pdf[0].get_textpage().get_text_range())


READERS = [
    pytest.param(by_pypdf, id="pypdf"),
    pytest.param(by_pdfium, id="pdfium"),
    pytest.param(
        pdftotext,
        id="poppler",
        marks=pytest.mark.skipif(shutil.which("pdftotext") is None, reason="poppler-utils is not installed"),
    ),
]


def shown_boxes(path: Path, lines: Sequence[str], page: int = 0) -> list[Box]:
    """Return where a viewer shows each line, in points from the upper left corner: left, upper, right, lower."""
    with pypdfium2.PdfDocument(path) as pdf:
        sheet = pdf[page]
        text, (width, height) = sheet.get_textpage(), sheet.get_size()
        boxes = []
        for line in lines:
            found = text.search(line, match_case=True).get_next()
            assert found is not None, line
            start, count = found
            around = [text.get_charbox(n, loose=True) for n in range(start, start + count)]
            corners = [point for x0, y0, x1, y1 in around for point in ((x0, y0), (x1, y1))]
            on_page = [_viewed(sheet, width, height, x, y) for x, y in corners]
            xs, ys = zip(*on_page, strict=True)
            boxes.append((min(xs), min(ys), max(xs), max(ys)))
        return boxes


def _viewed(sheet: Any, width: float, height: float, x: float, y: float) -> tuple[float, float]:
    left, lower, right, upper = sheet.get_cropbox()
    return {
        0: (x - left, upper - y),
        90: (y - lower, x - left),
        180: (right - x, y - lower),
        270: (upper - y, right - x),
    }[sheet.get_rotation()]


def expected_boxes(page: dict[str, Any], width: float, height: float) -> list[Box]:
    """Return where the lines of a page are on a sheet of this size in points."""
    x, y = width / page["width"], height / page["height"]
    boxes = [line["box"] for line in page["lines"]]
    return [(b["x"] * x, b["y"] * y, (b["x"] + b["width"]) * x, (b["y"] + b["height"]) * y) for b in boxes]


def assert_in_place(path: Path, page: dict[str, Any], width: float, height: float) -> None:
    lines = [line["text"] for line in page["lines"]]
    for found, expected in zip(shown_boxes(path, lines), expected_boxes(page, width, height), strict=True):
        assert found == pytest.approx(expected, abs=max(width, height) / 200)


@pytest.mark.parametrize("reader", READERS)
def test_every_letter_of_every_script(reader: Callable[[Path], str], tmp_path: Path) -> None:
    """Three readers find each line, letter by letter. The vendor leaves out lines with a letter beyond ASCII."""
    lines = [*GERMAN, *FRENCH, *POLISH, *TURKISH]
    first = written(tmp_path, DocumentFormat.PDF, fields(*lines))
    found = reader(first)
    assert [line for line in lines if line not in found] == []

    found = reader(written(tmp_path, DocumentFormat.PDF, fields(*SCRIPTS, *SIGNS[:-1])))
    assert [line for line in (*SCRIPTS, *SIGNS[:-1]) if line not in found] == []


@pytest.mark.parametrize("reader", READERS)
def test_scripts_that_are_written_from_right_to_left(reader: Callable[[Path], str], tmp_path: Path) -> None:
    """Hebrew and Arabic are found in the order of speech."""
    found = reader(written(tmp_path, DocumentFormat.PDF, fields(HEBREW, ARABIC), language="ara"))

    # poppler marks the direction of each line with signs that have no width.
    found = re.sub("[\u200e\u200f\u202a-\u202e]", "", found)
    assert [line for line in (HEBREW, ARABIC) if line not in found] == []


@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="poppler-utils is not installed")
def test_each_word_is_inside_its_line(tmp_path: Path) -> None:
    """`pdftotext -bbox` finds each word within its line's box, in order, and the first and last at the line's ends."""
    page = fields(*GERMAN, *POLISH)
    output = pdftotext(written(tmp_path, DocumentFormat.PDF, page), "-bbox")

    found = re.findall(r'xMin="([\d.]+)" yMin="([\d.]+)" xMax="([\d.]+)" yMax="([\d.]+)">([^<]+)<', output)
    words = [(word, tuple(map(float, box))) for *box, word in found]
    for line, (left, upper, right, lower) in zip(page["lines"], expected_boxes(page, 240, 192), strict=True):
        own, words = words[: len(line["text"].split())], words[len(line["text"].split()) :]
        assert [word for word, _ in own] == line["text"].split()
        edges = [edge for _, box in own for edge in (box[0], box[2])]
        assert edges == sorted(edges)
        assert (edges[0], edges[-1]) == pytest.approx((left, right), abs=0.5)
        assert {(round(box[1]), round(box[3])) for _, box in own} == {(round(upper), round(lower))}
    assert words == []


@pytest.mark.parametrize(
    ("name", "resolution", "save", "expected"),
    [
        ("scan.png", 300, {}, (240, 192)),
        ("scan.jpg", 200, {}, (360, 288)),
        ("none.png", None, {}, (750, 600)),
        ("absurd.jpg", 1, {}, (750, 600)),
        ("grey.tiff", 150, {"mode": "L"}, (480, 384)),
        ("fax.tiff", 200, {"mode": "1", "compression": "group4"}, (360, 288)),
        ("alpha.png", 300, {"mode": "RGBA"}, (240, 192)),
        ("palette.gif", None, {"mode": "P"}, (750, 600)),
        ("print.jpg", 300, {"mode": "CMYK"}, (240, 192)),
        ("deep.png", 300, {"mode": "I;16"}, (240, 192)),
        ("scan.bmp", 300, {}, (240, 192)),
        ("scan.webp", None, {}, (750, 600)),
    ],
)
def test_an_image_keeps_its_size_and_resolution(
    name: str, resolution: float | None, save: dict[str, Any], expected: tuple[float, float], tmp_path: Path
) -> None:
    """The page has the size that the image states, 96 dots an inch if none; it has all pixels; the text is in place."""
    mode = save.pop("mode", "RGB")
    if mode == "I;16":
        Image.new(mode, SIZE, 65_535).save(tmp_path / name, dpi=(resolution, resolution))
        source = tmp_path / name
    else:
        source = blank(tmp_path, name, resolution, mode, **save)
    page = fields(*GERMAN)

    document = written(tmp_path, DocumentFormat.PDF, page, path=source)

    with pikepdf.open(document) as pdf:
        (sheet,) = pdf.pages
        assert [float(side) for side in sheet.mediabox[2:]] == pytest.approx(expected, abs=0.1)
        (image,) = sheet.Resources.XObject.values()
        assert (int(image.Width), int(image.Height)) == SIZE
    with pypdfium2.PdfDocument(document) as rendered:
        assert rendered[0].render().to_pil().convert("L").getextrema()[1] >= 254
    assert_in_place(document, page, *expected)


def test_the_bytes_of_a_jpeg_are_kept(tmp_path: Path) -> None:
    """A JPEG is in the PDF as it was sent; to compress it again would make it worse."""
    source = blank(tmp_path, "scan.jpg")

    with pikepdf.open(written(tmp_path, DocumentFormat.PDF, fields(*GERMAN), path=source)) as pdf:
        (image,) = pdf.pages[0].Resources.XObject.values()
        assert image.read_raw_bytes() == source.read_bytes()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_shown_upright_with_its_text_in_place(orientation: int, tmp_path: Path) -> None:
    """A photo of each EXIF orientation looks like the upright image, and the text lies over what it says."""
    upright = Image.new("RGB", SIZE, "white")
    upright.paste("black", (60, 40, 500, 70))
    undo = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]
    stored = upright if undo is None else upright.transpose(Image.Transpose(undo))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "photo.jpg", exif=exif, dpi=(72, 72))
    page = fields("Text in the black bar")

    document = written(tmp_path, DocumentFormat.PDF, page, path=tmp_path / "photo.jpg")

    with pypdfium2.PdfDocument(document) as pdf:
        shown = pdf[0].render().to_pil().convert("L")
    assert shown.size == SIZE
    dark = [shown.getpixel(at) for at in ((65, 45), (495, 65))]
    assert max(dark) < 50
    assert min(shown.getpixel(at) for at in ((65, 100), (900, 700))) > 200
    assert_in_place(document, page, *SIZE)


def test_pages_of_a_tiff_that_were_read(tmp_path: Path) -> None:
    """Each page that was read is one page, with its own picture, size and text."""
    frames = [Image.new("L", SIZE, shade) for shade in (0, 80, 160)]
    frames[0].save(tmp_path / "scan.tiff", save_all=True, append_images=frames[1:], dpi=(100, 100))
    pages = [fields("second page", number=2), fields("third page", number=3)]

    document = written(tmp_path, DocumentFormat.PDF, *pages, path=tmp_path / "scan.tiff")

    with pypdfium2.PdfDocument(document) as pdf:
        assert [sheet.get_size() for sheet in pdf] == [pytest.approx((720, 576), abs=0.1)] * 2
        assert [sheet.render().to_pil().convert("L").getpixel((5, 5)) for sheet in pdf] == [80, 160]
        assert [sheet.get_textpage().get_text_range().strip() for sheet in pdf] == ["second page", "third page"]


def test_pages_of_a_djvu_document(tmp_path: Path) -> None:
    """Each page of a DjVu document is a page of its picture, at its resolution, with its text."""
    (tmp_path / "scan.djvu").write_bytes(BOTH)
    pages = [fields("first page"), fields("second page", number=2)]

    document = written(tmp_path, DocumentFormat.PDF, *pages, path=tmp_path / "scan.djvu")

    with pypdfium2.PdfDocument(document) as pdf:
        for sheet, dots in zip(pdf, (150, 75), strict=True):
            width, height = (PAGE.width, PAGE.height) if dots == 150 else (109, 84)
            assert sheet.get_size() == pytest.approx((width * 72 / dots, height * 72 / dots), abs=0.1)
            shown = sheet.render(scale=2).to_pil().convert("L").resize(PAGE.size)
            assert ImageStat.Stat(ImageChops.difference(shown, PAGE)).mean[0] < 15
        assert [sheet.get_textpage().get_text_range().strip() for sheet in pdf] == ["first page", "second page"]


def visible_pdf(box: Sequence[float], rotation: int, crop: Sequence[float] | None = None) -> bytes:
    """Return a PDF whose page has visible text, resources inherited from the page tree, and an unfinished state."""
    with pikepdf.new() as pdf:
        pdf.add_blank_page(page_size=(100, 100))
        sheet = pdf.pages[0]
        font = pikepdf.Dictionary(Type=pikepdf.Name.Font, Subtype=pikepdf.Name.Type1, BaseFont=pikepdf.Name.Helvetica)
        pdf.Root.Pages.Resources = pikepdf.Dictionary(Font=pikepdf.Dictionary(F1=font))
        del sheet.obj["/Resources"]
        sheet.mediabox, sheet.rotation = pikepdf.Array(box), rotation
        if crop:
            sheet.cropbox = pikepdf.Array(crop)
        sheet.Contents = pdf.make_stream(b"q 0.1 0 0 0.1 7 7 cm BT /F1 80 Tf 300 500 Td (visible) Tj ET 3 0 0 3 9 9 cm")
        return saved(pdf)


def saved(pdf: pikepdf.Pdf, **options: Any) -> bytes:
    file = io.BytesIO()
    pdf.save(file, **options)
    return file.getvalue()


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
@pytest.mark.parametrize(
    ("box", "crop"), [((0, 0, 252, 144), None), ((-30, 50, 222, 194), None), ((0, 0, 500, 400), (48, 56, 300, 200))]
)
def test_the_page_of_a_pdf_is_kept(
    box: Sequence[float], crop: Sequence[float] | None, rotation: int, tmp_path: Path
) -> None:
    """A page keeps its boxes, its turn, its content and its looks; the text lies where a viewer shows it."""
    source = tmp_path / "card.pdf"
    source.write_bytes(visible_pdf(box, rotation, crop))
    width, height = (252, 144) if rotation in {0, 180} else (144, 252)
    page = fields("ä first line", "a second line", width=width * 4, height=height * 4)

    document = written(tmp_path, DocumentFormat.PDF, page, path=source)

    with pikepdf.open(source) as before, pikepdf.open(document) as after:
        old, new = before.pages[0], after.pages[0]
        assert (list(new.mediabox), new.rotation) == (list(old.mediabox), old.rotation)
        assert list(new.cropbox) == list(old.cropbox)
        assert new.Contents[-1].read_bytes() == old.Contents.read_bytes()
    with pypdfium2.PdfDocument(source) as before_pdf, pypdfium2.PdfDocument(document) as after_pdf:
        assert after_pdf[0].get_size() == pytest.approx((width, height))
        assert after_pdf[0].render().to_pil().tobytes() == before_pdf[0].render().to_pil().tobytes()
    assert "visible" in by_pypdf(document)
    assert_in_place(document, page, width, height)


def test_pages_of_a_pdf_that_were_read(tmp_path: Path) -> None:
    """The pages that were read are in the PDF, the others are not; a page object that two share gets its own text."""
    source = tmp_path / "four.pdf"
    with pikepdf.new() as pdf:
        for side in (100, 200, 300, 400):
            pdf.add_blank_page(page_size=(side, side))
        source.write_bytes(saved(pdf))
    pages = [fields(f"page {number}", number=number) for number in (2, 3)]

    document = written(tmp_path, DocumentFormat.PDF, *pages, path=source)

    found = [(float(each.mediabox.width), each.extract_text().strip()) for each in PdfReader(document).pages]
    assert found == [(200, "page 2"), (300, "page 3")]


@pytest.mark.parametrize("user", ["", "secret"])
def test_an_encrypted_pdf_is_written_without_its_password(user: str, tmp_path: Path) -> None:
    """An encrypted PDF gets its text, also one that needs a password, and is not encrypted any more."""
    path = tmp_path / "encrypted.pdf"
    with pikepdf.open(io.BytesIO(visible_pdf((0, 0, 252, 144), 0))) as pdf:
        path.write_bytes(saved(pdf, encryption=pikepdf.Encryption(owner="owner", user=user)))

    found = by_pypdf(written(tmp_path, DocumentFormat.PDF, fields(*GERMAN), path=path, password=user))

    assert "visible" in found
    assert GERMAN[0] in found


def test_a_pdf_that_cannot_be_written_again_is_refused(tmp_path: Path) -> None:
    """A PDF that pikepdf cannot open, or whose pages it does not find, is refused, with what to do."""
    broken, other = tmp_path / "broken.pdf", tmp_path / "other.pdf"
    broken.write_bytes(b"%PDF-1.7\nnothing")
    other.write_bytes(pictures.pdf_of_blank_pages(1))

    for path, page in ((broken, fields("text")), (other, fields("text", number=2))):
        with pytest.raises(UnreadableImage, match="ask for another format"):
            write_document(DocumentFormat.PDF, tmp_path / "document.pdf", [page], Source(path, []), "deu")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("/Rotate", "45"),
        ("/Rotate", "-90"),
        ("/Rotate", "(right)"),
        ("/MediaBox", "(large)"),
        ("/MediaBox", "[0 0 10]"),
        ("/CropBox", "[900 900 950 950]"),
        ("/Resources", "7"),
        ("/Resources", "<</Font 7>>"),
        ("/Contents", "7"),
        ("/Contents", "[null 7 (text)]"),
    ],
)
def test_an_odd_page_is_written_or_refused(key: str, value: str, tmp_path: Path) -> None:
    """A page with a value of a wrong kind gets its text, or is refused; there is no other error."""
    path = tmp_path / "odd.pdf"
    with pikepdf.open(io.BytesIO(visible_pdf((0, 0, 252, 144), 0))) as pdf:
        pdf.pages[0].obj[key] = pikepdf.Object.parse(value.encode())
        path.write_bytes(saved(pdf))
    source = Source(path, [PreparedPage(1, path, None, SIZE, ())])

    with contextlib.suppress(UnreadableImage):
        write_document(DocumentFormat.PDF, tmp_path / "document.pdf", [fields(*GERMAN)], source, "deu")
        assert GERMAN[0] in by_pypdf(tmp_path / "document.pdf")


def test_text_without_places_is_in_the_document(tmp_path: Path) -> None:
    """Lines without boxes, as the unlicensed engine gives for a short page, are spread over the page."""
    page = fields(*GERMAN) | {"lines": []}

    found = by_pypdf(written(tmp_path, DocumentFormat.PDF, page))

    assert found.split() == " ".join(GERMAN).split()


def test_a_page_without_text(tmp_path: Path) -> None:
    """A page without text is a page without a text layer."""
    assert by_pypdf(written(tmp_path, DocumentFormat.PDF, fields())) == ""


def test_the_text_layer_alone(tmp_path: Path) -> None:
    """`pdf_text` has the text in the same places, and neither the image nor the content of the page."""
    page = fields(*GERMAN)
    document = written(tmp_path, DocumentFormat.PDF_TEXT, page)

    with pikepdf.open(document) as pdf:
        assert "/XObject" not in pdf.pages[0].Resources
    assert document.stat().st_size < 8000
    assert_in_place(document, page, 240, 192)
    source = tmp_path / "card.pdf"
    source.write_bytes(visible_pdf((0, 0, 252, 144), 0))
    alone = by_pypdf(written(tmp_path, DocumentFormat.PDF_TEXT, page, path=source))
    assert alone.split() == " ".join(GERMAN).split()


def test_a_line_that_is_read_from_top_to_bottom(tmp_path: Path) -> None:
    """A line that is much higher than wide, such as a turned label, has its words below each other."""
    page = fields("first second")
    page["lines"][0]["box"] = {"x": 100, "y": 100, "width": 30, "height": 500}
    document = written(tmp_path, DocumentFormat.PDF, page)

    above, below = shown_boxes(document, ["first", "second"])
    assert above[3] < below[1]
    assert (above[0], above[2]) == pytest.approx((24, 31.2), abs=0.5)


@pytest.mark.parametrize(
    ("rotated", "skew"), [(90, None), (-5, None), (180, None), (-90, None), (0, -5.056), (0, 4), (90, 3)]
)
def test_text_of_a_turned_page_lies_on_the_page_as_sent(rotated: float, skew: float | None, tmp_path: Path) -> None:
    """If the engine turned the page before it read, the text is where the page that was sent has it.

    The engine turns a page around its centre, on a canvas that holds all of it, as Pillow does.
    """
    sent = Image.new("L", SIZE, "white")
    sent.paste(0, (295, 195, 305, 205))
    sent.save(tmp_path / "sent.png", dpi=(72, 72))
    turned = sent.rotate(rotated + (skew or 0), expand=True, fillcolor="white")
    box = turned.point(lambda value: 255 if value < 100 else 0).getbbox() or (0, 0, 0, 0)
    page = fields("x", width=turned.width, height=turned.height, skew_degrees=skew)
    page["lines"][0]["box"] = {"x": box[0], "y": box[1], "width": box[2] - box[0], "height": box[3] - box[1]}

    document = written(
        tmp_path,
        DocumentFormat.PDF,
        page,
        path=tmp_path / "sent.png",
        turned_degrees=rotated,
        is_deskewed=skew is not None,
    )

    ((left, upper, right, lower),) = shown_boxes(document, ["x"])
    assert ((left + right) / 2, (upper + lower) / 2) == pytest.approx((300, 200), abs=2)

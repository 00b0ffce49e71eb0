"""The other formats: each is read by a library that reads the format and holds every letter."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET
from zipfile import ZIP_STORED, ZipFile

import docx
import openpyxl
import pytest
from hocr_tools_lib.tools.hocr_check import Checker
from lxml import etree, html
from markdown_it import MarkdownIt
from striprtf.striprtf import rtf_to_text

from app.engine.child.documents.language_tags import language_tag
from app.engine.contract.document_formats import DocumentFormat
from tests.engine.child.documents.recognised import (
    FRENCH,
    GERMAN,
    POLISH,
    SCRIPTS,
    SIGNS,
    TURKISH,
    fields,
    written,
)

TEXT = (*GERMAN, *FRENCH, *POLISH, *TURKISH, *SCRIPTS, *SIGNS)
ALTO = {"a": "http://www.loc.gov/standards/alto/ns-v4#"}


def by_docx(path: Path) -> list[str]:
    return [line for each in docx.Document(str(path)).paragraphs for line in each.text.splitlines()]


def by_rtf(path: Path) -> list[str]:
    text = str(rtf_to_text(path.read_text("ascii")))
    # striprtf leaves the two halves of a letter beyond two bytes apart.
    return text.encode("utf-16", "surrogatepass").decode("utf-16").splitlines()


def by_html(path: Path) -> list[str]:
    tree = html.fromstring(path.read_bytes())
    return [text for each in tree.iter("p") for text in each.itertext()]


def by_epub(path: Path) -> list[str]:
    """Return the lines of a book as a reader finds them: by the container, the package and its spine."""
    with ZipFile(path) as archive:
        first = archive.infolist()[0]
        head = (first.filename, first.compress_type, archive.read(first))
        assert head == ("mimetype", ZIP_STORED, b"application/epub+zip")
        container = etree.fromstring(archive.read("META-INF/container.xml"))
        (package_name,) = container.xpath("//@full-path")
        package = etree.fromstring(archive.read(package_name))
        files = {item.get("id"): item.get("href") for item in package.iterfind(".//{*}item")}
        assert {*files.values(), "mimetype", "META-INF/container.xml", package_name} == set(archive.namelist())
        pages = [etree.fromstring(archive.read(files[item])) for item in package.xpath("//@idref")]
    return [text for page in pages for each in page.iterfind(".//{*}p") for text in each.itertext()]


def by_markdown(path: Path) -> list[str]:
    shown = html.fromstring(MarkdownIt("commonmark").enable("table").render(path.read_text("utf-8")))
    assert {each.tag for each in shown.iter()} <= {"div", "p", "br"}
    return [text.strip("\n") for each in shown.iter("p") for text in each.itertext()]


def by_csv(path: Path) -> list[str]:
    with path.open(encoding="utf-8", newline="") as file:
        return [row["text"] for row in csv.DictReader(file)]


def by_xlsx(path: Path) -> list[str]:
    (sheet,) = openpyxl.load_workbook(path).worksheets
    return [str(row[-1]) for row in sheet.iter_rows(min_row=2, values_only=True)]


def by_hocr(path: Path) -> list[str]:
    tree = etree.parse(path)
    return ["".join(line.itertext()) for line in tree.iterfind(".//{*}span[@class='ocr_line']")]


def by_alto(path: Path) -> list[str]:
    lines = ET.parse(path).iterfind(".//a:TextLine", ALTO)  # noqa: S314 - the service's own
    return [" ".join(each.attrib["CONTENT"] for each in line.iterfind("a:String", ALTO)) for line in lines]


READERS: dict[DocumentFormat, Callable[[Path], list[str]]] = {
    DocumentFormat.DOCX: by_docx,
    DocumentFormat.RTF: by_rtf,
    DocumentFormat.HTML: by_html,
    DocumentFormat.EPUB: by_epub,
    DocumentFormat.MARKDOWN: by_markdown,
    DocumentFormat.CSV: by_csv,
    DocumentFormat.XLSX: by_xlsx,
    DocumentFormat.HOCR: by_hocr,
    DocumentFormat.ALTO: by_alto,
}


def test_every_format_has_a_reader() -> None:
    """The formats without a reader here are PDFs, which have tests of their own."""
    assert set(DocumentFormat) - set(READERS) == {DocumentFormat.PDF, DocumentFormat.PDF_TEXT}


@pytest.mark.parametrize("document_format", READERS)
def test_every_line_is_in_the_document(document_format: DocumentFormat, tmp_path: Path) -> None:
    """Each line is in the document, letter by letter and in order; what XML cannot hold is U+FFFD."""
    found = READERS[document_format](written(tmp_path, document_format, fields(*TEXT)))

    assert found == [line.replace("\ud800", "\ufffd").replace("\x01", "\ufffd") for line in TEXT]


@pytest.mark.parametrize("document_format", READERS)
def test_text_without_places_is_in_the_document(document_format: DocumentFormat, tmp_path: Path) -> None:
    """Lines without boxes, as the unlicensed engine gives for a short page, are in every format."""
    page = fields(*GERMAN) | {"lines": []}

    assert READERS[document_format](written(tmp_path, document_format, page)) == [*GERMAN]


@pytest.mark.parametrize("document_format", READERS)
def test_a_page_without_text(document_format: DocumentFormat, tmp_path: Path) -> None:
    """A page without text is a document without text that its reader opens."""
    path = written(tmp_path, document_format, fields())

    assert path.exists() if document_format is DocumentFormat.MARKDOWN else READERS[document_format](path) == []


def test_paragraphs(tmp_path: Path) -> None:
    """Lines with a larger gap between them than usual are different paragraphs, and so is the next column."""
    page = fields("first line", "second line", "third line", "a new paragraph", "goes on")
    for line in page["lines"][3:]:
        line["box"]["y"] += 60
    column = {"text": "next column", "box": {"x": 600, "y": 40, "width": 200, "height": 30}}
    page["lines"].append(column)

    found = [each.text for each in docx.Document(str(written(tmp_path, DocumentFormat.DOCX, page))).paragraphs]

    assert found == ["first line\nsecond line\nthird line", "a new paragraph\ngoes on", "next column"]


def test_the_pages_of_a_book(tmp_path: Path) -> None:
    """A book has a file and a link for each page, names its language, and shows a table as one."""
    table = fields(number=3) | {"table": "Name\tAmount\nÄpfel & Birnen\t<12>"}
    path = written(tmp_path, DocumentFormat.EPUB, fields(*GERMAN, number=2), table)

    with ZipFile(path) as archive:
        package, contents, last = (
            etree.fromstring(archive.read(name)) for name in ("package.opf", "contents.xhtml", "page-3.xhtml")
        )
        assert archive.testzip() is None
    assert package.xpath("//@idref") == ["file-0", "file-1"]
    assert contents.xpath("//@href") == ["page-2.xhtml", "page-3.xhtml"]
    assert [each.text for each in package.iterfind(".//{*}language")] == ["de"]
    assert [cell.text for cell in last.iterfind(".//{*}td")] == ["Name", "Amount", "Äpfel & Birnen", "<12>"]


def test_hocr_is_what_its_readers_expect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """hocr-tools find no fault; the sizes are those of the page, the language is a tag, and there is no confidence."""
    # The checker takes the pages of a file for one page, so it gets one.
    Checker(written(tmp_path, DocumentFormat.HOCR, fields(*GERMAN))).check()
    found = capsys.readouterr().err.splitlines()
    assert [line for line in found if not line.startswith("ok")] == []
    assert len(found) > len(GERMAN)

    path = written(tmp_path, DocumentFormat.HOCR, fields(*GERMAN), fields(*FRENCH, number=2))
    text = path.read_text("utf-8")
    assert 'class="ocr_page" id="page_1" title="bbox 0 0 1000 800; ppageno 0"' in text
    assert 'class="ocr_page" id="page_2" title="bbox 0 0 1000 800; ppageno 1"' in text
    assert 'class="ocr_carea" id="block_1" title="bbox 60 40' in text
    assert 'lang="de"' in text
    assert "x_wconf" not in text
    words = [each.text for each in etree.parse(path).iterfind(".//{*}span[@class='ocrx_word']")]
    assert words == " ".join((*GERMAN, *FRENCH)).split()


def test_the_direction_of_arabic_is_stated(tmp_path: Path) -> None:
    """An Arabic paragraph has its direction, and its first word is at the right."""
    tree = etree.parse(written(tmp_path, DocumentFormat.HOCR, fields("هذا نص عربي"), language="ara"))

    (paragraph,) = tree.iterfind(".//{*}p[@class='ocr_par']")
    assert (paragraph.get("dir"), paragraph.get("lang")) == ("rtl", "ar")
    lefts = [int(word.get("title").split()[1]) for word in tree.iterfind(".//{*}span[@class='ocrx_word']")]
    assert lefts == sorted(lefts, reverse=True)


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("deu", "de"),
        ("jpn", "ja"),
        ("cmn", "cmn"),
        ("vmw", "vmw"),
        ("latin", "und-Latn"),
        ("auto", None),
        ("islamic", None),
    ],
)
def test_the_tag_of_a_language(name: str, tag: str | None) -> None:
    """Languages have the tag of BCP 47, scripts the tag of a language that is not known, other names none."""
    assert language_tag(name) == tag


TABLE = 'Artikel\tPreis\nÄpfel | "süß"\t1,50 €\n=1+1\tüber\tdrei'
ROWS = [row.split("\t") for row in TABLE.split("\n")]


def test_a_table(tmp_path: Path) -> None:
    """Tables are tables in CSV, XLSX, Markdown, HTML and DOCX; a formula stays text."""
    pages: list[dict[str, Any]] = [fields(table=TABLE), fields(number=2, table="zwei")]

    with written(tmp_path, DocumentFormat.CSV, *pages).open(encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [*ROWS, [], ["zwei"]]
    first, second = openpyxl.load_workbook(written(tmp_path, DocumentFormat.XLSX, *pages)).worksheets
    assert [[cell for cell in row if cell is not None] for row in first.iter_rows(values_only=True)] == ROWS
    assert {cell.data_type for row in first.iter_rows() for cell in row} == {"s", "n"}  # `n` are the empty cells
    assert second["A1"].value == "zwei"
    tables = docx.Document(str(written(tmp_path, DocumentFormat.DOCX, *pages))).tables
    assert [[cell.text for cell in row.cells if cell.text] for row in tables[0].rows] == ROWS
    markdown = written(tmp_path, DocumentFormat.MARKDOWN, *pages).read_text("utf-8")
    for content in (
        MarkdownIt("commonmark").enable("table").render(markdown),
        written(tmp_path, DocumentFormat.HTML, *pages).read_text("utf-8"),
    ):
        table = next(html.fromstring(content).iter("table"))
        rows = [[cell.text or "" for cell in row.iter("th", "td")] for row in table.iter("tr")]
        assert [[cell for cell in row if cell] for row in rows] == ROWS

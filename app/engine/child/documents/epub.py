"""The recognised text as an e-book (EPUB 3.3), which is a ZIP archive of XHTML files."""

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

from app.engine.child.documents.html import content_of
from app.engine.child.documents.pages import Page
from app.engine.contract.document_formats import MEDIA_TYPE_OF_DOCUMENT, DocumentFormat

UNKNOWN_LANGUAGE = "und"
"""The BCP 47 tag of a text whose language is not known. A book must name its language."""
TITLE = "Recognised text"
DECLARATION = '<?xml version="1.0" encoding="utf-8"?>\n'
CONTAINER = (
    f'{DECLARATION}<container version="1.0" xmlns="urn:oasis:names:tc:opendocument:xmlns:container">\n<rootfiles>'
    '<rootfile full-path="package.opf" media-type="application/oebps-package+xml"/></rootfiles>\n</container>\n'
)


def write_epub(target: Path, pages: Sequence[Page], tag: str | None) -> None:
    """Write the recognised pages as a book with a file for each page. `tag` is the BCP 47 tag of the language."""
    language = escape(tag or UNKNOWN_LANGUAGE)
    files = {f"page-{page.number}.xhtml": _page(page, language) for page in pages}
    with ZipFile(target, "w", ZIP_DEFLATED) as archive:
        # A reader recognises a book by this file, which must be the first and not compressed.
        archive.writestr("mimetype", MEDIA_TYPE_OF_DOCUMENT[DocumentFormat.EPUB], ZIP_STORED)
        archive.writestr("META-INF/container.xml", CONTAINER)
        archive.writestr("package.opf", _package(files, language))
        archive.writestr("contents.xhtml", _contents(pages, language))
        for name, text in files.items():
            archive.writestr(name, text)


def _package(files: dict[str, str], language: str) -> str:
    """Return the list of the book's files, in reading order. The same text has the same identifier."""
    identifier = uuid.uuid5(uuid.NAMESPACE_OID, "".join(files.values()))
    items = "".join(
        f'<item id="file-{number}" href="{name}" media-type="application/xhtml+xml"/>\n'
        for number, name in enumerate(files)
    )
    spine = "".join(f'<itemref idref="file-{number}"/>\n' for number in range(len(files)))
    return (
        f'{DECLARATION}<package version="3.0" unique-identifier="id" xmlns="http://www.idpf.org/2007/opf">\n'
        f'<metadata xmlns:dc="http://purl.org/dc/elements/1.1/">\n<dc:identifier id="id">urn:uuid:{identifier}'
        f"</dc:identifier>\n<dc:title>{TITLE}</dc:title>\n<dc:language>{language}</dc:language>\n"
        f'<meta property="dcterms:modified">{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}</meta>\n</metadata>\n'
        '<manifest>\n<item id="contents" href="contents.xhtml" media-type="application/xhtml+xml" properties="nav"/>\n'
        f"{items}</manifest>\n<spine>\n{spine}</spine>\n</package>\n"
    )


def _contents(pages: Sequence[Page], language: str) -> str:
    links = "".join(f'<li><a href="page-{page.number}.xhtml">Page {page.number}</a></li>\n' for page in pages)
    return _xhtml("Contents", language, f'<nav epub:type="toc">\n<ol>\n{links}</ol>\n</nav>\n')


def _page(page: Page, language: str) -> str:
    return _xhtml(f"Page {page.number}", language, f"<section>\n{content_of(page)}</section>\n")


def _xhtml(title: str, language: str, body: str) -> str:
    return (
        f'{DECLARATION}<!DOCTYPE html>\n<html xmlns="http://www.w3.org/1999/xhtml" '
        f'xmlns:epub="http://www.idpf.org/2007/ops" lang="{language}" xml:lang="{language}">\n'
        f"<head>\n<title>{title}</title>\n</head>\n<body>\n{body}</body>\n</html>\n"
    )

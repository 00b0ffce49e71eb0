"""Documents of recognised pages, written from the lines that the vendor recognised and their positions on the page.

The vendor's own writers lose text: its PDF leaves out each line with a letter that is not ASCII, its DOCX, CSV and XLSX
put backslashes before brackets, its hOCR exchanges width and height.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from app.engine.child.documents.alto import alto_of
from app.engine.child.documents.docx_file import write_docx
from app.engine.child.documents.epub import write_epub
from app.engine.child.documents.hocr import hocr_of
from app.engine.child.documents.html import html_of
from app.engine.child.documents.language_tags import language_tag
from app.engine.child.documents.markdown import markdown_of
from app.engine.child.documents.pages import Page, pages_of
from app.engine.child.documents.pdf import write_pdf
from app.engine.child.documents.rtf import rtf_of
from app.engine.child.documents.sheets import write_csv, write_xlsx
from app.engine.child.documents.source import Source
from app.engine.contract.document_formats import DocumentFormat

TEXT_FORMATS: dict[DocumentFormat, Callable[[Sequence[Page], str | None], str]] = {
    DocumentFormat.HOCR: hocr_of,
    DocumentFormat.HTML: html_of,
    DocumentFormat.MARKDOWN: lambda pages, _: markdown_of(pages),
    DocumentFormat.RTF: lambda pages, _: rtf_of(pages),
}
"""The formats that are texts, with a function that makes the text of pages and of a BCP 47 tag."""


def write_document(
    document_format: DocumentFormat,
    target: Path,
    fields: Sequence[dict[str, Any]],
    source: Source,
    language: str,
) -> None:
    """Write a document of recognised pages to `target`. Raises UnreadableImage if a PDF cannot be written again.

    `fields` are the pages as `app.engine.child.results.page_fields` makes them, `source` is the file that was
    recognised, and `language` a name of the vendor's `Language` in lower case.
    """
    pages, tag = pages_of(fields), language_tag(language)
    if text_of := TEXT_FORMATS.get(document_format):
        target.write_text(text_of(pages, tag), encoding="utf-8")
        return
    match document_format:
        case DocumentFormat.ALTO:
            target.write_bytes(alto_of(pages, tag))
        case DocumentFormat.CSV:
            write_csv(target, pages)
        case DocumentFormat.DOCX:
            write_docx(target, pages)
        case DocumentFormat.EPUB:
            write_epub(target, pages, tag)
        case DocumentFormat.PDF | DocumentFormat.PDF_TEXT:
            is_text_only = document_format is DocumentFormat.PDF_TEXT
            write_pdf(target, pages, source, is_text_only=is_text_only)
        case DocumentFormat.XLSX:
            write_xlsx(target, pages)

"""The formats of documents that the engine process writes from recognised pages. Both processes use this table."""

from enum import StrEnum


class DocumentFormat(StrEnum):
    """A format of documents. Each value is the name of the format in the API."""

    ALTO = "alto"
    CSV = "csv"
    DOCX = "docx"
    EPUB = "epub"
    HOCR = "hocr"
    HTML = "html"
    MARKDOWN = "markdown"
    PDF = "pdf"
    PDF_TEXT = "pdf_text"
    """A PDF that has only the text layer of a searchable PDF, to be laid over another PDF of the same pages."""
    RTF = "rtf"
    XLSX = "xlsx"


MEDIA_TYPE_OF_DOCUMENT = {
    DocumentFormat.PDF: "application/pdf",
    DocumentFormat.PDF_TEXT: "application/pdf",
    DocumentFormat.HOCR: "text/vnd.hocr+html",
    DocumentFormat.DOCX: "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    DocumentFormat.MARKDOWN: "text/markdown",
    DocumentFormat.HTML: "text/html",
    DocumentFormat.RTF: "application/rtf",
    DocumentFormat.EPUB: "application/epub+zip",
    DocumentFormat.CSV: "text/csv",
    DocumentFormat.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    DocumentFormat.ALTO: "application/xml",
}

WITHOUT_PLACES = frozenset(
    {DocumentFormat.MARKDOWN, DocumentFormat.HTML, DocumentFormat.DOCX, DocumentFormat.RTF, DocumentFormat.EPUB}
)
"""The formats that do not state where on the page a line is."""

DOCUMENTS_BY_ACCEPT = tuple(each for each in MEDIA_TYPE_OF_DOCUMENT if each is not DocumentFormat.PDF_TEXT)
"""The formats that a media type in the header `Accept` selects. `application/pdf` selects the searchable PDF."""

MARKDOWN_PAGE_BREAK = "\n\n---\n\n"
"""What is between two pages of a Markdown document, and nowhere else in it."""

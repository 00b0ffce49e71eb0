"""Documents as answers: the media type of each format, and the HTTP response with a document."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

from anyio import to_thread
from fastapi import Response

from app.api.http import threads
from app.api.http.header_fields import JSON, TEXT
from app.api.http.negotiation import best_of
from app.api.images.body import BINARY
from app.api.images.page_warnings import PAGE_WARNINGS, PAGE_WARNINGS_DESCRIPTION
from app.engine.contract.document_formats import DOCUMENTS_BY_ACCEPT, MEDIA_TYPE_OF_DOCUMENT, DocumentFormat
from app.engine.recognition import Recognition

TRUNCATED = "x-truncated-by-evaluation"
"""The header that says whether the unlicensed engine has cut the text."""
DOCUMENT_FORMATS = {MEDIA_TYPE_OF_DOCUMENT[each]: each for each in DOCUMENTS_BY_ACCEPT}
"""The media types of the documents that the engine process can write, with their formats."""


class AnswerFormat(StrEnum):
    """The values of the option `format`: documents (`DocumentFormat`), and JSON and text, which are no documents."""

    JSON = "json"
    TEXT = "text"
    ALTO = DocumentFormat.ALTO
    CSV = DocumentFormat.CSV
    DOCX = DocumentFormat.DOCX
    EPUB = DocumentFormat.EPUB
    HOCR = DocumentFormat.HOCR
    HTML = DocumentFormat.HTML
    MARKDOWN = DocumentFormat.MARKDOWN
    PDF = DocumentFormat.PDF
    PDF_TEXT = DocumentFormat.PDF_TEXT
    RTF = DocumentFormat.RTF
    XLSX = DocumentFormat.XLSX

    @property
    def document(self) -> DocumentFormat | None:
        """The format of the document; None for JSON and text."""
        return None if self in {AnswerFormat.JSON, AnswerFormat.TEXT} else DocumentFormat(self.value)


class TableFormat(StrEnum):
    """The values of the option `format` for tables: documents that can show tables, and JSON."""

    JSON = "json"
    CSV = DocumentFormat.CSV
    XLSX = DocumentFormat.XLSX
    MARKDOWN = DocumentFormat.MARKDOWN
    HTML = DocumentFormat.HTML
    DOCX = DocumentFormat.DOCX

    @property
    def document(self) -> DocumentFormat | None:
        """The format of the document; None for JSON."""
        return None if self is TableFormat.JSON else DocumentFormat(self.value)


TABLE_FORMATS = {MEDIA_TYPE_OF_DOCUMENT[each.document]: each for each in TableFormat if each.document}
"""The media types of the documents that can show tables, with the values of `format`."""
SUFFIXES = {
    DocumentFormat.ALTO: "xml",
    DocumentFormat.HOCR: "hocr",
    DocumentFormat.MARKDOWN: "md",
    DocumentFormat.PDF_TEXT: "pdf",
}
"""The suffixes of file names that are not the names of the formats."""


def chosen_format(option: AnswerFormat | None, accept: list[str]) -> AnswerFormat:
    """Return the answer's format: what the option `format` names, else what `Accept` prefers. Raises NotAcceptable."""
    if option is not None:
        return option
    media_type = best_of((JSON, TEXT, *DOCUMENT_FORMATS), accept)
    found = {JSON: AnswerFormat.JSON, TEXT: AnswerFormat.TEXT}.get(media_type)
    return found or AnswerFormat(DOCUMENT_FORMATS[media_type].value)


def chosen_table_format(option: TableFormat | None, accept: list[str]) -> TableFormat:
    """Return the format of an answer with tables, as `chosen_format` does. Raises NotAcceptable."""
    return option or TABLE_FORMATS.get(best_of((JSON, *TABLE_FORMATS), accept), TableFormat.JSON)


def answer_parts(media_types: Iterable[str], **content: Any) -> dict[str, Any]:  # noqa: ANN401 - as OpenAPI has it
    """Return the OpenAPI description of an answer: a document of one of these media types, or other `content`."""
    return {
        "content": {**content, **dict.fromkeys(media_types, BINARY)},
        "headers": {
            TRUNCATED: {
                "description": "`true` if the unlicensed engine has cut the text of a page.",
                "schema": {"type": "string", "enum": ["true", "false"]},
            },
            PAGE_WARNINGS: PAGE_WARNINGS_DESCRIPTION,
        },
    }


async def document_response(
    recognition: Recognition, document_format: DocumentFormat, headers: Mapping[str, str]
) -> Response:
    """Return the HTTP response with the document of a recognition, a file name and the `headers`."""
    if recognition.document is None:
        msg = f"the engine wrote no {document_format}"
        raise RuntimeError(msg)
    content = await to_thread.run_sync(recognition.document.read_bytes, limiter=threads.images)
    suffix = SUFFIXES.get(document_format, document_format)
    file_name = f'attachment; filename="recognised.{suffix}"'
    headers = {**headers, "content-disposition": file_name}
    return Response(content, headers=headers, media_type=MEDIA_TYPE_OF_DOCUMENT[document_format])

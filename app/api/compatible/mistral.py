"""`POST /v1/ocr`: the OCR of Mistral's API, for a document in the request."""

from collections.abc import Iterable
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError

from app.api.compatible.data_url import MARK, NO_BASE64, DataUrl
from app.api.compatible.reading import Asked, CompatibleReadingDep, Pages, answer, refused
from app.api.http import threads
from app.api.http.auth import GuardedRoute, needs
from app.api.http.checks.body_streams import streams_body
from app.api.http.keys import Scope
from app.engine.contract.document_formats import MARKDOWN_PAGE_BREAK, DocumentFormat
from app.engine.contract.reading_options import PageRange
from app.engine.recognition import Recognition

MAX_RANGES = 1000
MAX_PAGE = 999_999

router = APIRouter(route_class=GuardedRoute, include_in_schema=False)


class ImageUrl(BaseModel):
    """An image as an object."""

    url: str


class Document(BaseModel):
    """The document of a request; a file that was uploaded before is not supported."""

    document_url: str | None = None
    image_url: str | ImageUrl | None = None

    @property
    def url(self) -> str:
        """The URL of the document; empty if there is none."""
        image = self.image_url.url if isinstance(self.image_url, ImageUrl) else self.image_url
        return self.document_url or image or ""


class OcrIn(BaseModel):
    """The body of a request, without the base64 of its document. Unknown fields are ignored."""

    model: str | None = None
    document: Document
    pages: str | list[int] | None = Field(default=None, max_length=MAX_RANGES)
    bbox_annotation_format: None = None
    document_annotation_format: None = None


@router.post("/v1/ocr", openapi_extra=needs(Scope.AI))
@streams_body
async def read_document(request: Request, reading: CompatibleReadingDep) -> Response:
    """Recognise the document in the body. The answer has the Markdown of each page."""
    body = DataUrl()
    async with reading.read(request, body.image(request.stream()), lambda: _asked(body)) as recognition:
        texts = await to_thread.run_sync(_markdown_of, recognition, limiter=threads.images)
        pages = [
            {"index": page["number"] - 1, "markdown": text, "images": [], "dimensions": None}
            for page, text in zip(recognition.pages, texts, strict=True)
        ]
        usage = {"pages_processed": len(pages), "doc_size_bytes": body.size_bytes}
        named = parsed(body).model or "aspose-ocr"
        return answer({"pages": pages, "model": named, "document_annotation": None, "usage_info": usage}, recognition)


def parsed(body: DataUrl) -> OcrIn:
    """Return the body without its base64. Raises RequestValidationError."""
    try:
        return OcrIn.model_validate_json(bytes(body.rest))
    except ValidationError as exc:
        found = [{**error, "loc": ("body", *error["loc"])} for error in exc.errors(include_url=False)]
        raise RequestValidationError(found) from exc


def _asked(body: DataUrl) -> Asked:
    asked = parsed(body)
    url = asked.document.url
    if not url.startswith("data:") or not url.endswith(MARK.decode()):
        raise refused("document", NO_BASE64)
    return Asked(DocumentFormat.MARKDOWN, _pages(asked.pages))


def _pages(pages: str | list[int] | None) -> Pages:
    """Return the ranges of the requested pages, which count from 0. Raises RequestValidationError."""
    if pages is None:
        return None
    listed: Iterable[Any] = pages.split(",") if isinstance(pages, str) else pages
    try:
        return tuple(_range(str(each)) for each in listed) or None
    except ValueError:
        raise refused("pages", "must be page numbers from 0, such as [0, 2] or '0,2-4'") from None


def _range(text: str) -> PageRange:
    """Return a range of pages. Raises ValueError."""
    first, dash, last = text.strip().partition("-")
    begin, end = int(first), int(last if dash else first)
    if not 0 <= begin <= end < MAX_PAGE:
        raise ValueError(text)
    return PageRange(begin + 1, end + 1)


def _markdown_of(recognition: Recognition) -> list[str]:
    """Return the Markdown of each page. Blocks."""
    if recognition.document is None:
        raise RuntimeError("the engine wrote no Markdown")
    return recognition.document.read_text("utf-8").removesuffix("\n").split(MARKDOWN_PAGE_BREAK)

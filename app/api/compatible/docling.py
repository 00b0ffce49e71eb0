"""`POST /v1/convert/file`: the conversion of docling-serve, for one file."""

from collections.abc import Callable, Coroutine
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request, Response

from app.api.compatible.docling_form import DoclingForm
from app.api.compatible.reading import Asked, CompatibleReadingDep, Pages, answer, refused
from app.api.http import threads
from app.api.http.auth import GuardedRoute, needs
from app.api.http.checks.body_streams import streams_body
from app.api.http.keys import Scope
from app.api.images.options.vendor_names import FACTS, advise_language, similar_languages
from app.api.ocr.schemas import PAGE_BREAK
from app.engine.contract.document_formats import DocumentFormat
from app.engine.contract.reading_options import PageRange

FORMATS = {"md": DocumentFormat.MARKDOWN, "html": DocumentFormat.HTML, "text": None}
"""The values of `to_formats` that can be answered, and the document that each needs."""
FIELDS = frozenset({"to_formats", "page_range", "ocr_lang", "target_type"})
"""The fields of the form that have an effect."""
MAX_PAGE = 999_999


class ApiKeyRoute(GuardedRoute):
    """A route that also takes the key from the header `X-Api-Key`, as docling-serve does."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return a handler that moves the key into `Authorization` and then calls that of GuardedRoute."""
        handle = super().get_route_handler()

        async def handle_with_key(request: Request) -> Response:
            key = request.headers.get("x-api-key")
            if key is None or "authorization" in request.headers:
                return await handle(request)
            headers = [*request.scope["headers"], (b"authorization", b"Bearer " + key.encode("latin-1"))]
            return await handle(Request(dict(request.scope) | {"headers": headers}, request.receive))

        return handle_with_key


router = APIRouter(route_class=ApiKeyRoute, include_in_schema=False)


@router.post("/v1/convert/file", openapi_extra=needs(Scope.AI))
@streams_body
async def convert_file(request: Request, reading: CompatibleReadingDep) -> Response:
    """Recognise the file in the field `files` of the form. The answer has its text in the requested formats."""
    form = DoclingForm(request.headers.get("content-type", ""), FIELDS)
    async with reading.read(request, form.image(request.stream()), lambda: asked_by(form.values)) as recognition:
        formats = formats_of(form.values)
        content = None
        if recognition.document:
            content = await to_thread.run_sync(recognition.document.read_text, "utf-8", limiter=threads.images)
        texts = [page["text"] for page in recognition.pages]
        document = {
            "filename": form.file_name,
            "md_content": content if "md" in formats else None,
            "json_content": None,
            "html_content": content if "html" in formats else None,
            "text_content": PAGE_BREAK.join(texts) if "text" in formats else None,
            "doctags_content": None,
        }
        times = {"status": "success", "errors": [], "processing_time": recognition.seconds, "timings": {}}
        return answer({"document": document, **times}, recognition)


def formats_of(values: dict[str, list[str]]) -> set[str]:
    """Return the requested formats. Raises RequestValidationError if these cannot be had in one answer."""
    formats = set(values.get("to_formats", ["md"]))
    if unknown := formats - set(FORMATS):
        raise refused("to_formats", f"{min(unknown)!r} is not available here; ask for md, html or text")
    if {"md", "html"} <= formats:
        raise refused("to_formats", "md and html cannot be had in one answer here; ask for one of them")
    return formats


def asked_by(values: dict[str, list[str]]) -> Asked:
    """Return what the fields of a form ask for. Raises RequestValidationError for what is not available."""
    if values.get("target_type", ["inbody"]) != ["inbody"]:
        raise refused("target_type", "only 'inbody' is available here; leave it out")
    documents = [FORMATS[each] for each in formats_of(values) if FORMATS[each]]
    return Asked(documents[0] if documents else None, _pages(values.get("page_range")), _language(values))


def _pages(numbers: list[str] | None) -> Pages:
    """Return the pages between the two values of `page_range`, which clients send as a huge second one for all."""
    if numbers is None:
        return None
    if len(numbers) != 2 or not all(each.isascii() and each.isdigit() for each in numbers):  # noqa: PLR2004
        raise refused("page_range", "must be two numbers: the first and the last page, counted from 1")
    first, last = map(int, numbers)
    if not 1 <= first <= last or first > MAX_PAGE:
        raise refused("page_range", "must be the first and the last page, counted from 1, in this order")
    if first == 1 and last > MAX_PAGE:
        return None
    return (PageRange(first, last if last <= MAX_PAGE else None),)


def _language(values: dict[str, list[str]]) -> str | None:
    """Return the vendor's name of the first language in `ocr_lang`; None if there is none."""
    languages = [each for each in values.get("ocr_lang", []) if each]
    if not languages:
        return None
    found, is_certain = similar_languages(FACTS, languages[0])
    if not is_certain:
        raise refused("ocr_lang", advise_language(languages[0]))
    return found[0]

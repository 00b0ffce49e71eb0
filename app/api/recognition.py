"""`POST /ocr`: an image comes in, its text goes out."""

from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Query, Request, Response
from fastapi.exceptions import RequestValidationError

from app import errors
from app.api import refusals
from app.api.accepting import best_of
from app.api.auth import GuardedRoute, needs
from app.api.deps import DeskDep, ReaderDep
from app.api.hangups import unless_gone
from app.api.images import FORM, threads
from app.api.keys import Scope
from app.api.loading import LOADING
from app.api.problems import problems
from app.api.schemas.ai import ResultOut, SpellCheckIn
from app.api.schemas.recognition import PageOut, ReadingQuery, ReadingSettingsOut, RecognitionOut
from app.engine.processors import Processor
from app.engine.recognition import MEDIA_TYPES, Recognition, Wish

router = APIRouter(tags=["recognition"], route_class=GuardedRoute)

JSON, TEXT = "application/json", "text/plain"
SAVED = {
    "application/pdf": "PDF",
    "text/vnd.hocr+html": "HOCR",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "DOCX",
}
"""Formats that the engine writes, and its names for them."""
TRUNCATED = "x-truncated-by-evaluation"
PAGE_BREAK = "\f"
REFUSING = (
    errors.UnsupportedImage,
    errors.UnreadableImage,
    errors.ImageTooLarge,
    errors.EncryptedPdf,
    errors.UnknownLanguage,
    errors.ResourceMissing,
    refusals.NotAcceptable,
    refusals.UnsupportedForm,
    refusals.BodyCutShort,
    refusals.UploadStalled,
    refusals.TextTooLong,
    *LOADING,
)
"""Of LOADING only a part without `correct`."""
BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            TEXT: {"schema": {"type": "string"}, "example": "Invoice 4711"},
            **dict.fromkeys(SAVED, BINARY),
        },
        "headers": {
            TRUNCATED: {
                "description": "`true` when the unlicensed engine has cut the text of a page.",
                "schema": {"type": "string", "enum": ["true", "false"]},
            }
        },
    }
}
DOCUMENTED: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "The image as it is, or a form with one file, in the field `file`.",
        "content": {
            **dict.fromkeys(MEDIA_TYPES, BINARY),
            FORM: {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            },
        },
    },
    "parameters": [
        {
            "name": "Accept",
            "in": "header",
            "required": False,
            "description": "The format of the answer; without it JSON.",
            "schema": {"type": "string", "enum": [JSON, TEXT, *SAVED]},
        }
    ],
}
"""For the OpenAPI document alone; the route reads the body as it comes."""


@router.post(
    "/ocr",
    summary="Recognise text",
    response_model=RecognitionOut,
    response_description="What the image says, in the format that Accept asks for.",
    responses=RESPONSES | problems(*REFUSING),
    openapi_extra=needs(Scope.AI) | DOCUMENTED,
)
async def recognise_text(
    request: Request,
    reader: ReaderDep,
    desk: DeskDep,
    query: Annotated[ReadingQuery, Query()],
) -> Response:
    """Read a PNG, JPEG, TIFF, BMP, GIF or PDF, page by page.

    The engine reads one image at a time; a few wait for their turn. A caller that hangs up ends the work. Without a
    licence the engine cuts every text; the answer says so, as a field or in a header, and never passes a part off as
    the whole.
    """
    media_type = best_of((JSON, TEXT, *SAVED), request.headers.getlist("accept"))
    wish = Wish(query.language, query.areas, query.auto_skew, query.upscale, query.page_range, SAVED.get(media_type))
    if query.correct:
        if wish.save_as:
            raise RequestValidationError([{"loc": ("query", "correct"), "msg": "Only JSON and text are corrected"}])
        await desk.choose(Processor.SPELL_CHECK)
    async with reader.read(request, wish) as recognition:
        corrections: list[ResultOut | None] = [None] * len(recognition.pages)
        if query.correct:
            texts = [page["text"] for page in recognition.pages]
            body = SpellCheckIn(texts=texts)
            task = await desk.admit(Processor.SPELL_CHECK, body)
            corrections = [*(await unless_gone(request, desk.work(request, task, body))).results]
        pages = [
            PageOut.model_validate(page | {"corrected": corrected})
            for page, corrected in zip(recognition.pages, corrections, strict=True)
        ]
        return await _answer(recognition, pages, media_type, wish)


async def _answer(recognition: Recognition, pages: list[PageOut], media_type: str, wish: Wish) -> Response:
    is_truncated = any(page.truncated_by_evaluation for page in pages)
    headers = {TRUNCATED: str(is_truncated).lower()}
    if recognition.document:
        content = await to_thread.run_sync(recognition.document.read_bytes, limiter=threads)
        return Response(content, headers=headers, media_type=media_type)
    text = PAGE_BREAK.join(_best_text(page) for page in pages)
    if media_type == TEXT:
        return Response(text, headers=headers, media_type=TEXT)
    answer = RecognitionOut(
        text=text,
        truncated_by_evaluation=is_truncated,
        pages=pages,
        settings=ReadingSettingsOut.model_validate(wish),
        engine_seconds=round(recognition.seconds, 3),
    )
    return Response(answer.model_dump_json(), headers=headers, media_type=JSON)


def _best_text(page: PageOut) -> str:
    return page.corrected.text if page.corrected and page.corrected.text is not None else page.text

"""`POST /ocr`: an image comes in, its text goes out."""

from contextlib import AsyncExitStack
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Query, Request, Response
from fastapi.exceptions import RequestValidationError

from app import errors
from app.api.ai.schemas import ResultOut, SpellCheckIn
from app.api.ai.service import TextService, TextServiceDep
from app.api.http import request_errors, threads
from app.api.http.auth import GuardedRoute, needs
from app.api.http.deps import ActorDep
from app.api.http.disconnects import cancel_on_disconnect
from app.api.http.error_groups import IMAGE_ERRORS, LOAD_ERRORS
from app.api.http.keys import Scope
from app.api.http.negotiation import best_of
from app.api.http.problem_table import PROBLEM_TYPES
from app.api.http.routing import streams_body
from app.api.images.body import BINARY, BODY
from app.api.images.service import RecognitionServiceDep
from app.api.jobs.respond_async import BackgroundDep, PrefersJob, accepted, accepted_or
from app.api.jobs.routes import JobKind, job_routes
from app.api.ocr.jobs import IMAGES, JOBS, work_on
from app.api.ocr.schemas import ReadingQuery, RecognitionOut, RecognitionsOut, describe
from app.engine.contract.processors import Processor
from app.engine.contract.recognition import RecognitionOptions
from app.engine.recognition import Recognition

router = APIRouter(tags=["recognition"], route_class=GuardedRoute)

JSON, TEXT = "application/json", "text/plain"
SAVED = {
    "application/pdf": "PDF",
    "text/vnd.hocr+html": "HOCR",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "DOCX",
}
"""Formats that the engine writes, and its names for them."""
TRUNCATED = "x-truncated-by-evaluation"
OCR_ERRORS = (*IMAGE_ERRORS, request_errors.NotAcceptable, request_errors.TextTooLong, *LOAD_ERRORS)
"""Only `correct` loads a processor: without it, few of LOAD_ERRORS can happen."""
OCR_RESPONSES: dict[int | str, dict[str, Any]] = {
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


@router.post(
    "/ocr",
    summary="Recognise text",
    response_model=RecognitionOut,
    response_description="What the image says, in the format that Accept asks for; without it JSON.",
    responses=OCR_RESPONSES | accepted_or(*OCR_ERRORS),
    openapi_extra=needs(Scope.AI) | {"requestBody": BODY},
)
@streams_body
async def recognise_text(
    request: Request,
    reader: RecognitionServiceDep,
    text_service: TextServiceDep,
    background: BackgroundDep,
    actor: ActorDep,
    prefers_job: PrefersJob,
    query: Annotated[ReadingQuery, Query()],
) -> Response:
    """Read a PNG, JPEG, TIFF, BMP, GIF or PDF, page by page.

    The engine reads one image at a time; a few wait for their turn. A caller that hangs up ends the work. Without a
    licence the engine cuts every text; the answer says so, as a field or in a header, and never passes a part off as
    the whole.

    A job may have several files, in as many fields `file`, and gives JSON, without `correct`.
    """
    offered = (JSON,) if prefers_job else (JSON, TEXT, *SAVED)
    media_type = best_of(offered, request.headers.getlist("accept"))
    wish = RecognitionOptions(
        query.language, query.areas, query.auto_skew, query.upscale, query.page_range, SAVED.get(media_type)
    )
    if query.correct:
        if wish.save_as or prefers_job:
            raise RequestValidationError([{"loc": ("query", "correct"), "msg": "Only JSON and text are corrected"}])
        await text_service.choose(Processor.SPELL_CHECK)
    if prefers_job:
        async with AsyncExitStack() as stack:
            images = await stack.enter_async_context(reader.receive(request))
            asked = query.model_dump(exclude={"correct"})
            job = await background.begin(work_on(images, wish, reader, request, asked, stack.pop_all()), actor)
            return accepted(request, JOBS, job)
    async with reader.read(request, wish) as recognition:
        corrections = await _corrected(request, recognition, text_service, media_type) if query.correct else []
        return await _answer(recognition, describe(recognition, wish, corrections), media_type)


async def _corrected(
    request: Request, recognition: Recognition, text_service: TextService, media_type: str
) -> list[ResultOut]:
    """The spell check's result for each page. Where all of it failed, JSON still has what was recognised."""
    body = SpellCheckIn(texts=[page["text"] for page in recognition.pages])
    try:
        task = await text_service.admit(Processor.SPELL_CHECK, body)
        return (await cancel_on_disconnect(request, text_service.work(request, task, body))).results
    except (errors.EngineError, request_errors.TextTooLong) as exc:
        if media_type == TEXT:
            raise
        problem = PROBLEM_TYPES[type(exc)].describe(exc, request.url.path, request.scope["request_id"])
        return [ResultOut(text=None, diff=None, error=problem)] * len(recognition.pages)


async def _answer(recognition: Recognition, answer: RecognitionOut, media_type: str) -> Response:
    headers = {TRUNCATED: str(answer.truncated_by_evaluation).lower()}
    if recognition.document:
        content = await to_thread.run_sync(recognition.document.read_bytes, limiter=threads.images)
        return Response(content, headers=headers, media_type=media_type)
    if media_type == TEXT:
        return Response(answer.text, headers=headers, media_type=TEXT)
    return Response(answer.model_dump_json(), headers=headers, media_type=JSON)


job_router = job_routes(
    JobKind(
        prefix=JOBS,
        noun="recognition job",
        kind=IMAGES,
        tag="recognition",
        cancel_scope=Scope.AI,
        read_scope=Scope.AI,
        results=RecognitionsOut,
    )
)

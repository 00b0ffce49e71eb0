"""`/ocr`: text recognised in an image, at once or as a job."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.exceptions import RequestValidationError

from app import errors
from app.api.ai.schemas import SpellCheckIn, TextResultOut
from app.api.ai.schemas import describe as describe_texts
from app.api.ai.service import TextService, TextServiceDep
from app.api.engine.model_choice import LOAD_ERRORS, ModelChoice, ModelChoiceDep
from app.api.http import request_errors
from app.api.http.auth import GuardedRoute, needs
from app.api.http.checks.body_streams import streams_body
from app.api.http.disconnects import cancel_on_disconnect
from app.api.http.header_fields import JSON, TEXT
from app.api.http.keys import Scope
from app.api.http.negotiation import best_of
from app.api.http.problems import ProblemContext, ProblemContextDep, problem_of, problems
from app.api.images.body import BODY_ERRORS, IMAGE_ERRORS, ImageBodyDep, image_request_body
from app.api.images.documents import (
    DOCUMENT_FORMATS,
    TRUNCATED,
    AnswerFormat,
    answer_parts,
    chosen_format,
    document_response,
)
from app.api.images.options.form_fields import with_form_fields
from app.api.images.page_warnings import warnings_header
from app.api.images.received import ImageBody
from app.api.images.service import RecognitionService, RecognitionServiceDep
from app.api.images.uploads import fingerprint_of, uploads_for_job
from app.api.jobs.respond_async import (
    CREATION_ERRORS,
    JobInAnyCaseDep,
    PreferredJob,
    PreferredJobDep,
    accepted_or,
    check_priority,
)
from app.api.jobs.routes import JobKind, job_routes
from app.api.jobs.schemas import JobOut
from app.api.jobs.unit_problems import unit_problem
from app.api.jobs.unit_results import UnitResults
from app.api.jobs.webhooks import BY_QUERY, WebhookTargetsDep, checked_webhook
from app.api.ocr.reading_query import Correction, ReadingQuery
from app.api.ocr.schemas import FileResultOut, RecognitionOut, RecognitionsOut, describe, failed_file
from app.engine.contract.processors import Processor
from app.engine.recognition import Recognition
from app.jobs.folder import Jobs
from app.jobs.records import Job
from app.jobs.units.kinds import UNIT_PHASES, UNITS_RESULT, ItemJobKind
from app.webhooks.targets import WebhookTargets

router = APIRouter(tags=["recognition"], route_class=GuardedRoute)

JOBS = "/ocr/jobs"
"""The path of the routes of recognition jobs."""
OCR_ERRORS = (*IMAGE_ERRORS, request_errors.NotAcceptable, request_errors.TextTooLong, *LOAD_ERRORS)
"""The errors of `POST /ocr`. Most of LOAD_ERRORS can happen only with `correct`, which loads a processor."""
OCR_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: answer_parts(DOCUMENT_FORMATS, **{TEXT: {"schema": {"type": "string"}, "example": "Invoice 4711"}})
}

CREATED: dict[int | str, dict[str, Any]] = {
    202: {"headers": {"location": {"description": "The job's address.", "schema": {"type": "string"}}}}
}
SOURCE_ERRORS = (request_errors.UnsupportedArchive, errors.UploadUnusable)
"""The errors of jobs of archives and uploads."""
JOB_ERRORS = (
    request_errors.NotAcceptable,
    request_errors.ServiceReadOnly,
    *SOURCE_ERRORS,
    *BODY_ERRORS,
    errors.EngineLacks,
    *CREATION_ERRORS,
)
"""The errors of `POST /ocr/jobs`. Those of single files are in the results."""


@router.post(
    "/ocr",
    summary="Recognise text",
    response_model=RecognitionOut,
    response_description="The recognised text, in the format that `Accept` asks for; JSON by default.",
    responses=OCR_RESPONSES | accepted_or(*OCR_ERRORS, *SOURCE_ERRORS),
    openapi_extra=needs(Scope.AI) | BY_QUERY | {"requestBody": image_request_body()},
)
@streams_body
async def recognise_text(
    request: Request,
    body: ImageBodyDep,
    service: RecognitionServiceDep,
    text_service: TextServiceDep,
    choice: ModelChoiceDep,
    preferred_job: PreferredJobDep,
    targets: WebhookTargetsDep,
    context: ProblemContextDep,
    query: Annotated[ReadingQuery, Query()],
) -> Response:
    """Recognise the text of an image (also WebP, HEIF, AVIF), a TIFF, PDF or DjVu document, or a ZIP of them, by page.

    The engine works on one image at a time; a few more wait in a queue. The work ends when the caller disconnects.
    Without a licence the engine cuts every text; then `truncated_by_evaluation`, or the header
    `X-Truncated-By-Evaluation`, is true.

    A job may have several files, each in a field `file` of a form; each file in a ZIP archive is one of them. Its
    results are JSON; it does not take `correct=true`. With several files the answer is the job, also with
    `Prefer: respond-async, wait=20`.
    """
    accept = request.headers.getlist("accept")
    # Errors of the query are reported before the image is received; the form may have more options.
    if preferred_job:
        best_of((JSON,), accept)
    await _require_possible(query, accept, choice, prefers_job=preferred_job is not None)
    checked_webhook(query.webhook, targets, is_for_job=preferred_job is not None)
    if preferred_job:
        service.require_capability()
        job = await _create_job(preferred_job, request, body, service, choice, targets, query)
        return await preferred_job.answer(JOBS, job, _answer_of)
    service.require_available()
    async with service.receive_one(body, ReadingQuery.names()) as received:
        query = with_form_fields(query, request.query_params, received.fields)
        await _require_possible(query, accept, choice, prefers_job=False)
        checked_webhook(query.webhook, targets, is_for_job=False)
        answer_format = chosen_format(query.format, accept)
        options = query.to_options(answer_format.document)
        image = await service.image(request, received)
        recognition = await cancel_on_disconnect(request, service.recognise(image, options))
        # A second turn in the engine's queue: other calls may run between the recognition and the correction.
        corrections = (
            await _correct(request, recognition, text_service, context, answer_format)
            if query.correct == Correction.MODEL
            else []
        )
        return await _answer(recognition, describe(recognition, options, corrections), answer_format)


@router.post(
    JOBS,
    summary="Recognise text in a job",
    status_code=202,
    response_model=JobOut,
    response_description="The job.",
    responses=CREATED | problems(*JOB_ERRORS),
    openapi_extra=needs(Scope.AI) | BY_QUERY | {"requestBody": image_request_body(has_several=True)},
)
@streams_body
async def create_recognition_job(
    request: Request,
    body: ImageBodyDep,
    service: RecognitionServiceDep,
    text_service: TextServiceDep,
    choice: ModelChoiceDep,
    job: JobInAnyCaseDep,
    targets: WebhookTargetsDep,
    context: ProblemContextDep,
    query: Annotated[ReadingQuery, Query()],
) -> Response:
    """Recognise the text of several files in a job, which continues when its caller disconnects.

    This is `POST /ocr` with `Prefer: respond-async`, for generated clients: its answer is always a job. The results are
    JSON; `correct=true` and other formats are refused.
    """
    return await recognise_text(request, body, service, text_service, choice, job, targets, context, query)


async def _require_possible(query: ReadingQuery, accept: list[str], choice: ModelChoice, *, prefers_job: bool) -> None:
    """Refuse options that contradict each other or do not suit the format of the answer.

    Raises RequestValidationError and LOAD_ERRORS.
    """
    query.require_consistent()
    check_priority(query.priority, is_for_job=prefers_job)
    if prefers_job and query.format not in {None, AnswerFormat.JSON}:
        raise _refused("format", "the results of a job are JSON; leave it out")
    if not prefers_job and (document_format := chosen_format(query.format, accept).document):
        query.require_fit_for(document_format)
    if query.correct != Correction.MODEL:
        return
    if prefers_job:
        raise _refused("correct", "a language model corrects no job; leave it out, or use correct=dictionary")
    await choice.choose(Processor.SPELL_CHECK)


def _refused(option: str, message: str) -> RequestValidationError:
    return RequestValidationError([{"loc": ("query", option), "msg": message}])


async def _create_job(
    preferred_job: PreferredJob,
    request: Request,
    body: ImageBody,
    service: RecognitionService,
    choice: ModelChoice,
    targets: WebhookTargets,
    query: ReadingQuery,
) -> Job:
    """Receive the files of a job into its folder, and create the job."""
    async with preferred_job.new_units() as new:
        received = await service.receive_job(new, body, ReadingQuery.names())
        query = with_form_fields(query, request.query_params, received.fields)
        await _require_possible(query, request.headers.getlist("accept"), choice, prefers_job=True)
        webhook = checked_webhook(query.webhook, targets)
        parameters = query.model_dump(mode="json", exclude={"webhook"}, exclude_none=True)
        create = partial(preferred_job.create, new, ItemJobKind.IMAGES, priority=query.priority, webhook=webhook)
        if not received.uploads:
            by_url = {"by_url": True} if received.urls else {}
            return await create(parameters | {"files": new.count} | by_url, parameters)
        fingerprint = fingerprint_of(ItemJobKind.IMAGES, parameters, received.uploads)
        if earlier := await preferred_job.earlier(fingerprint, webhook):
            return earlier
        async with uploads_for_job(request.state.store.incoming, received.uploads, preferred_job.actor, new) as uploads:
            await service.take_uploads(new, uploads, body.password)
            return await create(parameters | {"files": new.count}, parameters, fingerprint=fingerprint)


async def _correct(
    request: Request,
    recognition: Recognition,
    text_service: TextService,
    context: ProblemContext,
    answer_format: AnswerFormat,
) -> list[TextResultOut]:
    """Return the spell check's result for each page.

    If the spell check fails for all pages, each page of a JSON answer has the problem of the check besides its
    recognised text; for a plain text answer the error is raised.
    """
    body = SpellCheckIn(texts=[page["text"] for page in recognition.pages])
    try:
        task = await text_service.prepare(Processor.SPELL_CHECK, body.parameters(), body.texts)
        outcomes = await cancel_on_disconnect(request, text_service.run(task, body.texts))
        return describe_texts(body, task, outcomes, context).results
    except (errors.EngineError, request_errors.TextTooLong) as exc:
        if answer_format == AnswerFormat.TEXT:
            raise
        return [TextResultOut(text=None, diff=None, error=problem_of(exc, context))] * len(recognition.pages)


async def _answer(recognition: Recognition, answer: RecognitionOut, answer_format: AnswerFormat) -> Response:
    headers = _headers_of(answer)
    if document_format := answer_format.document:
        return await document_response(recognition, document_format, headers)
    if answer_format == AnswerFormat.TEXT:
        return Response(answer.text, headers=headers, media_type=TEXT)
    return Response(answer.model_dump_json(), headers=headers, media_type=JSON)


def _headers_of(answer: RecognitionOut) -> dict[str, str]:
    warnings = warnings_header((page.number, page.warnings) for page in answer.pages)
    return {TRUNCATED: str(answer.truncated_by_evaluation).lower(), **warnings}


RESULTS = UnitResults(
    FileResultOut,
    RecognitionsOut,
    lambda _, items, common: RecognitionsOut(results=items, **common),
    failed_file,
)


def _answer_of(jobs: Jobs, job: Job) -> Response | None:
    """Return the answer that a request with one file would have got without a job; None if there are several files.

    The results of several files have another schema. Only the job's own route has it, so that `POST /ocr` has one.
    """
    if job.units != 1 or not (found := RESULTS.read(jobs, job, after=0, limit=1).items):
        return None
    if found[0].error:
        return unit_problem(found[0].error)
    assert found[0].recognition  # noqa: S101 - a result has one of the two
    recognition = found[0].recognition
    return Response(recognition.model_dump_json(), headers=_headers_of(recognition), media_type=JSON)


job_router = job_routes(
    JobKind(
        prefix=JOBS,
        noun="recognition job",
        kind=ItemJobKind.IMAGES,
        tag="recognition",
        phases=UNIT_PHASES,
        result=UNITS_RESULT,
        cancel_scope=Scope.AI,
        read_scope=Scope.AI,
        results=RESULTS,
    )
)

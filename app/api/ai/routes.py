"""`/ai`: texts processed by a local language model, at once or as a job."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from app.api.ai.schemas import (
    MAX_TEXTS,
    AiOut,
    KeywordsIn,
    QueryIn,
    SpellCheckIn,
    TextJobResultOut,
    TextJobResultsOut,
    TextResultOut,
    TextsIn,
    describe,
    failed_text,
)
from app.api.ai.service import TextServiceDep
from app.api.engine.model_choice import LOAD_ERRORS
from app.api.http import threads
from app.api.http.auth import GuardedRoute, needs
from app.api.http.disconnects import cancel_on_disconnect
from app.api.http.header_fields import JSON
from app.api.http.keys import Scope
from app.api.http.problems import ProblemContextDep
from app.api.http.request_errors import TextTooLong
from app.api.http.schema import InlineEnum
from app.api.jobs.respond_async import PreferredJob, PreferredJobDep, accepted_or, check_priority
from app.api.jobs.routes import JobKind, job_routes
from app.api.jobs.unit_problems import unit_problem
from app.api.jobs.unit_results import UnitResults
from app.api.jobs.webhooks import BY_QUERY, WEBHOOK, WebhookTargetsDep, WebhookUrl, checked_webhook
from app.engine.contract.processors import Processor
from app.engine.text_runner import TextTask
from app.errors import StoreUnavailable
from app.jobs.folder import Jobs
from app.jobs.records import Job, Priority
from app.jobs.units.kinds import UNIT_PHASES, UNITS_RESULT, ItemJobKind
from app.jobs.units.records import Unit

router = APIRouter(tags=["ai"], route_class=GuardedRoute)

JOBS = "/ai/jobs"
"""The path of the routes of text jobs."""
TEXT_RESPONSES = accepted_or(*LOAD_ERRORS, TextTooLong)


async def _answerer(
    request: Request,
    service: TextServiceDep,
    preferred_job: PreferredJobDep,
    targets: WebhookTargetsDep,
    context: ProblemContextDep,
    webhook: Annotated[WebhookUrl, Query(description=WEBHOOK)] = None,
    priority: Annotated[
        InlineEnum[Priority],
        Query(description="The class of a job: texts of `high` jobs are done first, those of `low` ones last."),
    ] = Priority.NORMAL,
) -> Callable[[Processor, TextsIn], Awaitable[AiOut | Response]]:
    """Return the function that answers a request of `/ai`: with the results, or at once with a job."""

    async def answer(processor: Processor, body: TextsIn) -> AiOut | Response:
        checked = checked_webhook(webhook, targets, is_for_job=preferred_job is not None)
        check_priority(priority, is_for_job=preferred_job is not None)
        task = await service.prepare(processor, body.parameters(), body.texts)
        if preferred_job:
            job = await _create_job(preferred_job, task, body, priority, checked)
            return await preferred_job.answer(JOBS, job, _answer_of)
        working = service.run(task, body.texts, seconds=body.timeout_seconds)
        outcomes = await cancel_on_disconnect(request, working)
        # In a thread, because the diff of long texts takes seconds.
        return await to_thread.run_sync(describe, body, task, outcomes, context)

    return answer


async def _create_job(
    preferred_job: PreferredJob, task: TextTask, body: TextsIn, priority: Priority, webhook: str | None
) -> Job:
    processor = task.load.processor
    asked = {"processor": processor, "model": task.load.model, "texts": len(body.texts)}
    parameters = {"processor": processor, "body": body.model_dump(mode="json", exclude={"texts"}, exclude_none=True)}
    async with preferred_job.new_units() as new:
        await to_thread.run_sync(new.add_all, [Unit(text=text) for text in body.texts], limiter=threads.changes)
        return await preferred_job.create(new, ItemJobKind.TEXTS, asked, parameters, priority=priority, webhook=webhook)


def _page_of(job: Job, items: list[TextJobResultOut], common: dict[str, Any]) -> TextJobResultsOut:
    return TextJobResultsOut.model_validate(_used(job) | {"results": items} | common)


def _used(job: Job) -> dict[str, Any]:
    """Return which processor and model a job's texts were for. Raises StoreUnavailable if its record does not say."""
    processor, model = job.request.get("processor"), job.request.get("model")
    if not isinstance(processor, str) or processor not in set(Processor) or not isinstance(model, str):
        raise StoreUnavailable(f"the record of the job {job.id} does not name the processor and the model of its texts")
    return {"processor": processor, "model": model}


RESULTS = UnitResults(
    TextJobResultOut, TextJobResultsOut, _page_of, lambda index, _, problem: failed_text(index, problem)
)


def _answer_of(jobs: Jobs, job: Job) -> Response | None:
    """Return the answer that the request would have got without a job; None if it has more results than a page."""
    page = RESULTS.read(jobs, job, after=0, limit=MAX_TEXTS)
    items = sorted(page.items, key=lambda item: item.index)
    if len(items) != job.units:
        return None
    if items[0].error and all(item.error for item in items):
        return unit_problem(items[0].error)
    answer = AiOut.model_validate(
        _used(job)
        | {
            "failed_count": sum(item.error is not None for item in items),
            "results": [TextResultOut(**item.model_dump(exclude={"index"})) for item in items],
        }
    )
    return Response(answer.model_dump_json(), media_type=JSON)


AnswerDep = Annotated[Callable[[Processor, TextsIn], Awaitable[AiOut | Response]], Depends(_answerer)]


@router.post(
    "/ai/spell-check",
    summary="Correct texts",
    response_model=AiOut,
    response_description="A result for each text, in order.",
    responses=TEXT_RESPONSES,
    openapi_extra=needs(Scope.AI) | BY_QUERY,
)
async def check_spelling(body: SpellCheckIn, answer: AnswerDep) -> AiOut | Response:
    """Correct each text with AsposeAI's spell check, which works line by line.

    The service loads the model first if it is not loaded yet. If a text fails, its result has an `error`, and the other
    texts have their results; if every text fails, the answer is a problem. The work ends when the caller disconnects.
    """
    return await answer(Processor.SPELL_CHECK, body)


@router.post(
    "/ai/keywords",
    summary="Extract keywords",
    response_model=AiOut,
    response_description="A result for each text, in order.",
    responses=TEXT_RESPONSES,
    openapi_extra=needs(Scope.AI) | BY_QUERY,
)
async def extract_keywords(body: KeywordsIn, answer: AnswerDep) -> AiOut | Response:
    """Search each text for keywords. The model gives the result in its own words.

    Errors, loading and callers that disconnect are handled as by `POST /ai/spell-check`.
    """
    return await answer(Processor.KEYWORDS, body)


@router.post(
    "/ai/query",
    summary="Query texts",
    response_model=AiOut,
    response_description="A result for each text, in order.",
    responses=TEXT_RESPONSES,
    openapi_extra=needs(Scope.AI) | BY_QUERY,
)
async def query_texts(body: QueryIn, answer: AnswerDep) -> AiOut | Response:
    """Ask one question about each text, in plain language.

    Errors, loading and callers that disconnect are handled as by `POST /ai/spell-check`.
    """
    return await answer(Processor.QUERY, body)


job_router = job_routes(
    JobKind(
        prefix=JOBS,
        noun="text job",
        kind=ItemJobKind.TEXTS,
        tag="ai",
        phases=UNIT_PHASES,
        result=UNITS_RESULT,
        cancel_scope=Scope.AI,
        read_scope=Scope.AI,
        results=RESULTS,
    )
)

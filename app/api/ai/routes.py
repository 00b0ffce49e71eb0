"""`/ai`: texts processed by a local language model, at once or as a job."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from app.api.ai.schemas import AiOut, KeywordsIn, QueryIn, SpellCheckIn, TextsIn, describe
from app.api.ai.service import TextServiceDep
from app.api.engine.model_choice import LOAD_ERRORS
from app.api.http.auth import GuardedRoute, needs
from app.api.http.disconnects import cancel_on_disconnect
from app.api.http.header_fields import JSON
from app.api.http.keys import Scope
from app.api.http.problems import ProblemContextDep
from app.api.http.request_errors import TextTooLong
from app.api.jobs.respond_async import PreferredJobDep, accepted_or
from app.api.jobs.routes import JobKind, job_routes
from app.engine.contract.processors import Processor
from app.engine.queue import Place
from app.jobs.batches import BATCH_PHASES, BATCH_RESULT, Batch, BatchKind

router = APIRouter(tags=["ai"], route_class=GuardedRoute)

JOBS = "/ai/jobs"
"""The path of the routes of text jobs."""
TEXT_RESPONSES = accepted_or(*LOAD_ERRORS, TextTooLong)


async def _answerer(
    request: Request,
    service: TextServiceDep,
    preferred_job: PreferredJobDep,
    context: ProblemContextDep,
) -> Callable[[Processor, TextsIn], Awaitable[AiOut | Response]]:
    """Return the function that answers a request of `/ai`: with the results, or at once with a job."""

    async def answer(processor: Processor, body: TextsIn) -> AiOut | Response:
        task = await service.prepare(processor, body.parameters(), body.texts)

        async def work(on_outcome: Callable[[], None], place: Place | None = None) -> AiOut:
            seconds = body.timeout_seconds
            outcomes = await service.run(task, body.texts, seconds=seconds, place=place, on_outcome=on_outcome)
            # In a thread, because the diff of long texts takes seconds.
            return await to_thread.run_sync(describe, body, task, outcomes, context)

        if not preferred_job:
            return await cancel_on_disconnect(request, work(lambda: None))
        asked = {"processor": processor, "model": task.load.model, "texts": len(body.texts)}
        async with AsyncExitStack() as stack:
            place = stack.enter_context(service.reserve())
            batch = Batch(len(body.texts), partial(work, place=place), lambda: place.has_begun, holding=stack.pop_all())
            return await preferred_job.answer(JOBS, BatchKind.TEXTS, asked, batch, _answer_of)

    return answer


def _answer_of(results: AiOut) -> Response:
    return Response(results.model_dump_json(), media_type=JSON)


AnswerDep = Annotated[Callable[[Processor, TextsIn], Awaitable[AiOut | Response]], Depends(_answerer)]


@router.post(
    "/ai/spell-check",
    summary="Correct texts",
    response_model=AiOut,
    response_description="A result for each text, in order.",
    responses=TEXT_RESPONSES,
    openapi_extra=needs(Scope.AI),
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
    openapi_extra=needs(Scope.AI),
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
    openapi_extra=needs(Scope.AI),
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
        kind=BatchKind.TEXTS,
        tag="ai",
        phases=BATCH_PHASES,
        result=BATCH_RESULT,
        cancel_scope=Scope.AI,
        read_scope=Scope.AI,
        results=AiOut,
    )
)

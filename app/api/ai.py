"""`/ai`: texts in, what a local language model makes of them out; and the jobs that do so."""

from anyio import to_thread
from fastapi import APIRouter
from fastapi.responses import FileResponse, Response

from app import errors
from app.api.asking import RESPONSES, AskingDep
from app.api.auth import GuardedRoute, needs
from app.api.deps import StoreDep
from app.api.jobs import JobId, job_routes
from app.api.keys import Scope
from app.api.problems import problems
from app.api.schemas.ai import AiOut, KeywordsIn, QueryIn, SpellCheckIn
from app.api.text_jobs import TEXTS
from app.engine.processors import Processor
from app.store.jobs.records import Job, JobState
from app.store.store import Store

_asking = APIRouter(tags=["ai"], route_class=GuardedRoute)


@_asking.post(
    "/ai/spell-check",
    summary="Correct texts",
    response_model=AiOut,
    response_description="A result for each text, in order.",
    responses=RESPONSES,
    openapi_extra=needs(Scope.AI),
)
async def check_spelling(body: SpellCheckIn, asking: AskingDep) -> AiOut | Response:
    """Correct each text with AsposeAI's spell check, which works line by line.

    Loads the model first if need be. A text that the engine cannot do has its `error`, and the others their results;
    the answer is a problem when no text has a result. A caller that hangs up ends the work.
    """
    return await asking.answer(Processor.SPELL_CHECK, body)


@_asking.post(
    "/ai/keywords",
    summary="Find keywords",
    response_model=AiOut,
    response_description="A result for each text, in order.",
    responses=RESPONSES,
    openapi_extra=needs(Scope.AI),
)
async def find_keywords(body: KeywordsIn, asking: AskingDep) -> AiOut | Response:
    """Have each text searched for keywords; the findings are the model's own words.

    What `/ai/spell-check` says of errors, loading and callers that hang up is so here too.
    """
    return await asking.answer(Processor.KEYWORDS, body, keywords=body.keywords)


@_asking.post(
    "/ai/query",
    summary="Ask about texts",
    response_model=AiOut,
    response_description="A result for each text, in order.",
    responses=RESPONSES,
    openapi_extra=needs(Scope.AI),
)
async def ask(body: QueryIn, asking: AskingDep) -> AiOut | Response:
    """Ask one question about each text, in plain language.

    What `/ai/spell-check` says of errors, loading and callers that hang up is so here too.
    """
    return await asking.answer(Processor.QUERY, body, question=body.question)


@_asking.get(
    "/ai/jobs/{job_id}/results",
    summary="Read a job's results",
    response_model=AiOut,
    response_description="A result for each text, in order.",
    responses=problems(errors.JobNotFound, errors.JobWithoutResults, errors.StoreUnavailable),
    openapi_extra=needs(Scope.AI),
)
async def read_results(job_id: JobId, store: StoreDep) -> Response:
    """Give what the same request would have had for an answer, once the job succeeded."""
    job = await to_thread.run_sync(store.jobs.get, job_id)
    if job.kind != TEXTS:
        raise errors.JobNotFound(job_id)
    if job.state is not JobState.SUCCEEDED:
        raise errors.JobWithoutResults(job_id, job.state)
    return FileResponse(store.jobs.result_file(job_id), media_type="application/json")


def _cancel(store: Store, job_id: str) -> Job:
    return store.jobs.cancel(job_id)


router = job_routes("/ai/jobs", "text job", {TEXTS}, "ai", _cancel, scope=Scope.AI, reading=Scope.AI)
router.routes[:0] = _asking.routes

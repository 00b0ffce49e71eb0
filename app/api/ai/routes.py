"""`/ai`: texts in, what a local language model makes of them out; and the jobs that do so."""

from fastapi import APIRouter
from fastapi.responses import Response

from app.api.ai.asking import JOBS, TEXT_RESPONSES, TEXTS, AskingDep
from app.api.ai.schemas import AiOut, KeywordsIn, QueryIn, SpellCheckIn
from app.api.http.auth import GuardedRoute, needs
from app.api.http.keys import Scope
from app.api.jobs.routes import JobKind, job_routes
from app.engine.contract.processors import Processor

router = APIRouter(tags=["ai"], route_class=GuardedRoute)


@router.post(
    "/ai/spell-check",
    summary="Correct texts",
    response_model=AiOut,
    response_description="A result for each text, in order.",
    responses=TEXT_RESPONSES,
    openapi_extra=needs(Scope.AI),
)
async def check_spelling(body: SpellCheckIn, asking: AskingDep) -> AiOut | Response:
    """Correct each text with AsposeAI's spell check, which works line by line.

    Loads the model first if need be. A text that the engine cannot do has its `error`, and the others their results;
    the answer is a problem when no text has a result. A caller that hangs up ends the work.
    """
    return await asking.answer(Processor.SPELL_CHECK, body)


@router.post(
    "/ai/keywords",
    summary="Find keywords",
    response_model=AiOut,
    response_description="A result for each text, in order.",
    responses=TEXT_RESPONSES,
    openapi_extra=needs(Scope.AI),
)
async def find_keywords(body: KeywordsIn, asking: AskingDep) -> AiOut | Response:
    """Have each text searched for keywords; the findings are the model's own words.

    What `/ai/spell-check` says of errors, loading and callers that hang up is so here too.
    """
    return await asking.answer(Processor.KEYWORDS, body)


@router.post(
    "/ai/query",
    summary="Ask about texts",
    response_model=AiOut,
    response_description="A result for each text, in order.",
    responses=TEXT_RESPONSES,
    openapi_extra=needs(Scope.AI),
)
async def ask(body: QueryIn, asking: AskingDep) -> AiOut | Response:
    """Ask one question about each text, in plain language.

    What `/ai/spell-check` says of errors, loading and callers that hang up is so here too.
    """
    return await asking.answer(Processor.QUERY, body)


job_router = job_routes(
    JobKind(
        prefix=JOBS,
        noun="text job",
        kind=TEXTS,
        tag="ai",
        cancel_scope=Scope.AI,
        read_scope=Scope.AI,
        results=AiOut,
    )
)

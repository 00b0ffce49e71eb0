"""`/ai`: texts in, what a local language model makes of them out."""

from fastapi import APIRouter, Request

from app.api.ai_schemas import AiOut, KeywordsIn, QueryIn, SpellCheckIn
from app.api.auth import GuardedRoute, needs
from app.api.deps import DeskDep
from app.api.hangups import unless_gone
from app.api.keys import Scope
from app.api.loading import LOADING
from app.api.problems import problems
from app.api.refusals import TextTooLong
from app.engine.processors import Processor

router = APIRouter(tags=["ai"], route_class=GuardedRoute)

ANSWERS = problems(*LOADING, TextTooLong)


@router.post(
    "/ai/spell-check",
    summary="Correct texts",
    response_description="A result for each text, in order.",
    responses=ANSWERS,
    openapi_extra=needs(Scope.AI),
)
async def check_spelling(request: Request, body: SpellCheckIn, desk: DeskDep) -> AiOut:
    """Correct each text with AsposeAI's spell check, which works line by line.

    Loads the model first if need be. A text that the engine cannot do has its `error`, and the others their results;
    the answer is a problem when no text has a result. A caller that hangs up ends the work.
    """
    task = await desk.admit(Processor.SPELL_CHECK, body)
    return await unless_gone(request, desk.work(request, task, body))


@router.post(
    "/ai/keywords",
    summary="Find keywords",
    response_description="A result for each text, in order.",
    responses=ANSWERS,
    openapi_extra=needs(Scope.AI),
)
async def find_keywords(request: Request, body: KeywordsIn, desk: DeskDep) -> AiOut:
    """Have each text searched for keywords; the findings are the model's own words.

    What `/ai/spell-check` says of errors, loading and callers that hang up is so here too.
    """
    task = await desk.admit(Processor.KEYWORDS, body, keywords=body.keywords)
    return await unless_gone(request, desk.work(request, task, body))


@router.post(
    "/ai/query",
    summary="Ask about texts",
    response_description="A result for each text, in order.",
    responses=ANSWERS,
    openapi_extra=needs(Scope.AI),
)
async def ask(request: Request, body: QueryIn, desk: DeskDep) -> AiOut:
    """Ask one question about each text, in plain language.

    What `/ai/spell-check` says of errors, loading and callers that hang up is so here too.
    """
    task = await desk.admit(Processor.QUERY, body, question=body.question)
    return await unless_gone(request, desk.work(request, task, body))

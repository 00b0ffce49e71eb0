"""Problems of single items of a request, such as one text or one file: members of an answer, not answers."""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from app.api.http.problem_table import PROBLEM_TYPES
from app.api.http.problem_types import Problem


@dataclass(frozen=True, slots=True)
class ProblemContext:
    """The members of a problem that come from the request."""

    path: str
    request_id: str


def problem_of(exc: Exception, context: ProblemContext) -> Problem:
    """Return the problem that describes an error of one item."""
    return PROBLEM_TYPES[type(exc)].describe(exc, context.path, context.request_id)


async def _context(request: Request) -> ProblemContext:
    return ProblemContext(request.url.path, str(request.scope["request_id"]))


ProblemContextDep = Annotated[ProblemContext, Depends(_context)]

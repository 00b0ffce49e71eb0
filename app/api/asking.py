"""How a route of `/ai` answers: with what came of the texts, or at once with a job, as the caller prefers."""

from collections.abc import Iterable
from typing import Annotated, Any

from fastapi import Depends, Header, Request
from fastapi.responses import JSONResponse, Response

from app import errors
from app.api.deps import DeskDep, OriginDep, TextJobsDep
from app.api.hangups import unless_gone
from app.api.loading import LOADING
from app.api.problems import problems
from app.api.refusals import TextTooLong
from app.api.schemas.ai import AiOut, TextsIn
from app.api.schemas.jobs import JobOut, describe
from app.engine.processors import Processor

JOB: dict[int | str, dict[str, Any]] = {
    202: {
        "model": JobOut,
        "description": "The job, for a caller that prefers one.",
        "headers": {"location": {"description": "Where the job is.", "schema": {"type": "string"}}},
    }
}
RESPONSES = JOB | problems(*LOADING, TextTooLong, errors.StoreReadOnly, errors.StoreFull)


class Asking:
    """One request for work on texts."""

    def __init__(
        self,
        request: Request,
        desk: DeskDep,
        jobs: TextJobsDep,
        origin: OriginDep,
        prefer: Annotated[
            str | None,
            Header(description="`respond-async`: answer at once with a job, which goes on when its caller leaves."),
        ] = None,
    ) -> None:
        self._request = request
        self._desk = desk
        self._jobs = jobs
        self._origin = origin
        self._prefers_job = "respond-async" in {each.strip().lower() for each in (prefer or "").split(",")}

    async def answer(
        self, processor: Processor, body: TextsIn, *, keywords: Iterable[str] = (), question: str = ""
    ) -> AiOut | Response:
        """The answer, of whichever kind."""
        task = await self._desk.admit(processor, body, keywords=keywords, question=question)
        if not self._prefers_job:
            return await unless_gone(self._request, self._desk.work(self._request, task, body))
        job = await self._jobs.begin(self._request, task, body, self._origin)
        location = f"{self._request.scope.get('root_path', '')}/ai/jobs/{job.id}"
        headers = {"location": location, "preference-applied": "respond-async"}
        return JSONResponse(describe(job).model_dump(mode="json"), 202, headers)


AskingDep = Annotated[Asking, Depends()]

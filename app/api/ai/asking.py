"""How a route of `/ai` answers: with what came of the texts, or at once with a job, as the caller prefers."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Annotated

from fastapi import Depends, Request
from fastapi.responses import Response

from app.api.ai.schemas import AiOut, TextsIn
from app.api.ai.service import TextServiceDep
from app.api.engine.deps import ModelSessionDep
from app.api.http.deps import ActorDep
from app.api.http.disconnects import cancel_on_disconnect
from app.api.http.error_groups import LOAD_ERRORS
from app.api.http.request_errors import TextTooLong
from app.api.jobs.respond_async import BackgroundDep, PrefersJob, accepted, accepted_or
from app.engine.contract.processors import Processor
from app.engine.model_session import TextTask
from app.jobs.batches import Batch

TEXTS, JOBS = "texts", "/ai/jobs"
"""The kind of these jobs, and where they are."""
TEXT_RESPONSES = accepted_or(*LOAD_ERRORS, TextTooLong)


class Asking:
    """One request for work on texts."""

    def __init__(
        self,
        request: Request,
        text_service: TextServiceDep,
        session: ModelSessionDep,
        background: BackgroundDep,
        actor: ActorDep,
        prefers_job: PrefersJob,
    ) -> None:
        self._request = request
        self._text_service = text_service
        self._session = session
        self._background = background
        self._actor = actor
        self._prefers_job = prefers_job

    async def answer(self, processor: Processor, body: TextsIn) -> AiOut | Response:
        """The answer, of whichever kind."""
        task = await self._text_service.admit(processor, body)
        if not self._prefers_job:
            return await cancel_on_disconnect(self._request, self._text_service.work(self._request, task, body))
        self._session.require_queue_space()
        job = await self._background.begin(self._work(task, body), self._actor)
        return accepted(self._request, JOBS, job)

    def _work(self, task: TextTask, body: TextsIn) -> Batch:
        async def run(on_done: Callable[[], None]) -> AiOut:
            return await self._text_service.work(self._request, task, body, on_outcome=lambda _: on_done())

        asked = {"processor": task.load.processor, "model": task.load.model, "texts": len(body.texts)}
        return Batch(TEXTS, asked, len(body.texts), run, AsyncExitStack())


AskingDep = Annotated[Asking, Depends()]

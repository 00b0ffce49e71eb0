"""Where texts are taken in for a model: what is to be loaded for them is chosen, and what came of them is described."""

import asyncio
from collections.abc import Callable
from typing import Annotated

from anyio import to_thread
from fastapi import Request

from app import errors
from app.api.ai.schemas import AiOut, ChangeOut, ResultOut, SpellCheckIn, TextsIn
from app.api.ai.texts import TextLimits, changes_between, corrected
from app.api.http.deps import part
from app.api.http.problem_table import PROBLEM_TYPES
from app.engine.contract.processors import DEFAULT_MODEL, Processor
from app.engine.model_session import LoadRequest, ModelSession, TextOutcome, TextTask
from app.engine.supervisor import Supervisor
from app.store.inventory import Model
from app.store.store import Store


class TextService:
    """Takes requests for models to the session, and answers them."""

    def __init__(self, store: Store, supervisor: Supervisor, session: ModelSession, limits: TextLimits) -> None:
        self._store = store
        self._supervisor = supervisor
        self._session = session
        self._limits = limits

    async def choose(self, processor: Processor, name: str | None = None) -> LoadRequest:
        """What is to be loaded, as far as it can be known beforehand that it can be.

        Raises EngineNotReady, EngineLacks, EngineModelMissing, ModelDamaged, NotAModel and StoreUnavailable; for a
        model that was named, ModelNotFound, InvalidModelName and ModelNotLicensed.
        """
        facts = self._supervisor.facts
        if facts is None:
            self._supervisor.require_ready()
        for capability in facts.capabilities if facts else ():
            if capability.name == "ai" and not capability.available:
                raise errors.EngineLacks(capability.name, capability.reason or "")
        try:
            is_used = self._session.is_using(name or DEFAULT_MODEL)
            look_at = self._store.find if is_used else self._find_undamaged
            model = await to_thread.run_sync(look_at, name or DEFAULT_MODEL)
        except errors.ModelNotFound:
            if name is None:
                raise errors.EngineModelMissing(DEFAULT_MODEL) from None
            raise
        if model.name != DEFAULT_MODEL and not (facts and facts.is_licensed):
            raise errors.ModelNotLicensed(model.name, DEFAULT_MODEL)
        return LoadRequest(processor, model.name, model.size_bytes)

    def _find_undamaged(self, name: str) -> Model:
        model, description = self._store.examine(name)
        if description.is_damaged:
            raise errors.ModelDamaged(name, description.problem or "")
        return model

    async def admit(self, processor: Processor, body: TextsIn) -> TextTask:
        """The task that a request is. Raises TextTooLong, and what `choose` raises."""
        parameters = body.parameters()
        task = TextTask(await self.choose(processor), parameters)
        self._limits.check(task, body.texts)
        return task

    async def work(
        self,
        request: Request,
        task: TextTask,
        body: TextsIn,
        *,
        on_outcome: Callable[[TextOutcome], None] = lambda _: None,
    ) -> AiOut:
        """Do it. Of texts none of which has an answer, the first one's error is raised."""
        path, request_id = request.url.path, str(request.scope["request_id"])
        seconds = min(body.timeout_seconds or self._limits.call_seconds, self._limits.call_seconds)
        outcomes = await self._session.run(task, body.texts, seconds=seconds, on_outcome=on_outcome)
        return await asyncio.to_thread(_described, task, body, outcomes, path, request_id)


TextServiceDep = Annotated[TextService, part("text_service")]


def _described(task: TextTask, body: TextsIn, outcomes: list[TextOutcome], path: str, request_id: str) -> AiOut:
    """What came of the texts; of those none of which has an answer, the first one's error is raised."""
    if outcomes[0].error and all(outcome.error for outcome in outcomes):
        raise outcomes[0].error
    results = []
    for text, outcome in zip(body.texts, outcomes, strict=True):
        if error := outcome.error:
            problem = PROBLEM_TYPES[type(error)].describe(error, path, request_id)
            results.append(ResultOut(text=None, diff=None, error=problem))
        else:
            results.append(_result(body, text, outcome.answer or ""))
    return AiOut(
        processor=task.load.processor,
        model=task.load.model,
        failed_count=sum(outcome.error is not None for outcome in outcomes),
        results=results,
    )


def _result(body: TextsIn, text: str, answer: str) -> ResultOut:
    if not isinstance(body, SpellCheckIn):
        return ResultOut(text=answer, diff=None, error=None)
    after = corrected(text, answer)
    diff = [ChangeOut.model_validate(change) for change in changes_between(text, after)] if body.diff else None
    return ResultOut(text=after, diff=diff, error=None)

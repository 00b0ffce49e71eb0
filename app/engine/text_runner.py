"""Processes the texts of a request or job, one text at a time, with the model that the model session loads."""

import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from app.engine.calls import timed_call
from app.engine.model_session import LoadRequest, ModelSession
from app.engine.process.engine_process import EngineProcess
from app.engine.queue import Place, Turn
from app.engine.recycling import recycle_if_grown
from app.engine.states import MAX_DEATHS_OF_ONE_REQUEST
from app.engine.supervisor import Supervisor
from app.errors import EngineCallFailed, EngineDied, EngineTimedOut, ServiceError
from app.events import OnEvent


@dataclass(frozen=True, slots=True)
class TextTask:
    """What to do with texts: the processor and model to load, and the processor's parameters."""

    load: LoadRequest
    parameters: dict[str, Any] = field(default_factory=dict)
    """The parameters that the processor takes besides a text, such as `question`. `app.engine.child` passes them to
    AsposeAI."""


@dataclass(frozen=True, slots=True)
class TextOutcome:
    """The result of one text: the processor's answer, or the error."""

    answer: str | None
    error: ServiceError | None


class TextRunner:
    """Gives texts to one engine, one at a time, and lets other callers use the engine between two texts."""

    def __init__(self, supervisor: Supervisor, session: ModelSession, on_event: OnEvent) -> None:
        self._supervisor = supervisor
        self._session = session
        self._on_event = on_event

    def place_for_unit(self) -> Place:
        """Return the place of a unit of a job in the engine's queue."""
        return self._supervisor.place_for_unit()

    async def run(
        self,
        task: TextTask,
        texts: list[str],
        *,
        seconds: float,
        place: Place | None = None,
        on_outcome: Callable[[TextOutcome], None] = lambda _: None,
    ) -> list[TextOutcome]:
        """Process texts one by one and return one outcome for each, in order. Each text may take `seconds`.

        Each text has its own turn in the queue, so other callers may use the engine between two texts, and may replace
        the model. `place` is the place in the queue of a unit of a job. A release ends the work, because the next
        text would load the model again. If a text ends the engine process, the next text goes to the next process.
        Raises what `ModelSession.load` raises if the load for the first text fails.
        """
        outcomes: list[TextOutcome] = []
        is_deferred, kind = partial(self._session.is_deferred, task.load), task.load.processor
        async with self._supervisor.acquire(place, is_deferred, kind=kind) as turn:
            work = self._outcomes(task, texts, seconds, turn)
            async with contextlib.aclosing(work):
                async for outcome in work:
                    outcomes.append(outcome)
                    on_outcome(outcome)
        return outcomes

    async def _outcomes(
        self, task: TextTask, texts: list[str], seconds: float, turn: Turn
    ) -> AsyncGenerator[TextOutcome]:
        """Yield one outcome for each text. After a fatal error, that error is the outcome of each remaining text."""
        deaths, releases = 0, self._supervisor.releases
        process: EngineProcess | ServiceError = (await self._session.ensure(task.load))[0]
        for number, text in enumerate(texts):
            if number > 0 and isinstance(process, EngineProcess):
                process = await self._next_process(task, turn, releases)
            if isinstance(process, ServiceError):
                yield TextOutcome(None, process)
                continue
            outcome = await self._process(process, task, text, seconds)
            yield outcome
            if isinstance(outcome.error, EngineDied | EngineTimedOut):
                deaths += 1
                was_released = type(outcome.error) is EngineDied and process.exit and not process.exit.is_fault
                if was_released or deaths == MAX_DEATHS_OF_ONE_REQUEST:
                    process = outcome.error

    async def _next_process(self, task: TextTask, turn: Turn, releases: int) -> EngineProcess | ServiceError:
        """Let other callers use the engine, then return the process for the next text, or the error to end with."""
        await self._supervisor.take_next_turn(turn)
        if self._supervisor.releases != releases:
            return EngineDied("released", was_ordered=True)
        try:
            return (await self._session.ensure(task.load))[0]
        except ServiceError as exc:
            return exc

    async def _process(self, process: EngineProcess, task: TextTask, text: str, seconds: float) -> TextOutcome:
        try:
            work = task.load.processor
            params = {"text": text, "parameters": task.parameters}
            answer = await timed_call(process, "process", params, seconds=seconds, work=work, on_event=self._on_event)
        except (EngineCallFailed, EngineDied, EngineTimedOut) as exc:
            return TextOutcome(None, exc)
        if not isinstance(answer, str):
            process.kill(f"it broke the protocol: its answer to a text is of type {type(answer).__name__}")
            return TextOutcome(None, EngineDied((await process.wait()).reason))
        await recycle_if_grown(process, self._session.limits.memory_bytes, self._on_event)
        return TextOutcome(answer, None)

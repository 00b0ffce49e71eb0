"""What the engine's process has loaded, and the work on it: texts one by one, whatever happens to one of them."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Container
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.engine.calls import timed_call
from app.engine.contract.processors import Processor
from app.engine.process import EngineProcess
from app.engine.process_memory import mapped_below, resident_bytes_of
from app.engine.supervisor import Supervisor
from app.errors import (
    EngineCallFailed,
    EngineDied,
    EngineTimedOut,
    ModelTooLarge,
    ServiceError,
)
from app.events import EventName, OnEvent

STOP_SECONDS = 5.0
"""How long a process that is to make room for another may take to end."""
MAX_DEATHS = 3
"""After so many engine processes that died of the texts of one request, the rest of them is not tried."""

Hold = Callable[[str, str, int], Callable[[], None]]
"""Takes a lease on a model for a use by a process; gives what releases it. Blocks; raises ModelLocked."""


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """What is to be loaded."""

    processor: Processor
    model: str
    model_bytes: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """What an engine process has loaded."""

    processor: Processor
    model: str
    since: datetime
    mapped_bytes: int
    """The part of its address space that is the model's file."""


@dataclass(frozen=True, slots=True)
class TextTask:
    """What is to be done with texts, on a processor that is loaded for it."""

    wanted: LoadRequest
    keywords: tuple[str, ...] = ()
    question: str = ""

    def call_for(self, text: str) -> dict[str, Any]:
        """The engine's parameters for one text."""
        return {"text": text, "keywords": list(self.keywords), "question": self.question}


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """How long loading may take, and how much the engine may hold."""

    load_seconds: float = 300.0
    memory_bytes: int = 0
    """0 for any."""


@dataclass(frozen=True, slots=True)
class TextOutcome:
    """What came of one text: the answer, or why there is none."""

    answer: str | None
    error: ServiceError | None


class ModelSession:
    """What is loaded, and the work on it. It changes nothing of the engine's state but through the supervisor.

    A process loads once: AsposeAI maps the model anew with every load, and gives nothing back before its process ends.
    So another processor, another model, and a load that failed all take another process.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        *,
        models_dir: Path,
        hold: Hold,
        limits: SessionLimits,
        on_event: OnEvent,
    ) -> None:
        self.loading: LoadRequest | None = None
        """What is being loaded."""
        self._supervisor = supervisor
        self._models_dir = models_dir
        self._hold = hold
        self._limits = limits
        self._on_event = on_event
        self._loaded: tuple[int, Loaded] | None = None

    @property
    def loaded(self) -> Loaded | None:
        """What the present process has loaded."""
        if self._loaded and self._supervisor.is_ready and self._supervisor.pid == self._loaded[0]:
            return self._loaded[1]
        return None

    def uses(self, model: str) -> bool:
        """Whether that model is loaded, or about to be."""
        return model in {used.model for used in (self.loaded, self.loading) if used}

    def require_queue_space(self) -> None:
        """Raise EngineNotReady or EngineBusy when there is no waiting for a turn."""
        self._supervisor.require_queue_space()

    async def load(self, wanted: LoadRequest) -> Loaded:
        """Have that loaded, when the turn has come; at once when it is.

        Raises EngineNotReady, EngineBusy, ModelTooLarge, ModelLocked, and EngineCallFailed, EngineDied or
        EngineTimedOut when the loading fails.
        """
        if (loaded := self.loaded) and _is(loaded, wanted):
            return loaded
        async with self._supervisor.turn():
            return (await self._ensure(wanted))[1]

    async def run(
        self,
        task: TextTask,
        texts: list[str],
        *,
        seconds: float,
        on_outcome: Callable[[TextOutcome], None] = lambda _: None,
    ) -> list[TextOutcome]:
        """An outcome for each text, in order; `seconds` is the most that one may take.

        A text that the engine's process dies of costs only itself: the others go to the next process. Raises what
        `load` raises when that is why there is no outcome at all.
        """
        outcomes: list[TextOutcome] = []
        async with self._supervisor.turn():
            work = self._outcomes(task, texts, seconds)
            async with contextlib.aclosing(work):
                async for outcome in work:
                    outcomes.append(outcome)
                    on_outcome(outcome)
        return outcomes

    async def _outcomes(self, task: TextTask, texts: list[str], seconds: float) -> AsyncGenerator[TextOutcome]:
        fatal: ServiceError | None = None
        deaths = 0
        for number, text in enumerate(texts):
            if fatal is None:
                try:
                    process, _ = await self._ensure(task.wanted)
                except ServiceError as exc:
                    if number == 0:
                        raise
                    fatal = exc
            if fatal:
                yield TextOutcome(None, fatal)
                continue
            outcome = await self._process(process, task, text, seconds)
            yield outcome
            if isinstance(outcome.error, EngineDied | EngineTimedOut):
                deaths += 1
                was_released = isinstance(outcome.error, EngineDied) and process.exit and not process.exit.is_fault
                if was_released or deaths == MAX_DEATHS:
                    fatal = outcome.error

    async def _process(self, process: EngineProcess, task: TextTask, text: str, seconds: float) -> TextOutcome:
        try:
            work = task.wanted.processor
            params = task.call_for(text)
            answer = await timed_call(process, "process", params, seconds=seconds, work=work, on_event=self._on_event)
        except (EngineCallFailed, EngineDied, EngineTimedOut) as exc:
            return TextOutcome(None, exc)
        if not isinstance(answer, str):
            process.kill(f"it broke the protocol: its answer to a text is of type {type(answer).__name__}")
            return TextOutcome(None, EngineDied((await process.wait()).reason))
        await self._recycle_if_grown(process)
        return TextOutcome(answer, None)

    async def _ensure(self, wanted: LoadRequest) -> tuple[EngineProcess, Loaded]:
        """The process that has it loaded, a new one if need be. Only while having the turn."""
        if 0 < self._limits.memory_bytes < wanted.model_bytes:
            raise ModelTooLarge(wanted.model, wanted.model_bytes, self._limits.memory_bytes)
        process = await self._supervisor.wait_until_ready()
        if (loaded := self.loaded) and _is(loaded, wanted):
            return process, loaded
        self.loading = wanted
        try:
            if loaded:
                await process.stop(f"to load {wanted.processor} instead of {loaded.processor}", seconds=STOP_SECONDS)
                process = await self._supervisor.wait_until_ready()
            return process, await self._load(process, wanted)
        finally:
            self.loading = None

    async def _load(self, process: EngineProcess, wanted: LoadRequest) -> Loaded:
        held = _Held()
        process.when_gone(held.let_go)
        names = {wanted.model} | self._recognised()
        holding = asyncio.create_task(asyncio.to_thread(self._hold_all, held, names, wanted.processor, process.pid))
        try:
            await asyncio.shield(holding)
            params = {"processor": wanted.processor, "model": wanted.model}
            seconds = self._limits.load_seconds
            await timed_call(process, "load", params, seconds=seconds, on_event=self._on_event)
            mapped = await asyncio.to_thread(mapped_below, process.pid, self._models_dir)
            await asyncio.to_thread(held.let_go, but={wanted.model} | set(mapped))
        except BaseException as exc:
            # What it may have mapped and taken meanwhile is gone only with it, and the leases go then too.
            process.kill(f"{wanted.model} could not be loaded ({exc!r:.200})", is_fault=False)
            await asyncio.shield(process.wait())
            # A thread goes on when who waited for it was cancelled, and takes what it was about to.
            await asyncio.wait({holding})
            await asyncio.to_thread(held.let_go)
            raise
        loaded = Loaded(wanted.processor, wanted.model, datetime.now(UTC), sum(mapped.values()))
        self._loaded = process.pid, loaded
        self._on_event(EventName.ENGINE_LOADED, _fields(loaded))
        self._supervisor.refresh_facts()
        return loaded

    def _hold_all(self, held: "_Held", names: set[str], use: str, pid: int) -> None:
        for name in names:
            held.add(name, self._hold(name, use, pid))

    def _recognised(self) -> set[str]:
        facts = self._supervisor.facts
        return set(facts.recognised) if facts else set()

    async def _recycle_if_grown(self, process: EngineProcess) -> None:
        if not self._limits.memory_bytes:
            return
        resident_bytes = await asyncio.to_thread(resident_bytes_of, process.pid)
        if resident_bytes > self._limits.memory_bytes:
            reason = f"it held {resident_bytes} bytes, more than OCR_ENGINE_MEMORY_LIMIT"
            await process.stop(reason, seconds=STOP_SECONDS)
            self._on_event(
                EventName.ENGINE_RECYCLED, {"reason": reason, "pid": process.pid, "resident_bytes": resident_bytes}
            )


class _Held:
    """The leases that are held for one process: let go of when it is gone, or when the loading failed."""

    def __init__(self) -> None:
        self._leases: dict[str, Callable[[], None]] = {}

    def add(self, name: str, release: Callable[[], None]) -> None:
        self._leases[name] = release

    def let_go(self, but: Container[str] = ()) -> None:
        for name in [name for name in self._leases if name not in but]:
            if release := self._leases.pop(name, None):
                release()


def _is(loaded: Loaded, wanted: LoadRequest) -> bool:
    return (loaded.processor, loaded.model) == (wanted.processor, wanted.model)


def _fields(loaded: Loaded) -> dict[str, Any]:
    return {"processor": loaded.processor, "model": loaded.model, "mapped_bytes": loaded.mapped_bytes}

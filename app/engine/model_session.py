"""The model session: loads a model into the engine process, and knows which model is loaded."""

import asyncio
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.engine.calls import timed_call
from app.engine.contract.model_config import ModelConfig
from app.engine.contract.ocr_models import is_ocr_model
from app.engine.contract.processors import Processor
from app.engine.process.engine_process import EngineProcess
from app.engine.process.process_leases import ProcessLeases
from app.engine.process.process_memory import mapped_below, resident_bytes_of
from app.engine.supervisor import Supervisor
from app.errors import (
    ModelTooLarge,
)
from app.events import EventName, OnEvent

LOAD = "load"
"""The kind of work of a turn that only loads a model."""
STOP_SECONDS = 5.0
"""How many seconds a process may take to end when another process must replace it."""
Hold = Callable[[str, str, int], Callable[[], None]]
"""A function that takes a lease on a model. Arguments: the model's name, the kind of use, a process id. Returns the
function that releases the lease.

Blocks. Raises ModelLocked.
"""


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """What to load: a processor, and the model for this processor."""

    processor: Processor
    model: str
    model_bytes: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """The processor and the model that an engine process has loaded."""

    processor: Processor
    model: str
    since: datetime
    mapped_bytes: int
    """How many bytes of files in the model folder the process has mapped."""


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """How long a load may take, and how much memory the engine process may hold."""

    load_seconds: float = 300.0
    memory_bytes: int = 0
    """The most memory that the engine process may hold; 0 for no limit."""


class ModelSession:
    """Loads models for processors. It changes the engine's state only through the supervisor.

    A process loads one model, once: AsposeAI maps the model again with every load and unmaps nothing until its process
    ends. So another processor, another model, and a failed load each need a new process.
    """

    def __init__(
        self,
        supervisor: Supervisor,
        *,
        models_dir: Path,
        hold: Hold,
        limits: SessionLimits,
        on_event: OnEvent,
        check_folder: Callable[[], None] = lambda: None,
        config: ModelConfig | None = None,
    ) -> None:
        """`check_folder` raises StoreUnavailable if the model folder is unavailable. It is called in a thread."""
        self.loading: LoadRequest | None = None
        """The load in progress, or None."""
        self._supervisor = supervisor
        self._models_dir = models_dir
        self._hold = hold
        self._check_folder = check_folder
        self.limits = limits
        self.config = config or ModelConfig()
        """How AsposeAI runs the models."""
        self._on_event = on_event
        self._loaded: tuple[int, Loaded] | None = None
        self._keep_until = 0.0
        """The time, on the loop's clock, until which the loaded model should not be replaced while callers that can use
        it wait."""

    @property
    def loaded(self) -> Loaded | None:
        """The processor and the model that the current process has loaded; None if no model is loaded."""
        if self._loaded and self._supervisor.is_ready and self._supervisor.pid == self._loaded[0]:
            return self._loaded[1]
        return None

    def is_using(self, model: str) -> bool:
        """Whether a model is loaded or being loaded."""
        return model in {used.model for used in (self.loaded, self.loading) if used}

    async def load(self, wanted: LoadRequest) -> Loaded:
        """Load a model for a processor and return the loaded model. Returns at once if the model is loaded already.

        Raises EngineNotReady, EngineBusy, ModelTooLarge, ModelLocked; EngineCallFailed, EngineDied or EngineTimedOut if
        the load fails.
        """
        if (loaded := self.loaded) and _matches(loaded, wanted):
            return loaded
        async with self._supervisor.acquire(is_deferred=lambda: self.is_deferred(wanted), kind=LOAD):
            return (await self.ensure(wanted))[1]

    async def ensure(self, wanted: LoadRequest) -> tuple[EngineProcess, Loaded]:
        """Return a process with the wanted model loaded; replace a process that has loaded another model.

        Call this only while holding the engine.
        """
        if 0 < self.limits.memory_bytes < wanted.model_bytes:
            raise ModelTooLarge(wanted.model, wanted.model_bytes, self.limits.memory_bytes)
        process = await self._supervisor.wait_until_ready()
        if (loaded := self.loaded) and _matches(loaded, wanted):
            return process, loaded
        # Check the folder before the process is used, because a load that fails ends the process.
        await asyncio.to_thread(self._check_folder)
        self.loading = wanted
        began = asyncio.get_running_loop().time()
        try:
            if reason := await self._reason_for_another(process, wanted, loaded):
                await process.stop(reason, seconds=STOP_SECONDS)
                process = await self._supervisor.wait_until_ready()
            return process, await self._load(process, wanted)
        finally:
            self.loading = None
            now = asyncio.get_running_loop().time()
            self._keep_until = now + (now - began)

    def is_deferred(self, wanted: LoadRequest) -> bool:
        """Return True if a caller should let other callers go first, since its load would replace a newly loaded model.

        If another waiting caller needs the loaded model or no model, the model stays loaded for at least as long as its
        load took. So callers of different models spend at most half of the time on loads.
        """
        loaded = self.loaded
        is_recent = asyncio.get_running_loop().time() < self._keep_until
        return is_recent and loaded is not None and not _matches(loaded, wanted)

    async def _reason_for_another(
        self, process: EngineProcess, wanted: LoadRequest, loaded: Loaded | None
    ) -> str | None:
        """Return why the wanted model must be loaded into a new process; None if it can be loaded into `process`."""
        if loaded:
            return f"to load {wanted.processor} instead of {loaded.processor}"
        if not self.limits.memory_bytes:
            return None
        held_bytes = await asyncio.to_thread(resident_bytes_of, process.pid)
        fits = held_bytes + wanted.model_bytes <= self.limits.memory_bytes
        # If this process was not used yet, a new process would hold hardly less memory.
        is_worthwhile = self._supervisor.idle_seconds is not None
        return None if fits or not is_worthwhile else f"to make room for {wanted.model}: it held {held_bytes} bytes"

    async def _load(self, process: EngineProcess, wanted: LoadRequest) -> Loaded:
        leases = ProcessLeases()
        # A lease lives as long as its process, not as long as this session: `when_gone` releases the leases before any
        # caller learns that the process has ended. So a refused deletion succeeds as soon as `release()` returns.
        process.when_gone(leases.release)
        names = {wanted.model} | self._recognised()
        holding = asyncio.create_task(asyncio.to_thread(self._hold_all, leases, names, wanted.processor, process.pid))
        try:
            await asyncio.shield(holding)
            params = {"processor": wanted.processor, "model": wanted.model, **asdict(self.config)}
            seconds = self.limits.load_seconds
            await timed_call(process, "load", params, seconds=seconds, on_event=self._on_event)
            mapped = await asyncio.to_thread(mapped_below, process.pid, self._models_dir)
            await asyncio.to_thread(leases.release, but={wanted.model} | set(mapped))
        except BaseException as exc:
            # Only the end of the process is sure to unmap the files that it may have mapped; its leases end with it.
            process.kill(f"{wanted.model} could not be loaded ({exc!r:.200})", is_fault=False)
            await asyncio.shield(process.wait())
            # The thread continues after a cancellation and may take leases after the process is gone.
            await asyncio.wait({holding})
            await asyncio.to_thread(leases.release)
            raise
        loaded = Loaded(wanted.processor, wanted.model, datetime.now(UTC), sum(mapped.values()))
        self._loaded = process.pid, loaded
        self._on_event(EventName.ENGINE_LOADED, _fields(loaded))
        self._supervisor.refresh_facts()
        return loaded

    def _hold_all(self, leases: ProcessLeases, names: set[str], use: str, pid: int) -> None:
        for name in names:
            leases.add(name, self._hold(name, use, pid))

    def _recognised(self) -> set[str]:
        facts = self._supervisor.facts
        # AsposeAI opens no OCR model, and one that is being changed must not prevent the load.
        return {name for name in facts.recognised if not is_ocr_model(name)} if facts else set()


def _matches(loaded: Loaded, wanted: LoadRequest) -> bool:
    return (loaded.processor, loaded.model) == (wanted.processor, wanted.model)


def _fields(loaded: Loaded) -> dict[str, Any]:
    return {"processor": loaded.processor, "model": loaded.model, "mapped_bytes": loaded.mapped_bytes}

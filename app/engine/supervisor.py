"""The supervisor: starts, stops and replaces engine processes, and is the only writer of the engine's state."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.engine.calls import timed_call
from app.engine.contract.messages import CapabilityName, EngineFacts, ProtocolError
from app.engine.handshake import Handshake
from app.engine.process import process_memory
from app.engine.process.engine_process import EngineProcess
from app.engine.process.exits import ExitCause
from app.engine.queue import OTHER_WORK, CallQueue, IsDeferred, Place, RunningTurn, Turn
from app.engine.recycling import recycle_if_grown
from app.engine.states import EngineState, LastExit, Release, SupervisorLimits
from app.errors import (
    EngineCallFailed,
    EngineDied,
    EngineLacks,
    EngineNotReady,
    EngineOutOfMemory,
    EngineTimedOut,
)
from app.events import EventName, OnEvent

Around = Callable[[EngineProcess], AbstractAsyncContextManager[None]]
"""A function that returns the context manager in which a call to the given process is made."""


class Supervisor:
    """Keeps one engine process running, from `run()` until `stop()`.

    What each request does in each state:

    - starting: a call waits for the process, at most `start_seconds`; before the engine was ready for the first time it
      raises EngineNotReady. A release ends the process and starts another.
    - ready: a call runs, waits in the queue, or raises EngineBusy; a release lets the running call finish, ends the
      process and starts another, which serves the waiting calls.
    - stopping: a call waits for the next process; a release joins the one in progress.
    - backing_off: a call waits for the next process; a release starts another one at once and resets the count of
      deaths.
    - failed: a call raises EngineNotReady; a release starts another process at once, as in backing_off. Both
      backing_off and failed end after a pause, so a caller can crash the engine repeatedly but cannot disable it.
    - stopped: a call and a release raise EngineNotReady.

    A stop in any state ends the process, as a release does, and leaves the engine stopped.
    """

    def __init__(
        self,
        spawn: Callable[[], Awaitable[EngineProcess]],
        *,
        models_dir: Path,
        license_file: Path | None,
        limits: SupervisorLimits,
        on_event: OnEvent,
    ) -> None:
        self._state = EngineState.STOPPED
        self._reason: str | None = None
        self.started_at: datetime | None = None
        """When the current process was started or, if there is no process now, the last one."""
        self.restarts = 0
        """How often the process was replaced, including by releases."""
        self.releases = 0
        """How many releases were requested. A request that joined a release in progress does not count."""
        self.last_exit: LastExit | None = None
        self.facts: EngineFacts | None = None
        """The facts from AsposeAI's last answer. After a restart, the old facts stay until the new process has
        answered."""
        self._spawn, self._models_dir, self._limits, self._on_event = spawn, models_dir, limits, on_event
        self._process: EngineProcess | None = None
        self._handshake = Handshake(models_dir, license_file, limits, on_event)
        self._queue = CallQueue(limits.queue_size)
        self._deaths = 0
        """How many processes in a row died by their own fault since the last stable process."""
        self._paused_until: float | None = None
        """When the pause after a death ends, on the loop's clock; None without a pause."""
        self._last_death: str | None = None
        """Why the last process died; None if the process did not end by its own fault."""
        self._known_models: Mapping[str, object] = {}
        """The models in the folder by name, from the last `note_models`."""
        self._facts_stale = asyncio.Event()
        self._stop_requested = asyncio.Event()
        """Set when the current process must end, for a release or because the supervisor stops."""
        self._release: asyncio.Future[Release] | None = None
        """The result of the release in progress, for which all callers of that release wait; None without one."""
        self._release_reason = ""
        self._stopping = False
        """Whether the supervisor must stop, and so must not start another process."""
        self._holder_waits = asyncio.Event()
        """Set while the caller that holds the engine waits for the next process, and so does not use the present
        process."""
        self._changed = asyncio.Event()
        """Set at the next change of state, then replaced by a new event."""
        self._used_at: float | None = None
        """When the last use ended, on the loop's clock; None if the current process was not used."""

    @property
    def state(self) -> EngineState:
        """The engine's state. As soon as a process that was ready begins to end, the state is `stopping`."""
        return EngineState.STOPPING if self._is_ending else self._state

    @property
    def reason(self) -> str | None:
        """Why the engine is not ready, in words for people; None while it is ready."""
        return "its process has ended, and another one will be started" if self._is_ending else self._reason

    @property
    def _is_ending(self) -> bool:
        return self._state is EngineState.READY and (self._process is None or self._process.is_ending)

    @property
    def license_error(self) -> str | None:
        """Why the license file could not be applied; None if there was no error."""
        return self._handshake.license_error

    @property
    def pid(self) -> int | None:
        """The id of the engine process; None if there is no process."""
        return self._process.pid if self._process else None

    @property
    def is_ready(self) -> bool:
        """Whether the engine takes calls."""
        return self.state is EngineState.READY

    @property
    def is_being_replaced(self) -> bool:
        """True if the engine was ready before and a new process should be ready soon, so that callers may wait."""
        is_given_up = self._stopping or self.state in {EngineState.FAILED, EngineState.STOPPED}
        return self.facts is not None and not self.is_ready and not is_given_up

    @property
    def is_busy(self) -> bool:
        """True if a caller uses the engine or waits for it."""
        return self._queue.is_busy

    @property
    def waiting(self) -> int:
        """How many callers wait in the queue."""
        return self._queue.waiting

    @property
    def waiting_by_work(self) -> dict[str, int]:
        """How many callers wait in the queue, by the kind of work."""
        return self._queue.waiting_by_work

    @property
    def running(self) -> RunningTurn | None:
        """The turn of the caller that uses the engine; None if no caller uses it."""
        return self._queue.running

    @property
    def expected_seconds(self) -> float | None:
        """In how many seconds a call that comes now is expected to begin; None if no call has ended yet."""
        return self._queue.expected_seconds

    @property
    def mean_turn_seconds(self) -> float | None:
        """How long recent calls of the engine took, in seconds; None if none has ended yet."""
        return self._queue.mean_turn_seconds

    @property
    def queue_size(self) -> int:
        """How many callers may wait in the queue while one uses the engine."""
        return self._limits.queue_size

    @property
    def longest_wait_seconds(self) -> float:
        """How long the caller that has waited longest has waited for its turn, in seconds; 0 if none waits."""
        return self._queue.longest_wait_seconds

    @property
    def idle_seconds(self) -> float | None:
        """The time since the last use of the engine; None if its process was not used or is not ready."""
        if self._used_at is None or not self.is_ready:
            return None
        return asyncio.get_running_loop().time() - self._used_at

    def require_ready(self) -> EngineProcess:
        """Return the engine process if it takes calls. Raises EngineNotReady."""
        if self._process is None or not self.is_ready:
            until = self._paused_until
            raise EngineNotReady(
                self.state, self.reason, None if until is None else until - asyncio.get_running_loop().time()
            )
        return self._process

    def require_capability(self, name: CapabilityName) -> None:
        """Raise EngineLacks if AsposeAI reports that a capability is not available on this machine."""
        for capability in self.facts.capabilities if self.facts else ():
            if capability.name == name and not capability.available:
                raise EngineLacks(name, capability.reason or "")

    def require_queue_space(self) -> None:
        """Raise EngineNotReady or EngineBusy if a caller could not wait in the queue now."""
        # The caller will wait for the next process. A caller that holds the engine may be replacing the process, too.
        if not self._queue.is_busy and not self.is_being_replaced:
            self.require_ready()
        self._queue.require_queue_space()

    def reserve(self) -> Place:
        """Reserve a place in the queue for one caller. Raises EngineNotReady and EngineBusy."""
        self.require_queue_space()
        return self._queue.reserve()

    def place_for_unit(self) -> Place:
        """Return a place in the queue for a unit of a job. It is never refused, and lets requests go first."""
        return self._queue.place_for_unit()

    async def wait_until_ready(self) -> EngineProcess:
        """Wait until the engine takes calls, and return its process. For the caller that holds the engine.

        Raises EngineNotReady after `limits.start_seconds`, and at once if the engine is failed or stopped.
        """
        try:
            async with asyncio.timeout(self._limits.start_seconds):
                while not self.is_ready and self.state not in {EngineState.FAILED, EngineState.STOPPED}:
                    self._holder_waits.set()
                    await self._changed.wait()
        except TimeoutError:
            pass
        finally:
            self._holder_waits.clear()
        return self.require_ready()

    @property
    def memory_limit_bytes(self) -> int:
        """How many bytes of memory an engine process may hold; 0 for no limit."""
        return self._limits.memory_bytes

    async def memory(self) -> process_memory.Memory | None:
        """Return the memory of the engine process, or None if there is no process."""
        return await self._process.memory() if self._process else None

    @contextlib.asynccontextmanager
    async def acquire(
        self, place: Place | None = None, is_deferred: IsDeferred = lambda: False, *, kind: str = OTHER_WORK
    ) -> AsyncIterator[Turn]:
        """Wait in the queue, then hold the engine exclusively. `kind` is the kind of work.

        Without `place`, raises EngineNotReady and EngineBusy.
        """
        with contextlib.nullcontext(place) if place else self.reserve() as taken:
            async with taken.turn(is_deferred, kind) as turn:
                try:
                    yield turn
                finally:
                    self._used_at = asyncio.get_running_loop().time()

    async def take_next_turn(self, turn: Turn) -> None:
        """Let waiting callers use the engine, then hold the engine again for the next turn."""
        self._used_at = asyncio.get_running_loop().time()
        await turn.wait()

    async def call(
        self,
        name: str,
        params: dict[str, Any] | None = None,
        *,
        seconds: float,
        place: Place | None = None,
        around: Around = lambda _: nullcontext(),
    ) -> Any:  # noqa: ANN401
        """Wait in the queue, call the engine and return its result. `seconds` limits the call, not the wait.

        The call is made in the context that `around` returns for the process. After the call, a process that holds
        nearly as much memory as its limit is replaced.

        If a call runs out of memory in a process that was used before, the call is made once more in a new process,
        because earlier calls or a loaded model may have taken the memory. Raises any EngineError.
        """
        loop = asyncio.get_running_loop()
        async with self.acquire(place, kind=name):
            process = await self.wait_until_ready()  # the caller before may have ended the process
            was_used, began = self._used_at is not None, loop.time()
            try:
                async with around(process):
                    result = await timed_call(process, name, params, seconds=seconds, on_event=self._on_event)
            except EngineOutOfMemory:
                remaining = seconds - (loop.time() - began)
                if not was_used or remaining <= 0:
                    raise
                process = await self.wait_until_ready()
                async with around(process):
                    result = await timed_call(process, name, params, seconds=remaining, on_event=self._on_event)
            await recycle_if_grown(process, self._limits.memory_bytes, self._on_event)
            return result

    async def release(self, reason: str = "released") -> Release:
        """End the process, wait until the kernel has reaped it, and start another; return the memory before and after.

        Raises EngineNotReady if the service is shutting down.
        """
        if self._stopping or self.state is EngineState.STOPPED:
            raise EngineNotReady(self.state, "the service is shutting down")
        if self._release is None:
            self._release, self._release_reason = asyncio.get_running_loop().create_future(), reason
            self.releases += 1
            self._stop_requested.set()
        return await asyncio.shield(self._release)

    def refresh_facts(self) -> None:
        """Request that AsposeAI's facts be fetched again after the running call. Returns at once."""
        self._facts_stale.set()

    def note_models(self, models: Mapping[str, object]) -> None:
        """Record which models are in the folder, and request that AsposeAI's facts be fetched again.

        Returns at once.
        """
        self._known_models = models
        self.refresh_facts()

    async def stop(self) -> None:
        """Make `run()` end the process and return. Does not wait for the end."""
        self._stopping = True
        self._stop_requested.set()

    # The life of a process, in order. Only run() and what it awaits write the state.

    async def run(self) -> None:
        """Start an engine process, watch it and replace it, until `stop()`."""
        while not self._stopping:
            try:
                await self._start()
                await self._watch()
            finally:
                await self._reap()
            await self._back_off()
        self._set_state(EngineState.STOPPED, "the service is shutting down")
        if self._release:
            self._release.set_exception(EngineNotReady(self.state, self.reason))

    async def _start(self) -> None:
        self._stop_requested.clear()
        self._last_death = None
        self._set_state(EngineState.STARTING, "its process is starting")
        self._used_at = None
        self.started_at = datetime.now(UTC)
        try:
            self._process = await self._spawn()
        except OSError as exc:  # no memory, no process slot, a full or missing state folder
            self._note_death(f"its process could not be started: {exc}")
            return
        await self._make_ready(self._process)

    async def _make_ready(self, process: EngineProcess) -> None:
        known_models = self._known_models  # read before the call, so that AsposeAI's answer covers each of them
        handshake = asyncio.create_task(self._handshake.run(process))
        stop_requested = asyncio.create_task(self._stop_requested.wait())
        await asyncio.wait({handshake, stop_requested}, return_when=asyncio.FIRST_COMPLETED)
        stop_requested.cancel()
        if not handshake.done():
            process.kill("asked to end while it was starting", is_fault=False)
        # A handshake that failed has ended the process as well; _reap() reports how.
        try:
            if facts := await handshake:
                self.facts = replace(facts, known_models=known_models)
                self._set_state(EngineState.READY, None)
        except EngineDied:
            pass
        except EngineTimedOut as exc:  # other deadlines are the caller's; missing this deadline is the engine's fault
            self._note_death(str(exc))

    async def _watch(self) -> None:
        """Wait until a ready process ends, or end it for a release or a stop."""
        if self._process is None or self._state is not EngineState.READY:
            return
        since = asyncio.get_running_loop().time()
        facts = asyncio.create_task(self._keep_facts_fresh(self._process))
        over = asyncio.create_task(self._process.wait())
        stop_requested = asyncio.create_task(self._stop_requested.wait())
        await asyncio.wait({over, stop_requested}, return_when=asyncio.FIRST_COMPLETED)
        if not over.done():
            await self._end(self._process)
        for task in (facts, stop_requested, over):
            task.cancel()
        await asyncio.gather(facts, stop_requested, over, return_exceptions=True)
        if asyncio.get_running_loop().time() - since >= self._limits.stable_seconds:
            self._deaths = 0

    async def _keep_facts_fresh(self, process: EngineProcess) -> None:
        while True:
            await self._facts_stale.wait()
            self._facts_stale.clear()
            async with self._queue.acquire_first():
                known_models = self._known_models
                try:
                    self.facts = replace(await self._handshake.fetch_facts(process), known_models=known_models)
                except EngineCallFailed as exc:
                    self._on_event(EventName.ENGINE_STATUS_FAILED, {"error": exc.reason})
                except (EngineDied, EngineTimedOut):
                    return
                except ProtocolError as exc:
                    process.kill(str(exc))
                    return

    async def _end(self, process: EngineProcess) -> None:
        """End a ready process: refuse new calls, wait half of `stop_seconds` for the running call, then stop it."""
        reason = self._release_reason if self._release and not self._stopping else "the service is shutting down"
        self._set_state(EngineState.STOPPING, reason)
        started = asyncio.get_running_loop().time()
        await self._wait_until_unused(self._limits.stop_seconds / 2)
        before = await process.memory()
        mapped = await asyncio.to_thread(process_memory.mapped_below, process.pid, self._models_dir)
        until = started + self._limits.stop_seconds
        ending = await process.stop(reason, seconds=max(0.0, until - asyncio.get_running_loop().time()))
        seconds = asyncio.get_running_loop().time() - started
        after_bytes = await asyncio.to_thread(process_memory.tree_bytes)
        self._complete_release(Release(process.pid, before, sum(mapped.values()), after_bytes, ending.reason, seconds))

    async def _wait_until_unused(self, seconds: float) -> None:
        """Wait until no caller uses the process, for at most `seconds`."""

        async def hold_once() -> None:
            async with self._queue.acquire_first():
                pass

        # A caller may hold the engine and wait for the next process, which starts only after this process has ended.
        waits = {asyncio.create_task(hold_once()), asyncio.create_task(self._holder_waits.wait())}
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        await asyncio.gather(*waits, return_exceptions=True)

    async def _reap(self) -> None:
        """Kill the process if it still runs, wait until it has ended, and record how it ended."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill("its supervisor ended", is_fault=False)
        ending = await process.wait()
        self.last_exit = LastExit(datetime.now(UTC), ending)
        event = EventName.ENGINE_EXITED if ending.cause is ExitCause.ORDERED else EventName.ENGINE_DIED
        self._on_event(event, {"pid": ending.pid, "reason": ending.reason, "cause": ending.cause.value})
        if ending.is_fault:
            self._note_death(f"its process ended: {ending.reason}")

    def _note_death(self, reason: str) -> None:
        self._deaths, self._last_death = self._deaths + 1, reason

    async def _back_off(self) -> None:
        """Pause after a death, before the next process; longer after more deaths in a row. A release ends the pause."""
        if self._stopping:
            return
        if self._last_death and not self._release:
            seconds = self._limits.delay_seconds(self._deaths)
            state, reason = EngineState.BACKING_OFF, self._last_death
            if self._deaths > self._limits.restart_budget:
                died = f"it died {self._deaths} times in a row; {reason.removesuffix('.')}"
                again = f"It is tried again after {seconds:g} s, or at once by POST /engine/release"
                state, reason = EngineState.FAILED, f"{died}. {again}"
            self._set_state(state, reason)
            self._paused_until = asyncio.get_running_loop().time() + seconds
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop_requested.wait(), seconds)
            self._paused_until = None
        if self._release:
            self._deaths = 0
            self._complete_release(
                Release(None, None, 0, await asyncio.to_thread(process_memory.tree_bytes), None, 0.0)
            )
        self.restarts += 1

    def _complete_release(self, release: Release) -> None:
        if self._release:
            self._on_event(EventName.ENGINE_RELEASED, {"reason": self._release_reason, "bytes": release.returned_bytes})
            self._release.set_result(release)
            self._release = None

    def _set_state(self, state: EngineState, reason: str | None) -> None:
        self._state, self._reason = state, reason
        self._changed.set()
        self._changed = asyncio.Event()
        self._on_event(EventName(f"engine.{state}"), {"reason": reason, "pid": self.pid})

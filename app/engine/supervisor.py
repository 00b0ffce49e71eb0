"""The supervisor: decides when an engine process starts, stops and is replaced; the only writer of its state."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.engine import process_memory
from app.engine.calls import timed_call
from app.engine.contract.messages import EngineFacts, ProtocolError
from app.engine.handshake import Handshake
from app.engine.process import EngineProcess
from app.engine.queue import CallQueue
from app.engine.states import EngineState, LastExit, Release, SupervisorLimits
from app.errors import EngineCallFailed, EngineDied, EngineNotReady, EngineTimedOut
from app.events import EventName, OnEvent


class Supervisor:
    """Keeps one engine process running, from `run()` until `stop()`.

    What each request does in each state:

    - starting: a call raises EngineNotReady; a release ends the process and starts another.
    - ready: a call runs, or waits for its turn, or raises EngineBusy; a release lets the running call finish, ends the
      process and starts another, which is the next for who waits.
    - stopping: a call raises EngineNotReady; a release joins the one under way.
    - backing_off, failed: a call raises EngineNotReady; a release starts another process at once, its budget renewed.
      Both end by themselves, so that nobody whose texts or images kill the engine takes it from the others for good.
    - stopped: both raise EngineNotReady.

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
        self.state = EngineState.STOPPED
        self.reason: str | None = None
        """Why the engine is not ready, for people."""
        self.started_at: datetime | None = None
        self.restarts = 0
        self.last_ending: LastExit | None = None
        self.facts: EngineFacts | None = None
        """What AsposeAI last said; kept across a restart until the next process says otherwise."""
        self._spawn, self._models_dir, self._limits, self._on_event = spawn, models_dir, limits, on_event
        self._process: EngineProcess | None = None
        self._greeter = Handshake(models_dir, license_file, limits, on_event)
        self._turns = CallQueue(limits.queue_size)
        self._deaths = 0  # in a row and by its own fault, since it was stable
        self._last_death: str | None = None
        """Why the last process died, if by its own fault."""
        self._facts_stale, self._stop_requested = asyncio.Event(), asyncio.Event()
        self._release: asyncio.Future[Release] | None = None
        self._release_reason = ""
        self._stopping = False
        self._changed = asyncio.Event()
        self._used_at: float | None = None

    @property
    def license_error(self) -> str | None:
        """Why the license file could not be applied."""
        return self._greeter.license_error

    @property
    def pid(self) -> int | None:
        """The engine process, or None when there is none."""
        return self._process.pid if self._process else None

    @property
    def is_ready(self) -> bool:
        """Whether a call would be taken, now or when its turn comes."""
        return self.state is EngineState.READY and self._process is not None and not self._process.is_ending

    @property
    def is_busy(self) -> bool:
        """Whether a call runs."""
        return self._turns.is_taken

    @property
    def waiting(self) -> int:
        """How many calls wait for their turn."""
        return self._turns.waiting

    @property
    def idle_seconds(self) -> float | None:
        """How long ago the last turn ended; None when the process has not been used."""
        return asyncio.get_running_loop().time() - self._used_at if self._used_at and self.is_ready else None

    def require_ready(self) -> EngineProcess:
        """The process that takes calls; raises EngineNotReady."""
        if self._process is None or not self.is_ready:
            raise EngineNotReady(self.state, self.reason or "its process is being replaced")
        return self._process

    def require_queue_space(self) -> None:
        """Raise what would keep somebody from waiting for a turn: EngineNotReady, EngineBusy."""
        # Whoever has the turn may be replacing the process: that is worth waiting for.
        if not self._turns.is_taken:
            self.require_ready()
        self._turns.require_queue_space()

    async def wait_until_ready(self) -> EngineProcess:
        """The process that takes calls, as soon as there is one.

        Raises EngineNotReady when it takes longer than a start may, and at once where nothing follows soon.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.start_seconds):
                while not self.is_ready and self.state not in {EngineState.FAILED, EngineState.STOPPED}:
                    await self._changed.wait()
        return self.require_ready()

    async def memory(self) -> process_memory.Memory | None:
        """What the engine process holds now, or None when there is none."""
        return await self._process.memory() if self._process else None

    @contextlib.asynccontextmanager
    async def turn(self, *, bypass_limit: bool = False) -> AsyncIterator[None]:
        """Have the engine for oneself, in turn. Raises EngineNotReady, EngineBusy; neither for who `is_admitted`."""
        if not bypass_limit:
            self.require_queue_space()
        async with self._turns.take(bypass_limit=bypass_limit):
            try:
                yield
            finally:
                self._used_at = asyncio.get_running_loop().time()

    async def call(
        self, name: str, params: dict[str, Any] | None = None, *, seconds: float, bypass_limit: bool = False
    ) -> Any:  # noqa: ANN401
        """Call the engine when its turn has come; `seconds` counts from then. Raises any EngineError."""
        async with self.turn(bypass_limit=bypass_limit):
            process = await self.wait_until_ready()  # whoever had the turn before may have ended its process
            return await timed_call(process, name, params, seconds=seconds, on_event=self._on_event)

    async def release(self, reason: str = "released") -> Release:
        """Give back everything the engine holds: end its process, have the kernel confirm it, start a fresh one."""
        if self._stopping or self.state is EngineState.STOPPED:
            raise EngineNotReady(self.state, "the service is shutting down")
        if self._release is None:
            self._release, self._release_reason = asyncio.get_running_loop().create_future(), reason
            self._stop_requested.set()
        return await asyncio.shield(self._release)

    def refresh_facts(self) -> None:
        """Ask AsposeAI again what it sees, as soon as the running call is over. Returns at once."""
        self._facts_stale.set()

    async def stop(self) -> None:
        """Make `run()` end the process and return."""
        self._stopping = True
        self._stop_requested.set()

    # The life of the engine, in order. Only run() and what it awaits writes the state.

    async def run(self) -> None:
        """Start, watch, replace, until `stop()`."""
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
        greeting = asyncio.create_task(self._greeter.greet(self._process))
        wish = asyncio.create_task(self._stop_requested.wait())
        await asyncio.wait({greeting, wish}, return_when=asyncio.FIRST_COMPLETED)
        wish.cancel()
        if not greeting.done():
            self._process.kill("asked to end while it was starting", is_fault=False)
        # Whatever ended the start ended the process as well, and _bury() says how.
        try:
            if facts := await greeting:
                self.facts = facts
                self._set_state(EngineState.READY, None)
        except EngineDied:
            pass
        except EngineTimedOut as exc:  # a caller's deadline is no fault of the engine's, but this one is ours
            self._note_death(str(exc))

    async def _watch(self) -> None:
        """While ready: wait for the process's end, or for a wish to end it."""
        if self._process is None or self.state is not EngineState.READY:
            return
        since = asyncio.get_running_loop().time()
        facts = asyncio.create_task(self._keep_facts(self._process))
        over = asyncio.create_task(self._process.wait())
        wish = asyncio.create_task(self._stop_requested.wait())
        await asyncio.wait({over, wish}, return_when=asyncio.FIRST_COMPLETED)
        if not over.done():
            await self._end(self._process)
        for task in (facts, wish, over):
            task.cancel()
        await asyncio.gather(facts, wish, over, return_exceptions=True)
        if asyncio.get_running_loop().time() - since >= self._limits.stable_seconds:
            self._deaths = 0

    async def _keep_facts(self, process: EngineProcess) -> None:
        while True:
            await self._facts_stale.wait()
            self._facts_stale.clear()
            async with self._turns.acquire_first():
                try:
                    self.facts = await self._greeter.ask_for_facts(process)
                except EngineCallFailed as exc:
                    self._on_event(EventName.ENGINE_STATUS_FAILED, {"error": exc.reason})
                except (EngineDied, EngineTimedOut):
                    return
                except ProtocolError as exc:
                    process.kill(str(exc))
                    return

    async def _end(self, process: EngineProcess) -> None:
        """End a ready process: no new calls, the running one may finish, then everything goes."""
        ordered = self._release_reason if self._release and not self._stopping else "the service is shutting down"
        self._set_state(EngineState.STOPPING, ordered)
        started = asyncio.get_running_loop().time()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.stop_seconds / 2), self._turns.acquire_first():
                pass
        before = await process.memory()
        mapped = await asyncio.to_thread(process_memory.mapped_below, process.pid, self._models_dir)
        until = started + self._limits.stop_seconds
        ending = await process.stop(ordered, seconds=max(0.0, until - asyncio.get_running_loop().time()))
        seconds = asyncio.get_running_loop().time() - started
        after_bytes = await asyncio.to_thread(process_memory.tree_bytes)
        self._complete_release(Release(process.pid, before, sum(mapped.values()), after_bytes, ending.reason, seconds))

    async def _reap(self) -> None:
        """Whatever came before: wait until the process is gone, and remember how it went."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill("its supervisor ended", is_fault=False)
        ending = await process.wait()
        self.last_ending = LastExit(datetime.now(UTC), ending)
        cause = "fault" if ending.is_fault else "ordered"
        self._on_event(EventName.ENGINE_EXITED, {"pid": ending.pid, "reason": ending.reason, "cause": cause})
        if ending.is_fault:
            self._note_death(f"its process ended: {ending.reason}")

    def _note_death(self, reason: str) -> None:
        self._deaths, self._last_death = self._deaths + 1, reason

    async def _back_off(self) -> None:
        """Between two processes: wait after a death, for long after too many; not after an end that was ordered."""
        if self._stopping:
            return
        if self._last_death and not self._release:
            seconds = self._limits.delay_seconds(self._deaths)
            state, reason = EngineState.BACKING_OFF, self._last_death
            if self._deaths > self._limits.restart_budget:
                again = f"It is tried again after {seconds:g} s, or at once by POST /engine/release"
                state, reason = EngineState.FAILED, f"it died {self._deaths} times in a row; {reason}. {again}"
            self._set_state(state, reason)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop_requested.wait(), seconds)
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
        self.state, self.reason = state, reason
        self._changed.set()
        self._changed = asyncio.Event()
        self._on_event(EventName(f"engine.{state}"), {"reason": reason, "pid": self.pid})

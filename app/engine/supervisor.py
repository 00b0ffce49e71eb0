"""The supervisor: decides when an engine process starts, stops and is replaced; the only writer of its state."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from app.engine.messages import Facts, ProtocolError
from app.engine.process import EngineProcess, Memory
from app.engine.states import Ending, Limits, Release, State
from app.errors import EngineBusy, EngineCallFailed, EngineDied, EngineError, EngineNotReady, EngineTimedOut

OnEvent = Callable[[str, dict[str, Any]], None]


class Supervisor:
    """Keeps one engine process running, from `run()` until `stop()`.

    What each request does in each state:

    - starting: a call raises EngineNotReady; a release ends the process and starts another.
    - ready: a call runs, or waits for its turn, or raises EngineBusy; a release lets the running call finish, ends the
      process and starts another.
    - stopping: a call raises EngineNotReady; a release joins the one under way.
    - backing_off, failed: a call raises EngineNotReady; a release starts another process at once, its budget renewed.
    - stopped: both raise EngineNotReady.

    A stop in any state ends the process, as a release does, and leaves the engine stopped.
    """

    def __init__(
        self,
        spawn: Callable[[], Awaitable[EngineProcess]],
        *,
        models_dir: Path,
        license_file: Path | None,
        limits: Limits,
        on_event: OnEvent,
    ) -> None:
        self.state = State.STOPPED
        self.reason: str | None = None
        """Why the engine is not ready, for people."""
        self.started_at: datetime | None = None
        self.restarts = 0
        self.last_ending: Ending | None = None
        self.facts: Facts | None = None
        """What AsposeAI last said; kept across a restart until the next process says otherwise."""
        self.license_error: str | None = None
        self._spawn = spawn
        self._models_dir = models_dir
        self._license_file = license_file
        self._limits = limits
        self._on_event = on_event
        self._process: EngineProcess | None = None
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._deaths = 0
        """How often in a row it died by its own fault; 0 after a stable time."""
        self._last_death: str | None = None
        self._facts_stale = asyncio.Event()
        self._wish = asyncio.Event()
        self._release: asyncio.Future[Release] | None = None
        self._stopping = False

    # What others ask.

    @property
    def pid(self) -> int | None:
        """The engine process, or None when there is none."""
        return self._process.pid if self._process else None

    @property
    def is_ready(self) -> bool:
        """Whether a call would be taken, now or when its turn comes."""
        return self.state is State.READY and self._process is not None and not self._process.is_ending

    @property
    def is_busy(self) -> bool:
        """Whether a call runs."""
        return self._turn.locked()

    @property
    def waiting(self) -> int:
        """How many calls wait for their turn."""
        return self._waiting

    def insist_on_ready(self) -> EngineProcess:
        """The process that takes calls; raises EngineNotReady."""
        if self._process is None or not self.is_ready:
            raise EngineNotReady(self.state, self.reason or "its process is being replaced")
        return self._process

    async def memory(self) -> Memory | None:
        """What the engine process holds now, or None when there is none."""
        return await self._process.memory() if self._process else None

    async def call(self, name: str, params: dict[str, Any] | None = None, *, seconds: float) -> Any:  # noqa: ANN401
        """Call the engine when its turn has come; `seconds` counts from then. Raises any EngineError."""
        self.insist_on_ready()
        if self._turn.locked() and self._waiting >= self._limits.queue_size:
            raise EngineBusy(self._waiting)
        self._waiting += 1
        try:
            await self._turn.acquire()
        finally:
            self._waiting -= 1
        try:
            return await self.insist_on_ready().call(name, params, seconds=seconds)
        finally:
            self._turn.release()

    async def release(self) -> Release:
        """Give back everything the engine holds: end its process, have the kernel confirm it, start a fresh one."""
        if self._stopping or self.state is State.STOPPED:
            raise EngineNotReady(self.state, "the service is shutting down")
        if self._release is None:
            self._release = asyncio.get_running_loop().create_future()
            self._wish.set()
        return await asyncio.shield(self._release)

    def refresh_facts(self) -> None:
        """Ask AsposeAI again what it sees, as soon as it is idle. Returns at once."""
        self._facts_stale.set()

    async def stop(self) -> None:
        """Make `run()` end the process and return."""
        self._stopping = True
        self._wish.set()

    # The life of the engine, in order. Only run() and what it awaits writes the state.

    async def run(self) -> None:
        """Start, watch, replace, until `stop()`."""
        while not self._stopping:
            try:
                await self._start()
                await self._watch()
            finally:
                await self._bury()
            await self._rest()
        self._become(State.STOPPED, "the service is shutting down")
        if self._release:
            self._release.set_exception(EngineNotReady(self.state, self.reason))

    async def _start(self) -> None:
        self._wish.clear()
        self._become(State.STARTING, "its process is starting")
        self.started_at = datetime.now(UTC)
        try:
            self._process = await self._spawn()
        except OSError as exc:  # no memory, no process slot, a full or missing state folder
            self._note_death(f"its process could not be started: {exc}")
            return
        greeting = asyncio.create_task(self._greet(self._process))
        wish = asyncio.create_task(self._wish.wait())
        await asyncio.wait({greeting, wish}, return_when=asyncio.FIRST_COMPLETED)
        wish.cancel()
        if not greeting.done():
            self._process.kill("asked to end while it was starting", is_fault=False)
        # Whatever ended the start ended the process as well, and _bury() says how.
        try:
            await greeting
        except EngineDied:
            pass
        except EngineTimedOut as exc:  # a caller's deadline is no fault of the engine's, but this one is ours
            self._note_death(str(exc))

    async def _greet(self, process: EngineProcess) -> None:
        """Bring a process from alive to ready: its license, its instance, its first facts, the check of its folder."""
        try:
            await self._apply_license(process)
            await process.call("start", seconds=self._limits.start_seconds)
            self.facts = await self._ask_for_facts(process)
        except EngineCallFailed as exc:
            process.kill(exc.reason)
            return
        except ProtocolError as exc:
            process.kill(str(exc))
            return
        if Path(self.facts.local_path) != self._models_dir.resolve():
            process.kill(f"AsposeAI looks for its models in {self.facts.local_path}, not in {self._models_dir}")
            return
        self._become(State.READY, None)

    async def _apply_license(self, process: EngineProcess) -> None:
        if self._license_file is None or self.license_error:
            return
        try:
            await process.call("apply_license", {"path": str(self._license_file)}, seconds=self._limits.start_seconds)
        except EngineError as exc:
            # Unlicensed is better than dead, and the next process is not to die of it again.
            self.license_error = exc.reason if isinstance(exc, EngineCallFailed) else str(exc)
            self._on_event("engine.license_refused", {"error": self.license_error})
            if not isinstance(exc, EngineCallFailed):
                raise

    async def _ask_for_facts(self, process: EngineProcess) -> Facts:
        asked_at = datetime.now(UTC)
        return Facts.from_status(asked_at, await process.call("status", seconds=self._limits.status_seconds))

    async def _watch(self) -> None:
        """While ready: wait for the process's end, or for a wish to end it."""
        if self._process is None or self.state is not State.READY:
            return
        since = asyncio.get_running_loop().time()
        facts = asyncio.create_task(self._keep_facts(self._process))
        over = asyncio.create_task(self._process.wait())
        wish = asyncio.create_task(self._wish.wait())
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
            async with self._turn:
                try:
                    self.facts = await self._ask_for_facts(process)
                except EngineCallFailed as exc:
                    self._on_event("engine.status_failed", {"error": exc.reason})
                except (EngineDied, EngineTimedOut):
                    return
                except ProtocolError as exc:
                    process.kill(str(exc))
                    return

    async def _end(self, process: EngineProcess) -> None:
        """End a ready process: no new calls, the running one may finish, then everything goes."""
        ordered = "released" if self._release and not self._stopping else "the service is shutting down"
        self._become(State.STOPPING, ordered)
        started = asyncio.get_running_loop().time()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.stop_seconds / 2), self._turn:
                pass
        before = await process.memory()
        elapsed = asyncio.get_running_loop().time() - started
        ending = await process.stop(ordered, seconds=max(0.0, self._limits.stop_seconds - elapsed))
        self._grant(Release(process.pid, before, ending.reason, asyncio.get_running_loop().time() - started))

    async def _bury(self) -> None:
        """Whatever came before: wait until the process is gone, and remember how it went."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill("its supervisor ended", is_fault=False)
        ending = await process.wait()
        self.last_ending = Ending(datetime.now(UTC), ending)
        self._on_event(
            "engine.exited",
            {"pid": ending.pid, "reason": ending.reason, "cause": "fault" if ending.is_fault else "ordered"},
        )
        if ending.is_fault:
            self._note_death(f"its process ended: {ending.reason}")

    def _note_death(self, reason: str) -> None:
        self._deaths += 1
        self._last_death = reason

    async def _rest(self) -> None:
        """Between two processes: back off after a death, give up after too many, start at once after a release."""
        if self._stopping:
            return
        if self._deaths and not self._release:
            if self._deaths > self._limits.restart_budget:
                often = f"it died {self._deaths} times in a row; {self._last_death}"
                self._become(State.FAILED, f"{often}. POST /engine/release tries again")
                await self._wish.wait()
            else:
                self._become(State.BACKING_OFF, self._last_death)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._limits.delay_seconds(self._deaths)):
                        await self._wish.wait()
        if self._release:
            self._deaths = 0
            self._grant(Release(None, None, None, 0.0))
        self.restarts += 1

    def _grant(self, release: Release) -> None:
        if self._release:
            self._release.set_result(release)
            self._release = None

    def _become(self, state: State, reason: str | None) -> None:
        self.state, self.reason = state, reason
        self._on_event("engine." + state, {"reason": reason, "pid": self.pid})

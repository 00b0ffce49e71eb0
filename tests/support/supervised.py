"""A real supervisor with real engine processes, without HTTP."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from app.engine.native.workdir import WorkDirectories
from app.engine.process.engine_process import EngineProcess
from app.engine.states import EngineState, SupervisorLimits
from app.engine.supervisor import Supervisor
from tests.support.service import ROOT
from tests.support.waiting import USUAL_SECONDS, eventually_async

NATIVE = ROOT / "native"
"""The folder that `make test` provisions."""
ENGINES = "tests.support.engines:"
QUICK = SupervisorLimits(
    start_seconds=30, stop_seconds=3, restart_budget=3, stable_seconds=0.5, first_delay_seconds=0.02
)


class Supervised:
    """A supervisor under test, with the events and the output lines that it reported."""

    def __init__(self, supervisor: Supervisor, events: list[tuple[str, dict[str, Any]]], lines: list[str]) -> None:
        self.supervisor = supervisor
        self.events = events
        self.lines = lines

    async def until(self, state: EngineState, *, within: float = USUAL_SECONDS) -> Supervisor:
        """Wait until the supervisor is in a state, and return the supervisor."""
        await eventually_async(lambda: self.supervisor.state is state, within=within)
        return self.supervisor

    async def until_replaced(self, pid: int | None, *, within: float = USUAL_SECONDS) -> None:
        """Wait until an engine process other than `pid` is ready."""
        await eventually_async(
            lambda: self.supervisor.state is EngineState.READY and self.supervisor.pid != pid,
            within=within,
        )


@asynccontextmanager
async def supervised(
    folder: Path,
    engine: str = "Echo",
    *,
    limits: SupervisorLimits = QUICK,
    license_file: Path | None = None,
    native_dir: Path = NATIVE,
) -> AsyncIterator[Supervised]:
    """Run a supervisor over an engine of tests.support.engines, or over any import string."""
    models_dir = folder / "models"
    models_dir.mkdir(exist_ok=True)
    workdirs = WorkDirectories(folder / "state", models_dir, native_dir)
    events: list[tuple[str, dict[str, Any]]] = []
    lines: list[str] = []

    async def spawn() -> EngineProcess:
        directory = workdirs.prepare()
        return await EngineProcess.spawn(
            engine if ":" in engine else ENGINES + engine,
            directory=directory,
            environment=workdirs.environment(directory) | {"PYTHONPATH": str(ROOT)},
            memory_limit_bytes=limits.memory_bytes,
            on_line=lines.append,
            on_gone=lambda: workdirs.discard(directory),
        )

    supervisor = Supervisor(
        spawn,
        models_dir=models_dir,
        license_file=license_file,
        limits=limits,
        on_event=lambda event, fields: events.append((event, fields)),
    )
    running = asyncio.create_task(supervisor.run())
    try:
        yield Supervised(supervisor, events, lines)
    finally:
        await supervisor.stop()
        await running
        with contextlib.suppress(FileNotFoundError):
            workdirs.close()

"""One engine process: its calls, deadlines and ways to end."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from app.engine.native.workdir import WorkDirectories
from app.engine.process.engine_process import EngineProcess
from app.engine.process.output import LINES_PER_SECOND
from app.errors import EngineCallFailed, EngineDied, EngineTimedOut
from tests.support.service import ROOT
from tests.support.supervised import ENGINES
from tests.support.waiting import Deadline, eventually_async

pytestmark = pytest.mark.anyio


class Launcher:
    """Starts engine processes and keeps a list of them."""

    def __init__(self, folder: Path) -> None:
        (folder / "models").mkdir()
        self.workdirs = WorkDirectories(folder / "state", folder / "models", folder / "native")
        self.lines: list[str] = []
        self.started: list[EngineProcess] = []

    async def __call__(self, engine: str = "Echo") -> EngineProcess:
        directory = self.workdirs.prepare()
        process = await EngineProcess.spawn(
            ENGINES + engine,
            directory=directory,
            environment=self.workdirs.environment(directory) | {"PYTHONPATH": str(ROOT)},
            on_line=self.lines.append,
            on_gone=lambda: self.workdirs.discard(directory),
        )
        self.started.append(process)
        return process


@pytest.fixture
async def launch(tmp_path: Path) -> AsyncIterator[Launcher]:
    launcher = Launcher(tmp_path)
    yield launcher
    for process in launcher.started:
        process.kill("the test is over")
        await process.wait()
    launcher.workdirs.close()


def is_in_a_call(process: EngineProcess) -> bool:
    """Return whether the process sleeps inside a call, and no longer waits for the socket."""
    return "nanosleep" in Path(f"/proc/{process.pid}/wchan").read_text()


async def test_a_call_returns_what_the_engine_answers(launch: Launcher) -> None:
    """A call returns the engine's answer; any text crosses the socket unchanged in both directions."""
    process = await launch()

    assert await process.call("echo", {"text": "žluťoučký\n\0 🦄"}, seconds=60) == "žluťoučký\n\0 🦄"


async def test_a_failed_call_leaves_the_engine_alive(launch: Launcher) -> None:
    """An exception in the engine raises EngineCallFailed with its text, and the next call works."""
    process = await launch()

    with pytest.raises(EngineCallFailed, match="RuntimeError: no such model"):
        await process.call("fail", {"message": "no such model"}, seconds=60)
    assert await process.call("echo", {"text": "still here"}, seconds=60) == "still here"


async def test_private_methods_are_no_calls(launch: Launcher) -> None:
    """Calling a private method of the engine raises EngineCallFailed."""
    process = await launch()

    with pytest.raises(EngineCallFailed, match="not a call"):
        await process.call("__init__", seconds=60)


async def test_a_call_past_its_deadline_kills_the_process(launch: Launcher) -> None:
    """A call that misses its deadline raises EngineTimedOut and kills the process, even one that holds the GIL."""
    process = await launch()

    with pytest.raises(EngineTimedOut, match="'hold_gil'"):
        await process.call("hold_gil", {"seconds": 30}, seconds=0.3)

    ending = await process.wait()
    assert (ending.code, ending.is_fault) == (-signal.SIGKILL, False)
    assert "did not finish within 0.3 s" in ending.reason


async def test_a_caller_that_goes_away_ends_the_process(launch: Launcher) -> None:
    """Cancelling a call kills the process that runs it."""
    process = await launch()
    await process.call("echo", {"text": "alive"}, seconds=60)
    call = asyncio.create_task(process.call("hold_gil", {"seconds": 30}, seconds=60))
    await eventually_async(lambda: is_in_a_call(process))

    call.cancel()

    ending = await process.wait()
    assert "was cancelled" in ending.reason
    assert call.cancelled()


async def test_an_abort_fails_the_call_with_its_reason_and_last_words(launch: Launcher) -> None:
    """An abort in native code raises EngineDied with the signal, and the exit has the last lines of output."""
    process = await launch()

    with pytest.raises(EngineDied, match="SIGABRT"):
        await process.call("abort", seconds=60)

    assert process.exit is not None
    assert process.exit.tail[-1] == "No usable version of libssl was found"
    assert process.exit.is_fault


async def test_kill_9_during_a_call_is_noticed_at_once(launch: Launcher) -> None:
    """A running call raises EngineDied soon after SIGKILL, long before its deadline."""
    process = await launch()
    await process.call("echo", {"text": "alive"}, seconds=60)
    call = asyncio.create_task(process.call("hold_gil", {"seconds": 300}, seconds=300))
    await eventually_async(lambda: is_in_a_call(process))

    os.kill(process.pid, signal.SIGKILL)

    async with asyncio.timeout(60):
        with pytest.raises(EngineDied, match="SIGKILL"):
            await call


async def test_nonsense_on_the_protocol_ends_the_process(launch: Launcher) -> None:
    """An engine that sends something other than a message is killed, and its call raises EngineDied."""
    process = await launch()

    with pytest.raises(EngineDied, match="broke the protocol"):
        await process.call("say_nonsense", seconds=60)


async def test_an_engine_that_closes_its_socket_is_ended(launch: Launcher) -> None:
    """An engine that closes its socket is killed, and its call raises EngineDied."""
    process = await launch()

    with pytest.raises(EngineDied, match="closed its socket"):
        await process.call("close_socket", seconds=60)


async def test_stop_ends_a_process_that_ignores_everything_within_its_time(launch: Launcher) -> None:
    """`stop` kills a process that ignores the closed socket and SIGTERM, within the given time."""
    process = await launch("IgnoresTerm")
    await process.call("start", seconds=60)
    limit = Deadline(3)

    ending = await process.stop("released", seconds=2)

    assert not limit.is_over
    assert ending.code == -signal.SIGKILL
    assert not psutil.pid_exists(process.pid)


async def test_stop_gives_a_slow_process_all_of_its_time(launch: Launcher) -> None:
    """`stop` does not kill a process that needs more than a second to end, if it ends within the given time."""
    process = await launch("SlowToEnd")

    ending = await process.stop("released", seconds=30)

    assert ending.code == 0


async def test_stop_lets_a_good_engine_leave_by_itself(launch: Launcher) -> None:
    """`stop` lets a process end with status 0 when its socket is closed, and its working directory is removed."""
    process = await launch()
    await process.call("start", seconds=60)
    directory = Path(psutil.Process(process.pid).cwd())

    ending = await process.stop("released", seconds=60)

    assert (ending.code, ending.is_fault) == (0, False)
    assert not directory.exists()


async def test_a_flood_of_output_neither_blocks_nor_fills_the_log(launch: Launcher) -> None:
    """An engine that floods its output is slowed down, and only a limited number of its lines are logged."""
    process = await launch()

    began = time.monotonic()
    async with asyncio.timeout(280):
        await process.call("flood", {"lines": 50_000}, seconds=200)
        await process.stop("released", seconds=60)

    # Of the first and the last second only a part has passed, and each second may have a line about those left out.
    assert len(launch.lines) < (LINES_PER_SECOND + 1) * (time.monotonic() - began + 2)
    assert any("more lines were not logged" in line for line in launch.lines)


async def test_the_environment_is_made_for_the_engine(launch: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine's environment has the variables that AsposeAI needs, and none of the service's own."""
    monkeypatch.setenv("OCR_SECRET", "x")
    process = await launch()

    environment = await process.call("environment", seconds=60)

    assert "OCR_SECRET" not in environment
    assert environment["DOTNET_SYSTEM_GLOBALIZATION_INVARIANT"] == "1"
    assert environment["COMPlus_EnableDiagnostics"] == "0"
    libraries, openssl, llama = map(Path, environment["LD_LIBRARY_PATH"].split(":"))
    assert (libraries / "libdl.so").exists()
    assert (openssl.name, llama.name) == ("openssl", "llama")
    assert os.listdir(environment["PATH"]) == ["libdl.so"]


async def test_it_gives_way_to_the_service(launch: Launcher) -> None:
    """The engine process runs at the lowest priority, the service at its own."""
    process = await launch()
    await process.call("start", seconds=60)

    assert psutil.Process(process.pid).nice() == 19
    assert os.sched_getscheduler(process.pid) == os.SCHED_BATCH
    assert os.getpriority(os.PRIO_PROCESS, 0) < 19


async def test_memory_is_measured_and_gone_with_the_process(launch: Launcher) -> None:
    """`memory` returns the memory of a running process, and None after its end."""
    process = await launch()
    await process.call("echo", {"text": ""}, seconds=60)

    memory = await process.memory()
    assert memory is not None
    assert 0 < memory.private_bytes <= memory.resident_bytes

    await process.stop("released", seconds=60)
    assert await process.memory() is None
